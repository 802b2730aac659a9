#include "proxy/modes/userspace/forwarder.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <latch>
#include <set>
#include <unordered_map>

#include "io/sockaddr.hpp"
#include "proxy/modes/userspace/relay.hpp"
#include "proxy/modes/userspace/udp_listener.hpp"

namespace fairlead::userspace {
namespace {

constexpr int kBacklog = 4096;
constexpr int kAcceptsATurn = 64;
constexpr auto kFullPause = std::chrono::milliseconds(50);

// SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST; the kernel's headers that name them do not go together
// with those of the C library.
constexpr int kOriginalDestination = 80;

unsigned cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return static_cast<unsigned>(std::max(1, CPU_COUNT(&set)));
}

// A socket at any address, at `port` (0: any free one), that shares its port with those of the
// other loops.
Result<io::UniqueFd> shared_socket(IpFamily family, int type, Port port) {
  const SocketAddress any{.address = IpAddress::any(family), .port = port};
  const io::KernelAddress address = io::to_kernel(any);
  io::UniqueFd out(socket(address.storage.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!out) return errno_error(errno, "make a socket");
  const int yes = 1;
  setsockopt(out.get(), SOL_SOCKET, SO_REUSEPORT, &yes, sizeof yes);
  // Connections that are accepted inherit it.
  if (type == SOCK_STREAM) setsockopt(out.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  if (family == IpFamily::V6) setsockopt(out.get(), IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof yes);
  if (bind(out.get(), address.get(), address.size) != 0) {
    return errno_error(errno, fmt::format("bind {}", any));
  }
  return out;
}

Result<Port> port_of(const io::UniqueFd& socket) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return errno_error(errno, "getsockname");
  }
  FAIRLEAD_TRY(bound, io::from_kernel(address));
  return bound.port;
}

// One socket for each loop, all at one port; 0: any free one.
Result<std::vector<io::UniqueFd>> shared_sockets(IpFamily family, int type, std::size_t count,
                                                 Port port = {}) {
  std::vector<io::UniqueFd> out;
  for (std::size_t i = 0; i < count; ++i) {
    FAIRLEAD_TRY(socket, shared_socket(family, type, port));
    if (number(port) == 0) {
      FAIRLEAD_TRY(given, port_of(socket));
      port = given;
    }
    out.push_back(std::move(socket));
  }
  return out;
}

// Listening sockets at a range of ports.
struct SharedRange {
  std::vector<std::vector<io::UniqueFd>> sockets;  // by port, then by loop
  PortRange ports;
};
Result<SharedRange> range_at(IpFamily family, std::size_t count, Port first) {
  SharedRange out{.sockets = {}, .ports = {.first = first}};
  for (std::uint16_t i = 0; i < PortRange::kPorts; ++i) {
    const Port port{static_cast<std::uint16_t>(number(first) + i)};
    FAIRLEAD_TRY(sockets, shared_sockets(family, SOCK_STREAM, count, port));
    for (const io::UniqueFd& socket : sockets) {
      if (listen(socket.get(), kBacklog) != 0) return errno_error(errno, "listen");
    }
    out.sockets.push_back(std::move(sockets));
  }
  return out;
}

// Where the kernel finds one free port there are others after it, as a rule.
Result<SharedRange> shared_range(IpFamily family, std::size_t count) {
  constexpr int kAttempts = 64;
  Error last;
  for (int i = 0; i < kAttempts; ++i) {
    FAIRLEAD_TRY(free, shared_socket(family, SOCK_STREAM, {}));
    FAIRLEAD_TRY(first, port_of(free));
    if (number(first) > 65535 - PortRange::kPorts) continue;
    free.reset();
    auto range = range_at(family, count, first);
    if (range) return range;
    last = range.error();
  }
  return last.with_context(fmt::format("find {} free ports in a row", PortRange::kPorts));
}

// Where the client wanted to go: before redirection if there was one.
std::optional<SocketAddress> destination_of(int socket, IpFamily family) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (getsockopt(socket, family == IpFamily::V4 ? SOL_IP : SOL_IPV6, kOriginalDestination, &address,
                 &size) != 0) {
    size = sizeof address;
    if (getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0) return std::nullopt;
  }
  auto out = io::from_kernel(address);
  return out ? std::optional(*out) : std::nullopt;
}

}  // namespace

