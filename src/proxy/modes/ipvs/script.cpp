#include "proxy/modes/ipvs/script.hpp"

#include "base/error.hpp"

namespace fairlead::ipvs {
namespace {

std::string_view protocol_option(Protocol protocol) {
  switch (protocol) {
    case Protocol::Tcp:
      return "-t";
    case Protocol::Udp:
      return "-u";
    case Protocol::Sctp:
      return "--sctp-service";
  }
  return "-t";
}

// "-t 10.96.0.1:80", "-f 1604321280 -6".
std::string service_option(const ServerKey& key) {
  if (key.mark != 0)
    return fmt::format("-f {}{}", key.mark, key.family == IpFamily::V4 ? "" : " -6");
  return fmt::format("{} {}", protocol_option(key.protocol), SocketAddress{key.address, key.port});
}

std::string scheduling_options(const Scheduling& scheduling) {
  std::string out = fmt::format("-s {}", scheduling.name);
  // ipvsadm knows the flags by the scheduler's name.
  const std::string_view of = scheduling.name == "mh" ? "mh" : "sh";
  std::string flags;
  if ((scheduling.flags & kFallback) != 0) flags += fmt::format("{}-fallback", of);
  if ((scheduling.flags & kHashPort) != 0)
    flags += fmt::format("{}{}-port", flags.empty() ? "" : ",", of);
  if (!flags.empty()) out += " -b " + flags;
  return out;
}

std::string addresses_text(const State& state) {
  if (state.addresses.empty()) return "";
  std::string out = "# ip -batch -\n";
  for (const IpAddress& address : state.addresses)
    out += fmt::format("address add {} dev {}\n", IpPrefix::host(address), kDevice);
  return out;
}

std::string sets_text(const State& state, IpFamily family) {
  std::string out = "# ipset restore\n";
  for (const SetId set : kSets) out += "create " + definition(set, family) + "\n";
  for (const SetEntry& entry : state.entries) out += "add " + to_string(entry) + "\n";
  return out;
}

std::string servers_text(const State& state) {
  std::string out = "# ipvsadm -R\n";
  for (const auto& [key, server] : state.servers) {
    const std::string which = service_option(key);
    out += fmt::format("-A {} {}", which, scheduling_options(server.scheduling));
    if (server.persistence != 0) out += fmt::format(" -p {}", server.persistence);
    out += '\n';
    // The port of a destination counts under a mark as well: the packets are translated.
    for (const auto& [to, weight] : server.destinations) {
      out +=
          fmt::format("-a {} -r {} -m -w {}\n", which, SocketAddress{to.address, to.port}, weight);
    }
  }
  return out;
}

}  // namespace

std::string device_script() {
  return fmt::format("# ip -batch -\nlink add {} type dummy\n", kDevice);
}

std::string to_script(const State& state, const Ruleset& rules, IpFamily family) {
  return addresses_text(state) + sets_text(state, family) + servers_text(state) +
         fmt::format("# {}tables-restore --noflush\n", family == IpFamily::V4 ? "ip" : "ip6") +
         restore_text({}, rules);
}

}  // namespace fairlead::ipvs
