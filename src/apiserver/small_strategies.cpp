// The kinds whose rules fit on a page: ConfigMap, IPAddress, ServiceCIDR (spec 4.9).
#include <algorithm>
#include <boost/json/array.hpp>
#include <set>

#include "apiserver/kind_strategy.hpp"
#include "apiserver/service_cidrs.hpp"
#include "base/ip.hpp"
#include "base/text.hpp"

namespace fairlead::apiserver {
namespace {

// ---- ConfigMap

constexpr std::size_t kMostBytes = 1024 * 1024;  // of a ConfigMap's values

std::vector<std::string> key_errors(std::string_view key) {
  std::vector<std::string> out;
  if (key.size() > 253) out.emplace_back("must be no more than 253 characters");
  const bool known = !key.empty() && std::ranges::all_of(key, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  });
  if (!known) {
    out.emplace_back(
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. "
        "'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is "
        "'[-._a-zA-Z0-9]+')");
  }
  if (key == "." || key.starts_with("..")) out.emplace_back("must not be '.' or start with '..'");
  return out;
}

// What a value counts; binary ones are base64, which was checked.
std::size_t bytes_of(std::string_view part, std::string_view text) {
  return part == "data" ? text.size() : base64_decode(text).value_or("").size();
}

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
  FieldErrors validate_create(const RequestContext&, const Document& map) const override {
    FieldErrors errors;
    std::size_t bytes = 0;
    for (const std::string_view part : {"data", "binaryData"}) {
      const Document* held = object_at(map, part);
      if (held == nullptr) continue;
      for (const auto& member : *held) {
        const std::string field = fmt::format("{}[{}]", part, std::string_view(member.key()));
        for (std::string& why : key_errors(member.key()))
          errors.push_back(invalid(field, std::string_view(member.key()), std::move(why)));
        bytes += bytes_of(part, member.value().get_string());
        const Document* other = part == "data" ? object_at(map, "binaryData") : nullptr;
        if (other != nullptr && other->contains(member.key()))
          errors.push_back(invalid(field, std::string_view(member.key()),
                                   "duplicate of key present in binaryData"));
      }
    }
    if (bytes > kMostBytes) errors.push_back(too_long("", kMostBytes));
    return errors;
  }
  FieldErrors validate_update(const RequestContext& context, const Document& old,
                              const Document& map) const override {
    FieldErrors errors = validate_create(context, map);
    if (!bool_at(old, "immutable").value_or(false)) return errors;
    constexpr std::string_view kWhy = "field is immutable when `immutable` is set";
    if (!bool_at(map, "immutable").value_or(false))
      errors.push_back(forbidden("immutable", std::string(kWhy)));
    for (const std::string_view part : {"data", "binaryData"}) {
      const Document none, *before = object_at(old, part), *now = object_at(map, part);
      if ((before == nullptr ? none : *before) != (now == nullptr ? none : *now))
        errors.push_back(forbidden(std::string(part), std::string(kWhy)));
    }
    return errors;
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
    std::string parent(string_at(address, "spec.parentRef.resource"));
    for (const auto& [field, before] :
         {std::pair("group", '.'), std::pair("namespace", '/'), std::pair("name", '/')}) {
      const std::string_view part = string_at(address, fmt::format("spec.parentRef.{}", field));
      if (!part.empty()) parent.append(1, before).append(part);
    }
    return {name_cell(address), text_value(parent), age_cell(address, now)};
  }
};

class ServiceCidrStrategy final : public KindStrategy {
 public:
  ServiceCidrStrategy()
      : KindStrategy(service_cidr_info(),
                     {{.name = "Name", .format = "name"}, {.name = "CIDRs"}, {.name = "Age"}}) {}
  void prepare_create(const RequestContext& context, Document& range) const override {
    KindStrategy::prepare_create(context, range);
    mark_ready(range, context.now);
  }
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