std::optional<PoolKind> pool_of(const plan::Frontend& frontend) {
  switch (frontend.target) {
    case plan::Target::ClusterPool:
      return PoolKind::Cluster;
    case plan::Target::LocalPool:
      return PoolKind::Local;
    case plan::Target::Reject:
    case plan::Target::Drop:
      return std::nullopt;
  }
  return std::nullopt;
}

std::vector<UdpEntry> udp_entries(const plan::ServicePlan& plan) {
  std::set<UdpEntry> out;
  if (plan.key.service_port.protocol != Protocol::Udp) return {};
  for (const plan::Frontend& frontend : plan.frontends) {
    if (const auto pool = pool_of(frontend)) out.insert({.key = plan.key, .pool = *pool});
    if (frontend.short_circuit) out.insert({.key = plan.key, .pool = PoolKind::Cluster});
  }
  return {out.begin(), out.end()};
}

// ---- One loop

struct Forwarder::Route {
  std::shared_ptr<Service> service;
  std::optional<PoolKind> pool;
};

// Everything below but the constructor and post() belongs to the loop's thread.
class Forwarder::Loop {
 public:
  Loop(std::unique_ptr<EventLoop> loop, const ForwarderConfig& config, Budget& budget)
      : loop_(std::move(loop)),
        relays_{.loop = *loop_,
                .budget = budget,
                .pipes = PipePool(budget.limits().pipes / config.loops)},
        udp_idle_(config.udp_idle),
        thread_([this] { loop_->run(); }) {}
  ~Loop() {
    loop_->stop();
    thread_.join();
  }
  void post(std::function<void()> work) { loop_->post(std::move(work)); }

  void accept_at(io::UniqueFd socket, IpFamily family, bool short_cut);
  void close_acceptors();
  void set_routes(const plan::ServicePlan* before, const std::shared_ptr<Service>& after);
  void open_udp(const UdpEntry& entry, io::UniqueFd socket, std::shared_ptr<Service> service);
  void close_udp(const UdpEntry& entry);
  void review_udp(const plan::PlanKey& key);

 private:
  class Acceptor;
  struct PlaceHash {
    std::size_t operator()(const SocketAddress& a) const noexcept {
      return std::hash<IpAddress>{}(a.address) * 31 + number(a.port);
    }
  };
  const Route* find(const SocketAddress& destination) const;
  void take(io::UniqueFd client, IpFamily family, const SocketAddress& peer, bool short_cut);

  std::unique_ptr<EventLoop> loop_;
  RelayContext relays_;
  DatagramRoom room_;
  std::chrono::milliseconds udp_idle_;
  std::unordered_map<SocketAddress, Route, PlaceHash> routes_;  // of TCP
  std::vector<std::unique_ptr<Acceptor>> acceptors_;
  std::map<UdpEntry, std::unique_ptr<UdpListener>> udp_;
  std::thread thread_;  // last: runs only while all of the above is there
};

