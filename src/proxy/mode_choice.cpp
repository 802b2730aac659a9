#include "proxy/mode_choice.hpp"

#include <array>

#include "proxy/modes/iptables/iptables_mode.hpp"
#include "proxy/node_proxy.hpp"

namespace fairlead::proxy {
namespace {

Result<void> open_and_close(Config config, std::string_view mode) {
  config.mode = mode;
  FAIRLEAD_TRY(opened, make_mode(config));
  return {};
}

// The tools are there on many machines whose kernel can't follow them.
Result<void> attempt_iptables() {
  FAIRLEAD_TRY(variant, iptables::detect_variant());
  FAIRLEAD_TRY(tools, iptables::open_tools(variant));
  return iptables::attempt(*tools);
}

}  // namespace

Result<ModeChoice> first_possible(std::span<const ModeCandidate> candidates) {
  std::string refusals;
  for (const ModeCandidate& candidate : candidates) {
    const auto done = candidate.attempt();
    if (done) {
      return ModeChoice{.name = std::string(candidate.name),
                        .reason = std::string(candidate.merit) +
                                  (refusals.empty() ? "" : "; better ones: " + refusals)};
    }
    if (done.error().code == ErrorCode::Forbidden) return done.error();
    refusals +=
        fmt::format("{}{}: {}", refusals.empty() ? "" : "; ", candidate.name, done.error().message);
  }
  return make_error(ErrorCode::Unsupported, "no proxy mode works here: {}", refusals);
}

Result<ModeChoice> choose_mode(const Config& config) {
  if (config.mode != "auto") {
    FAIRLEAD_TRY(name, effective_mode(config));
    return ModeChoice{.name = std::move(name), .reason = "configured"};
  }
  const std::array<ModeCandidate, 4> candidates = {{
      {.name = "nftables",
       .merit = "a change costs what changed, at any size of the cluster",
       .attempt = [&] { return open_and_close(config, "nftables"); }},
      {.name = "iptables",
       .merit = "connections cost the same at any size of the cluster",
       .attempt = attempt_iptables},
      {.name = "ipvs",
       .merit = "the kernel balances",
       .attempt = [&] { return open_and_close(config, "ipvs"); }},
      {.name = "userspace",
       .merit = "it needs the least of the kernel",
       .attempt = [&] { return open_and_close(config, "userspace"); }},
  }};
  return first_possible(candidates);
}

}  // namespace fairlead::proxy
