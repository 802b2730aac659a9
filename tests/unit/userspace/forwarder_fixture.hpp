// A Forwarder over loopback: real sockets, no rules. A client connects to the forwarder's own port,
// which then is the frontend. Owner: one test.
#pragma once

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>

#include "io/fd.hpp"
#include "io/sockaddr.hpp"
#include "proxy/modes/userspace/forwarder.hpp"

namespace fairlead::userspace {

inline constexpr auto kPatience = std::chrono::seconds(10);
inline const IpAddress kLoopback = IpAddress::loopback(IpFamily::V4);

inline io::UniqueFd bound(int type, Port port = {}) {
  const io::KernelAddress address = io::to_kernel({.address = kLoopback, .port = port});
  io::UniqueFd out(socket(AF_INET, type | SOCK_CLOEXEC, 0));
  check(bind(out.get(), address.get(), address.size) == 0, "loopback can be bound");
  return out;
}

inline io::UniqueFd listening() {
  io::UniqueFd out = bound(SOCK_STREAM);
  check(listen(out.get(), 128) == 0, "a bound socket can listen");
  return out;
}

inline bool readable(int fd) {
  pollfd waiting{.fd = fd, .events = POLLIN, .revents = 0};
  return poll(&waiting, 1, static_cast<int>(std::chrono::milliseconds(kPatience).count())) == 1;
}

inline io::UniqueFd accept_from(const io::UniqueFd& listener) {
  return readable(listener.get())
             ? io::UniqueFd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC))
             : io::UniqueFd();
}

inline io::UniqueFd connect_to(Port port, int type = SOCK_STREAM) {
  const io::KernelAddress address = io::to_kernel({.address = kLoopback, .port = port});
  io::UniqueFd out(socket(AF_INET, type | SOCK_CLOEXEC, 0));
  check(connect(out.get(), address.get(), address.size) == 0, "the forwarder listens");
  return out;
}

// Everything until the end, or until an error, which is appended as "!errno".
inline std::string read_all(int fd) {
  std::string out;
  char buffer[65536];
  while (readable(fd)) {
    const ssize_t got = read(fd, buffer, sizeof buffer);
    if (got == 0) return out;
    if (got < 0) return out + fmt::format("!{}", errno);
    out.append(buffer, static_cast<std::size_t>(got));
  }
  return out + "!late";
}

inline bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t put = send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (put <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(put));
  }
  return true;
}

// Bytes without a period that a lost or repeated block could hide in.
inline std::string noise(std::size_t size) {
  std::string out(size, '\0');
  std::uint32_t state = 1;
  for (char& c : out) {
    state = state * 1664525 + 1013904223;
    c = static_cast<char>(state >> 24);
  }
  return out;
}

class ForwarderTest : public testing::Test {
 protected:
  void SetUp() override { start({.loops = 2, .families = {IpFamily::V4}}); }

  void start(ForwarderConfig config) {
    forwarder_.reset();
    auto made = Forwarder::create(std::move(config));
    ASSERT_TRUE(made) << made.error().message;
    forwarder_ = *std::move(made);
    forwarder_->begin();
  }

  // The service's endpoints from now on.
  void serve(const std::vector<Port>& endpoints, Protocol protocol = Protocol::Tcp,
             std::optional<std::chrono::seconds> affinity = {}) {
    plan::ServicePlan plan;
    plan.key.service_port = {.namespace_ = "ns", .name = "s", .port = "p", .protocol = protocol};
    plan.affinity = affinity;
    for (const Port port : endpoints)
      plan.cluster_pool.push_back({.address = kLoopback, .port = port});
    plan.frontends.push_back({.kind = plan::FrontendKind::ClusterIp,
                              .address = kLoopback,
                              .port = forwarder_->tcp_ports(IpFamily::V4).pool.first,
                              .target = plan::Target::ClusterPool});
    key_ = plan.key;
    auto after = std::make_shared<const plan::ServicePlan>(std::move(plan));
    ASSERT_TRUE(forwarder_->apply({{.before = plan_, .after = after}}));
    plan_ = after;
  }
  io::UniqueFd connect_client() {
    return connect_to(forwarder_->tcp_ports(IpFamily::V4).pool.first);
  }
  ServiceTotals totals() const { return forwarder_->totals().at(0); }
  bool becomes(std::size_t open) const {
    const auto until = std::chrono::steady_clock::now() + kPatience;
    while (forwarder_->budget().connections() != open && std::chrono::steady_clock::now() < until) {
      std::this_thread::yield();
    }
    return forwarder_->budget().connections() == open;
  }

  std::unique_ptr<Forwarder> forwarder_;
  plan::PlanKey key_;
  plan::ServicePlanPtr plan_;
};

}  // namespace fairlead::userspace
