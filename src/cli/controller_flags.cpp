#include "cli/controller_flags.hpp"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <random>

namespace fairlead::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

void describe_election(CLI::App& app, ControllerFlags& flags) {
  app.add_flag("--leader-elect,!--no-leader-elect", flags.leader_elect,
               "work only while holding the lease (default: true)");
  app.add_option("--leader-elect-lease-duration", flags.lease_duration,
                 "how long others wait after the last sign of the holder")
      ->capture_default_str();
  app.add_option("--leader-elect-renew-deadline", flags.renew_deadline,
                 "how long the holder goes on without renewing")
      ->capture_default_str();
  app.add_option("--leader-elect-retry-period", flags.retry_period, "between two tries")
      ->capture_default_str();
  app.add_option("--leader-elect-resource-name", flags.lease_name, "name of the Lease")
      ->capture_default_str();
  app.add_option("--leader-elect-resource-namespace", flags.lease_namespace,
                 "namespace of the Lease")
      ->capture_default_str();
}

void describe_endpoints(CLI::App& app, ControllerFlags& flags) {
  app.add_option("--endpointslice-updates-batch-period", flags.slices.batch_period,
                 "changes of Pods wait this long for company")
      ->capture_default_str();
  app.add_option("--endpoint-updates-batch-period", flags.endpoints.batch_period,
                 "the same for Endpoints")
      ->capture_default_str();
  app.add_option("--mirroring-endpointslice-updates-batch-period", flags.mirrored.batch_period,
                 "changes of Endpoints that are mirrored wait this long for company")
      ->capture_default_str();
  app.add_option("--max-endpoints-per-slice", flags.slices.max_endpoints,
                 "endpoints of one EndpointSlice, 1 to 1000")
      ->capture_default_str();
  app.add_option("--mirroring-max-endpoints-per-subset", flags.mirrored.max_endpoints,
                 "addresses of one subset of Endpoints that are mirrored, 1 to 1000")
      ->capture_default_str();
  app.add_option("--concurrent-service-endpoint-syncs", flags.slices.workers,
                 "Services whose EndpointSlices are written at once, 1 to 50")
      ->capture_default_str();
  app.add_option("--concurrent-endpoint-syncs", flags.endpoints.workers,
                 "Services whose Endpoints are written at once, 1 to 50")
      ->capture_default_str();
  app.add_option("--mirroring-concurrent-service-endpoint-syncs", flags.mirrored.workers,
                 "Endpoints that are mirrored at once, 1 to 50")
      ->capture_default_str();
}

void describe_load_balancer(CLI::App& app, ControllerFlags& flags) {
  app.add_option("--load-balancer-pool", flags.pools,
                 "addresses for Services of type LoadBalancer: CIDRs or ranges FIRST-LAST, "
                 "separated by commas (default: none)")
      ->delimiter(',');
  app.add_option("--load-balancer-class", flags.balancer_class,
                 "the loadBalancerClass of the Services to serve")
      ->capture_default_str();
  app.add_flag("--load-balancer-classless,!--no-load-balancer-classless", flags.classless,
               "serve also Services without a loadBalancerClass (default: true)");
}

void describe_nodes_and_pods(CLI::App& app, ControllerFlags& flags) {
  app.add_option("--terminated-pod-gc-threshold", flags.terminated_threshold,
                 "ended Pods that are kept, the youngest; 0 or less: all")
      ->capture_default_str();
  app.add_option("--missing-node-period", flags.missing_node_period,
                 "a node missing for this long, and not there when asked for, is gone: its Pods "
                 "are deleted")
      ->capture_default_str();
  app.add_option("--node-monitor-grace-period", flags.node_grace_period,
                 "a node whose Lease is not renewed for this long is Unknown, its Pods are not "
                 "ready")
      ->capture_default_str();
  app.add_option("--node-monitor-period", flags.node_period, "between two looks at the nodes")
      ->capture_default_str();
}

Error wrong(std::string_view name, std::string_view value, std::string_view why) {
  return make_error(ErrorCode::Invalid, "--{}={}: {}", name, value, why);
}

Result<nanoseconds> duration_flag(std::string_view name, const std::string& text,
                                  nanoseconds least = nanoseconds{0}) {
  auto value = parse_duration(text);
  if (!value) return value.error().with_context(fmt::format("--{}", name));
  if (*value < least)
    return wrong(name, text,
                 least.count() == 0 ? "must not be negative"
                                    : fmt::format("must be {} at least", format_duration(least)));
  return value;
}

struct EndpointsFlagNames {
  std::string_view batch_period, max_endpoints, workers;
};

Result<controllers::EndpointsPolicy> endpoints_policy(const EndpointsFlags& flags,
                                                      const EndpointsFlagNames& names) {
  FAIRLEAD_TRY(batch, duration_flag(names.batch_period, flags.batch_period));
  if (flags.max_endpoints < 1 || flags.max_endpoints > 1000)
    return wrong(names.max_endpoints, std::to_string(flags.max_endpoints), "must be 1 to 1000");
  if (flags.workers < 1 || flags.workers > 50)
    return wrong(names.workers, std::to_string(flags.workers), "must be 1 to 50");
  return controllers::EndpointsPolicy{
      .batch_period = std::chrono::duration_cast<milliseconds>(batch),
      .max_endpoints = flags.max_endpoints,
      .workers = flags.workers};
}

