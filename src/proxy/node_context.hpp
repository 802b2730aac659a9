// What compiling needs to know of this node, from configuration, Node object and interface
// addresses: node IPs, primary family, local detector, NodePort addresses
// (spec/kube-proxy 1.4, 1.5, 4.7, 4.8, 6.1). Pure but for interface_addresses() and host_name().
#pragma once

#include <map>
#include <string>
#include <vector>

#include "proxy/config.hpp"
#include "proxy/model/model.hpp"
#include "proxy/plan/compile.hpp"

namespace fairlead::proxy {

struct NodeSettings {
  plan::NodeContext context;
  IpFamily primary = IpFamily::V4;
  std::vector<std::string> warnings;  // what the operator should know about these settings
};

struct HostFacts {
  std::string node_name;
  std::vector<IpFamily> families;              // that the kernel can do
  std::vector<IpAddress> interface_addresses;  // of all interfaces, loopback included
};

// Fails when the settings cannot work at all: cluster CIDR or podCIDRs only of families this host
// lacks.
Result<NodeSettings> node_settings(const Config& config, const HostFacts& host,
                                   const model::Node& node);

// What ServiceCIDRs, by name, say of one family, in order; what is no prefix says nothing.
std::vector<IpPrefix> service_ranges(const std::map<std::string, std::vector<std::string>>& known,
                                     IpFamily family);

// --hostname-override > the file's > the host's name; trimmed, lower case.
Result<std::string> node_name(const Config& config, std::string_view host_name);
Result<std::string> host_name();

Result<std::vector<IpAddress>> interface_addresses();  // of the calling thread's namespace
std::vector<IpFamily> supported_families();            // IPv6 may be off

}  // namespace fairlead::proxy
