// Echo servers in many network namespaces on one thread. On accept, and for each datagram, a server
// says who it is and whom it sees: "pod1:8080 10.0.1.1\n". Later lines of a TCP connection come
// back as they are. Sockets are made by the caller, inside the namespace they are to serve.
// Owner: the Rig. Thread rule: listen() before or while serving, from one thread.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "base/error.hpp"
#include "base/ip.hpp"
#include "io/fd.hpp"

namespace fairlead::packets {

class EchoServers {
 public:
  static Result<std::unique_ptr<EchoServers>> start();
  ~EchoServers();
  EchoServers(const EchoServers&) = delete;
  EchoServers& operator=(const EchoServers&) = delete;

  // Serves TCP and UDP on every address of the calling thread's namespace.
  Result<void> listen(const std::string& name, Port port);

 private:
  class Loop;
  explicit EchoServers(std::unique_ptr<Loop> loop);
  std::unique_ptr<Loop> loop_;
  std::thread thread_;
};

}  // namespace fairlead::packets
