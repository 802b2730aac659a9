// The server the examples run in their pods: says who answered and who asked.
//
// TCP: every line sent is answered with "NAME PEER-ADDRESS\n"; a line that begins an HTTP request
// is answered as HTTP (GET / says the same, GET /healthz says ok). UDP: every datagram is answered
// with that line. On the first SIGTERM it goes on serving for `linger`, so that clients which still
// find it are served while it disappears from the endpoints; /healthz says 503 meanwhile.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/ip.hpp"

namespace fairlead::lab {

struct EchoConfig {
  std::string name;
  std::vector<Port> tcp, udp;  // on all addresses of both families
  std::chrono::nanoseconds linger{0};
};

// Until SIGTERM or SIGINT.
Result<void> run_echo(const EchoConfig& config);

}  // namespace fairlead::lab
