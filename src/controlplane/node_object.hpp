// The Node object of a node that we run: made or brought up to date, and said to be ready.
#pragma once

#include <string>
#include <vector>

#include "base/clock.hpp"
#include "client/api_client.hpp"
#include "kube/objects.hpp"

namespace fairlead::controlplane {

struct NodeFacts {
  std::string name;
  std::vector<IpAddress> addresses;
  std::vector<IpPrefix> pod_cidrs;
  kube::StringMap labels;
  std::string version;  // as kubectl get nodes shows it
};

// Pure: a merge patch for nodes/NAME/status.
std::string node_status_patch(const NodeFacts& facts, WallTime now);

io::Task<Result<void>> register_node(client::ApiClient* client, NodeFacts facts, WallTime now);

}  // namespace fairlead::controlplane
