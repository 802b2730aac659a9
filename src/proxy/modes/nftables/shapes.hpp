// Chains of the ruleset: the fixed ones that every packet's first look goes through, and one per
// *shape*. A shape is everything about a frontend that a rule must know and an element cannot say:
// how many backends to choose from, who is masqueraded, short cuts, stickiness. Ten thousand
// services of ten endpoints share one chain.
//
// A chain's name spells its shape, so equal shapes meet by name and `nft list ruleset` explains
// itself. Pure; thread rule: values.
#pragma once

#include <compare>
#include <optional>
#include <string>
#include <vector>

#include "proxy/modes/nftables/ruleset.hpp"
#include "proxy/plan/plan.hpp"

namespace fairlead::nftables {

// Numbers of the slots of the two pools start here.
inline constexpr std::uint32_t kClusterSlots = kNumberBase;
inline constexpr std::uint32_t kLocalSlots = kNumberBase + (1U << 16U);

// Choosing one of `size` backends.
struct Pick {
  bool node_port = false;  // which sets to look into: by frontend address or by node port
  bool local = false;      // which pool
  std::uint32_t size = 0;
  std::chrono::seconds sticky{0};  // 0: no affinity
  auto operator<=>(const Pick&) const = default;
  std::string chain_name() const;
  // Chains shared by all sticky picks of one timeout: is the client learnt with this slot, and
  // learn it with this slot.
  std::string known_chain_name() const;
  std::string learn_chain_name() const;
};

// What happens to a frontend's new connections, before the choice.
struct Shape {
  plan::Masquerade masquerade = plan::Masquerade::Never;
  std::optional<Pick> general;        // clients in general; none: only the short cuts lead anywhere
  std::optional<Pick> short_circuit;  // this node's pods and this node itself
  auto operator<=>(const Shape&) const = default;

  bool is_plain_pick() const {
    return masquerade == plan::Masquerade::Never && general && !short_circuit;
  }
  std::string chain_name() const;
  // Chains the frontend's traffic may run through, what is led to before what leads there. The last
  // is the shape's own, where it begins.
  std::vector<std::string> chain_names() const;
};

// The chains behind chain_names(), same order.
std::vector<Chain> chains_of(const Shape& shape, const plan::NodePlan& node);

// Base chains and the chains they jump to, targets first.
std::vector<Chain> fixed_chains(const plan::NodePlan& node, IpFamily family);

inline constexpr std::string_view kRejectChain = "reject-now";

}  // namespace fairlead::nftables
