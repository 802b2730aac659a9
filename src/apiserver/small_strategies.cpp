// The kinds whose rules fit on a page: Node, Namespace, EndpointSlice, Event, ConfigMap, IPAddress,
// ServiceCIDR (spec 4.9).
#include <algorithm>
#include <boost/json/array.hpp>
#include <set>

#include "apiserver/kind_strategy.hpp"
#include "base/ip.hpp"
#include "base/text.hpp"

namespace fairlead::apiserver {
namespace {

boost::json::value name_cell(const Document& document) {
  return text_value(string_at(document, "metadata.name"));
}
boost::json::value age_cell(const Document& document, WallTime now) {
  return text_value(age_text(document, now));
}

// ---- Node

std::string node_status_cell(const Document& node) {
  std::string text = "Unknown";
  for (const Document* condition : objects_at(node, "status.conditions")) {
    if (string_at(*condition, "type") != "Ready") continue;
    const std::string_view status = string_at(*condition, "status");
    text = status == "True" ? "Ready" : status == "False" ? "NotReady" : "Unknown";
  }
  return bool_at(node, "spec.unschedulable").value_or(false) ? text + ",SchedulingDisabled" : text;
}

std::string roles_cell(const Document& node) {
  std::set<std::string> roles;
  const Document* labels = object_at(node, "metadata.labels");
  for (auto it = labels == nullptr ? nullptr : labels->begin();
       labels != nullptr && it != labels->end(); ++it) {
    constexpr std::string_view kPrefix = "node-role.kubernetes.io/";
    const std::string_view key(it->key());
    if (key.starts_with(kPrefix)) roles.emplace(key.substr(kPrefix.size()));
  }
  return joined_or_none({roles.begin(), roles.end()});
}

std::string node_address_cell(const Document& node, std::string_view type) {
  for (const Document* address : objects_at(node, "status.addresses")) {
    if (string_at(*address, "type") == type) return std::string(string_at(*address, "address"));
  }
  return "<none>";
}

std::string node_info_cell(const Document& node, std::string_view name) {
  const std::string_view text = string_at(node, fmt::format("status.nodeInfo.{}", name));
  return text.empty() ? "<unknown>" : std::string(text);
}

class NodeStrategy final : public KindStrategy {
 public:
  NodeStrategy()
      : KindStrategy({.version = "v1",
                      .resource = "nodes",
                      .singular = "node",
                      .kind = "Node",
                      .short_names = {"no"},
                      .namespaced = false,
                      .subresources = {status_subresource()},
                      .storage_prefix = "/registry/minions/"},
                     {{.name = "Name", .format = "name"},
                      {.name = "Status"},
                      {.name = "Roles"},
                      {.name = "Age"},
                      {.name = "Version"},
                      {.name = "Internal-IP", .priority = 1},
                      {.name = "External-IP", .priority = 1},
                      {.name = "OS-Image", .priority = 1},
                      {.name = "Kernel-Version", .priority = 1},
                      {.name = "Container-Runtime", .priority = 1}}) {}
  // A kubelet registers itself with its status, so create keeps it.
  void prepare_create(const RequestContext&, Document&) const override {}
  void apply_defaults(Document& node) const override {
    Document& spec = ensure_object(node, "spec");
    const auto cidrs = texts_at(node, "spec.podCIDRs");
    if (!cidrs.empty() && !spec.contains("podCIDR")) spec["podCIDR"] = text_value(cidrs.front());
  }
  FieldErrors validate_create(const RequestContext&, const Document& node) const override {
    FieldErrors errors;
    const auto cidrs = texts_at(node, "spec.podCIDRs");
    if (cidrs.size() > 2) errors.push_back(too_many("spec.podCIDRs", cidrs.size(), 2));
    for (std::size_t i = 0; i < cidrs.size(); ++i) {
      if (!IpPrefix::parse_sloppy(cidrs[i]))
        errors.push_back(
            invalid(fmt::format("spec.podCIDRs[{}]", i), cidrs[i],
                    "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"));
    }
    return errors;
  }
  std::vector<std::pair<std::string, std::string>> selectable_fields(
      const Document& node) const override {
    return {{"spec.unschedulable",
             bool_at(node, "spec.unschedulable").value_or(false) ? "true" : "false"}};
  }
  boost::json::array table_cells(const Document& node, WallTime now) const override {
    return {name_cell(node),
            text_value(node_status_cell(node)),
            text_value(roles_cell(node)),
            age_cell(node, now),
            text_value(string_at(node, "status.nodeInfo.kubeletVersion")),
            text_value(node_address_cell(node, "InternalIP")),
            text_value(node_address_cell(node, "ExternalIP")),
            text_value(node_info_cell(node, "osImage")),
            text_value(node_info_cell(node, "kernelVersion")),
            text_value(node_info_cell(node, "containerRuntimeVersion"))};
  }
};

// ---- Namespace

class NamespaceStrategy final : public KindStrategy {
 public:
  NamespaceStrategy()
      : KindStrategy(
            {.version = "v1",
             .resource = "namespaces",
             .singular = "namespace",
             .kind = "Namespace",
             .short_names = {"ns"},
             .namespaced = false,
             .verbs = {"create", "delete", "get", "list", "patch", "update", "watch"},
             .subresources = {{.name = "finalize", .verbs = {"update"}}, status_subresource()},
             .storage_prefix = "/registry/namespaces/"},
            {{.name = "Name", .format = "name"}, {.name = "Status"}, {.name = "Age"}}) {}
  std::vector<std::string> name_errors(std::string_view name) const override {
    if (is_dns1123_label(name)) return {};
    return {
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
        "must start and end with an alphanumeric character (e.g. 'my-name', or '123-abc')"};
  }
  void apply_defaults(Document& ns) const override {
    ensure_object(ensure_object(ns, "metadata"), "labels")["kubernetes.io/metadata.name"] =
        text_value(string_at(ns, "metadata.name"));
  }
  void prepare_create(const RequestContext&, Document& ns) const override {
    ensure_object(ns, "spec")["finalizers"] = boost::json::array{"kubernetes"};
    ns["status"] = Document{{"phase", "Active"}};
    apply_defaults(ns);  // the name may have been generated since
  }
  void prepare_update(const RequestContext& context, const Document& old,
                      Document& ns) const override {
    KindStrategy::prepare_update(context, old, ns);
    ensure_object(ns, "spec")["finalizers"] = boost::json::array{};
    if (const auto* finalizers = array_at(old, "spec.finalizers"))
      ns["spec"].get_object()["finalizers"] = *finalizers;
  }
  void prepare_subresource_update(const RequestContext& context, std::string_view subresource,
                                  const Document& old, Document& ns) const override {
    if (subresource != "finalize")
      return KindStrategy::prepare_subresource_update(context, subresource, old, ns);
    Document next = old;
    Document& spec = ensure_object(next, "spec");
    const auto* finalizers = find_path(ns, "spec.finalizers");
    if (finalizers == nullptr) {
      spec.erase("finalizers");
    } else {
      spec["finalizers"] = *finalizers;
    }
    ns = std::move(next);
  }
  ApiResult<DeletionRule> deletion_rule(const Document& ns, const DeleteOptions&) const override {
    const std::string_view name = string_at(ns, "metadata.name");
    if (name == "default" || name == "kube-system" || name == "kube-public") {
      return forbidden_status(info().qualified_resource(), name,
                              "this namespace may not be deleted");
    }
    return DeletionRule{.how = DeletionRule::How::Mark};
  }
  void mark_deleting(Document& ns) const override {
    ensure_object(ns, "status")["phase"] = "Terminating";
  }
  bool is_held(const Document& ns) const override {
    return !texts_at(ns, "spec.finalizers").empty();
  }
  bool delete_returns_object() const override { return true; }
  std::vector<std::pair<std::string, std::string>> selectable_fields(
      const Document& ns) const override {
    return {{"status.phase", std::string(string_at(ns, "status.phase"))}};
  }
  boost::json::array table_cells(const Document& ns, WallTime now) const override {
    return {name_cell(ns), text_value(string_at(ns, "status.phase")), age_cell(ns, now)};
  }
};

// ---- EndpointSlice

std::string some_of(const std::vector<std::string>& texts, std::string_view when_empty) {
  if (texts.empty()) return std::string(when_empty);
  const std::size_t shown = std::min<std::size_t>(texts.size(), 3);
  std::string out = fmt::format(
      "{}", fmt::join(texts.begin(), texts.begin() + static_cast<std::ptrdiff_t>(shown), ","));
  if (texts.size() > shown) out += fmt::format(" + {} more...", texts.size() - shown);
  return out;
}

FieldErrors validate_addresses(const Document& endpoint, std::string_view type,
                               const std::string& field) {
  const auto addresses = texts_at(endpoint, "addresses");
  if (addresses.empty()) return {required(field + ".addresses", "must contain at least 1 address")};
  if (addresses.size() > 100) return {too_many(field + ".addresses", addresses.size(), 100)};
  FieldErrors errors;
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    const std::string path = fmt::format("{}.addresses[{}]", field, i);
    if (type == "FQDN") {
      if (!is_dns1123_subdomain(addresses[i]))
        errors.push_back(invalid(path, addresses[i],
                                 "a lowercase RFC 1123 subdomain must consist of lower case "
                                 "alphanumeric characters, '-' or '.'"));
      continue;
    }
    const auto address = IpAddress::parse(addresses[i]);
    if (!address || to_string(address->family()) != type) {
      errors.push_back(invalid(path, addresses[i], fmt::format("must be an {} address", type)));
    } else if (address->is_unspecified() || address->is_loopback() || address->is_link_local() ||
               address->is_link_local_multicast()) {
      errors.push_back(
          invalid(path, addresses[i], "may not be unspecified, loopback or link-local"));
    }
  }
  return errors;
}

FieldErrors validate_slice_ports(const Document& slice) {
  FieldErrors errors;
  std::set<std::string> names;
  const auto ports = objects_at(slice, "ports");
  for (std::size_t i = 0; i < ports.size(); ++i) {
    const std::string field = fmt::format("ports[{}]", i), name(string_at(*ports[i], "name"));
    if (!names.insert(name).second) errors.push_back(duplicate(field + ".name", name));
    if (!name.empty() && !is_dns1123_label(name))
      errors.push_back(invalid(
          field + ".name", name,
          "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-'"));
    const std::string protocol(string_at(*ports[i], "protocol"));
    if (!parse_protocol(protocol))
      errors.push_back(not_supported(field + ".protocol", protocol, {"SCTP", "TCP", "UDP"}));
    const auto number = int_at(*ports[i], "port");
    if (number && (*number < 1 || *number > 65535))
      errors.push_back(invalid(field + ".port", *number, "must be between 1 and 65535, inclusive"));
  }
  return errors;
}

class EndpointSliceStrategy final : public KindStrategy {
 public:
  EndpointSliceStrategy()
      : KindStrategy({.group = "discovery.k8s.io",
                      .version = "v1",
                      .former_version = "v1beta1",  // what `kubectl describe` read up to 1.20
                      .resource = "endpointslices",
                      .singular = "endpointslice",
                      .kind = "EndpointSlice",
                      .storage_prefix = "/registry/endpointslices/"},
                     {{.name = "Name", .format = "name"},
                      {.name = "AddressType"},
                      {.name = "Ports"},
                      {.name = "Endpoints"},
                      {.name = "Age"}}) {}
  // Node and zone were keys of a map of labels.
  void to_former_version(Document& slice) const override {
    auto* endpoints = slice.contains("endpoints") ? slice["endpoints"].if_array() : nullptr;
    for (std::size_t i = 0; endpoints != nullptr && i < endpoints->size(); ++i) {
      Document& endpoint = (*endpoints)[i].as_object();
      Document topology;
      for (const auto& [field, label] : {std::pair("nodeName", "kubernetes.io/hostname"),
                                         std::pair("zone", "topology.kubernetes.io/zone")}) {
        if (const auto* value = endpoint.if_contains(field)) topology[label] = *value;
      }
      endpoint.erase("zone");
      endpoint.erase("deprecatedTopology");
      if (!topology.empty()) endpoint["topology"] = std::move(topology);
    }
  }
  void apply_defaults(Document& slice) const override {
    if (!slice.contains("endpoints")) slice["endpoints"] = boost::json::array{};
    auto* ports = slice.if_contains("ports") == nullptr ? nullptr : slice["ports"].if_array();
    for (std::size_t i = 0; ports != nullptr && i < ports->size(); ++i) {
      if (auto* port = (*ports)[i].if_object()) {
        if (!port->contains("name")) (*port)["name"] = "";
        if (!port->contains("protocol")) (*port)["protocol"] = "TCP";
      }
    }
  }
  FieldErrors validate_create(const RequestContext&, const Document& slice) const override {
    const std::string type(string_at(slice, "addressType"));
    if (type.empty()) return {required("addressType")};
    if (type != "IPv4" && type != "IPv6" && type != "FQDN")
      return {not_supported("addressType", type, {"FQDN", "IPv4", "IPv6"})};
    FieldErrors errors = validate_slice_ports(slice);
    const auto endpoints = objects_at(slice, "endpoints");
    if (endpoints.size() > 1000) errors.push_back(too_many("endpoints", endpoints.size(), 1000));
    for (std::size_t i = 0; i < endpoints.size(); ++i) {
      std::ranges::move(validate_addresses(*endpoints[i], type, fmt::format("endpoints[{}]", i)),
                        std::back_inserter(errors));
    }
    return errors;
  }
  FieldErrors validate_update(const RequestContext& context, const Document& old,
                              const Document& slice) const override {
    FieldErrors errors = validate_create(context, slice);
    if (string_at(old, "addressType") != string_at(slice, "addressType")) {
      errors.push_back(
          invalid("addressType", string_at(slice, "addressType"), "field is immutable"));
    }
    return errors;
  }
  bool has_generation() const override { return true; }
  bool bumps_generation(const Document& old, const Document& slice) const override {
    const auto body = [](Document document) {
      document.erase("metadata");
      return document;
    };
    const Document none;
    const Document *before = object_at(old, "metadata.labels"),
                   *now = object_at(slice, "metadata.labels");
    return body(old) != body(slice) ||
           (before == nullptr ? none : *before) != (now == nullptr ? none : *now);
  }
  boost::json::array table_cells(const Document& slice, WallTime now) const override {
    std::vector<std::string> ports, addresses;
    for (const Document* port : objects_at(slice, "ports")) {
      const auto number = int_at(*port, "port");
      ports.push_back(number ? fmt::format("{}", *number) : "*");
    }
    for (const Document* endpoint : objects_at(slice, "endpoints")) {
      for (std::string& address : texts_at(*endpoint, "addresses"))
        addresses.push_back(std::move(address));
    }
    return {name_cell(slice), text_value(string_at(slice, "addressType")),
            text_value(some_of(ports, "<unset>")), text_value(some_of(addresses, "<unset>")),
            age_cell(slice, now)};
  }
};

// ---- Event

class EventStrategy final : public KindStrategy {
 public:
  EventStrategy()
      : KindStrategy({.version = "v1",
                      .resource = "events",
                      .singular = "event",
                      .kind = "Event",
                      .short_names = {"ev"},
                      .storage_prefix = "/registry/events/"},
                     {{.name = "Last Seen"},
                      {.name = "Type"},
                      {.name = "Reason"},
                      {.name = "Object"},
                      {.name = "Subobject", .priority = 1},
                      {.name = "Source", .priority = 1},
                      {.name = "Message"},
                      {.name = "First Seen", .priority = 1},
                      {.name = "Count", .priority = 1},
                      {.name = "Name", .format = "name", .priority = 1}}) {}
  bool put_may_create() const override { return true; }
  FieldErrors validate_create(const RequestContext&, const Document& event) const override {
    const std::string_view involved = string_at(event, "involvedObject.namespace"),
                           own = string_at(event, "metadata.namespace");
    if (involved == own || (involved.empty() && own == "default")) return {};
    return {invalid("involvedObject.namespace", involved, "does not match event.namespace")};
  }
  std::vector<std::pair<std::string, std::string>> selectable_fields(
      const Document& event) const override {
    std::vector<std::pair<std::string, std::string>> out;
    for (const std::string_view path :
         {"involvedObject.kind", "involvedObject.namespace", "involvedObject.name",
          "involvedObject.uid", "involvedObject.apiVersion", "involvedObject.resourceVersion",
          "involvedObject.fieldPath", "reason", "reportingComponent", "type"}) {
      out.emplace_back(path, string_at(event, path));
    }
    out.emplace_back("source", string_at(event, "source.component"));
    return out;
  }
  boost::json::array table_cells(const Document& event, WallTime now) const override {
    const std::string kind = to_lower_ascii(string_at(event, "involvedObject.kind"));
    const std::string age = age_text(event, now);
    return {text_value(age),
            text_value(string_at(event, "type")),
            text_value(string_at(event, "reason")),
            text_value(fmt::format("{}/{}", kind, string_at(event, "involvedObject.name"))),
            text_value(string_at(event, "involvedObject.fieldPath")),
            text_value(string_at(event, "source.component")),
            text_value(string_at(event, "message")),
            text_value(age),
            int_at(event, "count").value_or(1),
            name_cell(event)};
  }
};

// ---- ConfigMap

class ConfigMapStrategy final : public KindStrategy {
 public:
  ConfigMapStrategy()
      : KindStrategy({.version = "v1",
                      .resource = "configmaps",
                      .singular = "configmap",
                      .kind = "ConfigMap",
                      .short_names = {"cm"},
                      .storage_prefix = "/registry/configmaps/"},
                     {{.name = "Name", .format = "name"},
                      {.name = "Data", .type = "integer"},
                      {.name = "Age"}}) {}
  FieldErrors validate_update(const RequestContext&, const Document& old,
                              const Document& map) const override {
    const bool frozen = bool_at(old, "immutable").value_or(false);
    const auto data = [](const Document& d) {
      const auto* held = d.if_contains("data");
      return held == nullptr ? boost::json::value() : *held;
    };
    if (frozen && (data(old) != data(map) || !bool_at(map, "immutable").value_or(false))) {
      return {forbidden("data", "field is immutable when `immutable` is set")};
    }
    return {};
  }
  boost::json::array table_cells(const Document& map, WallTime now) const override {
    const Document *data = object_at(map, "data"), *binary = object_at(map, "binaryData");
    return {name_cell(map),
            (data == nullptr ? 0 : data->size()) + (binary == nullptr ? 0 : binary->size()),
            age_cell(map, now)};
  }
};

// ---- IPAddress, ServiceCIDR

class IpAddressStrategy final : public KindStrategy {
 public:
  IpAddressStrategy()
      : KindStrategy(ip_address_info(),
                     {{.name = "Name", .format = "name"}, {.name = "ParentRef"}, {.name = "Age"}}) {
  }
  std::vector<std::string> name_errors(std::string_view name) const override {
    const auto address = IpAddress::parse(name);
    if (address && address->to_string() == name) return {};
    return {"must be a valid address in canonical form"};
  }
  FieldErrors validate_create(const RequestContext&, const Document& address) const override {
    if (object_at(address, "spec.parentRef") == nullptr) return {required("spec.parentRef")};
    FieldErrors errors;
    for (const std::string_view name : {"resource", "name"}) {
      if (string_at(address, fmt::format("spec.parentRef.{}", name)).empty())
        errors.push_back(required(fmt::format("spec.parentRef.{}", name)));
    }
    return errors;
  }
  FieldErrors validate_update(const RequestContext& context, const Document& old,
                              const Document& address) const override {
    FieldErrors errors = validate_create(context, address);
    const auto *before = find_path(old, "spec.parentRef"),
               *now = find_path(address, "spec.parentRef");
    if (before != nullptr && now != nullptr && *before != *now)
      errors.push_back(invalid("spec.parentRef", *now, "field is immutable"));
    return errors;
  }
  boost::json::array table_cells(const Document& address, WallTime now) const override {
    const std::string_view ns = string_at(address, "spec.parentRef.namespace");
    return {
        name_cell(address),
        text_value(fmt::format("{}/{}{}{}", string_at(address, "spec.parentRef.resource"), ns,
                               ns.empty() ? "" : "/", string_at(address, "spec.parentRef.name"))),
        age_cell(address, now)};
  }
};

class ServiceCidrStrategy final : public KindStrategy {
 public:
  ServiceCidrStrategy()
      : KindStrategy({.group = "networking.k8s.io",
                      .version = "v1",
                      .resource = "servicecidrs",
                      .singular = "servicecidr",
                      .kind = "ServiceCIDR",
                      .namespaced = false,
                      .subresources = {status_subresource()},
                      .storage_prefix = "/registry/servicecidrs/"},
                     {{.name = "Name", .format = "name"}, {.name = "CIDRs"}, {.name = "Age"}}) {}
  FieldErrors validate_create(const RequestContext&, const Document& range) const override {
    const auto cidrs = texts_at(range, "spec.cidrs");
    if (cidrs.empty()) return {required("spec.cidrs", "at least one CIDR required")};
    if (cidrs.size() > 2) return {too_many("spec.cidrs", cidrs.size(), 2)};
    FieldErrors errors;
    std::set<IpFamily> families;
    for (std::size_t i = 0; i < cidrs.size(); ++i) {
      const auto prefix = IpPrefix::parse(cidrs[i]);
      if (!prefix) {
        errors.push_back(
            invalid(fmt::format("spec.cidrs[{}]", i), cidrs[i],
                    "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"));
      } else if (!families.insert(prefix->family()).second) {
        errors.push_back(invalid("spec.cidrs", cidrs[i],
                                 "may specify no more than one CIDR for each IP family"));
      }
    }
    return errors;
  }
  FieldErrors validate_update(const RequestContext& context, const Document& old,
                              const Document& range) const override {
    FieldErrors errors = validate_create(context, range);
    const auto before = texts_at(old, "spec.cidrs"), now = texts_at(range, "spec.cidrs");
    const bool extended = before.size() == 1 && now.size() == 2 && before[0] == now[0];
    if (before != now && !extended)
      errors.push_back(invalid("spec.cidrs", joined_or_none(now), "field is immutable"));
    return errors;
  }
  boost::json::array table_cells(const Document& range, WallTime now) const override {
    return {name_cell(range), text_value(joined_or_none(texts_at(range, "spec.cidrs"))),
            age_cell(range, now)};
  }
};

}  // namespace

ResourceInfo ip_address_info() {
  return {.group = "networking.k8s.io",
          .version = "v1",
          .resource = "ipaddresses",
          .singular = "ipaddress",
          .kind = "IPAddress",
          .short_names = {"ip"},
          .namespaced = false,
          .storage_prefix = "/registry/ipaddresses/"};
}

std::unique_ptr<const Strategy> make_node_strategy() { return std::make_unique<NodeStrategy>(); }
std::unique_ptr<const Strategy> make_namespace_strategy() {
  return std::make_unique<NamespaceStrategy>();
}
std::unique_ptr<const Strategy> make_endpoint_slice_strategy() {
  return std::make_unique<EndpointSliceStrategy>();
}
std::unique_ptr<const Strategy> make_event_strategy() { return std::make_unique<EventStrategy>(); }
std::unique_ptr<const Strategy> make_config_map_strategy() {
  return std::make_unique<ConfigMapStrategy>();
}
std::unique_ptr<const Strategy> make_ip_address_strategy() {
  return std::make_unique<IpAddressStrategy>();
}
std::unique_ptr<const Strategy> make_service_cidr_strategy() {
  return std::make_unique<ServiceCidrStrategy>();
}

}  // namespace fairlead::apiserver
