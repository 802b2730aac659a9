#include "proxy/modes/ipvs/netlink_kernel.hpp"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "io/process.hpp"
#include "proxy/modes/ipvs/scheduler.hpp"

namespace fairlead::ipvs {
namespace {

using namespace std::chrono_literals;

constexpr int kEventRoom = 8 * 1024 * 1024;

// Of the calling thread's namespace.
Result<void> set_sysctl(std::string_view name, std::string_view value) {
  const std::string path = fmt::format("/proc/sys/net/{}", name);
  std::ifstream before(path);
  std::string now;
  if (before >> now && now == value) return {};
  std::ofstream file(path);
  file << value << std::flush;
  if (!file) return errno_error(errno, fmt::format("set sysctl net/{} to {}", name, value));
  return {};
}

Result<void> set_sysctls(const KernelConfig& config) {
  // Translated connections must be known to conntrack, or nothing masquerades them.
  FAIRLEAD_CHECK(set_sysctl("ipv4/vs/conntrack", "1"));
  // A flow to an endpoint that is gone ends at once, and a sticky client of one that is leaving
  // gets another.
  FAIRLEAD_CHECK(set_sysctl("ipv4/vs/expire_nodest_conn", "1"));
  FAIRLEAD_CHECK(set_sysctl("ipv4/vs/expire_quiescent_template", "1"));
  FAIRLEAD_CHECK(set_sysctl("ipv4/ip_forward", "1"));
  if (!config.strict_arp) return {};
  FAIRLEAD_CHECK(set_sysctl("ipv4/conf/all/arp_ignore", "1"));
  return set_sysctl("ipv4/conf/all/arp_announce", "2");
}

Error unsupported(const Error& error, std::string_view what) {
  if (error.code == ErrorCode::Forbidden) {
    return error.with_context(
        "programming IPVS needs the capability CAP_NET_ADMIN in this network namespace");
  }
  Error out = error.with_context(what);
  out.code = ErrorCode::Unsupported;
  return out;
}

Result<std::uint16_t> ipvs_family(Channel& channel) {
  std::uint16_t id = 0;
  const auto look = [&] {
    return channel.ask(find_family("IPVS"), [&](Bytes message) { id = read_family_id(message); });
  };
  auto found = look();
  if (!found) {
    // Older kernels do not load it by themselves; without modprobe we know as much as before.
    (void)io::run_blocking({.argv = {"modprobe", "ip_vs"}}, {}, 10s);
    found = look();
  }
  if (!found) return unsupported(found.error(), "this kernel has no IPVS (module ip_vs)");
  return id;
}

Result<io::UniqueFd> wake_on(int listener, int timer) {
  io::UniqueFd wake(::epoll_create1(EPOLL_CLOEXEC));
  if (!wake) return errno_error(errno, "create an epoll descriptor");
  for (const int fd : {listener, timer}) {
    epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
    if (::epoll_ctl(wake.get(), EPOLL_CTL_ADD, fd, &event) < 0)
      return errno_error(errno, "watch a descriptor");
  }
  return wake;
}

enum class Kind : std::uint8_t { Ipvs, Set, Route };

Kind kind_of(const Operation& operation) {
  if (std::holds_alternative<AddEntry>(operation) || std::holds_alternative<DeleteEntry>(operation))
    return Kind::Set;
  if (std::holds_alternative<BindAddress>(operation) ||
      std::holds_alternative<UnbindAddress>(operation))
    return Kind::Route;
  return Kind::Ipvs;
}

struct Encoder {
  std::uint16_t family_id;
  int device;
  MessageBuilder operator()(const PutServer& o) const { return server_message(family_id, o); }
  MessageBuilder operator()(const DeleteServer& o) const { return server_message(family_id, o); }
  MessageBuilder operator()(const PutDestination& o) const {
    return destination_message(family_id, o);
  }
  MessageBuilder operator()(const DeleteDestination& o) const {
    return destination_message(family_id, o);
  }
  MessageBuilder operator()(const AddEntry& o) const { return entry_message(o.entry, true); }
  MessageBuilder operator()(const DeleteEntry& o) const { return entry_message(o.entry, false); }
  MessageBuilder operator()(const BindAddress& o) const {
    return address_message(device, o.address, true);
  }
  MessageBuilder operator()(const UnbindAddress& o) const {
    return address_message(device, o.address, false);
  }
};

// What is gone need not be deleted: a server takes its destinations along, and somebody may have
// been quicker.
bool is_pardoned(const Operation& operation, int error) {
  const bool deletes = std::holds_alternative<DeleteServer>(operation) ||
                       std::holds_alternative<DeleteDestination>(operation) ||
                       std::holds_alternative<UnbindAddress>(operation);
  return deletes && (error == ESRCH || error == ENOENT || error == EADDRNOTAVAIL);
}

}  // namespace

Result<std::unique_ptr<NetlinkKernel>> NetlinkKernel::create(const KernelConfig& config) {
  FAIRLEAD_TRY(kernel, open());
  FAIRLEAD_CHECK(set_sysctls(config));
  FAIRLEAD_CHECK(kernel->probe_schedulers(config.scheduler));
  FAIRLEAD_CHECK(kernel->set_timeouts_of(config));
  return std::move(kernel);
}

Result<std::unique_ptr<NetlinkKernel>> NetlinkKernel::open() {
  FAIRLEAD_TRY(ipvs, Channel::open(NETLINK_GENERIC));
  FAIRLEAD_TRY(family_id, ipvs_family(ipvs));
  FAIRLEAD_TRY(sets, Channel::open(NETLINK_NETFILTER));
  FAIRLEAD_TRY(routes, Channel::open(NETLINK_ROUTE));
  FAIRLEAD_TRY(listener,
               io::NetlinkSocket::create({.protocol = NETLINK_ROUTE,
                                          .groups = {RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR},
                                          .receive_buffer = kEventRoom}));
  io::UniqueFd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer) return errno_error(errno, "create a timer");
  FAIRLEAD_TRY(wake, wake_on(listener.fd(), timer.get()));
  FAIRLEAD_TRY(variant, iptables::detect_variant());
  FAIRLEAD_TRY(tools, iptables::open_tools(variant));
  FAIRLEAD_TRY(network, io::NetNamespace::current());
  return std::unique_ptr<NetlinkKernel>(new NetlinkKernel({.family_id = family_id,
                                                           .ipvs = std::move(ipvs),
                                                           .sets = std::move(sets),
                                                           .routes = std::move(routes),
                                                           .listener = std::move(listener),
                                                           .timer = std::move(timer),
                                                           .wake = std::move(wake),
                                                           .tools = std::move(tools),
                                                           .network = std::move(network)}));
}