class Forwarder::Loop::Acceptor final : public Watched {
 public:
  Acceptor(Loop& owner, io::UniqueFd socket, IpFamily family, bool short_cut)
      : owner_(owner), socket_(std::move(socket)), family_(family), short_cut_(short_cut) {}
  void start() { static_cast<void>(owner_.loop_->watch(socket_.get(), *this)); }
  void close_socket() { socket_.reset(); }
  void ready(Event) override { resume(); }
  void resume() override {
    for (int i = 0; i < kAcceptsATurn; ++i) {
      sockaddr_storage peer{};
      socklen_t size = sizeof peer;
      io::UniqueFd client(accept4(socket_.get(), reinterpret_cast<sockaddr*>(&peer), &size,
                                  SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (client) {
        if (const auto from = io::from_kernel(peer)) {
          owner_.take(std::move(client), family_, *from, short_cut_);
        }
        continue;
      }
      if (errno == ECONNABORTED || errno == EINTR) continue;
      if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
        // They wait in the backlog until others have ended.
        owner_.loop_->call_at(owner_.loop_->now() + kFullPause, [this] {
          if (socket_) resume();
        });
      }
      return;
    }
    owner_.loop_->again(*this);
  }

 private:
  Loop& owner_;
  io::UniqueFd socket_;
  IpFamily family_;
  bool short_cut_;
};

void Forwarder::Loop::accept_at(io::UniqueFd socket, IpFamily family, bool short_cut) {
  acceptors_.push_back(std::make_unique<Acceptor>(*this, std::move(socket), family, short_cut));
  acceptors_.back()->start();
}

void Forwarder::Loop::close_acceptors() {
  for (auto& acceptor : acceptors_) acceptor->close_socket();
  for (auto& [entry, listener] : udp_) loop_->let_go(std::move(listener));
  udp_.clear();
}

const Forwarder::Route* Forwarder::Loop::find(const SocketAddress& destination) const {
  auto found = routes_.find(destination);
  if (found == routes_.end()) {  // a node port
    found = routes_.find(
        {.address = IpAddress::any(destination.address.family()), .port = destination.port});
  }
  return found == routes_.end() ? nullptr : &found->second;
}

void Forwarder::Loop::take(io::UniqueFd client, IpFamily family, const SocketAddress& peer,
                           bool short_cut) {
  const auto destination = destination_of(client.get(), family);
  const Route* route = destination ? find(*destination) : nullptr;
  // Withdrawn a moment ago, or somebody who found our port.
  if (route == nullptr || (!short_cut && !route->pool)) {
    return reset_connection(std::move(client));
  }
  if (!relays_.budget.take_connection()) {
    route->service->counters.refused.fetch_add(1, std::memory_order_relaxed);
    return reset_connection(std::move(client));
  }
  Relay::start(relays_, {.client = std::move(client),
                         .client_address = peer,
                         .destination = *destination,
                         .service = route->service,
                         .pool = short_cut ? PoolKind::Cluster : *route->pool});
}

void Forwarder::Loop::set_routes(const plan::ServicePlan* before,
                                 const std::shared_ptr<Service>& after) {
  const auto place = [](const plan::Frontend& frontend) {
    return SocketAddress{.address = frontend.address, .port = frontend.port};
  };
  if (before != nullptr) {
    for (const plan::Frontend& frontend : before->frontends) {
      const auto found = routes_.find(place(frontend));
      // It may be another service's by now.
      if (found != routes_.end() && found->second.service->plan()->key == before->key) {
        routes_.erase(found);
      }
    }
  }
  if (after == nullptr) return;
  const plan::ServicePlanPtr plan = after->plan();
  for (const plan::Frontend& frontend : plan->frontends) {
    routes_.insert_or_assign(place(frontend), Route{.service = after, .pool = pool_of(frontend)});
  }
}

void Forwarder::Loop::open_udp(const UdpEntry& entry, io::UniqueFd socket,
                               std::shared_ptr<Service> service) {
  const UdpContext context{
      .loop = *loop_, .room = room_, .budget = relays_.budget, .idle = udp_idle_};
  auto listener =
      std::make_unique<UdpListener>(context, std::move(socket), std::move(service), entry.pool);
  if (!listener->start()) return;
  udp_.insert_or_assign(entry, std::move(listener));
}

void Forwarder::Loop::close_udp(const UdpEntry& entry) {
  if (auto node = udp_.extract(entry); !node.empty()) loop_->let_go(std::move(node.mapped()));
}

void Forwarder::Loop::review_udp(const plan::PlanKey& key) {
  for (const PoolKind pool : {PoolKind::Cluster, PoolKind::Local}) {
    if (const auto found = udp_.find({.key = key, .pool = pool}); found != udp_.end()) {
      found->second->review();
    }
  }
}

// ---- The forwarder

Forwarder::Forwarder(ForwarderConfig config, Limits limits)
    : config_(std::move(config)), budget_(std::make_unique<Budget>(limits)) {}

Forwarder::~Forwarder() = default;

Result<std::unique_ptr<Forwarder>> Forwarder::create(ForwarderConfig config) {
  if (config.loops == 0) config.loops = cpus();
  FAIRLEAD_TRY(limits, limits_here(config.most_connections, config.most_flows));
  std::unique_ptr<Forwarder> out(new Forwarder(std::move(config), limits));
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
    loops_.push_back(std::make_unique<Loop>(std::move(loop), config_, *budget_));
  }
  for (const IpFamily family : config_.families) FAIRLEAD_CHECK(listen(family));
  return {};
}

