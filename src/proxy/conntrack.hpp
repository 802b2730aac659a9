// Stale UDP flows: a datagram follows its conntrack entry for as long as there are datagrams, so
// entries that lead to endpoints which are gone must be deleted (spec/kube-proxy 8.2).
//
// is_stale() is the pure decision; clean_flows() walks the kernel's table of one family once and
// deletes by it, on the worker thread. TCP and SCTP entries are left alone: their peers notice.
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

// What to look for, of both families. Built from reviews; later ones replace earlier ones.
class StaleFlows {
 public:
  // `node_addresses`: where node ports are (a flow from here to port 30053 of some other host is
  // not ours).
  explicit StaleFlows(std::vector<IpAddress> node_addresses = {});
  void add(const plan::FlowReview& review);
  bool is_stale(const Flow& flow) const;
  bool concerns(IpFamily family) const;
  bool empty() const { return by_address_.empty() && by_node_port_.empty(); }

 private:
  struct NodePort {
    IpFamily family = IpFamily::V4;
    Port port{};
    auto operator<=>(const NodePort&) const = default;
  };
  bool is_node_address(const IpAddress& address) const;

  std::map<SocketAddress, plan::ServingSet> by_address_;
  std::map<NodePort, plan::ServingSet> by_node_port_;
  std::set<IpAddress> node_addresses_;
};

struct FlowStats {
  std::uint64_t seen = 0;
  std::uint64_t deleted = 0;
};

// Blocks. Needs CAP_NET_ADMIN.
Result<FlowStats> clean_flows(const StaleFlows& stale);

}  // namespace fairlead::proxy
