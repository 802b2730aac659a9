// A cluster of any size as the lines of a watch: services of one TCP port each, their endpoints in
// one slice, spread over a hundred nodes of three zones. Every call gives the same text for the
// same numbers. Not here: how fast anything is (proxy_under_test.hpp).
#pragma once

#include <optional>
#include <string>

#include "proxy/plan/compile.hpp"

namespace fairlead::bench {

struct ClusterSize {
  int services = 0;
  int endpoints = 0;  // of each service
};

enum class Change : std::uint8_t { Added, Modified, Deleted };

std::string service_line(Change change, int service);
// `without` leaves one endpoint of the slice out.
std::string slice_line(Change change, int service, int endpoints,
                       std::optional<int> without = std::nullopt);

// The first of the nodes, both families programmed.
plan::NodeContext first_node();

}  // namespace fairlead::bench