Result<std::unique_ptr<NetlinkKernel>> NetlinkKernel::open_to_read(const std::string& scheduler) {
  FAIRLEAD_TRY(kernel, open());
  kernel->schedulers_.insert(scheduler_names().begin(), scheduler_names().end());
  kernel->schedulers_.insert(scheduler);
  return std::move(kernel);
}

Result<void> NetlinkKernel::set_timeouts_of(const KernelConfig& config) {
  if (config.tcp_timeout == 0s && config.tcp_fin_timeout == 0s && config.udp_timeout == 0s)
    return {};
  const auto seconds = [](std::chrono::seconds s) { return static_cast<std::uint32_t>(s.count()); };
  return parts_.ipvs.ask(set_timeouts(parts_.family_id, seconds(config.tcp_timeout),
                                      seconds(config.tcp_fin_timeout), seconds(config.udp_timeout)),
                         [](Bytes) {});
}

// A scheduler is there if a server can have it: that loads its module. The server is reached by a
// mark that no service has, so no packet can meet it.
Result<void> NetlinkKernel::probe_schedulers(const std::string& wanted) {
  const ServerKey nobody{.mark = kMarkPrefix | kMarkNumbers, .protocol = Protocol::Tcp};
  (void)parts_.ipvs.ask(server_message(parts_.family_id, DeleteServer{nobody}), [](Bytes) {});
  std::set<std::string> candidates(scheduler_names().begin(), scheduler_names().end());
  candidates.insert(wanted);
  for (const std::string& name : candidates) {
    auto made = parts_.ipvs.ask(
        server_message(parts_.family_id, PutServer{.key = nobody, .scheduling = {.name = name}}),
        [](Bytes) {});
    if (!made) {
      if (name != wanted) continue;
      return unsupported(made.error(), fmt::format("this kernel has no IPVS scheduler {}", name));
    }
    schedulers_.insert(name);
    FAIRLEAD_CHECK(
        parts_.ipvs.ask(server_message(parts_.family_id, DeleteServer{nobody}), [](Bytes) {}));
  }
  return {};
}

