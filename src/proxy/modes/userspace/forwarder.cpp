#include "proxy/modes/userspace/forwarder.hpp"

#include <sched.h>
#include <sys/socket.h>

#include <algorithm>
#include <latch>
#include <set>
#include <utility>

#include "proxy/modes/userspace/loop.hpp"

namespace fairlead::userspace {
namespace {

unsigned cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return static_cast<unsigned>(std::max(1, CPU_COUNT(&set)));
}

// Takes an entry's sockets out of those of the process before; none: it had none there.
template <class Entry>
std::vector<io::UniqueFd> take(std::map<Entry, std::vector<io::UniqueFd>>& from,
                               const Entry& entry) {
  auto node = from.extract(entry);
  return node.empty() ? std::vector<io::UniqueFd>() : std::move(node.mapped());
}

SocketAddress any_address(IpFamily family, Port port) {
  return {.address = IpAddress::any(family), .port = port};
}

TcpEntry tcp_entry(const SocketAddress& at) {
  return {.family = at.address.family(), .port = at.port, .address = at.address};
}

UdpEntry udp_entry(const plan::PlanKey& key, const SocketAddress& at) {
  return {.key = key, .place = at};
}

std::string place_text(const plan::PlanKey& key, const SocketAddress& at) {
  return fmt::format("{}/{}", at, key.service_port.protocol);
}

}  // namespace

Forwarder::Forwarder(ForwarderConfig config, Limits limits)
    : config_(std::move(config)), budget_(std::make_unique<Budget>(limits)) {}

Forwarder::~Forwarder() = default;

Result<std::unique_ptr<Forwarder>> Forwarder::create(ForwarderConfig config, Sockets inherited) {
  if (config.loops == 0) config.loops = cpus();
  FAIRLEAD_TRY(limits, limits_here(config.most_connections, config.most_flows));
  std::unique_ptr<Forwarder> out(new Forwarder(std::move(config), limits));
  out->inherited_ = std::move(inherited);
  FAIRLEAD_CHECK(out->start());
  return out;
}

// Runs `work(loop, index)` on every loop; returns when all have.
template <class Work>
void Forwarder::on_all_loops(Work work) {
  std::latch done(static_cast<std::ptrdiff_t>(loops_.size()));
  for (std::size_t i = 0; i < loops_.size(); ++i) {
    Loop& loop = *loops_[i];
    loop.post([&loop, &done, &work, i] {
      work(loop, i);
      done.count_down();
    });
  }
  done.wait();
}

Result<void> Forwarder::start() {
  for (unsigned i = 0; i < config_.loops; ++i) {
    FAIRLEAD_TRY(loop, EventLoop::create());
    loops_.push_back(std::make_unique<Loop>(
        std::move(loop), *budget_, budget_->limits().pipes / config_.loops, config_.udp_idle));
  }
  if (config_.way_in == WayIn::Places) return {};
  for (const IpFamily family : config_.families) FAIRLEAD_CHECK(listen(family));
  return {};
}

// ---- Sockets and the loops that have them

// As many sockets as there are loops, or more: those of the process before come first. They are
// counted as files; whoever closes them gives these back.
Result<std::vector<io::UniqueFd>> Forwarder::complete(std::vector<io::UniqueFd> inherited, int type,
                                                      SocketAddress at, const Filter& filter) {
  std::vector<io::UniqueFd> out = std::move(inherited);
  for (const io::UniqueFd& socket : out) attach_filter(socket.get(), filter);
  if (!out.empty()) {
    FAIRLEAD_TRY(port, port_of(out.front()));
    at.port = port;
  }
  FAIRLEAD_CHECK(add_sockets(out, type, loops_.size(), at, filter));
  if (budget_->take_files(out.size())) return out;
  return make_error(ErrorCode::Exhausted, "no files are left for sockets at {}", at);
}

