#include "proxy/modes/userspace/address_entrance.hpp"

#include <net/if.h>

#include <algorithm>
#include <utility>

#include "io/interfaces.hpp"

namespace fairlead::userspace {
namespace {

struct Held {
  std::set<IpAddress> by_device;  // by ours
  std::set<IpAddress> by_others;
};

Result<Held> held_addresses() {
  FAIRLEAD_TRY(all, io::interface_addresses());
  Held out;
  for (const auto& [interface, address] : all) {
    if (address.is_link_local()) continue;
    (interface == kDevice ? out.by_device : out.by_others).insert(address);
  }
  return out;
}

std::string address_line(std::string_view verb, const IpAddress& address) {
  const bool tentative = verb != "del" && !address.is_v4();
  return fmt::format("addr {} {}/{} dev {}{}\n", verb, address, address.bits(), kDevice,
                     tentative ? " nodad" : "");
}

// Nobody answers for addresses behind the device: what is routed there is gone at once.
Result<void> make_device() {
  Error last;
  for (const char* kind : {"dummy", "bridge"}) {
    const auto made = run_tool({"ip", "link", "add", std::string(kDevice), "type", kind});
    if (made || if_nametoindex(kDevice.data()) != 0) return {};
    if (made.error().code == ErrorCode::Forbidden) return made.error();
    last = made.error();
  }
  return make_error(ErrorCode::Unsupported,
                    "the kernel has neither dummy devices nor bridges to hold addresses: {}",
                    last.message);
}

Result<plan::ApplyStats> run_lines(const std::string& lines) {
  plan::ApplyStats out;
  if (lines.empty()) return out;
  FAIRLEAD_CHECK(run_tool({"ip", "-force", "-batch", "-"}, lines));
  out.transactions = 1;
  out.messages = static_cast<std::uint64_t>(std::ranges::count(lines, '\n'));
  out.elements = out.messages;
  out.bytes = lines.size();
  return out;
}

}  // namespace

Result<bool> remove_device() {
  if (if_nametoindex(kDevice.data()) == 0) return false;
  FAIRLEAD_CHECK(run_tool({"ip", "link", "del", std::string(kDevice)}));
  return true;
}

std::vector<IpAddress> addresses_of(const plan::ServicePlan& plan) {
  std::vector<IpAddress> out;
  for (const plan::Frontend& frontend : plan.frontends) {
    if (frontend.kind != plan::FrontendKind::NodePort) out.push_back(frontend.address);
  }
  return out;
}

Result<void> AddressEntrance::try_it() { return make_device(); }

Result<plan::ApplyStats> AddressEntrance::program(const plan::Plan& plan) {
  FAIRLEAD_CHECK(make_device());
  wanted_.clear();
  for (const auto& [key, service] : plan.services) {
    for (const IpAddress& address : addresses_of(*service)) ++wanted_[address];
  }
  FAIRLEAD_TRY(held, held_addresses());
  std::string lines = fmt::format("link set {} up arp off\n", kDevice);
  for (const auto& [address, count] : wanted_) {
    // One that the node has anyway needs nothing.
    if (held.by_device.contains(address) || held.by_others.contains(address)) continue;
    lines += address_line("replace", address);
  }
  std::set<IpAddress> surplus = held.by_device;
  std::erase_if(surplus, [this](const IpAddress& address) { return wanted_.contains(address); });
  lines += removals(surplus);
  for (const auto& [family, node] : plan.nodes) {
    for (const IpPrefix& cidr : node.service_cidrs) {
      lines += fmt::format("route replace {} dev {}\n", cidr, kDevice);
    }
  }
  return run_lines(lines);
}

Result<plan::ApplyStats> AddressEntrance::change(const plan::PlanDelta& delta) {
  std::set<IpAddress> concerned;
  const auto addresses = [](const plan::ServicePlanPtr& plan) {
    return plan ? addresses_of(*plan) : std::vector<IpAddress>();
  };
  for (const plan::ServiceChange& change : delta.services) {
    for (const IpAddress& address : addresses(change.before)) {
      concerned.insert(address);
      if (const auto found = wanted_.find(address); --found->second == 0) wanted_.erase(found);
    }
    for (const IpAddress& address : addresses(change.after)) {
      concerned.insert(address);
      ++wanted_[address];
    }
    // Endpoints alone have changed, as a rule.
    if (change.before && change.after && addresses(change.before) == addresses(change.after)) {
      for (const IpAddress& address : addresses(change.after)) concerned.erase(address);
    }
  }
  concerned.merge(std::exchange(lingering_, {}));
  if (concerned.empty()) return plan::ApplyStats{};
  FAIRLEAD_TRY(held, held_addresses());
  std::string lines;
  std::set<IpAddress> surplus;
  for (const IpAddress& address : concerned) {
    const bool wanted = wanted_.contains(address) && !held.by_others.contains(address);
    if (wanted == held.by_device.contains(address)) continue;
    if (wanted) {
      lines += address_line("replace", address);
    } else {
      surplus.insert(address);
    }
  }
  return run_lines(lines + removals(surplus));
}

// Of those that nobody uses.
std::string AddressEntrance::removals(const std::set<IpAddress>& surplus) {
  lingering_.clear();
  if (surplus.empty()) return {};
  const std::set<IpAddress> used = in_use_();
  std::string lines;
  for (const IpAddress& address : surplus) {
    if (used.contains(address)) {
      lingering_.insert(address);
    } else {
      lines += address_line("del", address);
    }
  }
  return lines;
}

Result<std::vector<std::string>> AddressEntrance::verify(const plan::Plan&, std::size_t limit) {
  std::vector<std::string> out;
  FAIRLEAD_TRY(held, held_addresses());
  for (const auto& [address, count] : wanted_) {
    if (out.size() >= limit) return out;
    if (!held.by_device.contains(address) && !held.by_others.contains(address)) {
      out.push_back(fmt::format("device {}: {} is missing", kDevice, address));
    }
  }
  for (const IpAddress& address : held.by_device) {
    if (out.size() >= limit) return out;
    if (!wanted_.contains(address) && !lingering_.contains(address)) {
      out.push_back(fmt::format("device {}: {} is not ours", kDevice, address));
    }
  }
  return out;
}

Result<void> AddressEntrance::remove() {
  wanted_.clear();
  lingering_.clear();
  FAIRLEAD_CHECK(remove_device());
  return {};
}

}  // namespace fairlead::userspace
