#include "proxy/modes/userspace/source.hpp"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>

#include "io/sockaddr.hpp"

namespace fairlead::userspace {

SourceRule source_rule(const plan::Frontend& frontend) {
  return {.masquerade = frontend.masquerade,
          .cluster_ip = frontend.kind == plan::FrontendKind::ClusterIp,
          .short_circuit = frontend.short_circuit};
}

// As plan::explain decides.
bool SourcePolicy::keeps(const SourceRule& rule, const IpAddress& client) const {
  if (rule.short_circuit) {
    if (locality_.is_pod(client)) return true;
    if (is_own_address(client)) return false;
  }
  if (masquerade_all_ && rule.cluster_ip) return false;
  switch (rule.masquerade) {
    case plan::Masquerade::Never:
      return true;
    case plan::Masquerade::Always:
      return false;
    case plan::Masquerade::OffCluster:
      return !detects_ || locality_.is_pod(client);
  }
  return false;
}

bool answers_pass_here(const IpAddress& client, const IpAddress& endpoint) {
  const std::string to_client = interface_to(client);
  // The node's own address needs no keeping.
  if (to_client.empty() || to_client == "lo") return false;
  return to_client != interface_to(endpoint);
}

Result<void> speak_as(int socket, const IpAddress& client) {
  const int yes = 1;
  const bool v4 = client.is_v4();
  if (setsockopt(socket, v4 ? SOL_IP : SOL_IPV6, v4 ? IP_TRANSPARENT : IPV6_TRANSPARENT, &yes,
                 sizeof yes) != 0) {
    return errno_error(errno, "let a socket speak as a client");
  }
  setsockopt(socket, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
  const io::KernelAddress address = io::to_kernel({.address = client, .port = Port{0}});
  if (bind(socket, address.get(), address.size) != 0) {
    return errno_error(errno, fmt::format("speak as {}", client));
  }
  return {};
}

}  // namespace fairlead::userspace
