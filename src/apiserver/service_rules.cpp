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

const value* annotation_of(const Document& service, std::string_view name) {
  const Document* annotations = object_at(service, "metadata.annotations");
  return annotations == nullptr ? nullptr : annotations->if_contains(name);
}

bool is_headless(const Document& service) { return read_networking(service).is_headless(); }

bool is_one_of(std::string_view text, const std::vector<std::string_view>& allowed) {
  return std::ranges::find(allowed, text) != allowed.end();
}

constexpr std::string_view kAddressForm =
    "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
constexpr std::string_view kSubdomainForm =
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character";
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

FieldErrors validate_port(const Document& port, const std::string& field, bool name_needed) {
  FieldErrors errors;
  const std::string name(string_at(port, "name"));
  if (name.empty() && name_needed) errors.push_back(required(field + ".name"));
  if (!name.empty() && !is_dns1123_label(name)) {
    errors.push_back(invalid(field + ".name", name, std::string(kLabelForm)));
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
    const std::string field = indexed("spec.ports", i);
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
      errors.push_back(invalid(indexed("spec.externalIPs", i), text, std::string(kAddressForm)));
    } else if (const auto why = why_no_endpoint_ip(*address)) {
      errors.push_back(invalid(indexed("spec.externalIPs", i), text, *why));
    }
  }
  return errors;
}

constexpr std::string_view kCidrForm =
    "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
constexpr std::string_view kBalancerOnly = "may only be used when `type` is 'LoadBalancer'";

// The annotation says it for those who wrote their manifests before the field was there.
FieldErrors validate_source_range_annotation(const Document& service) {
  constexpr std::string_view kAnnotation = "service.beta.kubernetes.io/load-balancer-source-ranges";
  const value* held = annotation_of(service, kAnnotation);
  if (held == nullptr || !held->is_string()) return {};
  const std::string field = fmt::format("metadata.annotations[{}]", kAnnotation);
  if (type_of(service) != "LoadBalancer") return {forbidden(field, std::string(kBalancerOnly))};
  const std::string_view text(held->get_string());
  const auto ranges = split(trim(text), ',');
  const bool good = trim(text).empty() || std::ranges::all_of(ranges, [](std::string_view range) {
                      return IpPrefix::parse(trim(range)).has_value();
                    });
  if (good) return {};
  return {invalid(field, text, "must be a comma-separated list of CIDR values")};
}

FieldErrors validate_source_ranges(const Document& service) {
  const array* list = array_at(service, "spec.loadBalancerSourceRanges");
  if (list == nullptr || list->empty()) return validate_source_range_annotation(service);
  constexpr std::string_view kField = "spec.LoadBalancerSourceRanges";
  if (type_of(service) != "LoadBalancer")
    return {forbidden(std::string(kField), std::string(kBalancerOnly))};
  FieldErrors errors;
  for (std::size_t i = 0; i < list->size(); ++i) {
    const std::string text =
        (*list)[i].is_string() ? std::string((*list)[i].get_string()) : std::string();
    if (!IpPrefix::parse(trim(text)))
      errors.push_back(invalid(indexed(kField, i), text, std::string(kCidrForm)));
  }
  return errors;
}

