#include "proxy/modes/nftables/nftables_mode.hpp"

#include <algorithm>

#include "proxy/modes/nftables/affinity.hpp"
#include "proxy/modes/nftables/audit.hpp"
#include "proxy/modes/nftables/netlink_kernel.hpp"

namespace fairlead::nftables {
namespace {

constexpr std::array kFamilies = {IpFamily::V4, IpFamily::V6};

// The service port whose frontend the element belongs to.
std::string owner_of(const Element& element, IpFamily family, const plan::Plan& plan) {
  for (const auto& [key, service] : plan.services) {
    if (key.family != family) continue;
    for (const plan::Frontend& frontend : service->frontends) {
      Key prefix;
      if (frontend.kind != plan::FrontendKind::NodePort) prefix.address(frontend.address);
      if (schema(element.set).key.size() > 1)
        prefix.protocol(key.service_port.protocol).port(frontend.port);
      if (element.key.begins_with(prefix)) return key.service_port.to_string();
    }
  }
  return "";
}

Error in_words(const CommitError& failure, const plan::Plan& plan) {
  if (!failure.element) return failure.error;
  const std::string owner = owner_of(*failure.element, failure.family, plan);
  return owner.empty() ? failure.error : failure.error.with_context("service " + owner);
}

tl::unexpected<CommitError> fail(Error error) {
  return tl::unexpected(CommitError{.error = std::move(error)});
}

}  // namespace

Result<std::unique_ptr<plan::Mode>> create(const Config&) {
  FAIRLEAD_TRY(kernel, NetlinkKernel::create());
  return std::unique_ptr<plan::Mode>(std::make_unique<NftablesMode>(std::move(kernel)));
}

// The whole table. On a node that has none yet, what others need in order to start goes ahead: the
// rest can take as long as the cluster is large.
CommitResult NftablesMode::replace(IpFamily family, const plan::Plan& plan, bool exists) {
  Renderer& renderer = renderers_.at(family);
  auto transaction = kernel_->begin();
  if (exists) {
    transaction->add({family, DeleteTable{}});
    renderer.full(plan, *transaction);
    return kernel_->commit(std::move(transaction));
  }
  renderer.first(plan, *transaction);
  CommitResult done = kernel_->commit(std::move(transaction));
  if (!done) return done;
  transaction = kernel_->begin();
  renderer.rest(plan, *transaction);
  CommitResult rest = kernel_->commit(std::move(transaction));
  if (rest) *rest += *done;
  return rest;
}

CommitResult NftablesMode::commit_steps(std::vector<std::vector<Operation>> steps) {
  plan::ApplyStats stats;
  for (std::vector<Operation>& step : steps) {
    auto transaction = kernel_->begin();
    for (Operation& operation : step) transaction->add(std::move(operation));
    CommitResult done = kernel_->commit(std::move(transaction));
    if (!done) return done;
    stats += *done;
  }
  return stats;
}

// Reads the table and writes what it lacks.
CommitResult NftablesMode::adopt(IpFamily family, const plan::Plan& plan,
                                 const TableListing& listing) {
  auto there = read_table(*kernel_, family, listing);
  if (!there) return fail(there.error());
  Renderer& renderer = renderers_.at(family);
  renderer.adopt(plan, *there);
  Expectation wanted(*kernel_);
  renderer.expected(plan, wanted);
  wanted.sort();
  return commit_steps(in_steps(difference(wanted, *there, family, *kernel_), family));
}

CommitResult NftablesMode::program(IpFamily family, const plan::Plan& plan) {
  // Somebody else's transaction may fall between the parts of the reading.
  constexpr int kAttempts = 3;
  bool exists = false;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const auto listing = kernel_->list(family);
    if (!listing) return fail(listing.error());
    exists = listing->has_value();
    if (!exists || (*listing)->comment != kTableComment || !has_every_set(**listing)) break;
    CommitResult done = adopt(family, plan, **listing);
    if (done || done.error().error.code == ErrorCode::Forbidden) return done;
  }
  return replace(family, plan, exists);
}

