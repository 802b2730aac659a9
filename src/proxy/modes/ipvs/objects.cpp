#include "proxy/modes/ipvs/objects.hpp"

#include <algorithm>
#include <iterator>
#include <tuple>

#include "base/error.hpp"

namespace fairlead::ipvs {
namespace {

constexpr std::string_view kAddressPort = "hash:ip,port";

constexpr std::array kSchemas = {
    SetSchema{.name = "KUBE-LOOP-BACK", .type = "hash:ip,port,ip", .revision = 5},
    SetSchema{.name = "KUBE-CLUSTER-IP", .type = kAddressPort, .revision = 5},
    SetSchema{.name = "KUBE-IPVS-MASQUERADE", .type = kAddressPort, .revision = 5},
    SetSchema{.name = "KUBE-LOAD-BALANCER-FW", .type = kAddressPort, .revision = 5},
    SetSchema{.name = "KUBE-LOAD-BALANCER-SOURCE-CIDR", .type = "hash:ip,port,net", .revision = 7},
    SetSchema{.name = "KUBE-IPVS-SERVERS", .type = kAddressPort, .revision = 5},
    SetSchema{.name = "KUBE-IPVS-DROP", .type = kAddressPort, .revision = 5},
    SetSchema{.name = "KUBE-IPVS-REJECT", .type = kAddressPort, .revision = 5},
    SetSchema{.name = "KUBE-IPVS-SHORT-CUT", .type = kAddressPort, .revision = 5, .marks = true},
    SetSchema{.name = "KUBE-IPVS-IPS", .type = "hash:ip", .revision = 4},
    SetSchema{.name = "KUBE-HEALTH-CHECK-NODE-PORT", .type = "bitmap:port", .revision = 3},
};
static_assert(kSchemas.size() == kSets.size());

constexpr std::size_t kLongestName = 31;

std::string to_string(const Destination& destination) {
  return SocketAddress{destination.address, destination.port}.to_string();
}

// Collected in the order in which the kernel is to hear of them.
struct Steps {
  Operations servers;   // new and changed servers
  Operations arrivals;  // destinations
  Operations entries;   // of sets
  Operations bound;     // addresses
  Operations unbound;
  Operations departed_entries;
  Operations departures;  // destinations
  Operations gone;        // servers

