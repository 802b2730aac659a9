// What Prometheus' client libraries tell of any process (process_*), and of its build. Reads /proc.
#pragma once

#include <string>

#include "base/metrics.hpp"

namespace fairlead::proxy {

// Brings process_* in `registry` up to date.
void report_process(metrics::Registry& registry);

std::string build_platform();  // as Go names it: "linux/amd64"

}  // namespace fairlead::proxy
