// What a new connection pays for its way through the rules.
#pragma once

#include "base/error.hpp"
#include "proxy/plan/plan.hpp"

namespace fairlead::bench {

struct FirstPackets {
  double first = 0, last = 0;  // microseconds of connect(), medians
};

// In the calling thread's namespace, which has the plan programmed.
Result<FirstPackets> measure_first_packets(const plan::Plan& plan);

}  // namespace fairlead::bench
