// The Endpoints kind: what EndpointSlices have replaced, kept for old tools (spec 4.9).
#include <algorithm>
#include <boost/json/array.hpp>

#include "apiserver/kind_strategy.hpp"
#include "apiserver/metadata.hpp"
#include "base/ip.hpp"
#include "base/text.hpp"

namespace fairlead::apiserver {
namespace {

constexpr std::string_view kSubdomainForm =
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character";

FieldErrors ip_errors(const std::string& field, std::string_view text) {
  const auto ip = IpAddress::parse(text);
  if (!ip) {
    return {invalid(field, text, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")};
  }
  FieldErrors errors;
  const auto refuse_if = [&](bool special, std::string_view why) {
    if (special) errors.push_back(invalid(field, text, std::string(why)));
  };
  refuse_if(ip->is_unspecified(), "may not be unspecified (0.0.0.0 or ::)");
  refuse_if(ip->is_loopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)");
  refuse_if(ip->is_link_local(), "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
  refuse_if(ip->is_link_local_multicast(),
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
  return errors;
}

FieldErrors address_errors(const Document& address, const std::string& field) {
  FieldErrors errors = ip_errors(field + ".ip", string_at(address, "ip"));
  const std::string_view hostname = string_at(address, "hostname"),
                         node = string_at(address, "nodeName");
  if (!hostname.empty() && !is_dns1123_label(hostname))
    errors.push_back(invalid(field + ".hostname", hostname, std::string(kLabelForm)));
  if (!node.empty() && !is_dns1123_subdomain(node))
    errors.push_back(invalid(field + ".nodeName", node, std::string(kSubdomainForm)));
  return errors;
}

FieldErrors port_errors(const Document& port, const std::string& field, bool needs_name) {
  FieldErrors errors;
  const std::string_view name = string_at(port, "name"), protocol = string_at(port, "protocol"),
                         application = string_at(port, "appProtocol");
  if (needs_name && name.empty()) {
    errors.push_back(required(field + ".name"));
  } else if (!name.empty() && !is_dns1123_label(name)) {
    errors.push_back(invalid(field + ".name", name, std::string(kLabelForm)));
  }
  const std::int64_t number = int_at(port, "port").value_or(0);
  if (number < 1 || number > 65535)
    errors.push_back(invalid(field + ".port", number, "must be between 1 and 65535, inclusive"));
  if (!parse_protocol(protocol))
    errors.push_back(not_supported(field + ".protocol", protocol, {"SCTP", "TCP", "UDP"}));
  if (!application.empty()) {
    for (std::string& why : qualified_name_errors(application))
      errors.push_back(invalid(field + ".appProtocol", application, std::move(why)));
  }
  return errors;
}

FieldErrors subset_errors(const Document& subset, const std::string& field) {
  FieldErrors errors;
  const auto ready = objects_at(subset, "addresses"),
             not_ready = objects_at(subset, "notReadyAddresses"),
             ports = objects_at(subset, "ports");
  if (ready.empty() && not_ready.empty())
    errors.push_back(required(field, "must specify `addresses` or `notReadyAddresses`"));
  for (std::size_t i = 0; i < ready.size(); ++i)
    append(errors, address_errors(*ready[i], fmt::format("{}.addresses[{}]", field, i)));
  for (std::size_t i = 0; i < not_ready.size(); ++i)
    append(errors,
           address_errors(*not_ready[i], fmt::format("{}.notReadyAddresses[{}]", field, i)));
  for (std::size_t i = 0; i < ports.size(); ++i)
    append(errors, port_errors(*ports[i], fmt::format("{}.ports[{}]", field, i), ports.size() > 1));
  return errors;
}

std::string with_port(std::string_view ip, std::int64_t port) {
  const bool bracketed = ip.find(':') != std::string_view::npos;
  return fmt::format("{}{}{}:{}", bracketed ? "[" : "", ip, bracketed ? "]" : "", port);
}

// Up to three ready ones, and how many more there are.
std::string endpoints_cell(const Document& endpoints) {
  constexpr std::size_t kShown = 3;
  std::vector<std::string> shown;
  std::size_t count = 0;
  const auto show = [&](std::string text) {
    ++count;
    if (shown.size() < kShown) shown.push_back(std::move(text));
  };
  for (const Document* subset : objects_at(endpoints, "subsets")) {
    const auto ports = objects_at(*subset, "ports");
    for (const Document* port : ports) {
      for (const Document* address : objects_at(*subset, "addresses"))
        show(with_port(string_at(*address, "ip"), int_at(*port, "port").value_or(0)));
    }
    if (!ports.empty()) continue;  // headless services may have no ports
    for (const Document* address : objects_at(*subset, "addresses"))
      show(std::string(string_at(*address, "ip")));
  }
  const std::string text = joined_or_none(shown);
  return count > kShown ? fmt::format("{} + {} more...", text, count - kShown) : text;
}

class EndpointsStrategy final : public KindStrategy {
 public:
  EndpointsStrategy()
      : KindStrategy({.version = "v1",
                      .resource = "endpoints",
                      .singular = "endpoints",
                      .kind = "Endpoints",
                      .short_names = {"ep"},
                      .storage_prefix = "/registry/services/endpoints/",
                      .deprecation = "v1 Endpoints is deprecated in v1.33+; use "
                                     "discovery.k8s.io/v1 EndpointSlice"},
                     {{.name = "Name", .format = "name"}, {.name = "Endpoints"}, {.name = "Age"}}) {
  }
  bool put_may_create() const override { return true; }
  void apply_defaults(Document& endpoints) const override {
    auto* held = endpoints.if_contains("subsets");
    auto* subsets = held == nullptr ? nullptr : held->if_array();
    if (subsets == nullptr) return;
    for (auto& subset : *subsets) {
      auto* ports = subset.is_object() ? subset.get_object().if_contains("ports") : nullptr;
      if (ports == nullptr || !ports->is_array()) continue;
      for (auto& port : ports->get_array()) {
        if (port.is_object() && !port.get_object().contains("protocol"))
          port.get_object()["protocol"] = "TCP";
      }
    }
  }
  FieldErrors validate_create(const RequestContext&, const Document& endpoints) const override {
    FieldErrors errors;
    const auto subsets = objects_at(endpoints, "subsets");
    for (std::size_t i = 0; i < subsets.size(); ++i)
      append(errors, subset_errors(*subsets[i], fmt::format("subsets[{}]", i)));
    return errors;
  }
  boost::json::array table_cells(const Document& endpoints, WallTime now) const override {
    return {name_cell(endpoints), text_value(endpoints_cell(endpoints)), age_cell(endpoints, now)};
  }
};

}  // namespace

std::unique_ptr<const Strategy> make_endpoints_strategy() {
  return std::make_unique<EndpointsStrategy>();
}

}  // namespace fairlead::apiserver
