// The flags of fairlead-controller, kube-controller-manager's for what both have, and the
// configuration they make. Errors name the flag and the value.
#pragma once

#include <string>
#include <vector>

#include "base/error.hpp"
#include "client/token_bucket.hpp"
#include "controllers/controllers.hpp"
#include "controllers/leader_election.hpp"

namespace CLI {
class App;
}

namespace fairlead::cli {

// Of one of the three controllers that write endpoints.
struct EndpointsFlags {
  std::string batch_period = "0s";
  std::size_t max_endpoints = controllers::kMaxEndpointsPerSlice;
  int workers = 5;
};

struct ControllerFlags {
  std::string kubeconfig, master;
  bool leader_elect = true;
  std::string lease_duration = "15s", renew_deadline = "10s", retry_period = "2s";
  std::string lease_name = "fairlead-controller", lease_namespace = "kube-system";
  std::vector<std::string> controllers{"*"};
  EndpointsFlags slices, endpoints;
  EndpointsFlags mirrored{.max_endpoints = controllers::kMaxMirroredAddresses};
  std::vector<std::string> pools;
  std::string balancer_class = controllers::kLoadBalancerClass;
  bool classless = true;
  int terminated_threshold = 12'500;
  std::string missing_node_period = "40s";
  std::string node_grace_period = "50s", node_period = "5s";
  double qps = 20;
  int burst = 30;
  std::string log_format = "text";
  int verbosity = 0;
};

// `flags` must outlive the parsing of `app`.
void describe(CLI::App& app, ControllerFlags& flags);

// Of a holder with a name of its own.
Result<controllers::LeaseTerms> lease_terms(const ControllerFlags& flags);
// Complete but for its client.
Result<controllers::Controllers::Config> controllers_config(const ControllerFlags& flags);
Result<client::RateLimit> rate_limit(const ControllerFlags& flags);

}  // namespace fairlead::cli
