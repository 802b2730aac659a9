// What the containers of one pod share: a network namespace wired to the node and a host name.
// Owned by the pod's worker; tear_down() ends every process in it, whoever started it, and frees
// the address. Loop thread only.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "io/fd.hpp"
#include "lab/address_pool.hpp"
#include "lab/network.hpp"

namespace fairlead::lab {

class Sandbox {
 public:
  struct Config {
    NodeNetwork* network = nullptr;  // both outlive the sandbox
    AddressPool* addresses = nullptr;
    const NodeLayout* layout = nullptr;
    std::string hostname;
    bool host_network = false;  // the node's own namespace and address
  };
  // Exhausted: the node has no free address.
  static Result<Sandbox> create(const Config& config);

  const DualAddress& address() const { return address_; }
  // For setns(): network and host name.
  std::vector<int> namespaces() const;
  Result<void> tear_down();

 private:
  Sandbox(Config config, DualAddress address, io::UniqueFd hostname)
      : config_(std::move(config)), address_(address), hostname_(std::move(hostname)) {}

  Config config_;
  DualAddress address_;
  io::UniqueFd hostname_;
  unsigned number_ = 0;                  // of the address; 0 on the host's network
  std::optional<io::NetNamespace> own_;  // absent on the host's network
};

}  // namespace fairlead::lab
