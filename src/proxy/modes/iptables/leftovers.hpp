// What kube-proxy's modes, and ours, leave in iptables when another mode takes over: chains by
// their names, and the rules in built-in chains that lead to them, by kube-proxy's comments. A
// chain to which anybody else's rule leads is emptied and stays, as must everything that kubelet
// may own (spec/kube-proxy 1.8, 4.2, 5).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/modes/iptables/saved_rules.hpp"
#include "proxy/modes/iptables/tools.hpp"

namespace fairlead::iptables {

// The mode whose chains are not left over but in use.
enum class InUse : std::uint8_t { Nothing, Iptables, Ipvs };

// Takes away what `saved` has too much; empty text: nothing. Pure.
RestoreText removal(const SavedRules& saved, InUse in_use);

// Removes it from the calling thread's network namespace, in all variants that are installed; what
// is in use is so in `variant` only. Names what it removed something from: "iptables-legacy IPv4".
Result<std::vector<std::string>> remove_leftovers(InUse in_use, std::optional<Variant> variant);

}  // namespace fairlead::iptables
