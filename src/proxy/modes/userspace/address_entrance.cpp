#include "proxy/modes/userspace/address_entrance.hpp"

#include <net/if.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "base/text.hpp"
#include "io/interfaces.hpp"

namespace fairlead::userspace {
namespace {

constexpr auto kPatience = std::chrono::seconds(5);

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

std::ptrdiff_t lines_with(std::string_view text, std::string_view start) {
  return std::ranges::count_if(split(text, '\n'),
                               [&](std::string_view line) { return line.starts_with(start); });
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

std::string route_lines(const std::vector<IpPrefix>& ranges) {
  std::string out;
  for (const IpPrefix& range : ranges) {
    out += fmt::format("route replace {} dev {}\n", range, kDevice);
  }
  return out;
}

// The kernel makes an IPv6 address its own in a work queue. Until then packets to it go elsewhere.
Result<void> wait_until_local(const std::set<IpAddress>& addresses) {
  std::string questions;
  for (const IpAddress& address : addresses) {
    if (!address.is_v4()) questions += fmt::format("route get {}\n", address);
  }
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!questions.empty()) {
    const auto answers = run_tool({"ip", "-batch", "-"}, questions);
    if (answers && std::ranges::count(questions, '\n') == lines_with(*answers, "local ")) break;
    if (std::chrono::steady_clock::now() > deadline) {
      return make_error(ErrorCode::Timeout, "new IPv6 addresses of {} do not become the node's",
                        kDevice);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return {};
}

// What is routed to the device, as `ip route` names it.
Result<std::set<std::string>> routes() {
  std::set<std::string> out;
  for (const char* family : {"-4", "-6"}) {
    FAIRLEAD_TRY(text, run_tool({"ip", family, "route", "show", "dev", std::string(kDevice)}));
    for (const std::string_view line : split(text, '\n')) {
      out.emplace(line.substr(0, line.find(' ')));
    }
  }
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
  ranges_.clear();
  for (const auto& [family, node] : plan.nodes) {
    ranges_.insert(ranges_.end(), node.service_cidrs.begin(), node.service_cidrs.end());
  }
  FAIRLEAD_TRY(held, held_addresses());
  std::set<IpAddress> missing, surplus = held.by_device;
  for (const auto& [address, count] : wanted_) {
    surplus.erase(address);
    // One that the node has anyway needs nothing.
    if (held.by_device.contains(address) || held.by_others.contains(address)) continue;
    missing.insert(address);
  }
  return bring(fmt::format("link set {} up arp off\n", kDevice), missing, surplus);
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
  std::set<IpAddress> missing, surplus;
  for (const IpAddress& address : concerned) {
    const bool wanted = wanted_.contains(address) && !held.by_others.contains(address);
    if (wanted == held.by_device.contains(address)) continue;
    (wanted ? missing : surplus).insert(address);
  }
  return bring({}, missing, surplus);
}

Result<plan::ApplyStats> AddressEntrance::bring(std::string lines,
                                                const std::set<IpAddress>& missing,
                                                const std::set<IpAddress>& surplus) {
  for (const IpAddress& address : missing) lines += address_line("replace", address);
  lines += removals(surplus);
  // A device that loses its last IPv4 address loses its routes too.
  if (!lines.empty()) lines += route_lines(ranges_);
  FAIRLEAD_TRY(stats, run_lines(lines));
  FAIRLEAD_CHECK(wait_until_local(missing));
  return stats;
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
  if (ranges_.empty()) return out;
  FAIRLEAD_TRY(routed, routes());
  for (const IpPrefix& range : ranges_) {
    if (out.size() < limit && !routed.contains(range.to_string())) {
      out.push_back(fmt::format("device {}: the route to {} is missing", kDevice, range));
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
