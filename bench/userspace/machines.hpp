// Three machines in network namespaces, client - node - server, and the processes on them: an echo
// server, and on the node a forwarder or another, or nothing but routing.
//
//   client 10.1.0.2-17 - 10.1.0.1 node 10.2.0.1 - 10.2.0.2-5 server
//
// Everything is anonymous and gone with the Machines. Thread rule: one thread.
#pragma once

#include <memory>
#include <string>

#include "base/ip.hpp"
#include "io/netns.hpp"
#include "io/process.hpp"

namespace fairlead::bench {

// Several of each, so that ports do not run out.
inline constexpr unsigned kClientAddresses = 16;
inline constexpr unsigned kServerAddresses = 4;
inline constexpr Port kServicePort{80};

// What the server does at its ports; a forwarder passes its own ports of the same offset on.
struct ServerPorts {
  Port echo{7001};    // sends back what it gets, TCP and UDP
  Port source{7002};  // sends until the client has enough
  Port sink{7003};    // reads
  Port once{7004};    // one request, one answer, end
};
inline constexpr ServerPorts kPorts;

struct Machines {
  io::NetNamespace client, node, server;
  io::Child server_process;
  static Result<Machines> create();
};

IpAddress client_address(unsigned n);  // of kClientAddresses
IpAddress node_address();
IpAddress server_address(unsigned n);  // of kServerAddresses
// Where the service is, for clients of our forwarder.
IpAddress service_address();

// A process of the node that forwards to the server.
struct Subject {
  std::string name;
  IpAddress address;  // clients ask there; ports are kPorts
  std::optional<io::Child> process;
};
struct FairleadConfig {
  unsigned threads = 1;
  bool by_addresses = false;  // the way in without rules, as every other forwarder has it
};
Result<Subject> start_fairlead(const Machines& machines, const FairleadConfig& config);
struct HaproxySize {
  unsigned threads = 1;
  int connections = 0;  // as many as it is to have at once
};
// NotFound: there is none on this machine.
Result<Subject> start_haproxy(const Machines& machines, const HaproxySize& size,
                              const std::string& folder);
Subject direct();

// What the children of this program run; they end with their standard input.
int be_server();
int be_fairlead(const FairleadConfig& config);

// Resident memory of a process, bytes.
Result<double> resident_bytes(pid_t process);

}  // namespace fairlead::bench
