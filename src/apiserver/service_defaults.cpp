#include "apiserver/service_defaults.hpp"

#include <algorithm>
#include <boost/json/array.hpp>
#include <set>

#include "apiserver/service_networking.hpp"
#include "apiserver/strategy.hpp"

namespace fairlead::apiserver {
namespace {

using boost::json::array;
using boost::json::value;

std::string_view type_of(const Document& service) { return string_at(service, "spec.type"); }

void set_default(Document& object, std::string_view name, value fallback) {
  value& held = object[name];
  const bool empty = held.is_null() || (held.is_string() && held.get_string().empty());
  if (empty) held = std::move(fallback);
}

void default_ports(Document& spec) {
  auto* ports = spec.if_contains("ports") == nullptr ? nullptr : spec["ports"].if_array();
  for (std::size_t i = 0; ports != nullptr && i < ports->size(); ++i) {
    Document* port = (*ports)[i].if_object();
    if (port == nullptr) continue;
    set_default(*port, "protocol", "TCP");
    const value* target = port->if_contains("targetPort");
    const bool unset = target == nullptr || (target->is_string() && target->get_string().empty()) ||
                       (target->is_int64() && target->get_int64() == 0);
    if (unset && port->contains("port")) (*port)["targetPort"] = port->at("port");
  }
}

void default_ingress_mode(Document& service) {
  value* status = service.if_contains("status");
  value* balancer = status == nullptr || !status->is_object()
                        ? nullptr
                        : status->get_object().if_contains("loadBalancer");
  value* ingress = balancer == nullptr || !balancer->is_object()
                       ? nullptr
                       : balancer->get_object().if_contains("ingress");
  if (ingress == nullptr || !ingress->is_array()) return;
  for (value& entry : ingress->get_array()) {
    if (entry.is_object() && !string_at(entry.get_object(), "ip").empty())
      set_default(entry.get_object(), "ipMode", "VIP");
  }
}

// Clears `name` if the user left it as it was.
void clear_if_same(const Document& old, Document& service, std::string_view name) {
  Document& spec = ensure_object(service, "spec");
  const value* before = find_path(old, fmt::format("spec.{}", name));
  const value* now = spec.if_contains(name);
  if (now != nullptr && before != nullptr && *now == *before) spec.erase(name);
}

std::set<std::int64_t> node_ports(const Document& service) {
  std::set<std::int64_t> out;
  if (const array* ports = array_at(service, "spec.ports")) {
    for (const value& port : *ports) {
      const auto number = port.is_object() ? int_at(port.get_object(), "nodePort") : std::nullopt;
      if (number && *number != 0) out.insert(*number);
    }
  }
  return out;
}

void clear_node_ports(const Document& old, Document& service) {
  const auto before = node_ports(old), now = node_ports(service);
  if (!std::ranges::includes(before, now))
    return;  // the user asks for new ones: validation will say no
  value* ports = ensure_object(service, "spec").if_contains("ports");
  if (ports == nullptr || !ports->is_array()) return;
  for (value& port : ports->get_array()) {
    if (port.is_object()) port.get_object().erase("nodePort");
  }
}

}  // namespace

void apply_service_defaults(Document& service) {
  Document& spec = ensure_object(service, "spec");
  set_default(spec, "type", "ClusterIP");
  set_default(spec, "sessionAffinity", "None");
  if (string_at(spec, "sessionAffinity") == "None") spec.erase("sessionAffinityConfig");
  if (string_at(spec, "sessionAffinity") == "ClientIP") {
    Document& client = ensure_object(ensure_object(spec, "sessionAffinityConfig"), "clientIP");
    if (!client.contains("timeoutSeconds")) client["timeoutSeconds"] = 10800;
  }
  default_ports(spec);
  if (is_externally_accessible(service)) set_default(spec, "externalTrafficPolicy", "Cluster");
  const std::string type(type_of(service));
  if (type == "ClusterIP" || type == "NodePort" || type == "LoadBalancer")
    set_default(spec, "internalTrafficPolicy", "Cluster");
  if (type == "LoadBalancer") {
    if (!spec.contains("allocateLoadBalancerNodePorts"))
      spec["allocateLoadBalancerNodePorts"] = true;
    default_ingress_mode(service);
  }
}

void clear_type_dependent_fields(const Document& old, Document& service) {
  const std::string before(type_of(old)), now(type_of(service));
  const auto had_node_ports = [](const std::string& type) {
    return type == "NodePort" || type == "LoadBalancer";
  };
  if (now == "ExternalName" && before != now) {
    for (const std::string_view name : {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"})
      clear_if_same(old, service, name);
    clear_if_same(old, service, "internalTrafficPolicy");
  }
  if (had_node_ports(before) && !had_node_ports(now)) {
    clear_node_ports(old, service);
    if (!is_externally_accessible(service)) clear_if_same(old, service, "externalTrafficPolicy");
  } else if (!is_externally_accessible(service)) {
    clear_if_same(old, service, "externalTrafficPolicy");
  }
  if (before == "LoadBalancer" && now != before) {
    for (const std::string_view name : {"allocateLoadBalancerNodePorts", "loadBalancerClass"})
      clear_if_same(old, service, name);
    service["status"] = Document{{"loadBalancer", Document{}}};
  }
  const bool health_check_needed =
      now == "LoadBalancer" && string_at(service, "spec.externalTrafficPolicy") == "Local";
  if (!health_check_needed) clear_if_same(old, service, "healthCheckNodePort");
}

}  // namespace fairlead::apiserver
