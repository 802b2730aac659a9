// What the client machine does to a subject, each for a bounded time, and what it saw. Functions
// run in the client's network namespace, on the calling thread.
#pragma once

#include <chrono>
#include <vector>

#include "base/error.hpp"
#include "base/ip.hpp"
#include "io/fd.hpp"

namespace fairlead::bench {

// `connections` at once, bytes read (or written) per second by all of them.
enum class Direction : std::uint8_t { Download, Upload };
Result<double> bulk(const IpAddress& subject, Direction direction, int connections,
                    std::chrono::milliseconds lasts);

// New connections a second, each with one request of 64 bytes, its answer and its end; `at_once`
// of them at any time.
Result<double> new_connections(const IpAddress& subject, int at_once,
                               std::chrono::milliseconds lasts);

// Microseconds from the time a request was due to its answer, for `connections` that were opened
// before and take turns, at `rate` requests a second in all.
Result<std::vector<double>> latencies(const IpAddress& subject, int connections, double rate,
                                      std::chrono::milliseconds lasts);

// Datagrams answered a second, `window` of them on their way at any time for each of `flows`.
Result<double> datagrams(const IpAddress& subject, int flows, int window,
                         std::chrono::milliseconds lasts);

// Connections that are there and do nothing; each has had one request and its answer.
Result<std::vector<io::UniqueFd>> idle(const IpAddress& subject, int connections);

}  // namespace fairlead::bench
