// Who has which address in a lab; pure. One flat LAN joins the nodes, the outside client and the
// router (where the API server listens); every node owns a slice of the pod addresses.
#pragma once

#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/ip.hpp"

namespace fairlead::lab {

// An address of each family, as every interface of the lab has.
struct DualAddress {
  IpAddress v4, v6;
  bool operator==(const DualAddress&) const = default;
};
struct DualPrefix {
  IpPrefix v4, v6;
  bool operator==(const DualPrefix&) const = default;
};

struct NodeLayout {
  std::string name;  // "node1"
  DualAddress address;
  DualPrefix pods;
  DualAddress gateway;  // the node's address towards its pods
  bool operator==(const NodeLayout&) const = default;
};

struct Layout {
  DualPrefix lan, all_pods, services;
  DualPrefix balancers;  // external addresses: the client routes them to the nodes
  DualAddress router, client;
  std::vector<NodeLayout> nodes;
};

inline constexpr unsigned kMaxNodes = 89;  // .11 to .99; the client is .100
// Invalid unless 1 <= nodes <= kMaxNodes.
Result<Layout> lay_out(unsigned nodes);

}  // namespace fairlead::lab
