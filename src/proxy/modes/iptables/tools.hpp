// The seam between the rules and the kernel: iptables-save and iptables-restore of one variant.
// Both variants program the same hooks, in separate worlds: legacy in x_tables, nft in nf_tables.
//
// Thread rule: one caller at a time, any thread; the network namespace is that of create()'s
// caller. Every call runs a child process and blocks; restores wait up to five seconds for the lock
// that all users of legacy tools share.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/ip.hpp"

namespace fairlead::iptables {

enum class Variant : bool { Legacy, Nft };
std::string_view to_string(Variant variant);  // "legacy", "nft"

class Tools {
 public:
  virtual ~Tools() = default;
  virtual Variant variant() const = 0;
  // All tables in use. NotFound when this machine has no tool for the family.
  virtual Result<std::string> save(IpFamily family) = 0;
  // Adds to what is there (--noflush). An error names the line it is about, where the tool does.
  // Unavailable: another program holds the lock.
  virtual Result<void> restore(IpFamily family, const std::string& text) = 0;
  // The canary chain is in mangle, nat and filter. True when that can't be found out just now.
  virtual Result<bool> has_canary(IpFamily family) = 0;
};

// NotFound when the variant's tools are not installed, Forbidden without CAP_NET_ADMIN.
Result<std::unique_ptr<Tools>> open_tools(Variant variant);

// The variant in which kubelet left its hints, else the one that has rules, else nft; of those
// installed (as the field's iptables-wrappers decide).
Result<Variant> detect_variant();

}  // namespace fairlead::iptables
