#include "proxy/modes/userspace/loop.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "io/sockaddr.hpp"

namespace fairlead::userspace {
namespace {

constexpr int kAcceptsATurn = 64;
constexpr auto kFullPause = std::chrono::milliseconds(50);

// SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST; the kernel's headers that name them do not go together
// with those of the C library.
constexpr int kOriginalDestination = 80;

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

class Loop::Acceptor final : public Watched {
 public:
  Acceptor(Loop& owner, io::UniqueFd socket, const TcpEntry& entry)
      : owner_(owner), socket_(std::move(socket)), entry_(entry) {}
  void start() { static_cast<void>(owner_.loop_->watch(socket_.get(), *this)); }
  // Another process may have it still: closing alone would not end the loop's interest.
  void end() {
    if (!socket_) return;
    owner_.loop_->unwatch(socket_.get());
    socket_.reset();
  }
  const TcpEntry& entry() const { return entry_; }
  const io::UniqueFd& socket() const { return socket_; }
  void ready(Event) override { resume(); }
  void resume() override {
    for (int i = 0; i < kAcceptsATurn; ++i) {
      sockaddr_storage peer{};
      socklen_t size = sizeof peer;
      io::UniqueFd client(accept4(socket_.get(), reinterpret_cast<sockaddr*>(&peer), &size,
                                  SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (client) {
        if (const auto from = io::from_kernel(peer)) {
          owner_.take(std::move(client), entry_, *from);
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
  TcpEntry entry_;
};

Loop::Loop(std::unique_ptr<EventLoop> loop, Budget& budget, std::size_t pipes,
           std::chrono::milliseconds udp_idle)
    : loop_(std::move(loop)),
      relays_{.loop = *loop_, .budget = budget, .pipes = PipePool(pipes)},
      udp_idle_(udp_idle),
      thread_([this] { loop_->run(); }) {}

Loop::~Loop() {
  loop_->stop();
  thread_.join();
}

void Loop::accept_at(io::UniqueFd socket, const TcpEntry& entry) {
  auto& acceptors = acceptors_[entry];
  acceptors.push_back(std::make_unique<Acceptor>(*this, std::move(socket), entry));
  if (begun_) acceptors.back()->start();
}

void Loop::close_tcp(const TcpEntry& entry) {
  const auto node = acceptors_.extract(entry);
  if (node.empty()) return;
  for (auto& acceptor : node.mapped()) {
    acceptor->end();
    loop_->let_go(std::move(acceptor));
  }
}

void Loop::set_filter(const TcpEntry& entry, const Filter& filter) {
  const auto found = acceptors_.find(entry);
  if (found == acceptors_.end()) return;
  for (const auto& acceptor : found->second) attach_filter(acceptor->socket().get(), filter);
}

void Loop::begin() {
  begun_ = true;
  for (auto& [entry, acceptors] : acceptors_) {
    for (auto& acceptor : acceptors) acceptor->start();
  }
  for (auto& [entry, listeners] : udp_) {
    for (auto& listener : listeners) static_cast<void>(listener->start());
  }
}

void Loop::let_go() {
  for (auto& [entry, acceptors] : acceptors_) {
    for (auto& acceptor : acceptors) acceptor->end();
  }
  for (auto& [entry, listeners] : udp_) {
    for (auto& listener : listeners) listener->take_no_more();
  }
}

Sockets Loop::copies() const {
  const auto copy = [](int fd) { return io::UniqueFd(fcntl(fd, F_DUPFD_CLOEXEC, 0)); };
  Sockets out;
  for (const auto& [entry, acceptors] : acceptors_) {
    for (const auto& acceptor : acceptors) {
      if (acceptor->socket()) out.tcp[entry].push_back(copy(acceptor->socket().get()));
    }
  }
  for (const auto& [entry, listeners] : udp_) {
    for (const auto& listener : listeners) out.udp[entry].push_back(copy(listener->socket()));
  }
  return out;
}

std::set<IpAddress> Loop::addresses_in_use() const {
  std::set<IpAddress> out;
  for (const auto& relay : relays_.relays) out.insert(relay->destination().address);
  return out;
}

const Loop::Route* Loop::find(const SocketAddress& destination, bool of_place) const {
  auto found = routes_.find(destination);
  if (found == routes_.end()) {  // a node port
    // A socket at every address hears of those that are not for node ports as well.
    const IpAddress& address = destination.address;
    if (of_place && (address.is_loopback() || own_addresses_.contains(address))) return nullptr;
    found = routes_.find({.address = IpAddress::any(address.family()), .port = destination.port});
  }
  return found == routes_.end() ? nullptr : &found->second;
}

std::optional<PoolKind> Loop::pool_for(const Way& way, const IpAddress& client) const {
  if (!way.short_circuit) return way.pool;
  const auto locality = localities_.find(client.family());
  const bool local = locality != localities_.end() && locality->second->is_local(client);
  return local ? PoolKind::Cluster : way.pool;
}

void Loop::take(io::UniqueFd client, const TcpEntry& entry, const SocketAddress& peer) {
  const auto destination = destination_of(client.get(), entry.family);
  const Route* route = destination ? find(*destination, entry.address.has_value()) : nullptr;
  // Withdrawn a moment ago, or somebody who found our port.
  if (route == nullptr) return reset_connection(std::move(client));
  const auto pool =
      entry.short_cut ? std::optional(PoolKind::Cluster) : pool_for(route->way, peer.address);
  if (!pool) return reset_connection(std::move(client));
  if (!relays_.budget.take_connection()) {
    route->service->counters.refused.fetch_add(1, std::memory_order_relaxed);
    return reset_connection(std::move(client));
  }
  Relay::start(relays_, {.client = std::move(client),
                         .client_address = peer,
                         .destination = *destination,
                         .service = route->service,
                         .pool = *pool,
                         .keep_source = keeps_source(route->source, peer.address)});
}

bool Loop::keeps_source(const SourceRule& rule, const IpAddress& client) const {
  const auto policy = sources_.find(client.family());
  return policy != sources_.end() && policy->second->keeps(rule, client);
}

void Loop::forget_routes(const plan::ServicePlan& plan) {
  for (const plan::Frontend& frontend : plan.frontends) {
    const auto own = own_addresses_.find(frontend.address);
    if (own != own_addresses_.end() && --own->second == 0) own_addresses_.erase(own);
    const auto found = routes_.find({.address = frontend.address, .port = frontend.port});
    // It may be another service's by now.
    if (found != routes_.end() && found->second.service->plan()->key == plan.key) {
      routes_.erase(found);
    }
  }
}

void Loop::set_routes(const std::shared_ptr<Service>& service) {
  const plan::ServicePlanPtr plan = service->plan();
  for (const plan::Frontend& frontend : plan->frontends) {
    ++own_addresses_[frontend.address];
    if (plan->key.service_port.protocol != Protocol::Tcp) continue;
    routes_.insert_or_assign(
        {.address = frontend.address, .port = frontend.port},
        Route{.service = service, .way = way_of(frontend), .source = source_rule(frontend)});
  }
}

void Loop::open_udp(const UdpEntry& entry, const Way& way, io::UniqueFd socket,
                    std::shared_ptr<Service> service) {
  const UdpContext context{
      .loop = *loop_, .room = room_, .budget = relays_.budget, .idle = udp_idle_};
  const bool everywhere = entry.place && entry.place->address.is_unspecified();
  // By value: a listener lives no longer than this loop.
  auto choose = [this, way, everywhere](const IpAddress& client,
                                        const IpAddress& local) -> std::optional<PoolKind> {
    if (everywhere && (local.is_loopback() || own_addresses_.contains(local))) return std::nullopt;
    return pool_for(way, client);
  };
  auto keeps = [this, source = entry.source](const IpAddress& client) {
    return source && keeps_source(*source, client);
  };
  auto listener = std::make_unique<UdpListener>(context, std::move(socket), std::move(service),
                                                std::move(choose), std::move(keeps));
  if (begun_ && !listener->start()) return;
  udp_[entry].push_back(std::move(listener));
}

void Loop::close_udp(const UdpEntry& entry) {
  const auto node = udp_.extract(entry);
  if (node.empty()) return;
  for (auto& listener : node.mapped()) {
    listener->take_no_more();
    loop_->let_go(std::move(listener));
  }
}

void Loop::review_udp(const plan::PlanKey& key) {
  for (auto it = udp_.lower_bound({.key = key}); it != udp_.end() && it->first.key == key; ++it) {
    for (auto& listener : it->second) listener->review();
  }
}

}  // namespace fairlead::userspace
