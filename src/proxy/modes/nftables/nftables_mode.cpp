#include "proxy/modes/nftables/nftables_mode.hpp"

#include <algorithm>

#include "proxy/modes/nftables/affinity.hpp"
#include "proxy/modes/nftables/audit.hpp"
#include "proxy/modes/nftables/netlink_kernel.hpp"

namespace fairlead::nftables {
namespace {

constexpr std::array kFamilies = {IpFamily::V4, IpFamily::V6};

bool starts_with(const Key& key, const Key& prefix) {
  return key.bytes().size() >= prefix.bytes().size() &&
         std::ranges::equal(key.bytes().first(prefix.bytes().size()), prefix.bytes());
}

// The service port whose frontend the element belongs to.
std::string owner_of(const Element& element, IpFamily family, const plan::Plan& plan) {
  for (const auto& [key, service] : plan.services) {
    if (key.family != family) continue;
    for (const plan::Frontend& frontend : service->frontends) {
      Key prefix;
      if (frontend.kind != plan::FrontendKind::NodePort) prefix.address(frontend.address);
      if (schema(element.set).key.size() > 1)
        prefix.protocol(key.service_port.protocol).port(frontend.port);
      if (starts_with(element.key, prefix)) return key.service_port.to_string();
    }
  }
  return "";
}

Error in_words(const CommitError& failure, const plan::Plan& plan) {
  if (!failure.element) return failure.error;
  const std::string owner = owner_of(*failure.element, failure.family, plan);
  return owner.empty() ? failure.error : failure.error.with_context("service " + owner);
}

// Takes an existing table apart so that it can be built anew in the same transaction, except for
// what the kernel has learnt.
void dismantle(const TableListing& listing, IpFamily family, OperationSink& out) {
  out.add({family, FlushRules{}});
  for (const std::string& set : listing.sets) {
    const auto known = set_named(set);
    if (known && schema(*known).learnt) continue;
    out.add({family, DeleteSet{.name = set}});
  }
  for (const std::string& chain : listing.chains) out.add({family, DeleteChain{.name = chain}});
}

}  // namespace

Result<std::unique_ptr<plan::Mode>> create(const Config&) {
  FAIRLEAD_TRY(kernel, NetlinkKernel::create());
  return std::unique_ptr<plan::Mode>(std::make_unique<NftablesMode>(std::move(kernel)));
}

CommitResult NftablesMode::replace(const plan::Plan& plan, KeepAffinity keep) {
  const auto fail = [](Error error) {
    return tl::unexpected(CommitError{.error = std::move(error)});
  };
  auto transaction = kernel_->begin();
  renderers_.clear();
  for (const IpFamily family : kFamilies) {
    const auto listing = kernel_->list(family);
    if (!listing) return fail(listing.error());
    const bool wanted = plan.nodes.contains(family);
    if (listing->has_value()) {
      if (wanted && keep == KeepAffinity::Yes) {
        dismantle(**listing, family, *transaction);
      } else {
        transaction->add({family, DeleteTable{}});
      }
    }
    if (!wanted) continue;
    renderers_.emplace(family, Renderer(family)).first->second.full(plan, *transaction);
  }
  return kernel_->commit(std::move(transaction));
}

Result<plan::ApplyStats> NftablesMode::apply_full(const plan::Plan& plan) {
  in_step_ = false;
  CommitResult done = replace(plan, KeepAffinity::Yes);
  // A table another version left, or an old kernel that calls a chain busy which the same
  // transaction has freed: then all goes at once, and clients are balanced anew.
  if (!done && done.error().error.code != ErrorCode::Forbidden)
    done = replace(plan, KeepAffinity::No);
  if (!done) return in_words(done.error(), plan);
  FAIRLEAD_TRY(forgotten, forget_unknown(plan));
  in_step_ = true;
  return *done += forgotten;
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
  auto transaction = kernel_->begin();
  bool anything = false;
  for (auto& [family, renderer] : renderers_) {
    for (Operation& operation : renderer.delta(delta)) {
      transaction->add(std::move(operation));
      anything = true;
    }
  }
  plan::ApplyStats stats;
  if (anything) {
    CommitResult done = kernel_->commit(std::move(transaction));
    if (!done) return in_words(done.error(), plan);
    stats = *done;
  }
  FAIRLEAD_TRY(forgotten, forget_departed(delta));
  in_step_ = true;
  return stats += forgotten;
}

Result<std::vector<std::string>> NftablesMode::verify(const plan::Plan& plan, std::size_t limit) {
  if (!in_step_) return std::vector<std::string>{"nothing was applied, or the last change failed"};
  std::vector<std::string> differences;
  for (const auto& [family, renderer] : renderers_) {
    if (differences.size() >= limit) break;
    FAIRLEAD_TRY(found, audit(*kernel_, renderer, plan, limit - differences.size()));
    std::ranges::move(found, std::back_inserter(differences));
  }
  return differences;
}

Result<void> NftablesMode::cleanup() {
  in_step_ = false;
  renderers_.clear();
  auto transaction = kernel_->begin();
  bool anything = false;
  for (const IpFamily family : kFamilies) {
    FAIRLEAD_TRY(listing, kernel_->list(family));
    if (!listing) continue;
    transaction->add({family, DeleteTable{}});
    anything = true;
  }
  if (!anything) return {};
  if (auto done = kernel_->commit(std::move(transaction)); !done) return done.error().error;
  return {};
}

}  // namespace fairlead::nftables
