#include "apiserver/api_metrics.hpp"

#include <algorithm>
#include <array>

#include "apiserver/request_attributes.hpp"
#include "apiserver/review_kinds.hpp"
#include "base/process_metrics.hpp"

namespace fairlead::apiserver {
namespace {

struct Metric {
  const char* name;
  const char* help;
};

constexpr Metric kRequests{"apiserver_request_total", "Requests that were answered"};
constexpr Metric kSeconds{"apiserver_request_duration_seconds",
                          "Time from a request's arrival to its answer; watches are left out"};
constexpr Metric kInProgress{"apiserver_current_inflight_requests",
                             "Requests in progress; watches are not among them"};
constexpr Metric kRejected{"apiserver_flowcontrol_rejected_requests_total",
                           "Requests that were answered 429, by what there was too much of"};
constexpr Metric kUnreadable{"apiserver_storage_unreadable_objects",
                             "Stored values that are no object of their resource"};
constexpr Metric kWatches{"apiserver_longrunning_requests", "Watches that are open"};
constexpr Metric kWatchEvents{"apiserver_watch_events_total",
                              "Events sent to watches, what they began with not counted"};
constexpr Metric kObjects{"apiserver_resource_objects", "Objects there are"};
constexpr Metric kStored{"apiserver_storage_objects", "Objects there are, by group-resource"};
constexpr Metric kIpFaults{"apiserver_clusterip_repair_ip_errors_total",
                           "Cluster IPs whose reservation was not as it has to be, by fault"};
constexpr Metric kPortFaults{"apiserver_nodeport_repair_port_errors_total",
                             "Node ports whose reservation was not as it has to be, by fault"};
constexpr Metric kAuditLost{"apiserver_audit_error_total",
                            "Lines of the audit log that could not be written"};

// Seconds; those of kube-apiserver, so that what is drawn of them stays.
constexpr std::array kBuckets = {0.005, 0.025, 0.05, 0.1,  0.2,  0.4,  0.6, 0.8,
                                 1.0,   1.25,  1.5,  2.0,  3.0,  4.0,  5.0, 6.0,
                                 8.0,   10.0,  15.0, 20.0, 30.0, 45.0, 60.0};

constexpr std::string_view kApplyType = "application/apply-patch+";

// Counters here and in prometheus go up only.
void raise(metrics::Counter counter, double to) {
  if (to > counter.value()) counter.add(to - counter.value());
}

// A method nobody knows is "other".
std::string verb_label(const Attributes& asked, const io::HttpRequest& request) {
  static const std::map<std::string, std::string, std::less<>> labels = {
      {"get", "GET"},         {"list", "LIST"},
      {"watch", "WATCH"},     {"create", "POST"},
      {"post", "POST"},       {"update", "PUT"},
      {"put", "PUT"},         {"patch", "PATCH"},
      {"delete", "DELETE"},   {"deletecollection", "DELETECOLLECTION"},
      {"options", "OPTIONS"}, {"head", "HEAD"}};
  const auto found = labels.find(asked.verb);
  if (found == labels.end()) return "other";
  const auto type = io::find_header(request.headers, "Content-Type").value_or("");
  return found->second == "PATCH" && type.starts_with(kApplyType) ? "APPLY" : found->second;
}

// Upstream's words for how much of the cluster a request is about.
std::string_view scope_label(const Attributes& asked) {
  if (!asked.path.empty()) return {};
  if (!asked.name.empty() || asked.verb == "create") return "resource";
  return asked.ns.empty() ? "cluster" : "namespace";
}

}  // namespace

ApiMetrics::ApiMetrics(const Registry& registry) : registry_(registry) {
  metrics::describe_process(metrics_, Clock::real().wall());
}

metrics::Labels ApiMetrics::labels_of(const Kind& kind) {
  return {{"verb", kind.verb},
          {"group", kind.group},
          {"version", kind.version},
          {"resource", kind.resource},
          {"subresource", kind.subresource},
          {"scope", std::string(kind.scope)},
          {"dry_run", std::string(kind.dry_run)},
          {"component", "apiserver"}};
}

ApiMetrics::Kind ApiMetrics::kind_of(const io::HttpRequest& request,
                                     const AuditedRequest& audited) const {
  const Attributes& asked = audited.asked();
  Kind out{.verb = verb_label(asked, request), .scope = {}, .dry_run = {}};
  if (!asked.path.empty()) {
    if (is_health(asked.path) || asked.path == kMetricsPath) out.subresource = asked.path;
    return out;
  }
  const Resource* resource = registry_.find(asked.group, audited.version(), asked.resource);
  const ReviewKind* review = find_review(asked.group, audited.version(), asked.resource);
  if (resource == nullptr && review == nullptr) return out;
  const auto known = [&asked](const Subresource& sub) { return sub.name == asked.subresource; };
  if (resource != nullptr && std::ranges::any_of(resource->info().subresources, known)) {
    out.subresource = asked.subresource;
  }
  out.group = asked.group;
  out.version = audited.version();
  out.resource = asked.resource;
  out.scope = scope_label(asked);
  const auto url = io::parse_target(request.target);
  if (url && url->param("dryRun").value_or("") == "All") out.dry_run = "All";
  return out;
}

void ApiMetrics::answered(const io::HttpRequest& request, const AuditedRequest& audited,
                          std::chrono::nanoseconds took) {
  const Kind kind = kind_of(request, audited);
  const unsigned code = audited.code();
  auto counter = requests_.find({kind, code});
  if (counter == requests_.end()) {
    metrics::Labels labels = labels_of(kind);
    labels.emplace("code", std::to_string(code));
    counter = requests_
                  .emplace(std::pair(kind, code),
                           metrics_.counter(kRequests.name, kRequests.help, labels))
                  .first;
  }
  counter->second.add();
  if (kind.verb == "WATCH") return;
  auto seconds = seconds_.find(kind);
  if (seconds == seconds_.end()) {
    seconds =
        seconds_
            .emplace(kind, metrics_.histogram(kSeconds.name, kSeconds.help,
                                              {kBuckets.begin(), kBuckets.end()}, labels_of(kind)))
            .first;
  }
  seconds->second.observe(std::chrono::duration<double>(took).count());
}

void ApiMetrics::report_resource(const Resource& resource) {
  const ResourceInfo& info = resource.info();
  const auto watchers = static_cast<double>(resource.cache.watchers());
  const auto objects = static_cast<double>(resource.cache.size());
  const metrics::Labels names{
      {"group", info.group}, {"version", info.version}, {"resource", info.resource}};
  const Kind watch{.verb = "WATCH",
                   .group = info.group,
                   .version = info.version,
                   .resource = info.resource,
                   .subresource = {},
                   .scope = {},
                   .dry_run = {}};
  metrics_.gauge(kWatches.name, kWatches.help, labels_of(watch)).set(watchers);
  raise(metrics_.counter(kWatchEvents.name, kWatchEvents.help, names),
        static_cast<double>(resource.cache.events_taken()));
  metrics_.gauge(kObjects.name, kObjects.help, {{"group", info.group}, {"resource", info.resource}})
      .set(objects);
  const std::string dotted = info.group.empty() ? info.resource : info.resource + "." + info.group;
  metrics_.gauge(kStored.name, kStored.help, {{"resource", dotted}}).set(objects);
  metrics_.gauge(kUnreadable.name, kUnreadable.help, {{"resource", dotted}})
      .set(static_cast<double>(resource.cache.unreadable().size()));
}

// Every series is there from the start: who alerts on them needs their zeros.
void ApiMetrics::report_repair(const ServiceRepair& repair) {
  using enum ReservationFault::What;
  for (const auto& [what, type] : {std::pair(Missing, "repair"),
                                   {Leaked, "leak"},
                                   {Duplicate, "duplicate"},
                                   {OutOfRange, "outOfRange"},
                                   {Invalid, "invalid"}}) {
    for (const auto& [of, metric] : {std::pair(ReservationFault::Of::ClusterIp, kIpFaults),
                                     {ReservationFault::Of::NodePort, kPortFaults}}) {
      const auto found = repair.found().find({of, what});
      raise(metrics_.counter(metric.name, metric.help, {{"type", type}}),
            found == repair.found().end() ? 0 : static_cast<double>(found->second));
    }
  }
}

std::string ApiMetrics::text(const Now& now) {
  const auto in_progress = [this](const char* kind, std::size_t count) {
    metrics_.gauge(kInProgress.name, kInProgress.help, {{"request_kind", kind}})
        .set(static_cast<double>(count));
  };
  in_progress("readOnly", now.limits->reading());
  in_progress("mutating", now.limits->writing());
  for (const RequestLimits::Reason reason : RequestLimits::kReasons) {
    raise(metrics_.counter(kRejected.name, kRejected.help,
                           {{"reason", std::string(to_string(reason))}}),
          static_cast<double>(now.limits->refused(reason)));
  }
  raise(metrics_.counter(kAuditLost.name, kAuditLost.help, {{"plugin", "log"}}),
        static_cast<double>(now.audit_lost));
  for (const auto& resource : registry_.resources()) report_resource(*resource);
  if (now.repair != nullptr) report_repair(*now.repair);
  metrics::report_process(metrics_);
  return metrics_.serialize();
}

}  // namespace fairlead::apiserver
