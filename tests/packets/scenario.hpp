// Scenario files (tests/packets/scenarios/*.yaml) as values. A scenario is a node's configuration
// and a list of steps; a step changes objects and then says what becomes of packets:
//
//   about: what is shown, and where it is specified
//   config: {clusterCIDR: "${cluster_cidr}"}       # KubeProxyConfiguration of node1
//   serviceCIDRs: ["${service_cidr}"]              # known service ranges; default none
//   addresses: ["${balancer1}"]                    # bound on node1's loopback interface as well
//   steps:
//   - name: what happened
//     apply: [...]                                 # Kubernetes objects
//     delete: [Service/web, EndpointSlice/web-1]
//     tamper: {nftables: [nft, flush, ruleset]}    # a command in node1, for each mode
//     idle: 1500                                   # milliseconds without packets
//     rules: {nftables: [...]}                     # texts that the kernel's listing holds
//     send:
//     - {from: pod1, to: "${vip1}", port: 80, expect: [pod2, "pod4:8081"], source: client}
//     - {from: pod1, to: "${vip1}", port: 81, expect: refused}
//
// `expect` is the whole set of backends that may answer (port 8080 if none is given), or one of
//   refused   rejected by the rules, at once
//   dropped   silence
//   leaked    not the node's business: goes where the routes say, here to `internet`
//   closed    not the node's business: an address of node1, where nothing listens
// SCTP is only explained, not sent: kernels seldom have its sockets.
// `source` is whom the backend sees, client or node, if need be for each backend.
// More keys of a send: proto (TCP), client (outside's n-th address), count (then every backend must
// be seen), clients (one connection from each of the first n addresses of outside), sticky (all
// answers are from one backend), remember / same_as / differs_from (the list of answers, under a
// name), hold (keep the TCP connection, under a name). A step's `alive` names held connections that
// must still carry data after its changes.
//
// Each scenario runs once for each family: "${name}" is replaced before parsing (rig.hpp). Unknown
// keys are errors. Pure; thread rule: values.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/ip.hpp"

namespace fairlead::packets {

enum class Expect { Backends, Refused, Dropped, Leaked, Closed };

struct Expectation {
  std::string from;
  Protocol protocol = Protocol::Tcp;
  SocketAddress to;
  unsigned client = 0;
  unsigned clients = 1;
  unsigned count = 1;

  Expect expect = Expect::Backends;
  std::map<std::string, bool> backends;  // "pod1:8080" -> masqueraded
  bool sticky = false;
  std::string remember, same_as, differs_from, hold;

  std::string to_string() const;  // "pod1 -> 10.96.0.11:80/TCP"
};

struct ObjectRef {
  std::string kind;
  std::string name;
};

struct Step {
  std::string name;
  std::vector<std::string> apply;  // JSON of one object each
  std::vector<ObjectRef> remove;
  std::map<std::string, std::vector<std::string>> tamper;  // by mode
  std::map<std::string, std::vector<std::string>> rules;   // by mode
  std::chrono::milliseconds idle{0};
  std::vector<std::string> alive;
  std::vector<Expectation> sends;
};

struct Scenario {
  std::string about;
  std::string config;  // of node1, JSON
  std::vector<IpPrefix> service_cidrs;
  std::vector<IpAddress> addresses;
  std::vector<Step> steps;
};

// Errors say where: "steps[1].send[0].expect: ...".
Result<Scenario> parse_scenario(std::string_view yaml);

}  // namespace fairlead::packets