// Calls `give(loop, socket)` for each, on the loop that gets it.
template <class Give>
void Forwarder::hand_out(std::vector<io::UniqueFd>& sockets, Give give) {
  on_all_loops([&](Loop& loop, std::size_t i) {
    for (std::size_t n = i; n < sockets.size(); n += loops_.size()) {
      give(loop, std::move(sockets[n]));
    }
  });
}

Result<std::size_t> Forwarder::listen_at(const TcpEntry& entry, const Filter& filter) {
  const SocketAddress at = entry.address
                               ? SocketAddress{.address = *entry.address, .port = entry.port}
                               : any_address(entry.family, entry.port);
  FAIRLEAD_TRY(sockets, complete(take(inherited_.tcp, entry), SOCK_STREAM, at, filter));
  hand_out(sockets,
           [&entry](Loop& loop, io::UniqueFd socket) { loop.accept_at(std::move(socket), entry); });
  return sockets.size();
}

Result<void> Forwarder::open_udp(const UdpEntry& entry, const Way& way, const Filter& filter) {
  const SocketAddress at = entry.place.value_or(any_address(entry.key.family, Port{0}));
  auto sockets = complete(take(inherited_.udp, entry), SOCK_DGRAM, at, filter);
  if (!sockets) return sockets.error().with_context(entry.key.service_port.to_string());
  FAIRLEAD_TRY(port, port_of(sockets->front()));
  udp_sockets_.emplace(entry, UdpSockets{.port = port, .count = sockets->size()});
  const std::shared_ptr<Service>& service = services_.at(entry.key);
  hand_out(*sockets, [&](Loop& loop, io::UniqueFd socket) {
    receive_destinations(socket.get(), entry.key.family);
    loop.open_udp(entry, way, std::move(socket), service);
  });
  return {};
}

void Forwarder::close_udp(const UdpEntry& entry) {
  const auto sockets = udp_sockets_.extract(entry);
  if (sockets.empty()) return;
  on_all_loops([&entry](Loop& loop, std::size_t) { loop.close_udp(entry); });
  budget_->give_files(sockets.mapped().count);
}

Result<void> Forwarder::apply(const std::vector<plan::ServiceChange>& changes) {
  for (const plan::ServiceChange& change : changes) {
    if (change.after) {
      auto& service = services_[change.after->key];
      if (service) {
        service->set_plan(change.after);
      } else {
        service = std::make_shared<Service>(change.after, config_.choice);
      }
    } else {
      services_.erase(change.before->key);
    }
  }
  on_all_loops([this, &changes](Loop& loop, std::size_t) {
    for (const plan::ServiceChange& change : changes) {
      if (change.before) loop.forget_routes(*change.before);
    }
    for (const plan::ServiceChange& change : changes) {
      if (!change.after) continue;
      loop.set_routes(services_.at(change.after->key));
      loop.review_udp(change.after->key);
    }
  });
  if (config_.way_in == WayIn::Places) {
    bind_places(changes);
    return {};
  }
  return open_redirected(changes);
}

// ---- The way in by rules: ranges for TCP, UDP sockets of each service port

// All ports of a range of the process before, if each has a socket.
std::optional<PortRange> Forwarder::inherited_range(IpFamily family, bool short_cut) const {
  const auto first =
      inherited_.tcp.lower_bound({.family = family, .short_cut = short_cut, .port = Port{0}});
  if (first == inherited_.tcp.end()) return std::nullopt;
  const PortRange range{.first = first->first.port};
  for (const TcpEntry& entry : entries_of(family, short_cut, range)) {
    if (!inherited_.tcp.contains(entry)) return std::nullopt;
  }
  return range;
}

Result<void> Forwarder::listen(IpFamily family) {
  TcpPorts ports;
  for (const bool short_cut : {false, true}) {
    auto range = inherited_range(family, short_cut);
    if (!range) {
      // Sockets that hold the ports, until the loops' own are there.
      FAIRLEAD_TRY(fresh, fresh_range(family, short_cut));
      range = fresh.ports;
      inherited_.tcp.merge(fresh.sockets);
    }
    (short_cut ? ports.short_cut : ports.pool) = *range;
    for (const TcpEntry& entry : entries_of(family, short_cut, *range)) {
      FAIRLEAD_CHECK(listen_at(entry, {}));
    }
  }
  tcp_ports_.emplace(family, ports);
  return {};
}

