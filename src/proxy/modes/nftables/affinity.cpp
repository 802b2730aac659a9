#include "proxy/modes/nftables/affinity.hpp"

#include "proxy/modes/nftables/render.hpp"

namespace fairlead::nftables {
std::set<std::uint32_t> departed(const plan::PlanDelta& delta, IpFamily family) {
  std::set<std::uint32_t> out;
  for (const plan::ServiceChange& change : delta.services) {
    if (!change.before || change.before->key.family != family) continue;
    out.merge(affinity_tokens(*change.before));
    if (!change.after) continue;
    for (const std::uint32_t token : affinity_tokens(*change.after)) out.erase(token);
  }
  return out;
}

std::set<std::uint32_t> present(const plan::Plan& plan, IpFamily family) {
  std::set<std::uint32_t> out;
  for (const auto& [key, service] : plan.services) {
    if (key.family == family) out.merge(affinity_tokens(*service));
  }
  return out;
}

Result<plan::ApplyStats> forget(Kernel& kernel, IpFamily family, Forget which,
                                const std::set<std::uint32_t>& tokens) {
  // A pair that times out between the listing and the commit makes the commit fail: then it is
  // listed again.
  constexpr int kAttempts = 5;
  for (int attempt = 1;; ++attempt) {
    auto transaction = kernel.begin();
    bool anything = false;
    FAIRLEAD_CHECK(kernel.list_elements(family, SetId::Affinity, [&](Element pair) {
      if (tokens.contains(pair.key.last_number()) != (which == Forget::These)) return;
      transaction->add({family, DeleteElement{std::move(pair)}});
      anything = true;
    }));
    if (!anything) return plan::ApplyStats{};
    CommitResult done = kernel.commit(std::move(transaction));
    if (done) return *done;
    if (done.error().error.code != ErrorCode::NotFound || attempt == kAttempts)
      return done.error().error.with_context("forget the clients of departed endpoints");
  }
}

}  // namespace fairlead::nftables
