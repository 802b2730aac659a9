// The kernel in memory, with its rules: what does not exist cannot be changed, what exists cannot
// be made again, a set that rules speak of cannot go. Counts what it is asked. Owner: one test.
#pragma once

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "proxy/modes/ipvs/kernel.hpp"
#include "proxy/modes/ipvs/rules.hpp"

namespace fairlead::ipvs::testing {

class MemoryKernel final : public Kernel {
 public:
  // Everything a test may look at or set.
  struct World {
    State state;
    std::map<ServerKey, std::map<Destination, Connections>> connections;
    std::set<IpFamily> sets;
    bool device = false;
    std::set<ServerKey> of_kube_proxy;      // as sets of its own say
    std::map<IpFamily, std::string> rules;  // as iptables-save
    std::set<IpAddress> interfaces = {*IpAddress::parse("127.0.0.1"),
                                      *IpAddress::parse("192.168.50.1"),
                                      *IpAddress::parse("fd00:50::1")};
    Wake wake;
    std::vector<TrafficSample> traffic;
    std::vector<ServerKey> listed;  // whose destinations were counted
    bool timer_is_set = false;
    std::size_t reads = 0;
    std::size_t fail_at = 0;  // this operation from now on is refused; 0 = none
  };
  explicit MemoryKernel(World& world) : world_(world) {}

  const std::set<std::string>& schedulers() const override { return schedulers_; }
  Result<std::set<IpAddress>> interface_addresses() override { return world_.interfaces; }

  Result<plan::ApplyStats> make_scaffold(IpFamily family) override {
    world_.device = true;
    world_.sets.insert(family);
    return plan::ApplyStats{};
  }
  Result<void> remove_sets(IpFamily family) override {
    if (!world_.rules[family].empty())
      return make_error(ErrorCode::Conflict, "sets are in use by rules");
    world_.sets.erase(family);
    std::erase_if(world_.state.entries,
                  [&](const SetEntry& e) { return e.address.family() == family; });
    return {};
  }
  Result<void> remove_device() override {
    world_.device = false;
    world_.state.addresses.clear();
    return {};
  }

  Result<Reading> read(IpFamily family) override {
    ++world_.reads;
    Reading out{.of_kube_proxy = world_.of_kube_proxy};
    for (const auto& [key, server] : world_.state.servers) {
      if (key.family != family) continue;
      out.state.servers.emplace(key, server);
      FAIRLEAD_TRY(found, destinations(key));
      out.destinations.emplace(key, std::move(found));
    }
    std::ranges::copy_if(world_.state.entries,
                         std::inserter(out.state.entries, out.state.entries.end()),
                         [&](const SetEntry& e) { return e.address.family() == family; });
    std::ranges::copy_if(world_.state.addresses,
                         std::inserter(out.state.addresses, out.state.addresses.end()),
                         [&](const IpAddress& a) { return a.family() == family; });
    return out;
  }
  Result<DestinationList> destinations(const ServerKey& key) override {
    DestinationList out;
    const auto server = world_.state.servers.find(key);
    if (server == world_.state.servers.end()) return out;
    for (const auto& [destination, weight] : server->second.destinations) {
      Connections connections = world_.connections[key][destination];
      connections.weight = weight;
      out.emplace(destination, connections);
    }
    return out;
  }
  Result<std::vector<TrafficSample>> server_traffic() override {
    std::vector<TrafficSample> out;
    std::ranges::copy_if(world_.traffic, std::back_inserter(out),
                         [](const TrafficSample& s) { return !s.destination; });
    return out;
  }
  Result<std::vector<TrafficSample>> destination_traffic(const ServerKey& server) override {
    world_.listed.push_back(server);
    std::vector<TrafficSample> out;
    std::ranges::copy_if(world_.traffic, std::back_inserter(out), [&](const TrafficSample& s) {
      return s.destination && s.server == server;
    });
    return out;
  }

  Result<plan::ApplyStats> commit(const Operations& operations) override {
    for (const Operation& operation : operations) {
      if (world_.fail_at != 0 && --world_.fail_at == 0)
        return make_error(ErrorCode::Internal, "{}: refused by the test", to_string(operation));
      FAIRLEAD_CHECK(std::visit([this](const auto& o) { return perform(o); }, operation));
    }
    return plan::ApplyStats{.transactions = operations.empty() ? 0U : 1U,
                            .messages = operations.size(),
                            .elements = operations.size()};
  }

  // What iptables-save would say of a text for iptables-restore. A text that deletes takes all.
  std::string_view rules_variant() const override { return "nft"; }
  Result<std::string> saved_rules(IpFamily family) override { return world_.rules[family]; }
  Result<plan::ApplyStats> restore_rules(IpFamily family, const std::string& text) override {
    if (!world_.sets.contains(family))
      return make_error(ErrorCode::Internal, "rules speak of sets that are not there");
    std::string& saved = world_.rules[family];
    saved = text.find("\n-X ") == std::string::npos ? text : "";
    for (std::size_t at = 0; (at = saved.find("\n-I ", at)) != std::string::npos;) {
      saved[at + 2] = 'A';
      saved.erase(saved.find(" 1 -j", at), 2);
    }
    return plan::ApplyStats{.transactions = 1};
  }

  int wake_fd() const override { return -1; }
  Result<Wake> woken() override { return std::exchange(world_.wake, {}); }
  Result<void> set_timer(std::chrono::seconds) override {
    world_.timer_is_set = true;
    return {};
  }

 private:
  static Error refuse(const Operation& operation) {
    return make_error(ErrorCode::Conflict, "the kernel refuses to {}", to_string(operation));
  }
  Result<void> perform(const PutServer& o) {
    if (world_.state.servers.contains(o.key) != o.exists) return refuse(o);
    Server& server = world_.state.servers[o.key];
    server.scheduling = o.scheduling;
    server.persistence = o.persistence;
    return {};
  }
  Result<void> perform(const DeleteServer& o) {
    if (world_.state.servers.erase(o.key) == 0) return refuse(o);
    world_.connections.erase(o.key);
    return {};
  }
  Result<void> perform(const PutDestination& o) {
    const auto server = world_.state.servers.find(o.server);
    if (server == world_.state.servers.end() ||
        server->second.destinations.contains(o.destination) != o.exists)
      return refuse(o);
    server->second.destinations[o.destination] = o.weight;
    return {};
  }
  Result<void> perform(const DeleteDestination& o) {
    const auto server = world_.state.servers.find(o.server);
    if (server == world_.state.servers.end() ||
        server->second.destinations.erase(o.destination) == 0)
      return refuse(o);
    world_.connections[o.server].erase(o.destination);
    return {};
  }
  Result<void> perform(const AddEntry& o) {
    if (!world_.sets.contains(o.entry.address.family())) return refuse(o);
    // The mark is no part of an entry's place.
    std::erase_if(world_.state.entries, [&](SetEntry e) {
      e.mark = o.entry.mark;
      return e == o.entry;
    });
    world_.state.entries.insert(o.entry);
    return {};
  }
  Result<void> perform(const DeleteEntry& o) {
    if (world_.state.entries.erase(o.entry) == 0) return refuse(o);
    return {};
  }
  Result<void> perform(const BindAddress& o) {
    if (!world_.device || !world_.state.addresses.insert(o.address).second) return refuse(o);
    return {};
  }
  Result<void> perform(const UnbindAddress& o) {
    if (world_.state.addresses.erase(o.address) == 0) return refuse(o);
    return {};
  }

  World& world_;
  std::set<std::string> schedulers_ = {"rr", "wrr", "sh", "mh"};
};

}  // namespace fairlead::ipvs::testing
