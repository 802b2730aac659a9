// Decoding: simdjson's DOM walked by a reader that remembers where it is and keeps the first error.
// Absent and null leave the struct's default; a wrong type is an error that names the path.
#include "kube/codec.hpp"

#include <concepts>
#include <limits>

#include "kube/json_cursor.hpp"
#include "kube/status_code.hpp"

namespace fairlead::kube {

// Where Cursor lives, so that templates find the readers of types that come later.
namespace decoding {

// read(cursor, target): one overload a type; every struct is a list of fields.
void read(const Cursor& c, std::string& out) { out = c.text(); }
void read(const Cursor& c, bool& out) { out = c.boolean(); }
template <std::integral T>
void read(const Cursor& c, T& out) {
  out = static_cast<T>(c.integer(std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
}
void read(const Cursor& c, std::chrono::seconds& out) {
  out = std::chrono::seconds{c.integer(0, std::numeric_limits<std::int32_t>::max())};
}
void read(const Cursor& c, WallTime& out) {
  if (auto t = parse_rfc3339(c.text())) {
    out = *t;
  } else if (!c.failed()) {
    c.fail(t.error().message);
  }
}
void read(const Cursor& c, Protocol& out) {
  const std::string_view text = c.text();
  if (const auto p = parse_protocol(text)) {
    out = *p;
  } else if (!text.empty()) {
    c.fail(fmt::format("\"{}\" is not TCP, UDP or SCTP", text));
  }
}
void read(const Cursor& c, IntOrString& out) {
  if (c.is_string()) {
    out = std::string(c.text());
  } else {
    std::int32_t number = 0;
    read(c, number);
    out = number;
  }
}

// One that is no quantity counts as absent: no client fails for what it may not even need.
void read(const Cursor& c, std::optional<MilliCpu>& out) {
  if (const auto cpu = parse_cpu(c.is_string() ? std::string(c.text()) : c.literal())) out = *cpu;
}

// Enumerations whose values nobody here knows keep their default: newer servers may send more.
template <class E>
struct Word {
  std::string_view text;
  E value;
};
template <class E, std::size_t N>
void read_word(const Cursor& c, E& out, const Word<E> (&words)[N]) {
  const std::string_view text = c.text();
  for (const Word<E>& word : words) {
    if (word.text == text) out = word.value;
  }
}
void read(const Cursor& c, ServiceType& out) {
  read_word(c, out,
            {Word<ServiceType>{"ClusterIP", ServiceType::ClusterIp},
             Word<ServiceType>{"NodePort", ServiceType::NodePort},
             Word<ServiceType>{"LoadBalancer", ServiceType::LoadBalancer},
             Word<ServiceType>{"ExternalName", ServiceType::ExternalName}});
}
void read(const Cursor& c, TrafficPolicy& out) {
  read_word(c, out,
            {Word<TrafficPolicy>{"Cluster", TrafficPolicy::Cluster},
             Word<TrafficPolicy>{"Local", TrafficPolicy::Local}});
}
void read(const Cursor& c, IpFamily& out) {
  read_word(c, out, {Word<IpFamily>{"IPv4", IpFamily::V4}, Word<IpFamily>{"IPv6", IpFamily::V6}});
}
void read(const Cursor& c, AddressType& out) {
  read_word(
      c, out,
      {Word<AddressType>{"IPv4", AddressType::IPv4}, Word<AddressType>{"IPv6", AddressType::IPv6},
       Word<AddressType>{"FQDN", AddressType::Fqdn}});
}
void read(const Cursor& c, PodPhase& out) {
  read_word(
      c, out,
      {Word<PodPhase>{"Pending", PodPhase::Pending}, Word<PodPhase>{"Running", PodPhase::Running},
       Word<PodPhase>{"Succeeded", PodPhase::Succeeded}, Word<PodPhase>{"Failed", PodPhase::Failed},
       Word<PodPhase>{"Unknown", PodPhase::Unknown}});
}

template <class T>
void read(const Cursor& c, std::optional<T>& out);
template <class T>
void read(const Cursor& c, std::vector<T>& out);
void read(const Cursor& c, StringMap& out) {
  c.each_member([&](std::string_view key, const Cursor& value) {
    out.emplace(key, value.is_null() ? std::string_view() : value.text());  // null as Go reads it
  });
}

template <class T>
void field(const Cursor& object, std::string_view key, T& out) {
  if (object.failed()) return;
  if (const auto found = object.object_field(key)) read(Cursor(*found, &object, key), out);
}
// A member object without a struct of its own: its fields are read by `each`.
template <class Each>
void nested(const Cursor& object, std::string_view key, const Each& each) {
  if (object.failed()) return;
  if (const auto found = object.object_field(key)) each(Cursor(*found, &object, key));
}

void read(const Cursor& c, OwnerReference& out) {
  field(c, "apiVersion", out.api_version);
  field(c, "kind", out.kind);
  field(c, "name", out.name);
  field(c, "uid", out.uid);
  field(c, "controller", out.controller);
  field(c, "blockOwnerDeletion", out.block_owner_deletion);
}

void read(const Cursor& c, ObjectMeta& out) {
  field(c, "name", out.name);
  field(c, "generateName", out.generate_name);
  field(c, "namespace", out.namespace_);
  field(c, "uid", out.uid);
  field(c, "resourceVersion", out.resource_version);
  field(c, "creationTimestamp", out.creation_timestamp);
  field(c, "deletionTimestamp", out.deletion_timestamp);
  field(c, "deletionGracePeriodSeconds", out.deletion_grace_period_seconds);
  field(c, "labels", out.labels);
  field(c, "annotations", out.annotations);
  field(c, "ownerReferences", out.owner_references);
  field(c, "finalizers", out.finalizers);
}

void read(const Cursor& c, ServicePort& out) {
  field(c, "name", out.name);
  field(c, "protocol", out.protocol);
  field(c, "port", out.port);
  field(c, "targetPort", out.target_port);
  field(c, "nodePort", out.node_port);
  field(c, "appProtocol", out.app_protocol);
}

void read(const Cursor& c, LoadBalancerIngress& out) {
  field(c, "ip", out.ip);
  field(c, "hostname", out.hostname);
  field(c, "ipMode", out.ip_mode);
}

void read_service_spec(const Cursor& c, Service& out) {
  field(c, "type", out.type);
  field(c, "ports", out.ports);
  field(c, "selector", out.selector);
  field(c, "clusterIP", out.cluster_ip);
  field(c, "clusterIPs", out.cluster_ips);
  field(c, "ipFamilies", out.ip_families);
  field(c, "externalIPs", out.external_ips);
  field(c, "externalName", out.external_name);
  field(c, "loadBalancerIP", out.load_balancer_ip);
  field(c, "loadBalancerClass", out.load_balancer_class);
  field(c, "loadBalancerSourceRanges", out.load_balancer_source_ranges);
  field(c, "externalTrafficPolicy", out.external_traffic_policy);
  field(c, "internalTrafficPolicy", out.internal_traffic_policy);
  field(c, "healthCheckNodePort", out.health_check_node_port);
  field(c, "publishNotReadyAddresses", out.publish_not_ready_addresses);
  field(c, "trafficDistribution", out.traffic_distribution);
  std::string affinity;
  field(c, "sessionAffinity", affinity);
  out.client_ip_affinity = affinity == "ClientIP";
  nested(c, "sessionAffinityConfig", [&](const Cursor& config) {
    nested(config, "clientIP",
           [&](const Cursor& client) { field(client, "timeoutSeconds", out.affinity_timeout); });
  });
}

void read(const Cursor& c, Service& out) {
  field(c, "metadata", out.metadata);
  nested(c, "spec", [&](const Cursor& spec) { read_service_spec(spec, out); });
  nested(c, "status", [&](const Cursor& status) {
    nested(status, "loadBalancer", [&](const Cursor& lb) { field(lb, "ingress", out.ingress); });
  });
}

void read(const Cursor& c, ObjectReference& out) {
  field(c, "kind", out.kind);
  field(c, "namespace", out.namespace_);
  field(c, "name", out.name);
  field(c, "uid", out.uid);
}

// hints.forZones and hints.forNodes are lists of {name}.
void read_names(const Cursor& c, std::string_view key, std::vector<std::string>& out) {
  nested(c, key, [&](const Cursor& list) {
    list.each_item([&](const Cursor& item) { field(item, "name", out.emplace_back()); });
  });
}

void read(const Cursor& c, Endpoint& out) {
  field(c, "addresses", out.addresses);
  nested(c, "conditions", [&](const Cursor& conditions) {
    field(conditions, "ready", out.ready);
    field(conditions, "serving", out.serving);
    field(conditions, "terminating", out.terminating);
  });
  field(c, "hostname", out.hostname);
  field(c, "nodeName", out.node_name);
  field(c, "zone", out.zone);
  field(c, "targetRef", out.target_ref);
  nested(c, "hints", [&](const Cursor& hints) {
    read_names(hints, "forZones", out.zone_hints);
    read_names(hints, "forNodes", out.node_hints);
  });
}

void read(const Cursor& c, EndpointPort& out) {
  field(c, "name", out.name);
  field(c, "protocol", out.protocol);
  field(c, "port", out.port);
  field(c, "appProtocol", out.app_protocol);
}

void read(const Cursor& c, EndpointSlice& out) {
  field(c, "metadata", out.metadata);
  field(c, "addressType", out.address_type);
  field(c, "endpoints", out.endpoints);
  field(c, "ports", out.ports);
}

void read(const Cursor& c, EndpointAddress& out) {
  field(c, "ip", out.ip);
  field(c, "hostname", out.hostname);
  field(c, "nodeName", out.node_name);
  field(c, "targetRef", out.target_ref);
}

void read(const Cursor& c, EndpointSubset& out) {
  field(c, "addresses", out.addresses);
  field(c, "notReadyAddresses", out.not_ready_addresses);
  field(c, "ports", out.ports);
}

void read(const Cursor& c, Endpoints& out) {
  field(c, "metadata", out.metadata);
  field(c, "subsets", out.subsets);
}

void read(const Cursor& c, ContainerPort& out) {
  field(c, "name", out.name);
  field(c, "containerPort", out.container_port);
  field(c, "protocol", out.protocol);
}

void read(const Cursor& c, EnvVar& out) {
  field(c, "name", out.name);
  field(c, "value", out.value);
}

void read(const Cursor& c, Probe& out) {
  nested(c, "tcpSocket", [&](const Cursor& tcp) {
    Probe::TcpSocket action;
    field(tcp, "port", action.port);
    out.action = action;
  });
  nested(c, "httpGet", [&](const Cursor& http) {
    Probe::HttpGet action;
    field(http, "path", action.path);
    field(http, "port", action.port);
    field(http, "scheme", action.scheme);
    nested(http, "httpHeaders", [&](const Cursor& headers) {
      headers.each_item([&](const Cursor& item) {
        auto& [name, value] = action.headers.emplace_back();
        field(item, "name", name);
        field(item, "value", value);
      });
    });
    out.action = action;
  });
  nested(c, "exec", [&](const Cursor& exec) {
    Probe::Exec action;
    field(exec, "command", action.command);
    out.action = action;
  });
  field(c, "initialDelaySeconds", out.initial_delay);
  field(c, "periodSeconds", out.period);
  field(c, "timeoutSeconds", out.timeout);
  field(c, "successThreshold", out.success_threshold);
  field(c, "failureThreshold", out.failure_threshold);
}

void read(const Cursor& c, Container& out) {
  field(c, "name", out.name);
  field(c, "image", out.image);
  field(c, "command", out.command);
  field(c, "args", out.args);
  field(c, "workingDir", out.working_dir);
  field(c, "env", out.env);
  field(c, "ports", out.ports);
  field(c, "readinessProbe", out.readiness_probe);
  field(c, "restartPolicy", out.restart_policy);
}

void read(const Cursor& c, Condition& out) {
  field(c, "type", out.type);
  field(c, "status", out.status);
  field(c, "reason", out.reason);
  field(c, "message", out.message);
  field(c, "lastTransitionTime", out.last_transition_time);
}

void read(const Cursor& c, ContainerStatus& out) {
  field(c, "name", out.name);
  field(c, "ready", out.ready);
  field(c, "restartCount", out.restart_count);
  nested(c, "state", [&](const Cursor& state) {
    nested(state, "running", [&](const Cursor&) { out.running = true; });
    nested(state, "waiting",
           [&](const Cursor& waiting) { field(waiting, "reason", out.waiting_reason); });
    nested(state, "terminated", [&](const Cursor& ended) {
      std::int32_t code = 0;
      field(ended, "exitCode", code);
      out.exit_code = code;
    });
  });
}

void read(const Cursor& c, Pod& out) {
  field(c, "metadata", out.metadata);
  nested(c, "spec", [&](const Cursor& spec) {
    field(spec, "nodeName", out.node_name);
    field(spec, "containers", out.containers);
    field(spec, "initContainers", out.init_containers);
    field(spec, "restartPolicy", out.restart_policy);
    field(spec, "hostname", out.hostname);
    field(spec, "subdomain", out.subdomain);
    field(spec, "hostNetwork", out.host_network);
    field(spec, "terminationGracePeriodSeconds", out.termination_grace_period_seconds);
  });
  nested(c, "status", [&](const Cursor& status) {
    field(status, "phase", out.phase);
    field(status, "reason", out.status_reason);
    field(status, "podIP", out.pod_ip);
    field(status, "hostIP", out.host_ip);
    nested(status, "podIPs", [&](const Cursor& ips) {
      ips.each_item([&](const Cursor& item) { field(item, "ip", out.pod_ips.emplace_back()); });
    });
    field(status, "conditions", out.conditions);
    field(status, "containerStatuses", out.container_statuses);
  });
}

void read(const Cursor& c, NodeAddress& out) {
  field(c, "type", out.type);
  field(c, "address", out.address);
}

void read(const Cursor& c, Taint& out) {
  field(c, "key", out.key);
  field(c, "value", out.value);
  field(c, "effect", out.effect);
}

void read(const Cursor& c, Node& out) {
  field(c, "metadata", out.metadata);
  nested(c, "spec", [&](const Cursor& spec) {
    field(spec, "podCIDRs", out.pod_cidrs);
    std::string pod_cidr;
    field(spec, "podCIDR", pod_cidr);
    if (out.pod_cidrs.empty() && !pod_cidr.empty()) out.pod_cidrs.push_back(pod_cidr);
    field(spec, "taints", out.taints);
    field(spec, "unschedulable", out.unschedulable);
  });
  nested(c, "status", [&](const Cursor& status) {
    field(status, "addresses", out.addresses);
    field(status, "conditions", out.conditions);
    nested(status, "allocatable",
           [&](const Cursor& amounts) { field(amounts, "cpu", out.allocatable_cpu); });
  });
}

void read(const Cursor& c, Namespace& out) {
  field(c, "metadata", out.metadata);
  nested(c, "status", [&](const Cursor& status) { field(status, "phase", out.phase); });
}

void read(const Cursor& c, ServiceCidr& out) {
  field(c, "metadata", out.metadata);
  nested(c, "spec", [&](const Cursor& spec) { field(spec, "cidrs", out.cidrs); });
}

void read(const Cursor& c, Lease& out) {
  field(c, "metadata", out.metadata);
  nested(c, "spec", [&](const Cursor& spec) {
    field(spec, "holderIdentity", out.holder_identity);
    field(spec, "leaseDurationSeconds", out.duration);
    field(spec, "acquireTime", out.acquire_time);
    field(spec, "renewTime", out.renew_time);
    field(spec, "leaseTransitions", out.transitions);
  });
}

template <class T>
void read(const Cursor& c, std::optional<T>& out) {
  read(c, out.emplace());
}
template <class T>
void read(const Cursor& c, std::vector<T>& out) {
  c.each_item([&](const Cursor& item) { read(item, out.emplace_back()); });
}

// The body of a metav1.Status.
Error read_status(const Cursor& c, std::int64_t http_status) {
  std::string message, reason;
  std::int64_t code = 0;
  field(c, "message", message);
  field(c, "reason", reason);
  field(c, "code", code);
  if (code == 0) code = http_status;  // absent or no number
  if (message.empty()) message = reason.empty() ? fmt::format("status {}", code) : reason;
  return Error{.code = status_error_code(reason, code), .message = one_line(std::move(message))};
}

std::optional<WatchEventType> event_type(std::string_view text) {
  if (text == "ADDED") return WatchEventType::Added;
  if (text == "MODIFIED") return WatchEventType::Modified;
  if (text == "DELETED") return WatchEventType::Deleted;
  if (text == "BOOKMARK") return WatchEventType::Bookmark;
  if (text == "ERROR") return WatchEventType::Error;
  return std::nullopt;
}

constexpr std::size_t kKeptCapacity = 256 * 1024;  // bytes of buffer kept between documents

}  // namespace decoding

using namespace decoding;

struct Decoder::Impl {
  dom::parser parser;

  Result<dom::element> parse(std::string_view json) {
    // A large page must not make its buffers stay: the process lives for months.
    if (parser.capacity() > kKeptCapacity && json.size() < kKeptCapacity) parser = dom::parser();
    dom::element root;
    if (const auto code = parser.parse(json.data(), json.size()).get(root);
        code != simdjson::SUCCESS) {
      return make_error(ErrorCode::BadRequest, "not JSON: {}", simdjson::error_message(code));
    }
    return root;
  }
};

Decoder::Decoder() : impl_(std::make_unique<Impl>()) {}
Decoder::~Decoder() = default;
Decoder::Decoder(Decoder&&) noexcept = default;
Decoder& Decoder::operator=(Decoder&&) noexcept = default;

template <class T>
Result<T> Decoder::object(std::string_view json) {
  FAIRLEAD_TRY(root, impl_->parse(json));
  Diagnosis diagnosis;
  const Cursor cursor(root, &diagnosis);
  std::string kind;
  field(cursor, "kind", kind);
  if (!kind.empty() && kind != KindOf<T>::kKind) {
    return make_error(ErrorCode::Invalid, "kind: \"{}\" where {} was expected", kind,
                      KindOf<T>::kKind);
  }
  T out;
  read(cursor, out);
  if (diagnosis.error) return *diagnosis.error;
  return out;
}

template <class T>
Result<ObjectList<T>> Decoder::list(std::string_view json) {
  FAIRLEAD_TRY(root, impl_->parse(json));
  Diagnosis diagnosis;
  const Cursor cursor(root, &diagnosis);
  ObjectList<T> out;
  nested(cursor, "metadata", [&](const Cursor& metadata) {
    field(metadata, "resourceVersion", out.resource_version);
    field(metadata, "continue", out.continue_token);
  });
  field(cursor, "items", out.items);
  if (diagnosis.error) return *diagnosis.error;
  return out;
}

template <class T>
Result<WatchEvent<T>> Decoder::watch_event(std::string_view json) {
  FAIRLEAD_TRY(root, impl_->parse(json));
  Diagnosis diagnosis;
  const Cursor cursor(root, &diagnosis);
  std::string type_text;
  field(cursor, "type", type_text);
  if (diagnosis.error) return *diagnosis.error;
  const auto type = event_type(type_text);
  if (!type) return make_error(ErrorCode::Invalid, "type: \"{}\" is no watch event", type_text);
  // An event without its object would name none: the reader would file it under the empty key.
  if (!cursor.object_field("object")) return make_error(ErrorCode::Invalid, "object: is missing");
  WatchEvent<T> out{.type = *type};
  nested(cursor, "object", [&](const Cursor& object) {
    if (*type == WatchEventType::Error) {
      out.error = read_status(object, 500);
    } else if (*type == WatchEventType::Bookmark) {
      field(object, "metadata", out.object.metadata);
      out.initial_events_end =
          out.object.metadata.annotations.contains("k8s.io/initial-events-end");
    } else {
      read(object, out.object);
    }
  });
  if (diagnosis.error) return *diagnosis.error;
  return out;
}

Error Decoder::status(std::string_view json, unsigned http_status) {
  auto root = impl_->parse(json);
  if (!root)
    return Error{.code = status_error_code("", http_status),
                 .message = fmt::format("HTTP status {}", http_status)};
  Diagnosis diagnosis;
  return read_status(Cursor(*root, &diagnosis), http_status);
}

#define FAIRLEAD_INSTANTIATE(T)                                      \
  template Result<T> Decoder::object<T>(std::string_view);           \
  template Result<ObjectList<T>> Decoder::list<T>(std::string_view); \
  template Result<WatchEvent<T>> Decoder::watch_event<T>(std::string_view)
FAIRLEAD_INSTANTIATE(Service);
FAIRLEAD_INSTANTIATE(EndpointSlice);
FAIRLEAD_INSTANTIATE(Endpoints);
FAIRLEAD_INSTANTIATE(Pod);
FAIRLEAD_INSTANTIATE(Node);
FAIRLEAD_INSTANTIATE(Namespace);
FAIRLEAD_INSTANTIATE(ServiceCidr);
FAIRLEAD_INSTANTIATE(Lease);
#undef FAIRLEAD_INSTANTIATE

}  // namespace fairlead::kube
