#include "proxy/leftovers.hpp"

#include <optional>

#include "proxy/modes/iptables/leftovers.hpp"
#include "proxy/modes/ipvs/ipvs_mode.hpp"
#include "proxy/modes/nftables/netlink_kernel.hpp"
#include "proxy/modes/userspace/address_entrance.hpp"
#include "proxy/modes/userspace/answer_routes.hpp"
#include "proxy/modes/userspace/entry_rules.hpp"

namespace fairlead::proxy {
namespace {

constexpr const char* kTableOfKubeProxy = "kube-proxy";

std::vector<std::string> tables_but(std::string_view mode) {
  std::vector<std::string> out{kTableOfKubeProxy};
  if (mode != "nftables") out.emplace_back(nftables::kTable);
  if (mode != "userspace") out.emplace_back(userspace::kTable);
  return out;
}

iptables::InUse in_use(std::string_view mode) {
  if (mode == "iptables") return iptables::InUse::Iptables;
  if (mode == "ipvs") return iptables::InUse::Ipvs;
  return iptables::InUse::Nothing;
}

std::optional<iptables::Variant> variant_of(std::string_view name) {
  for (const auto variant : {iptables::Variant::Nft, iptables::Variant::Legacy}) {
    if (iptables::to_string(variant) == name) return variant;
  }
  return std::nullopt;
}

}  // namespace

Leftovers remove_leftovers(std::string_view mode, std::string_view variant) {
  Leftovers out;
  const auto note = [&out](std::string_view kind, Result<std::vector<std::string>> names) {
    if (!names) return out.failures.push_back(names.error().with_context("remove leftovers"));
    for (const std::string& name : *names) out.removed.push_back(fmt::format("{}{}", kind, name));
  };
  note("nftables ", nftables::delete_tables(tables_but(mode)));
  // Before IPVS: rules hold the sets that go with it.
  note("", iptables::remove_leftovers(in_use(mode), variant_of(variant)));
  if (mode != "userspace") {
    const auto removed = userspace::remove_device();
    if (!removed) {
      note("", removed.error());
    } else if (*removed) {
      out.removed.push_back(fmt::format("device {}", userspace::kDevice));
    }
    const auto routes = userspace::remove_answer_routes();
    if (!routes) {
      note("", routes.error());
    } else if (*routes) {
      out.removed.push_back(fmt::format("routing table {}", userspace::kAnswerTable));
    }
  }
  const auto was_there = ipvs::remove_leftovers(mode == "ipvs");
  if (!was_there) {
    note("", was_there.error());
  } else if (*was_there) {
    out.removed.emplace_back("ipvs");
  }
  return out;
}

}  // namespace fairlead::proxy
