#include "apiserver/service_rules.hpp"

#include <algorithm>
#include <boost/json/array.hpp>
#include <set>

#include "apiserver/metadata.hpp"
#include "apiserver/service_networking.hpp"
#include "apiserver/strategy.hpp"
#include "base/ip.hpp"
#include "base/text.hpp"

namespace fairlead::apiserver {
namespace {

using boost::json::array;
using boost::json::value;

std::string_view type_of(const Document& service) { return string_at(service, "spec.type"); }

bool has_items(const Document& service, std::string_view path) {
  const array* list = array_at(service, path);
  return list != nullptr && !list->empty();
}

bool externally_accessible(const Document& service) {
  const std::string_view type = type_of(service);
  return type == "NodePort" || type == "LoadBalancer" ||
         (type == "ClusterIP" && has_items(service, "spec.externalIPs"));
}

bool is_headless(const Document& service) { return read_networking(service).is_headless(); }

bool is_one_of(std::string_view text, const std::vector<std::string_view>& allowed) {
  return std::ranges::find(allowed, text) != allowed.end();
}

std::string item(std::string_view list, std::size_t i) { return fmt::format("{}[{}]", list, i); }

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
  auto* ports = ensure_object(service, "spec")["ports"].if_array();
  for (std::size_t i = 0; ports != nullptr && i < ports->size(); ++i) {
    if (auto* port = (*ports)[i].if_object()) port->erase("nodePort");
  }
}

// ---- validation

constexpr std::string_view kPortRange = "must be between 1 and 65535, inclusive";

FieldErrors validate_target_port(const Document& port, const std::string& field) {
  const value* target = port.if_contains("targetPort");
  if (target == nullptr) return {};
  if (target->is_int64()) {
    if (target->get_int64() < 1 || target->get_int64() > 65535)
      return {invalid(field, *target, std::string(kPortRange))};
    return {};
  }
  const std::string text(string_at(port, "targetPort"));
  FieldErrors errors;
  const auto complain = [&](std::string_view why) {
    errors.push_back(invalid(field, text, std::string(why)));
  };
  if (text.size() > 15) complain("must be no more than 15 characters");
  if (text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") != std::string::npos)
    complain("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
  if (text.find_first_of("abcdefghijklmnopqrstuvwxyz") == std::string::npos)
    complain("must contain at least one letter (a-z)");
  if (text.find("--") != std::string::npos) complain("must not contain consecutive hyphens");
  if (text.starts_with('-') || text.ends_with('-')) complain("must not begin or end with a hyphen");
  return errors;
}

void append(FieldErrors& to, FieldErrors more) { std::ranges::move(more, std::back_inserter(to)); }

FieldErrors validate_port(const Document& port, const std::string& field, bool name_needed) {
  FieldErrors errors;
  const std::string name(string_at(port, "name"));
  if (name.empty() && name_needed) errors.push_back(required(field + ".name"));
  if (!name.empty() && !is_dns1123_label(name)) {
    errors.push_back(
        invalid(field + ".name", name,
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or "
                "'-', and must start and end with an alphanumeric character"));
  }
  const std::int64_t number = int_at(port, "port").value_or(0);
  if (number < 1 || number > 65535)
    errors.push_back(invalid(field + ".port", number, std::string(kPortRange)));
  const std::string protocol(string_at(port, "protocol"));
  if (protocol.empty()) {
    errors.push_back(required(field + ".protocol"));
  } else if (!parse_protocol(protocol)) {
    errors.push_back(not_supported(field + ".protocol", protocol, {"SCTP", "TCP", "UDP"}));
  }
  append(errors, validate_target_port(port, field + ".targetPort"));
  if (const std::string app(string_at(port, "appProtocol")); !app.empty()) {
    for (const std::string& why : qualified_name_errors(app))
      errors.push_back(invalid(field + ".appProtocol", app, why));
  }
  return errors;
}

FieldErrors validate_ports(const Document& service) {
  static const array none;
  const array* list = array_at(service, "spec.ports");
  const array& ports = list == nullptr ? none : *list;
  const bool optional = is_headless(service) || type_of(service) == "ExternalName";
  if (ports.empty() && !optional) return {required("spec.ports")};
  FieldErrors errors;
  std::set<std::string> names;
  std::set<std::pair<std::string, std::int64_t>> numbers, host_numbers;
  for (std::size_t i = 0; i < ports.size(); ++i) {
    const std::string field = item("spec.ports", i);
    const Document* port = ports[i].if_object();
    if (port == nullptr) continue;  // conform refused it already
    append(errors, validate_port(*port, field, ports.size() > 1));
    const std::string name(string_at(*port, "name")), protocol(string_at(*port, "protocol"));
    if (!name.empty() && !names.insert(name).second)
      errors.push_back(duplicate(field + ".name", name));
    if (!numbers.emplace(protocol, int_at(*port, "port").value_or(0)).second)
      errors.push_back(duplicate(field, ports[i]));
    const std::int64_t node_port = int_at(*port, "nodePort").value_or(0);
    if (node_port == 0) continue;
    if (type_of(service) == "ClusterIP" || type_of(service) == "ExternalName") {
      errors.push_back(
          forbidden(field + ".nodePort",
                    fmt::format("may not be used when `type` is '{}'", type_of(service))));
    } else if (!host_numbers.emplace(protocol, node_port).second) {
      errors.push_back(duplicate(field + ".nodePort", node_port));
    }
  }
  return errors;
}

FieldErrors validate_selector(const Document& service) {
  FieldErrors errors;
  const Document* selector = object_at(service, "spec.selector");
  if (selector == nullptr) return errors;
  for (const auto& member : *selector) {
    const std::string key(member.key());
    for (const std::string& why : qualified_name_errors(key))
      errors.push_back(invalid("spec.selector", key, why));
    const std::string text(string_at(Document{{"v", member.value()}}, "v"));
    for (const std::string& why : label_value_errors(text))
      errors.push_back(invalid("spec.selector", text, why));
  }
  return errors;
}

FieldErrors validate_affinity(const Document& service) {
  const std::string affinity(string_at(service, "spec.sessionAffinity"));
  if (affinity.empty()) return {required("spec.sessionAffinity")};
  if (!is_one_of(affinity, {"ClientIP", "None"}))
    return {not_supported("spec.sessionAffinity", affinity, {"ClientIP", "None"})};
  const bool configured = find_path(service, "spec.sessionAffinityConfig") != nullptr;
  if (affinity == "None") {
    if (configured)
      return {
          forbidden("spec.sessionAffinityConfig", "must not be set when session affinity is None")};
    return {};
  }
  const auto seconds = int_at(service, "spec.sessionAffinityConfig.clientIP.timeoutSeconds");
  const std::string field = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
  if (!seconds) return {required(field)};
  if (*seconds < 1 || *seconds > 86400)
    return {invalid(field, *seconds, "must be greater than 0 and less than 86400")};
  return {};
}

std::optional<std::string> why_no_endpoint_ip(const IpAddress& ip) {
  if (ip.is_unspecified()) return "may not be unspecified";
  if (ip.is_loopback()) return "may not be in the loopback range (127.0.0.0/8, ::1/128)";
  if (ip.is_link_local()) return "may not be in the link-local range (169.254.0.0/16, fe80::/10)";
  if (ip.is_link_local_multicast())
    return "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)";
  return std::nullopt;
}

FieldErrors validate_external_ips(const Document& service) {
  FieldErrors errors;
  const array* list = array_at(service, "spec.externalIPs");
  for (std::size_t i = 0; list != nullptr && i < list->size(); ++i) {
    const std::string text =
        (*list)[i].is_string() ? std::string((*list)[i].get_string()) : std::string();
    const auto address = IpAddress::parse(text);
    if (!address) {
      errors.push_back(invalid(item("spec.externalIPs", i), text,
                               "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"));
    } else if (const auto why = why_no_endpoint_ip(*address)) {
      errors.push_back(invalid(item("spec.externalIPs", i), text, *why));
    }
  }
  return errors;
}

FieldErrors validate_source_ranges(const Document& service) {
  FieldErrors errors;
  const array* list = array_at(service, "spec.loadBalancerSourceRanges");
  if (list == nullptr || list->empty()) return errors;
  constexpr std::string_view kField = "spec.LoadBalancerSourceRanges";
  if (type_of(service) != "LoadBalancer")
    return {forbidden(std::string(kField), "may only be used when `type` is 'LoadBalancer'")};
  for (std::size_t i = 0; i < list->size(); ++i) {
    const std::string text =
        (*list)[i].is_string() ? std::string((*list)[i].get_string()) : std::string();
    if (!IpPrefix::parse(trim(text))) {
      errors.push_back(invalid(item(kField, i), text,
                               "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"));
    }
  }
  return errors;
}

FieldErrors validate_load_balancer_fields(const Document& service) {
  FieldErrors errors;
  const bool balanced = type_of(service) == "LoadBalancer";
  if (!balanced && bool_at(service, "spec.allocateLoadBalancerNodePorts")) {
    errors.push_back(forbidden("spec.allocateLoadBalancerNodePorts",
                               "may only be used when `type` is 'LoadBalancer'"));
  }
  if (const std::string name(string_at(service, "spec.loadBalancerClass")); !name.empty()) {
    if (!balanced)
      errors.push_back(
          forbidden("spec.loadBalancerClass", "may only be used when `type` is 'LoadBalancer'"));
    for (const std::string& why : qualified_name_errors(name))
      errors.push_back(invalid("spec.loadBalancerClass", name, why));
  }
  const std::int64_t health = int_at(service, "spec.healthCheckNodePort").value_or(0);
  const bool needed = balanced && string_at(service, "spec.externalTrafficPolicy") == "Local";
  if (needed && (health < 1 || health > 65535)) {
    errors.push_back(invalid("spec.healthCheckNodePort", health, std::string(kPortRange)));
  } else if (!needed && health != 0) {
    errors.push_back(invalid(
        "spec.healthCheckNodePort", health,
        "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"));
  }
  return errors;
}

FieldErrors validate_policies(const Document& service) {
  FieldErrors errors;
  const std::string external(string_at(service, "spec.externalTrafficPolicy"));
  if (!externally_accessible(service)) {
    if (!external.empty())
      errors.push_back(invalid("spec.externalTrafficPolicy", external,
                               "may only be set for externally-accessible services"));
  } else if (external.empty()) {
    errors.push_back(required("spec.externalTrafficPolicy"));
  } else if (!is_one_of(external, {"Cluster", "Local"})) {
    errors.push_back(not_supported("spec.externalTrafficPolicy", external, {"Cluster", "Local"}));
  }
  const std::string internal(string_at(service, "spec.internalTrafficPolicy"));
  if (internal.empty()) {
    if (type_of(service) != "ExternalName")
      errors.push_back(required("spec.internalTrafficPolicy"));
  } else if (!is_one_of(internal, {"Cluster", "Local"})) {
    errors.push_back(not_supported("spec.internalTrafficPolicy", internal, {"Cluster", "Local"}));
  }
  const std::string distribution(string_at(service, "spec.trafficDistribution"));
  if (!distribution.empty() &&
      !is_one_of(distribution, {"PreferClose", "PreferSameZone", "PreferSameNode"})) {
    errors.push_back(not_supported("spec.trafficDistribution", distribution,
                                   {"PreferClose", "PreferSameZone", "PreferSameNode"}));
  }
  return errors;
}

FieldErrors validate_type(const Document& service) {
  const std::string type(type_of(service));
  if (!is_one_of(type, {"ClusterIP", "ExternalName", "LoadBalancer", "NodePort"})) {
    return {not_supported("spec.type", type,
                          {"ClusterIP", "ExternalName", "LoadBalancer", "NodePort"})};
  }
  if (is_headless(service) && (type == "NodePort" || type == "LoadBalancer")) {
    return {invalid("spec.clusterIPs[0]", "None",
                    fmt::format("may not be set to 'None' for {} services", type))};
  }
  if (type != "ExternalName") return {};
  std::string name(string_at(service, "spec.externalName"));
  if (name.empty()) return {required("spec.externalName")};
  const std::string bare = name.ends_with('.') ? name.substr(0, name.size() - 1) : name;
  if (!is_dns1123_subdomain(bare))
    return {
        invalid("spec.externalName", name,
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric "
                "characters, '-' or '.', and must start and end with an alphanumeric character")};
  return {};
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
  if (externally_accessible(service)) set_default(spec, "externalTrafficPolicy", "Cluster");
  const std::string type(type_of(service));
  if (is_one_of(type, {"ClusterIP", "NodePort", "LoadBalancer"}))
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
    if (!externally_accessible(service)) clear_if_same(old, service, "externalTrafficPolicy");
  } else if (!externally_accessible(service)) {
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

FieldErrors validate_service(const Document& service) {
  FieldErrors errors = validate_type(service);
  append(errors, validate_ports(service));
  append(errors, validate_selector(service));
  append(errors, validate_affinity(service));
  append(errors, validate_networking(read_networking(service)));
  append(errors, validate_external_ips(service));
  append(errors, validate_source_ranges(service));
  append(errors, validate_load_balancer_fields(service));
  append(errors, validate_policies(service));
  return errors;
}

FieldErrors validate_service_update(const Document& old, const Document& service) {
  FieldErrors errors;
  const ServiceNetworking before = read_networking(old), now = read_networking(service);
  if (!before.is_external_name() && !now.is_external_name()) {
    for (std::size_t i = 0; i < before.cluster_ips.size(); ++i) {
      const bool released =
          i == 1 && now.ip_family_policy == "SingleStack" && now.cluster_ips.size() == 1;
      const bool kept = i < now.cluster_ips.size() && now.cluster_ips[i] == before.cluster_ips[i];
      if (!kept && !released) {
        errors.push_back(invalid(item("spec.clusterIPs", i),
                                 i < now.cluster_ips.size() ? now.cluster_ips[i] : std::string(),
                                 "may not change once set"));
      }
    }
    if (!before.ip_families.empty() && !now.ip_families.empty() &&
        now.ip_families[0] != before.ip_families[0]) {
      errors.push_back(
          invalid("spec.ipFamilies[0]", now.ip_families[0], "may not change once set"));
    }
  }
  if (type_of(old) == "LoadBalancer" && type_of(service) == "LoadBalancer" &&
      string_at(old, "spec.loadBalancerClass") != string_at(service, "spec.loadBalancerClass")) {
    errors.push_back(invalid("spec.loadBalancerClass", string_at(service, "spec.loadBalancerClass"),
                             "may not change once set"));
  }
  const auto health_before = int_at(old, "spec.healthCheckNodePort").value_or(0);
  const auto health_now = int_at(service, "spec.healthCheckNodePort").value_or(0);
  if (health_before != 0 && health_now != 0 && health_before != health_now) {
    errors.push_back(forbidden("spec.healthCheckNodePort", "field is immutable"));
  }
  append(errors, validate_service(service));
  return errors;
}

std::vector<std::string> service_warnings(const Document& service) {
  std::vector<std::string> out;
  const bool external_name = type_of(service) == "ExternalName", headless = is_headless(service);
  const bool external_ips = has_items(service, "spec.externalIPs");
  if (external_ips && !headless && !external_name) {
    out.emplace_back("spec.externalIPs is deprecated and will be ignored by a future release");
  }
  if (headless && !string_at(service, "spec.loadBalancerIP").empty())
    out.emplace_back("spec.loadBalancerIP is ignored for headless services");
  if (headless && external_ips)
    out.emplace_back("spec.externalIPs is ignored for headless services");
  if (headless && string_at(service, "spec.sessionAffinity") == "ClientIP")
    out.emplace_back("spec.SessionAffinity is ignored for headless services");
  if (!external_name && !string_at(service, "spec.externalName").empty())
    out.emplace_back("spec.externalName is ignored when spec.type is not \"ExternalName\"");
  if (external_name && external_ips)
    out.emplace_back("spec.externalIPs is ignored when spec.type is \"ExternalName\"");
  if (string_at(service, "spec.trafficDistribution") == "PreferClose") {
    out.emplace_back("spec.trafficDistribution: PreferClose is deprecated; use PreferSameZone");
  }
  return out;
}

}  // namespace fairlead::apiserver