FieldErrors validate_load_balancer_fields(const Document& service) {
  FieldErrors errors;
  const bool balanced = type_of(service) == "LoadBalancer";
  if (!balanced && bool_at(service, "spec.allocateLoadBalancerNodePorts")) {
    errors.push_back(forbidden("spec.allocateLoadBalancerNodePorts", std::string(kBalancerOnly)));
  }
  if (const std::string name(string_at(service, "spec.loadBalancerClass")); !name.empty()) {
    if (!balanced)
      errors.push_back(forbidden("spec.loadBalancerClass", std::string(kBalancerOnly)));
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

constexpr std::string_view kTopologyMode = "service.kubernetes.io/topology-mode";
constexpr std::string_view kTopologyHints = "service.kubernetes.io/topology-aware-hints";

FieldErrors validate_topology_annotations(const Document& service) {
  const value *mode = annotation_of(service, kTopologyMode),
              *hints = annotation_of(service, kTopologyHints);
  if (mode == nullptr || hints == nullptr || *mode == *hints) return {};
  return {invalid(fmt::format("metadata.annotations[{}]", kTopologyMode), *mode,
                  fmt::format("must be the same as annotations[{}]", kTopologyHints))};
}

FieldErrors validate_policies(const Document& service) {
  FieldErrors errors;
  const std::string external(string_at(service, "spec.externalTrafficPolicy"));
  if (!is_externally_accessible(service)) {
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
    return {invalid("spec.externalName", name, std::string(kSubdomainForm))};
  return {};
}

FieldErrors validate_ingress(const Document& ingress, const std::string& field) {
  FieldErrors errors;
  const std::string ip(string_at(ingress, "ip")), host(string_at(ingress, "hostname")),
      mode(string_at(ingress, "ipMode"));
  if (!ip.empty() && !IpAddress::parse(ip))
    errors.push_back(invalid(field + ".ip", ip, std::string(kAddressForm)));
  if (!mode.empty() && ip.empty()) {
    errors.push_back(forbidden(field + ".ipMode", "may not be specified when `ip` is not set"));
  } else if (!mode.empty() && !is_one_of(mode, {"Proxy", "VIP"})) {
    errors.push_back(not_supported(field + ".ipMode", mode, {"Proxy", "VIP"}));
  }
  if (host.empty()) return errors;
  if (!is_dns1123_subdomain(host))
    errors.push_back(invalid(field + ".hostname", host, std::string(kSubdomainForm)));
  if (IpAddress::parse(host))
    errors.push_back(invalid(field + ".hostname", host, "must be a DNS name, not an IP address"));
  return errors;
}

// Allowed, but others may compare addresses as texts.
void append_spelling_warnings(const Document& service, std::string_view list_name,
                              std::vector<std::string>& out) {
  const array* list = array_at(service, list_name);
  for (std::size_t i = 0; list != nullptr && i < list->size(); ++i) {
    const std::string text((*list)[i].is_string() ? std::string_view((*list)[i].get_string()) : "");
    const auto address = IpAddress::parse(text);
    if (address && address->to_string() != text)
      out.push_back(fmt::format("{}: \"{}\" is better written \"{}\"", indexed(list_name, i), text,
                                address->to_string()));
  }
}

}  // namespace

FieldErrors validate_service(const Document& service) {
  FieldErrors errors = validate_topology_annotations(service);
  append(errors, validate_type(service));
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
        errors.push_back(invalid(indexed("spec.clusterIPs", i),
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

FieldErrors validate_service_status(const Document& service) {
  const array* list = array_at(service, "status.loadBalancer.ingress");
  if (list == nullptr || list->empty()) return {};
  constexpr std::string_view kField = "status.loadBalancer.ingress";
  if (type_of(service) != "LoadBalancer")
    return {forbidden(std::string(kField), "may only be used when `spec.type` is 'LoadBalancer'")};
  FieldErrors errors;
  for (std::size_t i = 0; i < list->size(); ++i) {
    if (const Document* ingress = (*list)[i].if_object())
      append(errors, validate_ingress(*ingress, indexed(kField, i)));
  }
  return errors;
}

std::vector<std::string> service_warnings(const Document& service) {
  std::vector<std::string> out;
  const bool external_name = type_of(service) == "ExternalName", headless = is_headless(service);
  const bool external_ips = has_items(service, "spec.externalIPs");
  if (annotation_of(service, kTopologyHints) != nullptr) {
    out.push_back(
        fmt::format("annotation {} is deprecated; use {}", kTopologyHints, kTopologyMode));
  }
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
  append_spelling_warnings(service, "spec.clusterIPs", out);
  append_spelling_warnings(service, "spec.externalIPs", out);
  if (string_at(service, "spec.trafficDistribution") == "PreferClose") {
    out.emplace_back("spec.trafficDistribution: PreferClose is deprecated; use PreferSameZone");
  }
  return out;
}

}  // namespace fairlead::apiserver
