// A client that connects again and again and counts who answered: what the demo and the tests look
// at Services with. Speaks the line protocol of lab/echo.hpp; one attempt after the other, each a
// new connection (or, over UDP, a new socket). Blocks its thread.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/ip.hpp"

namespace fairlead::lab {

struct ProbeConfig {
  SocketAddress target;
  Protocol protocol = Protocol::Tcp;
  unsigned count = 1;                                // attempts, unless `duration` or `stop_file`
  std::optional<std::chrono::nanoseconds> duration;  // as many as fit
  std::string stop_file;                             // until this file exists
  std::chrono::nanoseconds interval{0};              // from start to start
  std::chrono::nanoseconds timeout = std::chrono::seconds{2};  // of one attempt
};

struct ProbeFailure {
  std::chrono::milliseconds at{0};  // since the first attempt
  std::string error;
  bool operator==(const ProbeFailure&) const = default;
};

struct ProbeReport {
  std::map<std::string, unsigned> replies;  // by the name that answered
  std::map<std::string, unsigned> sources;  // by our address as the server saw it
  std::vector<ProbeFailure> failures;
  std::vector<std::chrono::microseconds> latencies;  // of the answered ones, in order

  std::size_t answered() const { return latencies.size(); }
  std::size_t attempts() const { return answered() + failures.size(); }
};

ProbeReport run_probe(const ProbeConfig& config);

// Pure.
std::string to_json(const ProbeReport& report);
std::string to_table(const ProbeReport& report);

}  // namespace fairlead::lab