// Where no client's address is kept, what is said of them makes no difference.
UdpEntry Forwarder::merged(UdpEntry entry) const {
  if (!config_.keep_sources) entry.source.reset();
  return entry;
}

std::vector<UdpEntry> Forwarder::udp_entries_of(const plan::PlanKey& key) const {
  std::vector<UdpEntry> out;
  for (auto it = udp_sockets_.lower_bound({.key = key});
       it != udp_sockets_.end() && it->first.key == key; ++it) {
    out.push_back(it->first);
  }
  return out;
}

Result<void> Forwarder::open_redirected(const std::vector<plan::ServiceChange>& changes) {
  for (const plan::ServiceChange& change : changes) {
    const plan::PlanKey& key = change.after ? change.after->key : change.before->key;
    if (key.service_port.protocol != Protocol::Udp) continue;
    std::set<UdpEntry> wanted;
    if (change.after) {
      for (const UdpEntry& entry : udp_entries(*change.after)) wanted.insert(merged(entry));
    }
    for (const UdpEntry& entry : udp_entries_of(key)) {
      if (!wanted.contains(entry)) close_udp(entry);
    }
    for (const UdpEntry& entry : wanted) {
      if (!udp_sockets_.contains(entry)) FAIRLEAD_CHECK(open_udp(entry, {.pool = entry.pool}, {}));
    }
  }
  return {};
}

// ---- The way in without rules: sockets at each place

void Forwarder::set_nodes(const std::map<IpFamily, plan::NodePlan>& nodes) {
  if (config_.keep_sources) {
    SourcePolicies sources;
    for (const auto& [family, node] : nodes) {
      sources.emplace(family, std::make_shared<const SourcePolicy>(node));
    }
    on_all_loops([&sources](Loop& loop, std::size_t) { loop.set_sources(sources); });
  }
  if (config_.way_in != WayIn::Places) return;
  nodes_ = nodes;
  Localities localities;
  for (const auto& [family, node] : nodes) {
    localities.emplace(family, std::make_shared<const Locality>(node.detector));
  }
  on_all_loops([&localities](Loop& loop, std::size_t) { loop.set_localities(localities); });
}

// What goes is closed before others are bound: a place may pass from one service to another.
void Forwarder::bind_places(const std::vector<plan::ServiceChange>& changes) {
  std::map<plan::PlanKey, std::map<SocketAddress, Treatment>> wanted =
      std::exchange(unbound_places_, {});
  unbound_.clear();
  for (const plan::ServiceChange& change : changes) {
    const plan::PlanKey& key = change.after ? change.after->key : change.before->key;
    wanted.erase(key);
    auto places = change.after ? places_of(*change.after, nodes_[key.family])
                               : std::map<SocketAddress, Treatment>{};
    auto& open = places_[key];
    for (auto it = open.begin(); it != open.end();) {
      const auto next = std::next(it);
      if (const auto stays = places.find(it->first); stays == places.end()) {
        close_place(key, it->first);
      } else if (stays->second == it->second) {
        places.erase(stays);
      }
      it = next;
    }
    if (!places.empty()) wanted[key] = std::move(places);
  }
  for (const auto& [key, places] : wanted) {
    for (const auto& [at, treatment] : places) {
      const auto done = open_place(key, at, treatment);
      if (done) continue;
      unbound_places_[key].emplace(at, treatment);
      unbound_.emplace(place_text(key, at), done.error());
    }
  }
}

