// What the health endpoints answer, as pure functions over the sync's state (spec/kube-proxy 9.1,
// 9.2). Cloud load balancers act on these bodies and codes; the shapes are kube-proxy 1.36's.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "io/http.hpp"
#include "kube/meta.hpp"
#include "proxy/sync.hpp"

namespace fairlead::proxy {

struct HealthInputs {
  SyncHealth sync;
  Duration sync_period{0};
  MonoTime now{};
  WallTime wall{};
  bool node_eligible = false;
  std::vector<IpFamily> families;
};

// Something has been waiting for longer than two sync periods.
bool is_healthy(const HealthInputs& inputs);

enum class Probe : std::uint8_t { Healthz, Livez };  // livez does not ask whether the node leaves
io::HttpResponse health_response(const HealthInputs& inputs, Probe probe);

struct ServiceHealthInputs {
  kube::NamespacedName service;
  std::size_t local_endpoints = 0;
  bool healthy = false;
};
io::HttpResponse service_health_response(const ServiceHealthInputs& inputs);

}  // namespace fairlead::proxy
