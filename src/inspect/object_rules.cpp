#include "inspect/object_rules.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <boost/json.hpp>
#include <vector>

namespace fairlead::inspect {
namespace {

struct Words {
  std::string_view kind;
  std::string_view pointer;  // RFC 6901
  std::string_view field;
  std::vector<std::string_view> allowed;
};

std::vector<Words> closed_fields() {
  const std::vector<std::string_view> policies = {"Cluster", "Local"};
  return {
      {.kind = "Service",
       .pointer = "/spec/type",
       .field = "spec.type",
       .allowed = {"ClusterIP", "NodePort", "LoadBalancer", "ExternalName"}},
      {.kind = "Service",
       .pointer = "/spec/externalTrafficPolicy",
       .field = "spec.externalTrafficPolicy",
       .allowed = policies},
      {.kind = "Service",
       .pointer = "/spec/internalTrafficPolicy",
       .field = "spec.internalTrafficPolicy",
       .allowed = policies},
      {.kind = "Service",
       .pointer = "/spec/sessionAffinity",
       .field = "spec.sessionAffinity",
       .allowed = {"ClientIP", "None"}},
      {.kind = "EndpointSlice",
       .pointer = "/addressType",
       .field = "addressType",
       .allowed = {"IPv4", "IPv6", "FQDN"}},
  };
}

Result<void> check_address(const std::string& field, const std::string& text) {
  if (IpAddress::parse_sloppy(text)) return {};
  return make_error(ErrorCode::Invalid, "{}: \"{}\" is not an IP address", field, text);
}

Result<void> check_prefix(const std::string& field, const std::string& text) {
  if (IpPrefix::parse_sloppy(text)) return {};
  return make_error(ErrorCode::Invalid, "{}: \"{}\" is not a CIDR such as 10.0.0.0/8", field, text);
}

template <class Check>
Result<void> check_each(std::string_view field, const std::vector<std::string>& texts,
                        Check check_one) {
  for (std::size_t i = 0; i < texts.size(); ++i) {
    FAIRLEAD_CHECK(check_one(fmt::format("{}[{}]", field, i), texts[i]));
  }
  return {};
}

Result<void> check_name(const kube::ObjectMeta& metadata) {
  if (!metadata.name.empty()) return {};
  return make_error(ErrorCode::Invalid, "metadata.name: missing");
}

void default_namespace(kube::ObjectMeta& metadata) {
  if (metadata.namespace_.empty()) metadata.namespace_ = "default";
}

Result<void> check_ports(const kube::Service& object) {
  std::set<std::string> names;
  for (std::size_t i = 0; i < object.ports.size(); ++i) {
    const kube::ServicePort& port = object.ports[i];
    if (port.port == 0) {
      return make_error(ErrorCode::Invalid, "spec.ports[{}].port: missing, or 0", i);
    }
    if (!names.insert(port.name).second) {
      return make_error(ErrorCode::Invalid, "spec.ports[{}].name: \"{}\" is the name of two ports",
                        i, port.name);
    }
  }
  return {};
}

Result<void> check_addresses(const kube::Service& object) {
  for (std::size_t i = 0; i < object.cluster_ips.size(); ++i) {
    if (object.cluster_ips[i] == "None") continue;
    FAIRLEAD_CHECK(check_address(fmt::format("spec.clusterIPs[{}]", i), object.cluster_ips[i]));
  }
  FAIRLEAD_CHECK(check_each("spec.externalIPs", object.external_ips, check_address));
  FAIRLEAD_CHECK(check_each("spec.loadBalancerSourceRanges", object.load_balancer_source_ranges,
                            check_prefix));
  for (std::size_t i = 0; i < object.ingress.size(); ++i) {
    if (object.ingress[i].ip.empty()) continue;
    FAIRLEAD_CHECK(
        check_address(fmt::format("status.loadBalancer.ingress[{}].ip", i), object.ingress[i].ip));
  }
  return {};
}

// As the API server keeps them: clusterIP first among clusterIPs, ipFamilies parallel to them.
Result<void> fill_in_cluster_ips(kube::Service& object) {
  const bool has_one = !object.cluster_ip.empty() && object.cluster_ip != "None";
  if (has_one) FAIRLEAD_CHECK(check_address("spec.clusterIP", object.cluster_ip));
  if (object.cluster_ips.empty() && !object.cluster_ip.empty())
    object.cluster_ips = {object.cluster_ip};
  if (object.cluster_ip.empty() && !object.cluster_ips.empty())
    object.cluster_ip = object.cluster_ips.front();
  if (!object.cluster_ips.empty() && object.cluster_ips.front() != object.cluster_ip) {
    return make_error(ErrorCode::Invalid,
                      "spec.clusterIPs[0]: \"{}\" is not spec.clusterIP, \"{}\"",
                      object.cluster_ips.front(), object.cluster_ip);
  }
  FAIRLEAD_CHECK(check_addresses(object));
  if (!has_one && object.cluster_ip.empty()) return {};
  if (object.cluster_ip == "None") return {};
  object.ip_families.clear();
  for (const std::string& text : object.cluster_ips) {
    const auto address = IpAddress::parse_sloppy(text);
    if (address) object.ip_families.push_back(address->family());
  }
  return {};
}

Result<void> check_endpoint(const kube::EndpointSlice& object, std::size_t index) {
  if (object.address_type == kube::AddressType::Fqdn) return {};
  const kube::Endpoint& endpoint = object.endpoints[index];
  const std::string field = fmt::format("endpoints[{}].addresses", index);
  if (endpoint.addresses.empty()) return make_error(ErrorCode::Invalid, "{}: missing", field);
  FAIRLEAD_CHECK(check_each(field, endpoint.addresses, check_address));
  const bool v6 = object.address_type == kube::AddressType::IPv6;
  for (std::size_t i = 0; i < endpoint.addresses.size(); ++i) {
    const auto address = IpAddress::parse_sloppy(endpoint.addresses[i]);
    if (address && address->is_v4() == v6) {
      return make_error(ErrorCode::Invalid, "{}[{}]: \"{}\" is not of addressType {}", field, i,
                        endpoint.addresses[i], v6 ? "IPv6" : "IPv4");
    }
  }
  return {};
}

}  // namespace

Result<void> check_words(std::string_view kind, const std::string& json) {
  boost::system::error_code ec;
  const auto document = boost::json::parse(json, ec);
  if (ec) return {};  // the decoder says so
  for (const Words& words : closed_fields()) {
    if (words.kind != kind) continue;
    const auto* found = document.find_pointer(words.pointer, ec);
    if (found == nullptr || !found->is_string()) continue;
    const std::string_view text = found->get_string();
    if (text.empty() || std::ranges::find(words.allowed, text) != words.allowed.end()) continue;
    return make_error(ErrorCode::Invalid, "{}: \"{}\" is none of {}", words.field, text,
                      fmt::join(words.allowed, ", "));
  }
  return {};
}

Result<kube::Service> complete(kube::Service object) {
  FAIRLEAD_CHECK(check_name(object.metadata));
  default_namespace(object.metadata);
  FAIRLEAD_CHECK(check_ports(object));
  if (object.type != kube::ServiceType::ExternalName) FAIRLEAD_CHECK(fill_in_cluster_ips(object));
  return object;
}

Result<kube::EndpointSlice> complete(kube::EndpointSlice object) {
  FAIRLEAD_CHECK(check_name(object.metadata));
  default_namespace(object.metadata);
  for (std::size_t i = 0; i < object.endpoints.size(); ++i) {
    FAIRLEAD_CHECK(check_endpoint(object, i));
  }
  for (std::size_t i = 0; i < object.ports.size(); ++i) {
    const auto port = object.ports[i].port;
    if (port && (*port < 1 || *port > 65535)) {
      return make_error(ErrorCode::Invalid, "ports[{}].port: {} is not within 1 to 65535", i,
                        *port);
    }
  }
  return object;
}

Result<kube::Pod> complete(kube::Pod object) {
  FAIRLEAD_CHECK(check_name(object.metadata));
  default_namespace(object.metadata);
  if (!object.pod_ip.empty()) FAIRLEAD_CHECK(check_address("status.podIP", object.pod_ip));
  FAIRLEAD_CHECK(check_each("status.podIPs", object.pod_ips, check_address));
  return object;
}

Result<kube::Node> complete(kube::Node object) {
  FAIRLEAD_CHECK(check_name(object.metadata));
  FAIRLEAD_CHECK(check_each("spec.podCIDRs", object.pod_cidrs, check_prefix));
  for (std::size_t i = 0; i < object.addresses.size(); ++i) {
    const kube::NodeAddress& address = object.addresses[i];
    if (address.type != "InternalIP" && address.type != "ExternalIP") continue;
    FAIRLEAD_CHECK(check_address(fmt::format("status.addresses[{}].address", i), address.address));
  }
  return object;
}

Result<kube::ServiceCidr> complete(kube::ServiceCidr object) {
  FAIRLEAD_CHECK(check_name(object.metadata));
  FAIRLEAD_CHECK(check_each("spec.cidrs", object.cidrs, check_prefix));
  return object;
}

}  // namespace fairlead::inspect
