// The lab's network: anonymous namespaces joined by veth pairs, wired as Layout says.
//
//   router ── bridge lan ─┬─ node1 ── one veth a pod (routed, no bridge: every packet between pods
//                         ├─ node2    passes the node's own tables, also between pods of one node)
//                         └─ client   (outside: routes external addresses to all nodes in turn)
//
// Owned by the supervisor; loop thread only (namespaces are entered on short-lived threads).
// Everything dies with the last descriptor and process; nothing has a name outside. Never touches
// the namespace it was created from.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "io/netns.hpp"
#include "lab/layout.hpp"
#include "lab/rtnetlink.hpp"

namespace fairlead::lab {

class NodeNetwork {
 public:
  static Result<NodeNetwork> create(const NodeLayout& layout);

  const io::NetNamespace& space() const { return space_; }

  // A namespace with loopback and eth0 wired to this node; `veth` names the node's end.
  Result<io::NetNamespace> add_pod(const std::string& veth, const DualAddress& address);
  Result<void> remove_pod(const std::string& veth);

 private:
  friend class Network;
  NodeNetwork(NodeLayout layout, io::NetNamespace space, RouteSocket routes)
      : layout_(std::move(layout)), space_(std::move(space)), routes_(std::move(routes)) {}
  Result<void> route_to(const DualPrefix& destination, const DualAddress& via);

  NodeLayout layout_;
  io::NetNamespace space_;
  RouteSocket routes_;
};

class Network {
 public:
  static Result<Network> create(const Layout& layout);

  const io::NetNamespace& router() const { return router_; }
  const io::NetNamespace& client() const { return client_; }
  std::vector<NodeNetwork>& nodes() { return nodes_; }  // in the layout's order
  const std::vector<NodeNetwork>& nodes() const { return nodes_; }

 private:
  Network(io::NetNamespace router, io::NetNamespace client, std::vector<NodeNetwork> nodes)
      : router_(std::move(router)), client_(std::move(client)), nodes_(std::move(nodes)) {}

  io::NetNamespace router_, client_;
  std::vector<NodeNetwork> nodes_;
};

}  // namespace fairlead::lab
