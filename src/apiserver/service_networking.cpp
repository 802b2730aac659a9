#include "apiserver/service_networking.hpp"

#include <algorithm>
#include <boost/json/array.hpp>

#include "apiserver/strategy.hpp"

namespace fairlead::apiserver {
namespace {

boost::json::array to_json(const std::vector<std::string>& texts) {
  boost::json::array out;
  for (const std::string& text : texts) out.push_back(text_value(text));
  return out;
}

void set_or_erase(Document& spec, std::string_view name, const std::string& text) {
  if (text.empty()) {
    spec.erase(name);
  } else {
    spec[name] = text_value(text);
  }
}

void set_or_erase(Document& spec, std::string_view name, const std::vector<std::string>& texts) {
  if (texts.empty()) {
    spec.erase(name);
  } else {
    spec[name] = to_json(texts);
  }
}

std::string name_of(IpFamily family) { return std::string(to_string(family)); }

std::string family_of(const std::string& ip) {
  const auto address = IpAddress::parse_sloppy(ip);
  return address ? name_of(address->family()) : std::string();
}

bool contains(const std::vector<std::string>& list, const std::string& text) {
  return std::ranges::find(list, text) != list.end();
}

// Steps 4 and 5 of 4.4: what happens when lists shrink.
FieldErrors settle_single_stack(ServiceNetworking& wanted, const ServiceNetworking* old) {
  const bool single = wanted.ip_family_policy == "SingleStack";
  if (old != nullptr) {
    const bool unchanged =
        wanted.cluster_ips == old->cluster_ips && wanted.ip_families == old->ip_families;
    if (single && unchanged) {
      if (wanted.cluster_ips.size() > 1) wanted.cluster_ips.resize(1);
      if (wanted.ip_families.size() > 1) wanted.ip_families.resize(1);
    } else if (!single && wanted.cluster_ips.size() < old->cluster_ips.size() &&
               old->needs_cluster_ip()) {
      return {invalid("spec.ipFamilyPolicy", wanted.ip_family_policy,
                      "must be 'SingleStack' to release the secondary cluster IP")};
    } else if (!single && wanted.ip_families.size() < old->ip_families.size() &&
               !wanted.ip_families.empty()) {
      return {invalid("spec.ipFamilyPolicy", wanted.ip_family_policy,
                      "must be 'SingleStack' to release the secondary IP family")};
    }
  }
  if (single && (wanted.cluster_ips.size() > 1 || wanted.ip_families.size() > 1)) {
    return {invalid("spec.ipFamilyPolicy", wanted.ip_family_policy,
                    "must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs or "
                    "IP families are specified")};
  }
  return {};
}

std::string default_policy(const ServiceNetworking& wanted, const ServiceNetworking* old) {
  if (old != nullptr && !old->ip_family_policy.empty()) return old->ip_family_policy;
  return wanted.is_headless() && !wanted.has_selector ? "RequireDualStack" : "SingleStack";
}

// Step 6: families follow from cluster IPs where they are not given.
FieldErrors infer_families(ServiceNetworking& wanted, const std::vector<std::string>& configured) {
  FieldErrors errors;
  for (std::size_t i = 0; i < wanted.cluster_ips.size(); ++i) {
    const std::string family = family_of(wanted.cluster_ips[i]);
    if (family.empty()) continue;
    if (i >= wanted.ip_families.size() && !contains(configured, family)) {
      errors.push_back(invalid(indexed("spec.clusterIPs", i), wanted.cluster_ips[i],
                               family + " is not configured on this cluster"));
    } else if (i >= wanted.ip_families.size()) {
      wanted.ip_families.push_back(family);
    }
  }
  return errors;
}

}  // namespace

bool ServiceNetworking::is_headless() const {
  return cluster_ip == "None" || (!cluster_ips.empty() && cluster_ips.front() == "None");
}

bool is_externally_accessible(const Document& service) {
  const std::string_view type = string_at(service, "spec.type");
  if (type == "NodePort" || type == "LoadBalancer") return true;
  const auto* external = array_at(service, "spec.externalIPs");
  return type == "ClusterIP" && external != nullptr && !external->empty();
}

ServiceNetworking read_networking(const Document& service) {
  const auto* selector = object_at(service, "spec.selector");
  return {.type = std::string(string_at(service, "spec.type")),
          .has_selector = selector != nullptr && !selector->empty(),
          .cluster_ip = std::string(string_at(service, "spec.clusterIP")),
          .cluster_ips = texts_at(service, "spec.clusterIPs"),
          .ip_families = texts_at(service, "spec.ipFamilies"),
          .ip_family_policy = std::string(string_at(service, "spec.ipFamilyPolicy"))};
}

void write_networking(const ServiceNetworking& networking, Document& service) {
  Document& spec = ensure_object(service, "spec");
  set_or_erase(spec, "clusterIP", networking.cluster_ip);
  set_or_erase(spec, "clusterIPs", networking.cluster_ips);
  set_or_erase(spec, "ipFamilies", networking.ip_families);
  set_or_erase(spec, "ipFamilyPolicy", networking.ip_family_policy);
}

namespace {

void restore_cluster_ips(ServiceNetworking& wanted, const ServiceNetworking& old) {
  const bool carry = !wanted.is_external_name() && !old.is_external_name();
  const bool others_left = wanted.cluster_ips.empty() || wanted.cluster_ips == old.cluster_ips;
  if (carry && wanted.cluster_ip.empty() && others_left) {
    wanted.cluster_ip = old.cluster_ip;
    wanted.cluster_ips = old.cluster_ips;
  } else if (wanted.cluster_ips.empty() && wanted.cluster_ip == old.cluster_ip) {
    wanted.cluster_ips = old.cluster_ips;
  }
}

}  // namespace

void carry_cluster_ips(const Document& old, Document& service) {
  const ServiceNetworking asked = read_networking(service);
  ServiceNetworking wanted = asked;
  restore_cluster_ips(wanted, read_networking(old));
  if (wanted != asked) write_networking(wanted, service);
}

void link_cluster_ips(ServiceNetworking& wanted, const ServiceNetworking* old) {
  if (old == nullptr) {
    if (!wanted.cluster_ip.empty() && wanted.cluster_ips.empty())
      wanted.cluster_ips = {wanted.cluster_ip};
    return;
  }
  restore_cluster_ips(wanted, *old);
  if (wanted.cluster_ip != old->cluster_ip && wanted.cluster_ips == old->cluster_ips) {
    wanted.cluster_ips.clear();
    if (!wanted.cluster_ip.empty()) wanted.cluster_ips.push_back(wanted.cluster_ip);
  }
  if (wanted.cluster_ips.empty() && !wanted.cluster_ip.empty())
    wanted.cluster_ips = {wanted.cluster_ip};
}

FieldErrors resolve_families(ServiceNetworking& wanted, const ServiceNetworking* old,
                             const std::vector<IpFamily>& configured_families) {
  if (wanted.is_external_name()) return {};
  std::vector<std::string> configured;
  for (const IpFamily family : configured_families) configured.push_back(name_of(family));
  if (wanted.ip_family_policy.empty()) wanted.ip_family_policy = default_policy(wanted, old);
  if (auto errors = validate_networking(wanted); !errors.empty()) return errors;
  if (auto errors = settle_single_stack(wanted, old); !errors.empty()) return errors;
  if (auto errors = infer_families(wanted, configured); !errors.empty()) return errors;
  const bool single = wanted.ip_family_policy == "SingleStack";
  if (wanted.is_headless() && !wanted.has_selector) {
    if (wanted.ip_families.empty()) wanted.ip_families = {configured.front()};
    if (!single && wanted.ip_families.size() == 1) {
      wanted.ip_families.emplace_back(wanted.ip_families.front() == "IPv4" ? "IPv6" : "IPv4");
    }
    return {};
  }
  if (wanted.ip_family_policy == "RequireDualStack" && configured.size() < 2) {
    return {invalid("spec.ipFamilyPolicy", wanted.ip_family_policy,
                    "this cluster is not configured for dual-stack services")};
  }
  FieldErrors errors;
  for (std::size_t i = 0; i < wanted.ip_families.size(); ++i) {
    if (!contains(configured, wanted.ip_families[i])) {
      errors.push_back(invalid(indexed("spec.ipFamilies", i), wanted.ip_families[i],
                               "not configured on this cluster"));
    }
  }
  if (!errors.empty()) return errors;
  if (wanted.ip_families.empty()) wanted.ip_families = {configured.front()};
  if (!single && wanted.ip_families.size() == 1 && configured.size() == 2) {
    wanted.ip_families.push_back(wanted.ip_families.front() == configured[0] ? configured[1]
                                                                             : configured[0]);
  }
  return {};
}

FieldErrors validate_networking(const ServiceNetworking& n) {
  FieldErrors errors;
  if (n.is_external_name()) {
    if (!n.cluster_ips.empty() || !n.cluster_ip.empty())
      errors.push_back(
          forbidden("spec.clusterIPs", "may not be set when `type` is 'ExternalName'"));
    if (!n.ip_families.empty())
      errors.push_back(
          forbidden("spec.ipFamilies", "may not be set when `type` is 'ExternalName'"));
    if (!n.ip_family_policy.empty())
      errors.push_back(
          forbidden("spec.ipFamilyPolicy", "may not be set when `type` is 'ExternalName'"));
    return errors;
  }
  if (!n.ip_family_policy.empty() &&
      !contains({"SingleStack", "PreferDualStack", "RequireDualStack"}, n.ip_family_policy)) {
    errors.push_back(not_supported("spec.ipFamilyPolicy", n.ip_family_policy,
                                   {"SingleStack", "PreferDualStack", "RequireDualStack"}));
  }
  for (std::size_t i = 0; i < n.ip_families.size(); ++i) {
    if (n.ip_families[i] != "IPv4" && n.ip_families[i] != "IPv6") {
      errors.push_back(
          not_supported(indexed("spec.ipFamilies", i), n.ip_families[i], {"IPv4", "IPv6"}));
    } else if (i > 0 && n.ip_families[i] == n.ip_families[0]) {
      errors.push_back(duplicate(indexed("spec.ipFamilies", i), n.ip_families[i]));
    }
  }
  if (n.cluster_ips.empty()) {
    if (!n.cluster_ip.empty()) errors.push_back(required("spec.clusterIPs"));
    return errors;
  }
  if (n.cluster_ip.empty()) {
    errors.push_back(invalid("spec.clusterIPs", to_json(n.cluster_ips),
                             "must be empty when `clusterIP` is not specified"));
  } else if (n.cluster_ips.front() != n.cluster_ip) {
    errors.push_back(
        invalid("spec.clusterIPs", to_json(n.cluster_ips), "first value must match `clusterIP`"));
  }
  if (n.cluster_ips.size() > 2)
    errors.push_back(
        invalid("spec.clusterIPs", to_json(n.cluster_ips), "may only hold up to 2 values"));
  for (std::size_t i = 0; i < n.cluster_ips.size(); ++i) {
    const std::string& ip = n.cluster_ips[i];
    if (ip == "None") {
      if (n.cluster_ips.size() > 1)
        errors.push_back(invalid("spec.clusterIPs", to_json(n.cluster_ips),
                                 "'None' must be the first and only value"));
      continue;
    }
    const auto address = IpAddress::parse(ip);
    if (!address) {
      errors.push_back(invalid(indexed("spec.clusterIPs", i), ip,
                               "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"));
    } else if (i < n.ip_families.size() && n.ip_families[i] != name_of(address->family())) {
      errors.push_back(invalid(indexed("spec.clusterIPs", i), ip,
                               fmt::format("expected an {} value as indicated by `ipFamilies[{}]`",
                                           n.ip_families[i], i)));
    } else if (i > 0 && family_of(n.cluster_ips[0]) == name_of(address->family())) {
      errors.push_back(invalid("spec.clusterIPs", to_json(n.cluster_ips),
                               "may specify no more than one IP for each IP family"));
    }
  }
  return errors;
}

}  // namespace fairlead::apiserver
