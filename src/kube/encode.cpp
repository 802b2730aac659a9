// Encoding: each struct as the JSON a client sends. What is empty is left out, so that the server's
// defaults apply.
#include "kube/codec.hpp"
#include "kube/json_writer.hpp"

namespace fairlead::kube {
namespace {

template <class T>
void begin(JsonWriter& w) {
  w.begin_object();
  w.member("kind", KindOf<T>::kKind);
  w.member("apiVersion", KindOf<T>::kApiVersion);
}

void write_strings(JsonWriter& w, std::string_view name, const std::vector<std::string>& values) {
  if (values.empty()) return;
  w.key(name);
  w.begin_list();
  for (const std::string& value : values) w.string(value);
  w.end_list();
}

void write_map(JsonWriter& w, std::string_view name, const StringMap& map) {
  if (map.empty()) return;
  w.key(name);
  w.begin_object();
  for (const auto& [key, value] : map) w.member(key, value);
  w.end_object();
}

void write_time(JsonWriter& w, std::string_view name, const std::optional<WallTime>& time) {
  if (time) w.member(name, format_rfc3339(*time));
}

template <class List, class Each>
void write_list(JsonWriter& w, std::string_view name, const List& list, const Each& each) {
  if (list.empty()) return;
  w.key(name);
  w.begin_list();
  for (const auto& item : list) {
    w.begin_object();
    each(item);
    w.end_object();
  }
  w.end_list();
}

void write_int_or_string(JsonWriter& w, std::string_view name, const IntOrString& value) {
  if (const auto* number = std::get_if<std::int32_t>(&value)) {
    w.member(name, *number);
  } else {
    w.member(name, std::get<std::string>(value));
  }
}

void write_metadata(JsonWriter& w, const ObjectMeta& m) {
  w.key("metadata");
  w.begin_object();
  w.member_unless_empty("name", m.name);
  w.member_unless_empty("generateName", m.generate_name);
  w.member_unless_empty("namespace", m.namespace_);
  w.member_unless_empty("uid", m.uid);
  w.member_unless_empty("resourceVersion", m.resource_version);
  write_time(w, "creationTimestamp", m.creation_timestamp);
  write_time(w, "deletionTimestamp", m.deletion_timestamp);
  if (m.deletion_grace_period_seconds)
    w.member("deletionGracePeriodSeconds", *m.deletion_grace_period_seconds);
  write_map(w, "labels", m.labels);
  write_map(w, "annotations", m.annotations);
  write_list(w, "ownerReferences", m.owner_references, [&](const OwnerReference& owner) {
    w.member("apiVersion", owner.api_version);
    w.member("kind", owner.kind);
    w.member("name", owner.name);
    w.member("uid", owner.uid);
    if (owner.controller) w.member_flag("controller", true);
    if (owner.block_owner_deletion) w.member_flag("blockOwnerDeletion", true);
  });
  write_strings(w, "finalizers", m.finalizers);
  w.end_object();
}

std::string_view text_of(ServiceType type) {
  switch (type) {
    case ServiceType::ClusterIp:
      return "ClusterIP";
    case ServiceType::NodePort:
      return "NodePort";
    case ServiceType::LoadBalancer:
      return "LoadBalancer";
    case ServiceType::ExternalName:
      return "ExternalName";
  }
  return "";
}

std::string_view text_of(TrafficPolicy policy) {
  return policy == TrafficPolicy::Local ? "Local" : "Cluster";
}

void write_service_ports(JsonWriter& w, const std::vector<ServicePort>& ports) {
  write_list(w, "ports", ports, [&](const ServicePort& port) {
    w.member_unless_empty("name", port.name);
    w.member("protocol", to_string(port.protocol));
    w.member("port", port.port);
    if (port.target_port != IntOrString{0}) write_int_or_string(w, "targetPort", port.target_port);
    if (port.node_port != 0) w.member("nodePort", port.node_port);
    if (port.app_protocol) w.member("appProtocol", *port.app_protocol);
  });
}

bool is_external(const Service& s) {
  return s.type == ServiceType::NodePort || s.type == ServiceType::LoadBalancer ||
         !s.external_ips.empty();
}

void write_service_spec(JsonWriter& w, const Service& s) {
  w.key("spec");
  w.begin_object();
  w.member("type", text_of(s.type));
  write_service_ports(w, s.ports);
  write_map(w, "selector", s.selector);
  w.member_unless_empty("clusterIP", s.cluster_ip);
  write_strings(w, "clusterIPs", s.cluster_ips);
  std::vector<std::string> families;
  for (const IpFamily family : s.ip_families) families.emplace_back(to_string(family));
  write_strings(w, "ipFamilies", families);
  write_strings(w, "externalIPs", s.external_ips);
  w.member_unless_empty("externalName", s.external_name);
  w.member_unless_empty("loadBalancerIP", s.load_balancer_ip);
  w.member_unless_empty("loadBalancerClass", s.load_balancer_class);
  write_strings(w, "loadBalancerSourceRanges", s.load_balancer_source_ranges);
  if (s.client_ip_affinity) {
    w.member("sessionAffinity", "ClientIP");
    w.key("sessionAffinityConfig");
    w.begin_object();
    w.key("clientIP");
    w.begin_object();
    w.member("timeoutSeconds", s.affinity_timeout.count());
    w.end_object();
    w.end_object();
  }
  if (is_external(s)) w.member("externalTrafficPolicy", text_of(s.external_traffic_policy));
  if (s.type != ServiceType::ExternalName)
    w.member("internalTrafficPolicy", text_of(s.internal_traffic_policy));
  if (s.health_check_node_port != 0) w.member("healthCheckNodePort", s.health_check_node_port);
  if (s.publish_not_ready_addresses) w.member_flag("publishNotReadyAddresses", true);
  if (s.traffic_distribution) w.member("trafficDistribution", *s.traffic_distribution);
  w.end_object();
}

void write_names(JsonWriter& w, std::string_view name, const std::vector<std::string>& names) {
  write_list(w, name, names, [&](const std::string& value) { w.member("name", value); });
}

void write_target(JsonWriter& w, const std::optional<ObjectReference>& target) {
  if (!target) return;
  w.key("targetRef");
  w.begin_object();
  w.member_unless_empty("kind", target->kind);
  w.member_unless_empty("namespace", target->namespace_);
  w.member_unless_empty("name", target->name);
  w.member_unless_empty("uid", target->uid);
  w.end_object();
}

void write_addresses(JsonWriter& w, std::string_view name,
                     const std::vector<EndpointAddress>& addresses) {
  write_list(w, name, addresses, [&](const EndpointAddress& address) {
    w.member("ip", address.ip);
    w.member_unless_empty("hostname", address.hostname);
    if (address.node_name) w.member("nodeName", *address.node_name);
    write_target(w, address.target_ref);
  });
}

void write_endpoint(JsonWriter& w, const Endpoint& e) {
  write_strings(w, "addresses", e.addresses);
  if (e.ready || e.serving || e.terminating) {
    w.key("conditions");
    w.begin_object();
    if (e.ready) w.member_flag("ready", *e.ready);
    if (e.serving) w.member_flag("serving", *e.serving);
    if (e.terminating) w.member_flag("terminating", *e.terminating);
    w.end_object();
  }
  if (e.hostname) w.member("hostname", *e.hostname);
  write_target(w, e.target_ref);
  if (e.node_name) w.member("nodeName", *e.node_name);
  if (e.zone) w.member("zone", *e.zone);
  if (!e.zone_hints.empty() || !e.node_hints.empty()) {
    w.key("hints");
    w.begin_object();
    write_names(w, "forZones", e.zone_hints);
    write_names(w, "forNodes", e.node_hints);
    w.end_object();
  }
}

void write_probe(JsonWriter& w, const Probe& p) {
  w.key("readinessProbe");
  w.begin_object();
  if (const auto* tcp = std::get_if<Probe::TcpSocket>(&p.action)) {
    w.key("tcpSocket");
    w.begin_object();
    write_int_or_string(w, "port", tcp->port);
    w.end_object();
  } else if (const auto* http = std::get_if<Probe::HttpGet>(&p.action)) {
    w.key("httpGet");
    w.begin_object();
    w.member("path", http->path);
    write_int_or_string(w, "port", http->port);
    w.member("scheme", http->scheme);
    write_list(w, "httpHeaders", http->headers, [&](const auto& header) {
      w.member("name", header.first);
      w.member("value", header.second);
    });
    w.end_object();
  } else if (const auto* exec = std::get_if<Probe::Exec>(&p.action)) {
    w.key("exec");
    w.begin_object();
    write_strings(w, "command", exec->command);
    w.end_object();
  }
  w.member("initialDelaySeconds", p.initial_delay.count());
  w.member("periodSeconds", p.period.count());
  w.member("timeoutSeconds", p.timeout.count());
  w.member("successThreshold", p.success_threshold);
  w.member("failureThreshold", p.failure_threshold);
  w.end_object();
}

void write_containers(JsonWriter& w, std::string_view name,
                      const std::vector<Container>& containers) {
  write_list(w, name, containers, [&](const Container& c) {
    w.member("name", c.name);
    w.member_unless_empty("image", c.image);
    write_strings(w, "command", c.command);
    write_strings(w, "args", c.args);
    w.member_unless_empty("workingDir", c.working_dir);
    write_list(w, "env", c.env, [&](const EnvVar& env) {
      w.member("name", env.name);
      w.member_unless_empty("value", env.value);
    });
    write_list(w, "ports", c.ports, [&](const ContainerPort& port) {
      w.member_unless_empty("name", port.name);
      w.member("containerPort", port.container_port);
      w.member("protocol", to_string(port.protocol));
    });
    if (c.readiness_probe) write_probe(w, *c.readiness_probe);
    if (c.restart_policy) w.member("restartPolicy", *c.restart_policy);
  });
}

void write_conditions(JsonWriter& w, const std::vector<Condition>& conditions) {
  write_list(w, "conditions", conditions, [&](const Condition& c) {
    w.member("type", c.type);
    w.member("status", c.status);
    w.member_unless_empty("reason", c.reason);
    w.member_unless_empty("message", c.message);
    write_time(w, "lastTransitionTime", c.last_transition_time);
  });
}

void write_container_status(JsonWriter& w, const ContainerStatus& c) {
  w.member("name", c.name);
  w.member_flag("ready", c.ready);
  w.member("restartCount", c.restart_count);
  w.member("image", "");
  w.member("imageID", "");
  if (!c.running && !c.exit_code && c.waiting_reason.empty()) return;
  w.key("state");
  w.begin_object();
  if (c.running) {
    w.key("running");
    w.begin_object();
    w.end_object();
  } else if (c.exit_code) {
    w.key("terminated");
    w.begin_object();
    w.member("exitCode", *c.exit_code);
    w.end_object();
  } else {
    w.key("waiting");
    w.begin_object();
    w.member("reason", c.waiting_reason);
    w.end_object();
  }
  w.end_object();
}

void write_pod_status(JsonWriter& w, const Pod& pod) {
  w.key("status");
  w.begin_object();
  w.member("phase", to_string(pod.phase));
  w.member_unless_empty("reason", pod.status_reason);
  w.member_unless_empty("podIP", pod.pod_ip);
  w.member_unless_empty("hostIP", pod.host_ip);
  write_list(w, "podIPs", pod.pod_ips, [&](const std::string& ip) { w.member("ip", ip); });
  write_conditions(w, pod.conditions);
  write_list(w, "containerStatuses", pod.container_statuses,
             [&](const ContainerStatus& status) { write_container_status(w, status); });
  w.end_object();
}

}  // namespace

std::string encode(const Service& s) {
  JsonWriter w;
  begin<Service>(w);
  write_metadata(w, s.metadata);
  write_service_spec(w, s);
  if (!s.ingress.empty()) {
    w.key("status");
    w.begin_object();
    w.key("loadBalancer");
    w.begin_object();
    write_list(w, "ingress", s.ingress, [&](const LoadBalancerIngress& i) {
      w.member_unless_empty("ip", i.ip);
      w.member_unless_empty("hostname", i.hostname);
      if (i.ip_mode) w.member("ipMode", *i.ip_mode);
    });
    w.end_object();
    w.end_object();
  }
  w.end_object();
  return w.take();
}

std::string encode(const EndpointSlice& slice) {
  JsonWriter w;
  begin<EndpointSlice>(w);
  write_metadata(w, slice.metadata);
  w.member("addressType", to_string(slice.address_type));
  w.key("endpoints");  // required: an empty list, never absent
  w.begin_list();
  for (const Endpoint& endpoint : slice.endpoints) {
    w.begin_object();
    write_endpoint(w, endpoint);
    w.end_object();
  }
  w.end_list();
  write_list(w, "ports", slice.ports, [&](const EndpointPort& port) {
    if (port.name) w.member("name", *port.name);
    w.member("protocol", to_string(port.protocol));
    if (port.port) w.member("port", *port.port);
    if (port.app_protocol) w.member("appProtocol", *port.app_protocol);
  });
  w.end_object();
  return w.take();
}

std::string encode(const Endpoints& endpoints) {
  JsonWriter w;
  begin<Endpoints>(w);
  write_metadata(w, endpoints.metadata);
  write_list(w, "subsets", endpoints.subsets, [&](const EndpointSubset& subset) {
    write_addresses(w, "addresses", subset.addresses);
    write_addresses(w, "notReadyAddresses", subset.not_ready_addresses);
    write_list(w, "ports", subset.ports, [&](const EndpointPort& port) {
      if (port.name) w.member("name", *port.name);
      if (port.port) w.member("port", *port.port);
      w.member("protocol", to_string(port.protocol));
      if (port.app_protocol) w.member("appProtocol", *port.app_protocol);
    });
  });
  w.end_object();
  return w.take();
}

std::string encode(const Pod& pod) {
  JsonWriter w;
  begin<Pod>(w);
  write_metadata(w, pod.metadata);
  w.key("spec");
  w.begin_object();
  w.member_unless_empty("nodeName", pod.node_name);
  write_containers(w, "containers", pod.containers);
  write_containers(w, "initContainers", pod.init_containers);
  w.member_unless_empty("restartPolicy", pod.restart_policy);
  w.member_unless_empty("hostname", pod.hostname);
  w.member_unless_empty("subdomain", pod.subdomain);
  if (pod.host_network) w.member_flag("hostNetwork", true);
  if (pod.termination_grace_period_seconds) {
    w.member("terminationGracePeriodSeconds", *pod.termination_grace_period_seconds);
  }
  w.end_object();
  write_pod_status(w, pod);
  w.end_object();
  return w.take();
}

std::string encode(const Node& node) {
  JsonWriter w;
  begin<Node>(w);
  write_metadata(w, node.metadata);
  w.key("spec");
  w.begin_object();
  if (!node.pod_cidrs.empty()) w.member("podCIDR", node.pod_cidrs.front());
  write_strings(w, "podCIDRs", node.pod_cidrs);
  write_list(w, "taints", node.taints, [&](const Taint& taint) {
    w.member("key", taint.key);
    w.member_unless_empty("value", taint.value);
    w.member("effect", taint.effect);
  });
  if (node.unschedulable) w.member_flag("unschedulable", true);
  w.end_object();
  w.key("status");
  w.begin_object();
  write_list(w, "addresses", node.addresses, [&](const NodeAddress& address) {
    w.member("type", address.type);
    w.member("address", address.address);
  });
  write_conditions(w, node.conditions);
  if (node.allocatable_cpu) {
    w.key("allocatable");
    w.begin_object();
    w.member("cpu", to_string(*node.allocatable_cpu));
    w.end_object();
  }
  w.end_object();
  w.end_object();
  return w.take();
}

std::string encode(const Lease& lease) {
  constexpr int kMicroTime = 6;  // digits, neither more nor fewer
  JsonWriter w;
  begin<Lease>(w);
  write_metadata(w, lease.metadata);
  w.key("spec");
  w.begin_object();
  w.member("holderIdentity", lease.holder_identity);
  w.member("leaseDurationSeconds", lease.duration.count());
  if (lease.acquire_time) w.member("acquireTime", format_rfc3339(*lease.acquire_time, kMicroTime));
  if (lease.renew_time) w.member("renewTime", format_rfc3339(*lease.renew_time, kMicroTime));
  w.member("leaseTransitions", lease.transitions);
  w.end_object();
  w.end_object();
  return w.take();
}

std::string encode(const Namespace& ns) {
  JsonWriter w;
  begin<Namespace>(w);
  write_metadata(w, ns.metadata);
  w.key("status");
  w.begin_object();
  w.member_unless_empty("phase", ns.phase);
  w.end_object();
  w.end_object();
  return w.take();
}

}  // namespace fairlead::kube
