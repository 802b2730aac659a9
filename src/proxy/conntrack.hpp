// Stale UDP flows: a datagram follows its conntrack entry for as long as there are datagrams, so
// entries that lead to endpoints which are gone must be deleted (spec/kube-proxy 8.2).
//
// StaleFlows is the pure decision; clean_flows() (conntrack_kernel.cpp) walks the kernel's table of
// one family once and deletes by it, on the worker thread. The kernel is asked for nothing but
// candidates, so what the walk costs us follows what changed. TCP and SCTP entries are left alone:
// their peers notice.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <vector>

#include "base/error.hpp"
#include "proxy/plan/compile.hpp"

namespace fairlead::proxy {

// One UDP entry of the conntrack table.
struct Flow {
  SocketAddress source, destination;  // as the client sent it
  SocketAddress reply_source;         // who answers: the endpoint, if the flow was translated
  bool operator==(const Flow&) const = default;
};

// What every flow looked for has in common; nothing of either: all UDP flows of the family.
struct FlowFilter {
  std::optional<IpAddress> destination;
  std::optional<Port> port;
  bool operator==(const FlowFilter&) const = default;
};

// What to look for, of both families. Built from reviews of different service ports, in any order.
class StaleFlows {
 public:
  // `node_addresses`: where node ports are (a flow from here to port 30053 of some other host is
  // not ours).
  explicit StaleFlows(std::vector<IpAddress> node_addresses = {});
  // `own`: ports of the node at which the mode itself takes flows of that service port.
  void add(const plan::FlowReview& review, std::vector<Port> own = {});
  bool is_stale(const Flow& flow) const;
  bool concerns(IpFamily family) const;
  FlowFilter filter(IpFamily family) const;

 private:
  struct NodePort {
    IpFamily family = IpFamily::V4;
    Port port{};
    auto operator<=>(const NodePort&) const = default;
  };
  // Where flows to a place may lead.
  struct Targets {
    plan::ServingSet endpoints;
    std::vector<Port> own;
  };
  void add(IpFamily family, const plan::Frontend& frontend, const Targets* targets);
  bool leads_nowhere(const Flow& flow, const Targets& targets) const;
  bool is_node_address(const IpAddress& address) const;

  std::map<SocketAddress, Targets> by_address_;
  std::map<NodePort, Targets> by_node_port_;
  std::set<IpAddress> node_addresses_;
};

// `later` follows `earlier`, of the same service port, and neither has been acted on.
plan::FlowReview merged(const plan::FlowReview& earlier, plan::FlowReview later);

struct FlowStats {
  std::uint64_t seen = 0;  // candidates the kernel told of
  std::uint64_t deleted = 0;
  bool operator==(const FlowStats&) const = default;
};

// In the calling thread's network namespace. Blocks. Needs CAP_NET_ADMIN.
Result<FlowStats> clean_flows(const StaleFlows& stale, IpFamily family);

}  // namespace fairlead::proxy