Result<bool> NetlinkKernel::has_device() {
  FAIRLEAD_TRY(index, device_index());
  return index != 0;
}

Result<int> NetlinkKernel::device_index() {
  int index = 0;
  // Names are looked up in the thread's namespace.
  FAIRLEAD_CHECK(parts_.network.run([&]() -> Result<void> {
    index = static_cast<int>(::if_nametoindex(std::string(kDevice).c_str()));
    return {};
  }));
  return index;
}

Result<std::set<IpAddress>> NetlinkKernel::interface_addresses() {
  FAIRLEAD_TRY(device, device_index());
  std::set<IpAddress> out;
  for (const IpFamily family : {IpFamily::V4, IpFamily::V6}) {
    FAIRLEAD_CHECK(parts_.routes.dump(list_addresses(family), [&](Bytes message) {
      const auto found = read_address(message);
      if (found && found->device != device) out.insert(found->address);
    }));
  }
  return out;
}

Result<plan::ApplyStats> NetlinkKernel::make_scaffold(IpFamily family) {
  plan::ApplyStats stats;
  FAIRLEAD_TRY(device, device_index());
  if (device == 0) {
    auto made = parts_.routes.ask(create_device(), [](Bytes) {});
    if (!made) {
      return unsupported(made.error(), fmt::format("create device {} (module dummy)", kDevice));
    }
    stats += {.transactions = 1, .messages = 1};
  }
  Batch batch;
  for (const SetId set : kSets) batch.add(create_set(set, family));
  std::set<std::size_t> misshapen;
  auto done = parts_.sets.execute(std::move(batch), [&](std::size_t set, int error) {
    return error == EEXIST && misshapen.insert(set).second;
  });
  if (!done) {
    const SetId set = kSets.at(done.error().message);
    return unsupported(done.error().error, fmt::format("create ipset {} of type {}",
                                                       set_name(set, family), schema(set).type));
  }
  for (const std::size_t set : misshapen) FAIRLEAD_CHECK(reshape_set(kSets.at(set), family));
  return stats += *done;
}

// kube-proxy's have the same names but hold less, and its rules speak of them: entries are copied,
// and the two sets change places under the rules.
Result<void> NetlinkKernel::reshape_set(SetId set, IpFamily family) {
  const std::string name = set_name(set, family);
  FAIRLEAD_TRY(held, entries(name, set, family));
  Batch batch;
  batch.add(create_spare(set, family));
  for (const SetEntry& entry : held) batch.add(spare_entry_message(entry));
  batch.add(swap_with_spare(set, family));
  batch.add(destroy_spare(family));
  auto done = parts_.sets.execute(std::move(batch));
  if (!done) {
    // Nothing of a half-made spare stays; that it cannot be removed is no news beside this.
    (void)parts_.sets.ask(destroy_spare(family), [](Bytes) {});
    return done.error().error.with_context(fmt::format("make ipset {} anew", name));
  }
  return {};
}

Result<bool> NetlinkKernel::remove_sets_of_kube_proxy(IpFamily family) {
  Batch batch;
  for (const KubeProxySet& set : kKubeProxySets)
    batch.add(destroy_set(set_name(set.name, family), family));
  std::size_t missing = 0;
  auto done = parts_.sets.execute(std::move(batch), [&](std::size_t, int error) {
    missing += error == ENOENT ? 1 : 0;
    return error == ENOENT;
  });
  if (!done) {
    return done.error().error.with_context(
        "remove ipset " + set_name(kKubeProxySets.at(done.error().message).name, family));
  }
  return missing < kKubeProxySets.size();
}