Result<void> Forwarder::listen(IpFamily family) {
  TcpPorts ports;
  for (const bool short_cut : {false, true}) {
    FAIRLEAD_TRY(range, shared_range(family, loops_.size()));
    (short_cut ? ports.short_cut : ports.pool) = range.ports;
    on_all_loops([&](Loop& loop, std::size_t i) {
      for (auto& sockets : range.sockets) {
        loop.accept_at(std::move(sockets[i]), family, short_cut);
      }
    });
  }
  tcp_ports_.emplace(family, ports);
  return {};
}

Result<void> Forwarder::open_udp(const std::shared_ptr<Service>& service) {
  const plan::ServicePlanPtr plan = service->plan();
  for (const UdpEntry& entry : udp_entries(*plan)) {
    if (udp_ports_.contains(entry)) continue;
    if (!budget_->take_files(loops_.size())) {
      return make_error(ErrorCode::Exhausted, "no files are left for the UDP sockets of {}",
                        entry.key.service_port.to_string());
    }
    auto sockets = shared_sockets(entry.key.family, SOCK_DGRAM, loops_.size());
    if (!sockets) {
      budget_->give_files(loops_.size());
      return sockets.error();
    }
    FAIRLEAD_TRY(port, port_of(sockets->front()));
    on_all_loops([&](Loop& loop, std::size_t i) {
      receive_destinations((*sockets)[i].get(), entry.key.family);
      loop.open_udp(entry, std::move((*sockets)[i]), service);
    });
    udp_ports_.emplace(entry, port);
  }
  return {};
}

void Forwarder::close_udp(const plan::PlanKey& key, const std::vector<UdpEntry>& kept) {
  for (const PoolKind pool : {PoolKind::Cluster, PoolKind::Local}) {
    const UdpEntry entry{.key = key, .pool = pool};
    if (std::ranges::find(kept, entry) != kept.end() || udp_ports_.erase(entry) == 0) continue;
    on_all_loops([&entry](Loop& loop, std::size_t) { loop.close_udp(entry); });
    budget_->give_files(loops_.size());
  }
}

Result<void> Forwarder::apply(const std::vector<plan::ServiceChange>& changes) {
  // All erasures come before all insertions: a place may pass from one service to another.
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
      if (change.before && change.before->key.service_port.protocol == Protocol::Tcp) {
        loop.set_routes(change.before.get(), nullptr);
      }
    }
    for (const plan::ServiceChange& change : changes) {
      if (!change.after) continue;
      if (change.after->key.service_port.protocol == Protocol::Tcp) {
        loop.set_routes(nullptr, services_.at(change.after->key));
      } else {
        loop.review_udp(change.after->key);
      }
    }
  });
  for (const plan::ServiceChange& change : changes) {
    const plan::PlanKey& key = change.after ? change.after->key : change.before->key;
    if (key.service_port.protocol != Protocol::Udp) continue;
    close_udp(key, change.after ? udp_entries(*change.after) : std::vector<UdpEntry>{});
    if (change.after) FAIRLEAD_CHECK(open_udp(services_.at(key)));
  }
  return {};
}

std::optional<Port> Forwarder::udp_port(const UdpEntry& entry) const {
  const auto found = udp_ports_.find(entry);
  return found == udp_ports_.end() ? std::nullopt : std::optional(found->second);
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
  }
  return out;
}

bool Forwarder::drain(std::chrono::steady_clock::time_point deadline) {
  on_all_loops([](Loop& loop, std::size_t) { loop.close_acceptors(); });
  return budget_->wait_for_the_last(deadline);
}

}  // namespace fairlead::userspace