  Operations in_order() && {
    Operations out;
    for (Operations* step :
         {&servers, &arrivals, &entries, &bound, &unbound, &departed_entries, &departures, &gone}) {
      std::ranges::move(*step, std::back_inserter(out));
    }
    return out;
  }
};

// Calls added(y), removed(x) or both(x, y) for the elements of two sorted ranges.
template <class Range, class Key, class Added, class Removed, class Both>
void walk(const Range& before, const Range& after, Key key, Added added, Removed removed,
          Both both) {
  auto x = before.begin();
  auto y = after.begin();
  while (x != before.end() || y != after.end()) {
    if (y == after.end() || (x != before.end() && key(*x) < key(*y))) {
      removed(*x++);
    } else if (x == before.end() || key(*y) < key(*x)) {
      added(*y++);
    } else {
      both(*x++, *y++);
    }
  }
}

constexpr auto kFirst = [](const auto& pair) -> const auto& { return pair.first; };
constexpr auto kItself = [](const auto& value) -> const auto& { return value; };
// The kernel finds an entry without its mark.
constexpr auto kPlace = [](const SetEntry& e) {
  return std::tie(e.set, e.address, e.protocol, e.port, e.source);
};

void compare_destinations(const ServerKey& server, const Server& before, const Server& after,
                          Steps& out) {
  walk(
      before.destinations, after.destinations, kFirst,
      [&](const auto& added) {
        out.arrivals.emplace_back(
            PutDestination{.server = server, .destination = added.first, .weight = added.second});
      },
      [&](const auto& removed) {
        out.departures.emplace_back(
            DeleteDestination{.server = server, .destination = removed.first});
      },
      [&](const auto& old, const auto& now) {
        if (old.second == now.second) return;
        out.arrivals.emplace_back(PutDestination{
            .server = server, .destination = now.first, .weight = now.second, .exists = true});
      });
}

void compare_servers(const State& before, const State& after, Steps& out) {
  const auto put = [&](const ServerKey& key, const Server& server, bool exists) {
    out.servers.emplace_back(PutServer{.key = key,
                                       .scheduling = server.scheduling,
                                       .persistence = server.persistence,
                                       .exists = exists});
  };
  walk(
      before.servers, after.servers, kFirst,
      [&](const auto& added) {
        put(added.first, added.second, false);
        compare_destinations(added.first, {}, added.second, out);
      },
      [&](const auto& removed) { out.gone.emplace_back(DeleteServer{.key = removed.first}); },
      [&](const auto& old, const auto& now) {
        if (old.second.scheduling != now.second.scheduling ||
            old.second.persistence != now.second.persistence) {
          put(now.first, now.second, true);
        }
        compare_destinations(now.first, old.second, now.second, out);
      });
}

struct Printer {
  std::string operator()(const PutServer& o) const {
    return fmt::format(
        "{} server {} {}{}{}", o.exists ? "edit" : "add", o.key.to_string(), o.scheduling.name,
        o.scheduling.flags != 0 ? fmt::format(" flags {:#x}", o.scheduling.flags) : std::string(),
        o.persistence != 0 ? fmt::format(" persistent {}", o.persistence) : std::string());
  }
  std::string operator()(const DeleteServer& o) const {
    return fmt::format("delete server {}", o.key.to_string());
  }
  std::string operator()(const PutDestination& o) const {
    return fmt::format("{} destination {} -> {} weight {}", o.exists ? "edit" : "add",
                       o.server.to_string(), to_string(o.destination), o.weight);
  }
  std::string operator()(const DeleteDestination& o) const {
    return fmt::format("delete destination {} -> {}", o.server.to_string(),
                       to_string(o.destination));
  }
  std::string operator()(const AddEntry& o) const { return "add entry " + to_string(o.entry); }
  std::string operator()(const DeleteEntry& o) const {
    return "delete entry " + to_string(o.entry);
  }
  std::string operator()(const BindAddress& o) const { return fmt::format("bind {}", o.address); }
  std::string operator()(const UnbindAddress& o) const {
    return fmt::format("unbind {}", o.address);
  }
};

}  // namespace

std::string ServerKey::to_string() const {
  if (mark != 0) return fmt::format("FWM {:#x} {}", mark, family);
  return fmt::format("{} {}", protocol, SocketAddress{address, port});
}

const SetSchema& schema(SetId set) { return kSchemas.at(static_cast<std::size_t>(set)); }

std::string set_name(SetId set, IpFamily family) { return set_name(schema(set).name, family); }

std::string set_name(std::string_view for_ipv4, IpFamily family) {
  std::string name(for_ipv4);
  if (family == IpFamily::V4) return name;
  constexpr std::string_view kPrefix = "KUBE-";
  name = fmt::format("KUBE-6-{}", name.substr(kPrefix.size()));
  return name.substr(0, kLongestName);
}

std::string definition(SetId set, IpFamily family) {
  const SetSchema& wanted = schema(set);
  const std::string name = set_name(set, family);
  if (set == SetId::HealthCheck) return fmt::format("{} {} range 0-65535", name, wanted.type);
  return fmt::format("{} {} family {} hashsize {} maxelem {}{}", name, wanted.type,
                     family == IpFamily::V4 ? "inet" : "inet6", kFirstBuckets, kMostEntries,
                     wanted.marks ? " skbinfo" : "");
}

std::string to_string(const SetEntry& entry) {
  if (entry.set == SetId::HealthCheck)
    return fmt::format("{} {}", set_name(entry.set, entry.address.family()), entry.port);
  std::string out =
      fmt::format("{} {}", set_name(entry.set, entry.address.family()), entry.address);
  if (entry.set == SetId::Addresses) return out;
  out += fmt::format(",{}:{}", to_lower(entry.protocol), entry.port);
  if (entry.set == SetId::LoopBack) out += fmt::format(",{}", entry.source.address());
  if (entry.set == SetId::SourceRanges) out += fmt::format(",{}", entry.source);
  if (entry.mark != 0) out += fmt::format(" skbmark {:#x}", entry.mark);
  return out;
}

std::string to_string(const Operation& operation) { return std::visit(Printer{}, operation); }

Operations difference(const State& before, const State& after) {
  Steps out;
  compare_servers(before, after, out);
  walk(
      before.entries, after.entries, kPlace,
      [&](const SetEntry& added) { out.entries.emplace_back(AddEntry{added}); },
      [&](const SetEntry& removed) { out.departed_entries.emplace_back(DeleteEntry{removed}); },
      [&](const SetEntry& old, const SetEntry& now) {
        if (old.mark != now.mark) out.entries.emplace_back(AddEntry{now});
      });
  walk(
      before.addresses, after.addresses, kItself,
      [&](const IpAddress& added) { out.bound.emplace_back(BindAddress{added}); },
      [&](const IpAddress& removed) { out.unbound.emplace_back(UnbindAddress{removed}); },
      [](const IpAddress&, const IpAddress&) {});
  return std::move(out).in_order();
}

}  // namespace fairlead::ipvs
