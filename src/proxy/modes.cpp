// Which mode a configuration means, made in the calling thread's network namespace.
#include "proxy/modes/nftables/nftables_mode.hpp"
#include "proxy/node_proxy.hpp"

namespace fairlead::proxy {

Result<std::unique_ptr<plan::Mode>> make_mode(const Config& config) {
  FAIRLEAD_TRY(name, effective_mode(config));
  auto mode = nftables::create({});
  if (!mode) return mode.error().with_context(fmt::format("open proxy mode {}", name));
  return mode;
}

}  // namespace fairlead::proxy
