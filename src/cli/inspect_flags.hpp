// The flags that `fairlead explain`, `render` and `verify` share: where the cluster's objects come
// from, which node is meant, and those of fairlead-proxy's flags that decide about packets, with
// the same names, values and errors. Errors name the flag and the value.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "inspect/node_view.hpp"

namespace CLI {
class App;
}

namespace fairlead::cli {

struct InspectFlags {
  std::vector<std::string> files;
  std::string kubeconfig;
  std::string node;
  std::vector<std::string> node_addresses;
  std::string mode;
  std::vector<std::string> proxy_words;  // for the proxy's own parser
  std::string masquerade_all, localhost_node_ports;
};

// `flags` must outlive the parsing of `app`.
void describe(CLI::App& app, InspectFlags& flags);

enum class Machine : bool { Any, This };

// The proxy's configuration that the flags mean; what it has to say about them goes to stderr.
Result<proxy::Config> proxy_config(const InspectFlags& flags);

// Reads the objects (blocking) and makes of them what the node makes. Machine::This: of this
// machine's interfaces and families, whatever the node is called.
Result<std::unique_ptr<inspect::NodeView>> node_view(const InspectFlags& flags,
                                                     const proxy::Config& config, Machine machine);

}  // namespace fairlead::cli