Result<void> NetlinkKernel::remove_sets(IpFamily family) {
  Batch batch;
  for (const SetId set : kSets) batch.add(destroy_set(set, family));
  auto done =
      parts_.sets.execute(std::move(batch), [](std::size_t, int error) { return error == ENOENT; });
  if (!done) {
    return done.error().error.with_context("remove ipset " +
                                           set_name(kSets.at(done.error().message), family));
  }
  return {};
}

Result<void> NetlinkKernel::remove_device() {
  auto done = parts_.routes.ask(delete_device(), [](Bytes) {});
  if (!done && done.error().sys_errno != ENODEV)
    return done.error().with_context(fmt::format("remove device {}", kDevice));
  return {};
}

Result<std::vector<ListedServer>> NetlinkKernel::list(IpFamily family) {
  std::vector<ListedServer> out;
  auto listed = parts_.ipvs.dump(list_servers(parts_.family_id), [&](Bytes message) {
    auto server = read_server(message);
    if (server && server->key.family == family) out.push_back(*std::move(server));
  });
  if (!listed) return listed.error().with_context("list virtual servers");
  return out;
}

Result<DestinationList> NetlinkKernel::destinations(const ServerKey& server) {
  DestinationList out;
  auto listed = parts_.ipvs.dump(list_destinations(parts_.family_id, server), [&](Bytes message) {
    if (const auto found = read_destination(message, server))
      out.emplace(found->destination, found->connections);
  });
  if (!listed && listed.error().sys_errno != ESRCH)
    return listed.error().with_context("list destinations of " + server.to_string());
  return out;
}

// Of a set of that shape; none if there is no such set.
Result<std::set<SetEntry>> NetlinkKernel::entries(std::string_view name, SetId shape,
                                                  IpFamily family) {
  std::set<SetEntry> out;
  auto listed = parts_.sets.dump(list_set(name, family), [&](Bytes message) {
    for (const SetEntry& entry : read_entries(message, shape, family)) out.insert(entry);
  });
  if (!listed && listed.error().sys_errno != ENOENT)
    return listed.error().with_context(fmt::format("list ipset {}", name));
  return out;
}

// It binds no address that is the node's already, so the device does not tell of such servers.
Result<std::set<ServerKey>> NetlinkKernel::of_kube_proxy(const std::vector<ListedServer>& servers,
                                                         IpFamily family) {
  FAIRLEAD_TRY(addresses, interface_addresses());
  std::set<std::pair<Protocol, Port>> ports;
  std::set<SetEntry> places;
  for (const KubeProxySet& set : kKubeProxySets) {
    const SetId shape = set.of_ports ? SetId::HealthCheck : SetId::Servers;
    FAIRLEAD_TRY(found, entries(set_name(set.name, family), shape, family));
    if (!set.of_ports) places.merge(found);
    for (const SetEntry& entry : found) {
      if (set.of_ports) ports.emplace(set.protocol, entry.port);
    }
  }
  std::set<ServerKey> out;
  for (const ListedServer& server : servers) {
    const ServerKey& key = server.key;
    if (key.mark != 0) continue;
    const bool on_node = addresses.contains(key.address) && !key.address.is_loopback();
    if (places.contains(record_of(key)) || (on_node && ports.contains({key.protocol, key.port})))
      out.insert(key);
  }
  return out;
}

Result<Reading> NetlinkKernel::read(IpFamily family) {
  Reading out;
  FAIRLEAD_TRY(servers, list(family));
  FAIRLEAD_TRY(made_by_kube_proxy, of_kube_proxy(servers, family));
  out.of_kube_proxy = std::move(made_by_kube_proxy);
  for (ListedServer& listed : servers) {
    FAIRLEAD_TRY(found, destinations(listed.key));
    for (const auto& [destination, connections] : found)
      listed.server.destinations.emplace(destination, connections.weight);
    out.destinations.emplace(listed.key, std::move(found));
    out.state.servers.emplace(listed.key, std::move(listed.server));
  }
  for (const SetId set : kSets) {
    FAIRLEAD_TRY(found, entries(set_name(set, family), set, family));
    out.state.entries.merge(found);
  }
  FAIRLEAD_TRY(device, device_index());
  FAIRLEAD_CHECK(parts_.routes.dump(list_addresses(family), [&](Bytes message) {
    const auto found = read_address(message);
    if (found && found->device == device && !found->address.is_link_local())
      out.state.addresses.insert(found->address);
  }));
  return out;
}

