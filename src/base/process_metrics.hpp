// What Prometheus' client libraries tell of any process (process_*), and of its build. Reads /proc.
#pragma once

#include "base/clock.hpp"
#include "base/metrics.hpp"

namespace fairlead::metrics {

// What does not change: the build, as Kubernetes' programs tell of it, and the start.
void describe_process(Registry& registry, WallTime started);

// Brings the rest of process_* up to date.
void report_process(Registry& registry);

}  // namespace fairlead::metrics
