// The EndpointSlice kind: its rules, its generation, its former version (spec 4.9).
#include <algorithm>
#include <boost/json/array.hpp>
#include <set>

#include "apiserver/kind_strategy.hpp"
#include "apiserver/metadata.hpp"
#include "base/ip.hpp"
#include "base/text.hpp"

namespace fairlead::apiserver {
namespace {

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
      errors.push_back(invalid(field + ".name", name, std::string(kLabelForm)));
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

}  // namespace

std::unique_ptr<const Strategy> make_endpoint_slice_strategy() {
  return std::make_unique<EndpointSliceStrategy>();
}

}  // namespace fairlead::apiserver