Result<std::vector<TrafficSample>> NetlinkKernel::server_traffic() {
  std::vector<TrafficSample> out;
  auto listed = parts_.ipvs.dump(list_servers(parts_.family_id), [&](Bytes message) {
    if (auto server = read_server(message)) out.push_back(server->traffic);
  });
  if (!listed) return listed.error().with_context("list virtual servers");
  return out;
}

Result<std::vector<TrafficSample>> NetlinkKernel::destination_traffic(const ServerKey& server) {
  std::vector<TrafficSample> out;
  auto listed = parts_.ipvs.dump(list_destinations(parts_.family_id, server), [&](Bytes message) {
    if (auto found = read_destination(message, server)) out.push_back(found->traffic);
  });
  if (!listed && listed.error().sys_errno != ESRCH)
    return listed.error().with_context("list destinations of " + server.to_string());
  return out;
}

Result<plan::ApplyStats> NetlinkKernel::execute(Channel& channel,
                                                std::span<const Operation> operations, int device) {
  Batch batch;
  const Encoder encoder{.family_id = parts_.family_id, .device = device};
  for (const Operation& operation : operations) batch.add(std::visit(encoder, operation));
  auto done = channel.execute(std::move(batch), [&](std::size_t message, int error) {
    return is_pardoned(operations[message], error);
  });
  if (!done) return done.error().error.with_context(to_string(operations[done.error().message]));
  done->elements = operations.size();
  return *done;
}

Result<plan::ApplyStats> NetlinkKernel::commit(const Operations& operations) {
  plan::ApplyStats stats;
  int device = 0;
  std::span<const Operation> left = operations;
  while (!left.empty()) {
    const Kind kind = kind_of(left.front());
    const auto end =
        std::ranges::find_if(left, [&](const Operation& o) { return kind_of(o) != kind; });
    const auto run = left.first(static_cast<std::size_t>(end - left.begin()));
    if (kind == Kind::Route && device == 0) {
      FAIRLEAD_TRY(index, device_index());
      if (index == 0) return make_error(ErrorCode::NotFound, "device {} is gone", kDevice);
      device = index;
    }
    Channel& channel = kind == Kind::Ipvs  ? parts_.ipvs
                       : kind == Kind::Set ? parts_.sets
                                           : parts_.routes;
    FAIRLEAD_TRY(done, execute(channel, run, device));
    stats += done;
    left = left.subspan(run.size());
  }
  return stats;
}

Result<std::string> NetlinkKernel::saved_rules(IpFamily family) {
  return parts_.tools->save(family);
}

Result<plan::ApplyStats> NetlinkKernel::restore_rules(IpFamily family, const std::string& text) {
  FAIRLEAD_CHECK(parts_.tools->restore(family, text));
  return plan::ApplyStats{.transactions = 1,
                          .messages = static_cast<std::uint64_t>(std::ranges::count(text, '\n')),
                          .bytes = text.size()};
}

Result<void> NetlinkKernel::set_timer(std::chrono::seconds from_now) {
  const itimerspec when{.it_value = {.tv_sec = from_now.count()}};
  if (::timerfd_settime(parts_.timer.get(), 0, &when, nullptr) < 0)
    return errno_error(errno, "set a timer");
  return {};
}

Result<Wake> NetlinkKernel::woken() {
  Wake out;
  std::uint64_t expirations = 0;
  out.timer = ::read(parts_.timer.get(), &expirations, sizeof expirations) > 0;
  FAIRLEAD_TRY(device, device_index());
  while (true) {
    auto received = parts_.listener.receive_within(0ms, [&](Bytes message) {
      const auto found = read_address(message);
      if (!found) return;
      out.events.push_back(
          {.on_device = found->device == device, .added = found->added, .address = found->address});
    });
    if (!received) {
      if (received.error().sys_errno != ENOBUFS) return received.error();
      out.missed = true;
      continue;
    }
    if (!*received) return out;
  }
}

}  // namespace fairlead::ipvs