Result<void> Forwarder::open_place(const plan::PlanKey& key, const SocketAddress& at,
                                   const Treatment& treatment) {
  FAIRLEAD_TRY(filter, filter_of(treatment, key.family));
  auto& open = places_[key];
  if (key.service_port.protocol == Protocol::Udp) {
    if (open.contains(at)) close_place(key, at);  // treated otherwise from now on
    FAIRLEAD_CHECK(open_udp(udp_entry(key, at), treatment.way, filter));
  } else {
    // The routes tell whose a connection is: sockets pass from service to service as they are.
    if (const auto found = tcp_places_.find(at); found != tcp_places_.end()) {
      on_all_loops([&](Loop& loop, std::size_t) { loop.set_filter(tcp_entry(at), filter); });
      found->second.owner = key;
    } else {
      FAIRLEAD_TRY(sockets, listen_at(tcp_entry(at), filter));
      tcp_places_.emplace(at, TcpPlace{.owner = key, .sockets = sockets});
    }
  }
  open.insert_or_assign(at, treatment);
  return {};
}

void Forwarder::close_place(const plan::PlanKey& key, const SocketAddress& at) {
  places_[key].erase(at);
  if (key.service_port.protocol == Protocol::Udp) return close_udp(udp_entry(key, at));
  const auto found = tcp_places_.find(at);
  if (found->second.owner != key) return;  // another service's by now
  on_all_loops([&](Loop& loop, std::size_t) { loop.close_tcp(tcp_entry(at)); });
  budget_->give_files(found->second.sockets);
  tcp_places_.erase(found);
}

// ---- What others ask, and the end

std::optional<Port> Forwarder::udp_port(const UdpEntry& entry) const {
  const auto found = udp_sockets_.find(merged(entry));
  return found == udp_sockets_.end() ? std::nullopt : std::optional(found->second.port);
}

std::vector<Port> Forwarder::udp_ports(const plan::PlanKey& key) const {
  std::vector<Port> out;
  for (const UdpEntry& entry : udp_entries_of(key)) out.push_back(udp_sockets_.at(entry).port);
  return out;
}

std::vector<ServiceTotals> Forwarder::totals() const {
  std::vector<ServiceTotals> out;
  for (const auto& [key, service] : services_) {
    const ServiceCounters& c = service->counters;
    out.push_back({.key = key,
                   .endpoints = service->endpoint_counts(),
                   .opened = c.opened,
                   .closed = c.closed,
                   .refused = c.refused,
                   .retries = c.retries,
                   .bytes_in = c.bytes_in,
                   .bytes_out = c.bytes_out});
    std::ranges::copy(c.connect_ms, out.back().connect_ms.begin());
    out.back().connect_ns = c.connect_ns;
  }
  return out;
}

void Forwarder::begin() {
  inherited_ = {};  // of services that are gone
  on_all_loops([](Loop& loop, std::size_t) { loop.begin(); });
}

Sockets Forwarder::copies() {
  std::vector<Sockets> parts(loops_.size());
  on_all_loops([&parts](Loop& loop, std::size_t i) { parts[i] = loop.copies(); });
  Sockets out;
  const auto merge = [](auto& into, auto& from) {
    for (auto& [entry, sockets] : from) std::ranges::move(sockets, std::back_inserter(into[entry]));
  };
  for (Sockets& part : parts) {
    merge(out.tcp, part.tcp);
    merge(out.udp, part.udp);
  }
  return out;
}

std::set<IpAddress> Forwarder::addresses_in_use() {
  std::vector<std::set<IpAddress>> parts(loops_.size());
  on_all_loops([&parts](Loop& loop, std::size_t i) { parts[i] = loop.addresses_in_use(); });
  std::set<IpAddress> out;
  for (std::set<IpAddress>& part : parts) out.merge(part);
  return out;
}

void Forwarder::let_go() {
  on_all_loops([](Loop& loop, std::size_t) { loop.let_go(); });
}

bool Forwarder::drain(std::chrono::steady_clock::time_point deadline) {
  let_go();
  return budget_->wait_for_the_last(deadline);
}

}  // namespace fairlead::userspace
