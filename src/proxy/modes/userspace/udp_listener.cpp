#include "proxy/modes/userspace/udp_listener.hpp"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "io/sockaddr.hpp"
#include "proxy/modes/userspace/source.hpp"

namespace fairlead::userspace {
namespace {

constexpr std::size_t kControlBytes = CMSG_SPACE(sizeof(in6_pktinfo));
constexpr int kBatchesATurn = 16;

// One batch of recvmmsg or sendmmsg.
struct Batch {
  std::array<mmsghdr, DatagramRoom::kBatch> headers{};
  std::array<iovec, DatagramRoom::kBatch> parts{};
  std::array<sockaddr_storage, DatagramRoom::kBatch> peers{};
  std::array<std::array<char, kControlBytes>, DatagramRoom::kBatch> controls{};

  explicit Batch(DatagramRoom& room) {
    for (std::size_t i = 0; i < headers.size(); ++i) {
      parts[i] = {.iov_base = room.slot(i), .iov_len = DatagramRoom::kMostBytes};
      headers[i].msg_hdr.msg_iov = &parts[i];
      headers[i].msg_hdr.msg_iovlen = 1;
    }
  }
  void want_peers() {
    for (std::size_t i = 0; i < headers.size(); ++i) {
      headers[i].msg_hdr.msg_name = &peers[i];
      headers[i].msg_hdr.msg_namelen = sizeof peers[i];
      headers[i].msg_hdr.msg_control = controls[i].data();
      headers[i].msg_hdr.msg_controllen = controls[i].size();
    }
  }
  // As many as there are; 0: none, or an error in errno.
  std::size_t receive(int socket) {
    const int got = recvmmsg(socket, headers.data(), DatagramRoom::kBatch, MSG_DONTWAIT, nullptr);
    return got > 0 ? static_cast<std::size_t>(got) : 0;
  }
};

std::optional<IpAddress> local_address(msghdr& header) {
  for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
    if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
      in_pktinfo info{};
      std::memcpy(&info, CMSG_DATA(c), sizeof info);
      const auto* bytes = reinterpret_cast<const std::uint8_t*>(&info.ipi_addr);
      return IpAddress::from_bytes({bytes, 4});
    }
    if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
      in6_pktinfo info{};
      std::memcpy(&info, CMSG_DATA(c), sizeof info);
      return IpAddress::from_bytes({info.ipi6_addr.s6_addr, 16});
    }
  }
  return std::nullopt;
}

// So that the answer comes from where the question went; the kernel undoes the redirection then.
void send_from(msghdr& header, const IpAddress& local, std::span<char> room) {
  header.msg_control = room.data();
  cmsghdr* c = reinterpret_cast<cmsghdr*>(room.data());
  if (local.is_v4()) {
    in_pktinfo info{};
    std::memcpy(&info.ipi_spec_dst, local.bytes().data(), 4);
    header.msg_controllen = CMSG_SPACE(sizeof info);
    *c = {.cmsg_len = CMSG_LEN(sizeof info), .cmsg_level = IPPROTO_IP, .cmsg_type = IP_PKTINFO};
    std::memcpy(CMSG_DATA(c), &info, sizeof info);
    return;
  }
  in6_pktinfo info{};
  std::memcpy(info.ipi6_addr.s6_addr, local.bytes().data(), 16);
  header.msg_controllen = CMSG_SPACE(sizeof info);
  *c = {.cmsg_len = CMSG_LEN(sizeof info), .cmsg_level = IPPROTO_IPV6, .cmsg_type = IPV6_PKTINFO};
  std::memcpy(CMSG_DATA(c), &info, sizeof info);
}

}  // namespace

void receive_destinations(int socket, IpFamily family) {
  const int yes = 1;
  if (family == IpFamily::V4) {
    setsockopt(socket, IPPROTO_IP, IP_PKTINFO, &yes, sizeof yes);
  } else {
    setsockopt(socket, IPPROTO_IPV6, IPV6_RECVPKTINFO, &yes, sizeof yes);
  }
}

// ---- One client

class UdpListener::Flow final : public Watched {
 public:
  Flow(UdpListener& owner, SocketAddress client, IpAddress local, plan::Backend backend,
       io::UniqueFd socket)
      : owner_(owner),
        client_(client),
        kernel_client_(io::to_kernel(client)),
        local_(local),
        backend_(backend),
        socket_(std::move(socket)) {}

  const SocketAddress& client() const { return client_; }
  const plan::Backend& backend() const { return backend_; }
  int socket() const { return socket_.get(); }
  void close_socket() { socket_.reset(); }
  Time last_used{};

  void ready(Event) override { resume(); }
  // Answers, back to the client.
  void resume() override {
    for (int turn = 0; turn < kBatchesATurn; ++turn) {
      Batch batch(owner_.context_.room);
      const std::size_t got = batch.receive(socket_.get());
      if (got == 0) {
        if (errno != EAGAIN) owner_.end(*this);  // nobody listens there
        return;
      }
      std::size_t bytes = 0;
      for (std::size_t i = 0; i < got; ++i) {
        msghdr& header = batch.headers[i].msg_hdr;
        batch.parts[i].iov_len = batch.headers[i].msg_len;
        bytes += batch.headers[i].msg_len;
        header.msg_name = &kernel_client_.storage;
        header.msg_namelen = kernel_client_.size;
        send_from(header, local_, batch.controls[i]);
      }
      // What the socket does not take is lost, as anywhere on a datagram's way.
      sendmmsg(owner_.socket_.get(), batch.headers.data(), static_cast<unsigned>(got),
               MSG_DONTWAIT);
      owner_.service_->counters.bytes_out.fetch_add(bytes, std::memory_order_relaxed);
      owner_.touch(*this);
    }
    owner_.context_.loop.again(*this);
  }

