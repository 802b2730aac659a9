// Whose address endpoints see where the client's is to be kept (--userspace-transparent): the
// client's own, where the plan does not masquerade and the answers pass this node.
//
// Thread rule: any thread; answers_pass_here() asks the routes of the calling thread's network
// namespace, a few system calls.
#pragma once

#include "proxy/modes/userspace/locality.hpp"
#include "proxy/plan/plan.hpp"

namespace fairlead::userspace {

// What one frontend says of its clients' addresses.
struct SourceRule {
  plan::Masquerade masquerade = plan::Masquerade::Always;
  bool cluster_ip = false;
  bool short_circuit = false;
  auto operator<=>(const SourceRule&) const = default;
};
SourceRule source_rule(const plan::Frontend& frontend);

// Of the clients of one family.
class SourcePolicy {
 public:
  explicit SourcePolicy(const plan::NodePlan& node)
      : locality_(node.detector),
        detects_(node.detector.implemented()),
        masquerade_all_(node.masquerade_all) {}
  // Whether the plan leaves a client's address on what it sends to such a frontend.
  bool keeps(const SourceRule& rule, const IpAddress& client) const;

 private:
  Locality locality_;
  bool detects_ = false;
  bool masquerade_all_ = false;
};

// Whether what an endpoint sends to a client comes by here: the two are behind different interfaces
// of this node. Of two behind the same one, say pods of one bridge, the endpoint may answer without
// us.
bool answers_pass_here(const IpAddress& client, const IpAddress& endpoint);

// Makes a socket speak as `client`, before it connects. Needs CAP_NET_ADMIN (ip(7),
// IP_TRANSPARENT).
Result<void> speak_as(int socket, const IpAddress& client);

}  // namespace fairlead::userspace