// Rules that somebody took away or changed are put back before all elements are compared, which
// takes as long as the cluster is large. What cannot be done here is done, or fails, there.
void NftablesMode::restore_rules() {
  for (const auto& [family, renderer] : renderers_) {
    const auto listing = kernel_->list(family);
    if (!listing || !*listing || (*listing)->comment != kTableComment) continue;
    auto rules = kernel_->list_rules(family);
    if (!rules) continue;
    for (const std::string& chain : (*listing)->chains) (*rules)[chain];
    TableChange change;
    compare_chains(renderer.chains(), family, *kernel_, *rules, change);
    (void)commit_steps(in_steps(std::move(change), family));
  }
}

Result<plan::ApplyStats> NftablesMode::apply_full(const plan::Plan& plan) {
  in_step_ = false;
  restore_rules();
  renderers_.clear();
  plan::ApplyStats stats;
  for (const IpFamily family : kFamilies) {
    if (!plan.nodes.contains(family)) {
      FAIRLEAD_CHECK(remove_table(family));
      continue;
    }
    renderers_.emplace(family, Renderer(family));
    const CommitResult done = program(family, plan);
    if (!done) return in_words(done.error(), plan);
    stats += *done;
  }
  FAIRLEAD_TRY(forgotten, forget_unknown(plan));
  in_step_ = true;
  return stats += forgotten;
}

Result<void> NftablesMode::remove_table(IpFamily family) {
  FAIRLEAD_TRY(listing, kernel_->list(family));
  if (!listing) return {};
  auto transaction = kernel_->begin();
  transaction->add({family, DeleteTable{}});
  if (auto done = kernel_->commit(std::move(transaction)); !done) return done.error().error;
  return {};
}

Result<plan::ApplyStats> NftablesMode::forget_unknown(const plan::Plan& plan) {
  plan::ApplyStats stats;
  for (const auto& [family, renderer] : renderers_) {
    FAIRLEAD_TRY(done, forget(*kernel_, family, Forget::AllOthers, present(plan, family)));
    stats += done;
  }
  return stats;
}

Result<plan::ApplyStats> NftablesMode::forget_departed(const plan::PlanDelta& delta) {
  plan::ApplyStats stats;
  for (const auto& [family, renderer] : renderers_) {
    const std::set<std::uint32_t> tokens = departed(delta, family);
    if (tokens.empty()) continue;
    FAIRLEAD_TRY(done, forget(*kernel_, family, Forget::These, tokens));
    stats += done;
  }
  return stats;
}

Result<plan::ApplyStats> NftablesMode::apply(const plan::Plan& plan, const plan::PlanDelta& delta) {
  if (!in_step_ || !delta.nodes_changed.empty()) return apply_full(plan);
  in_step_ = false;
  std::vector<std::vector<std::vector<Operation>>> families;
  std::size_t steps = 0;
  for (auto& [family, renderer] : renderers_) {
    steps = std::max(steps, families.emplace_back(renderer.delta(delta)).size());
  }
  plan::ApplyStats stats;
  for (std::size_t step = 0; step < steps; ++step) {
    auto transaction = kernel_->begin();
    for (auto& of_family : families) {
      if (step >= of_family.size()) continue;
      for (Operation& operation : of_family[step]) transaction->add(std::move(operation));
    }
    CommitResult done = kernel_->commit(std::move(transaction));
    if (!done) return in_words(done.error(), plan);
    stats += *done;
  }
  FAIRLEAD_TRY(forgotten, forget_departed(delta));
  in_step_ = true;
  return stats += forgotten;
}

Result<std::vector<std::string>> NftablesMode::verify(const plan::Plan& plan, std::size_t limit) {
  std::vector<std::string> differences;
  for (const auto& [family, node] : plan.nodes) {
    if (differences.size() >= limit) break;
    const std::size_t left = limit - differences.size();
    FAIRLEAD_TRY(found, in_step_ ? audit(*kernel_, renderers_.at(family), plan, left)
                                 : audit_of_another(*kernel_, family, plan, left));
    std::ranges::move(found, std::back_inserter(differences));
  }
  return differences;
}

Result<void> NftablesMode::cleanup() {
  in_step_ = false;
  renderers_.clear();
  for (const IpFamily family : kFamilies) FAIRLEAD_CHECK(remove_table(family));
  return {};
}

}  // namespace fairlead::nftables