 private:
  UdpListener& owner_;
  SocketAddress client_;
  io::KernelAddress kernel_client_;
  IpAddress local_;
  plan::Backend backend_;
  io::UniqueFd socket_;
};

// ---- The listener

UdpListener::UdpListener(UdpContext context, io::UniqueFd socket, std::shared_ptr<Service> service,
                         Choose choose, KeepsSource keeps_source)
    : context_(context),
      socket_(std::move(socket)),
      service_(std::move(service)),
      choose_(std::move(choose)),
      keeps_source_(std::move(keeps_source)) {}

UdpListener::~UdpListener() {
  if (sweep_) context_.loop.cancel(*sweep_);
  while (!flows_.empty()) end(*flows_.front());
}

std::size_t UdpListener::ClientHash::operator()(const SocketAddress& a) const noexcept {
  return std::hash<IpAddress>{}(a.address) * 31 + number(a.port);
}

void UdpListener::resume() {
  for (int turn = 0; turn < kBatchesATurn; ++turn) {
    Batch batch(context_.room);
    batch.want_peers();
    const std::size_t got = batch.receive(socket_.get());
    if (got == 0) return;
    for (std::size_t i = 0; i < got; ++i) {
      msghdr& header = batch.headers[i].msg_hdr;
      const auto client = io::from_kernel(batch.peers[i]);
      const auto local = local_address(header);
      Flow* flow = client && local ? flow_of(*client, *local) : nullptr;
      if (flow == nullptr) continue;
      const std::size_t bytes = batch.headers[i].msg_len;
      if (send(flow->socket(), batch.parts[i].iov_base, bytes, MSG_DONTWAIT) < 0 &&
          errno == ECONNREFUSED) {
        end(*flow);  // the answer to an earlier datagram
        continue;
      }
      service_->counters.bytes_in.fetch_add(bytes, std::memory_order_relaxed);
      touch(*flow);
    }
  }
  context_.loop.again(*this);
}

// Nothing: it cannot be reached.
io::UniqueFd UdpListener::connected(const plan::Backend& backend, const IpAddress& client) const {
  const io::KernelAddress address =
      io::to_kernel({.address = backend.address, .port = backend.port});
  io::UniqueFd out(
      ::socket(address.storage.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!out) return {};
  if (keeps_source_(client) && answers_pass_here(client, backend.address) &&
      !speak_as(out.get(), client)) {
    return {};
  }
  if (connect(out.get(), address.get(), address.size) != 0) return {};
  return out;
}

UdpListener::Flow* UdpListener::flow_of(const SocketAddress& client, const IpAddress& local) {
  if (const auto found = by_client_.find(client); found != by_client_.end()) {
    return found->second->get();
  }
  const auto pool = choose_(client.address, local);
  if (!pool) return nullptr;
  const auto backend = service_->choose(*pool, client.address, {}, context_.loop.now());
  if (!backend || !context_.budget.take_flow()) {
    service_->counters.refused.fetch_add(1, std::memory_order_relaxed);
    return nullptr;
  }
  io::UniqueFd socket = connected(*backend, client.address);
  if (!socket) {
    context_.budget.give_flow();
    service_->counters.refused.fetch_add(1, std::memory_order_relaxed);
    return nullptr;
  }
  const int fd = socket.get();
  flows_.push_back(std::make_unique<Flow>(*this, client, local, *backend, std::move(socket)));
  Flow& flow = *flows_.back();
  by_client_.emplace(client, std::prev(flows_.end()));
  service_->chosen(client.address, *backend, context_.loop.now());
  service_->opened(*backend);
  flow.last_used = context_.loop.now();
  if (!sweep_)
    sweep_ = context_.loop.call_at(context_.loop.now() + context_.idle, [this] { sweep(); });
  if (!context_.loop.watch(fd, flow)) {
    end(flow);
    return nullptr;
  }
  return &flow;
}

void UdpListener::touch(Flow& flow) {
  flow.last_used = context_.loop.now();
  flows_.splice(flows_.end(), flows_, by_client_.at(flow.client()));
}

void UdpListener::end(Flow& flow) {
  context_.budget.give_flow();
  service_->closed(flow.backend());
  const auto place = by_client_.extract(flow.client()).mapped();
  flow.close_socket();
  context_.loop.let_go(std::move(*place));
  flows_.erase(place);
}

void UdpListener::sweep() {
  sweep_.reset();
  while (!flows_.empty() && flows_.front()->last_used + context_.idle <= context_.loop.now()) {
    end(*flows_.front());
  }
  if (flows_.empty()) return;
  sweep_ = context_.loop.call_at(flows_.front()->last_used + context_.idle, [this] { sweep(); });
}

void UdpListener::review() {
  const plan::ServicePlanPtr plan = service_->plan();
  const auto there = [&plan](const plan::Backend& backend) {
    return std::ranges::find(plan->cluster_pool, backend) != plan->cluster_pool.end() ||
           std::ranges::find(plan->local_pool, backend) != plan->local_pool.end();
  };
  for (auto it = flows_.begin(); it != flows_.end();) {
    Flow& flow = **it++;
    if (!there(flow.backend())) end(flow);
  }
}

}  // namespace fairlead::userspace
