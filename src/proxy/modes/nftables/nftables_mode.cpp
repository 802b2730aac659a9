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

// Empties an existing table so that it can be filled anew in the same transaction. What the kernel
// has learnt stays, and so do the sets and chains themselves: a packet on its way through the old
// rules would find new ones of the same name empty.
void empty(const TableListing& listing, IpFamily family, OperationSink& out) {
  out.add({family, FlushRules{}});
  for (const std::string& name : listing.sets) {
    const auto known = set_named(name);
    if (!known) {
      out.add({family, DeleteSet{.name = name}});
    } else if (!schema(*known).learnt) {
      out.add({family, FlushElements{.set = *known}});
    }
  }
}

class Nowhere final : public OperationSink {
 public:
  void add(Operation) override {}
};

// Renderers that describe the plan, without anything done about it.
std::map<IpFamily, Renderer> rendered(const plan::Plan& plan) {
  std::map<IpFamily, Renderer> out;
  Nowhere nowhere;
  for (const auto& [family, node] : plan.nodes)
    out.emplace(family, Renderer(family)).first->second.full(plan, nowhere);
  return out;
}

void delete_chains_except(const std::set<std::string>& kept, const TableListing& listing,
                          IpFamily family, OperationSink& out) {
  for (const std::string& name : listing.chains) {
    if (!kept.contains(name)) out.add({family, DeleteChain{.name = name}});
  }
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
        empty(**listing, family, *transaction);
      } else {
        transaction->add({family, DeleteTable{}});
      }
    }
    if (!wanted) continue;
    Renderer& renderer = renderers_.emplace(family, Renderer(family)).first->second;
    renderer.full(plan, *transaction);
    if (listing->has_value() && keep == KeepAffinity::Yes)
      delete_chains_except(renderer.chain_names(), **listing, family, *transaction);
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
  std::map<IpFamily, Renderer> fresh;
  if (!in_step_) fresh = rendered(plan);
  std::vector<std::string> differences;
  for (auto& [family, renderer] : in_step_ ? renderers_ : fresh) {
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