Result<controllers::PodGarbagePolicy> pod_garbage_policy(const ControllerFlags& flags) {
  FAIRLEAD_TRY(missing, duration_flag("missing-node-period", flags.missing_node_period));
  return controllers::PodGarbagePolicy{
      .terminated_threshold = static_cast<std::size_t>(std::max(flags.terminated_threshold, 0)),
      .missing_node_period = missing};
}

Result<controllers::NodeHealthPolicy> node_health_policy(const ControllerFlags& flags) {
  constexpr milliseconds kLeast{100};
  FAIRLEAD_TRY(period, duration_flag("node-monitor-period", flags.node_period, kLeast));
  FAIRLEAD_TRY(grace, duration_flag("node-monitor-grace-period", flags.node_grace_period, kLeast));
  if (grace <= period)
    return wrong("node-monitor-grace-period", flags.node_grace_period,
                 "must be longer than the monitor period");
  return controllers::NodeHealthPolicy{.grace_period = grace, .period = period};
}

// "host_1f2e3d4c...": another start of the same host is another candidate.
std::string new_identity() {
  std::string host(256, '\0');
  if (::gethostname(host.data(), host.size() - 1) != 0) host = "unknown";
  host.resize(host.find('\0') == std::string::npos ? host.size() : host.find('\0'));
  std::random_device random;
  return fmt::format("{}_{:08x}{:08x}", host, random(), random());
}

}  // namespace

void describe(CLI::App& app, ControllerFlags& flags) {
  app.add_option("--kubeconfig", flags.kubeconfig,
                 "how to reach the API server (default: the pod's service account)");
  app.add_option("--master", flags.master, "URL of the API server, before the kubeconfig's");
  describe_election(app, flags);
  app.add_option(
         "--controllers", flags.controllers,
         "which controllers run: \"*\" all of them, NAME that one, -NAME not that one; of " +
             controllers::known_controllers())
      ->delimiter(',')
      ->capture_default_str();
  describe_endpoints(app, flags);
  describe_load_balancer(app, flags);
  describe_nodes_and_pods(app, flags);
  app.add_option("--kube-api-qps", flags.qps, "requests a second to the API server")
      ->capture_default_str();
  app.add_option("--kube-api-burst", flags.burst, "requests to the API server at once")
      ->capture_default_str();
  app.add_option("--logging-format", flags.log_format, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  app.add_option("-v,--v", flags.verbosity, "log verbosity")->capture_default_str();
}

Result<controllers::LeaseTerms> lease_terms(const ControllerFlags& flags) {
  controllers::LeaseTerms terms{
      .lease = {.namespace_ = flags.lease_namespace, .name = flags.lease_name},
      .identity = new_identity()};
  FAIRLEAD_TRY(duration, duration_flag("leader-elect-lease-duration", flags.lease_duration));
  FAIRLEAD_TRY(deadline, duration_flag("leader-elect-renew-deadline", flags.renew_deadline));
  FAIRLEAD_TRY(period, duration_flag("leader-elect-retry-period", flags.retry_period));
  terms.lease_duration = duration;
  terms.renew_deadline = deadline;
  terms.retry_period = period;
  FAIRLEAD_CHECK(controllers::validate(terms));
  return terms;
}

Result<controllers::Controllers::Config> controllers_config(const ControllerFlags& flags) {
  controllers::Controllers::Config out;
  auto enabled = controllers::enabled_controllers(flags.controllers);
  if (!enabled) return enabled.error().with_context("--controllers");
  out.enabled = *std::move(enabled);
  auto pools = controllers::parse_address_ranges(flags.pools);
  if (!pools) return pools.error().with_context("--load-balancer-pool");
  out.load_balancer = {.pools = *std::move(pools),
                       .load_balancer_class = flags.balancer_class,
                       .classless = flags.classless};
  FAIRLEAD_TRY(slices,
               endpoints_policy(flags.slices, {.batch_period = "endpointslice-updates-batch-period",
                                               .max_endpoints = "max-endpoints-per-slice",
                                               .workers = "concurrent-service-endpoint-syncs"}));
  FAIRLEAD_TRY(endpoints,
               endpoints_policy(flags.endpoints, {.batch_period = "endpoint-updates-batch-period",
                                                  .max_endpoints = "",  // always 1000
                                                  .workers = "concurrent-endpoint-syncs"}));
  FAIRLEAD_TRY(mirrored,
               endpoints_policy(flags.mirrored,
                                {.batch_period = "mirroring-endpointslice-updates-batch-period",
                                 .max_endpoints = "mirroring-max-endpoints-per-subset",
                                 .workers = "mirroring-concurrent-service-endpoint-syncs"}));
  out.slices = slices;
  out.endpoints = endpoints;
  out.mirrored = mirrored;
  FAIRLEAD_TRY(pod_garbage, pod_garbage_policy(flags));
  FAIRLEAD_TRY(node_health, node_health_policy(flags));
  out.pod_garbage = pod_garbage;
  out.node_health = node_health;
  return out;
}

Result<client::RateLimit> rate_limit(const ControllerFlags& flags) {
  if (!(flags.qps > 0) || flags.burst < 1)
    return make_error(ErrorCode::Invalid,
                      "--kube-api-qps={} --kube-api-burst={}: both must be above 0", flags.qps,
                      flags.burst);
  return client::RateLimit{.per_second = flags.qps, .burst = flags.burst};
}

}  // namespace fairlead::cli
