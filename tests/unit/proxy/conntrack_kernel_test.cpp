// Stale UDP flows with real datagrams, rules and conntrack entries, in a network namespace of the
// test's own: one machine that is client, node and endpoints at once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "io/fd.hpp"
#include "io/process.hpp"
#include "proxy/modes/nftables/nftables_mode.hpp"
#include "proxy/sync.hpp"
#include "unit/nftables/namespace_guard.hpp"
#include "unit/plan/model_builder.hpp"

namespace fairlead::proxy {
namespace {

using namespace std::chrono_literals;

constexpr std::uint16_t kServicePort = 53, kEndpointPort = 5353, kNodePort = 30053;

// The same cluster in either family.
struct Addresses {
  std::string node, cluster, external, load_balancer, other_cluster, far_cluster;
  std::vector<std::string> endpoints;
};
Addresses addresses(IpFamily family) {
  if (family == IpFamily::V4) {
    return {.node = "192.168.50.1",
            .cluster = "10.96.0.53",
            .external = "203.0.113.7",
            .load_balancer = "203.0.113.9",
            .other_cluster = "10.96.0.99",
            .far_cluster = "10.96.0.100",
            .endpoints = {"10.0.1.1", "10.0.1.2"}};
  }
  return {.node = "fd00:50::1",
          .cluster = "fd00:96::53",
          .external = "fd00:203::7",
          .load_balancer = "fd00:203::9",
          .other_cluster = "fd00:96::99",
          .far_cluster = "fd00:96::100",
          .endpoints = {"fd00:1::1", "fd00:1::2"}};
}

sockaddr_storage to_kernel(const SocketAddress& address) {
  sockaddr_storage out{};
  const auto bytes = address.address.bytes();
  if (address.address.family() == IpFamily::V4) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&out);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(static_cast<std::uint16_t>(address.port));
    std::memcpy(&v4->sin_addr, bytes.data(), bytes.size());
  } else {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&out);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(static_cast<std::uint16_t>(address.port));
    std::memcpy(&v6->sin6_addr, bytes.data(), bytes.size());
  }
  return out;
}

// A datagram socket; each keeps its source port, hence its conntrack entry.
class Udp {
 public:
  explicit Udp(const std::string& address, std::uint16_t port = 0)
      : Udp(SocketAddress{.address = plan::addr(address), .port = Port{port}}) {}
  explicit Udp(const SocketAddress& local)
      : fd_(::socket(local.address.family() == IpFamily::V4 ? AF_INET : AF_INET6,
                     SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    const auto name = to_kernel(local);
    EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name), 0)
        << local.to_string() << ": " << std::strerror(errno);
  }
  // An error is the echo of an ICMP message about an earlier datagram; it takes the place of one
  // send.
  void send_to(const SocketAddress& to) const {
    const auto name = to_kernel(to);
    for (int i = 0; i < 2; ++i) {
      if (::sendto(fd_.get(), "x", 1, 0, reinterpret_cast<const sockaddr*>(&name), sizeof name) > 0)
        return;
    }
  }
  int fd() const { return fd_.get(); }
  bool take() const {
    char byte = 0;
    return ::recv(fd_.get(), &byte, 1, MSG_DONTWAIT) == 1;
  }

 private:
  io::UniqueFd fd_;
};

// The machine, and the proxy's sync with the real nftables mode and the real walk.
class Machine {
 public:
  explicit Machine(IpFamily family) : family_(family), at_(addresses(family)) {
    const bool v6 = family == IpFamily::V6;
    for (const std::string& own : {at_.node, at_.endpoints[0], at_.endpoints[1]}) {
      // Without nodad it is the node's a moment later.
      ip({"addr", "add", own + (v6 ? "/128" : "/32"), "dev", "lo", "nodad"});
    }
    ip({"link", "set", "lo", "up"});
    for (const char* range : v6 ? std::array{"fd00:96::/64", "fd00:203::/64"}
                                : std::array{"10.96.0.0/16", "203.0.113.0/24"}) {
      ip({"route", "add", range, "dev", "lo"});
    }
    for (const std::string& endpoint : at_.endpoints)
      servers_.emplace_back(endpoint, kEndpointPort);
    start_proxy();
  }

  // As a new process over the same kernel.
  void start_proxy() {
    syncer_.emplace(Syncer::Config{
        .model = &model_, .node = plan::make_node(), .min_sync_period = 0s, .clock = &clock_});
    auto mode = nftables::create({});
    ASSERT_TRUE(mode) << mode.error().message;
    side_.emplace(KernelSide::Config{
        .mode = *std::move(mode), .clean_flows = &clean_flows, .clock = &clock_});
    syncer_->set_node(plan::make_node(), {plan::addr(at_.node)});
    model_.mark_all_dirty();
    syncer_->services_synced();
    syncer_->slices_synced();
    sync();
  }

  kube::Service service() const {
    kube::Service out = plan::make_service("dns", at_.cluster);
    out.type = kube::ServiceType::LoadBalancer;
    out.ports[0].port = kServicePort;
    out.ports[0].protocol = Protocol::Udp;
    out.ports[0].node_port = kNodePort;
    out.external_ips = {at_.external};
    out.ingress = {{.ip = at_.load_balancer}};
    return out;
  }
  FlowStats put(const kube::Service& object) {
    model_.put(object);
    return sync();
  }
  FlowStats remove(const std::string& service) {
    model_.remove_service({.namespace_ = "ns", .name = service});
    return sync();
  }
  // `which`: indices of the endpoints.
  FlowStats endpoints(const std::vector<std::size_t>& which, const std::string& of = "dns") {
    std::vector<kube::Endpoint> list;
    for (const std::size_t i : which) list.push_back(plan::make_endpoint(at_.endpoints[i]));
    auto slice = plan::make_slice(of + "-x", of, std::move(list));
    slice.address_type =
        family_ == IpFamily::V4 ? kube::AddressType::IPv4 : kube::AddressType::IPv6;
    slice.ports[0].port = kEndpointPort;
    slice.ports[0].protocol = Protocol::Udp;
    model_.put(slice);
    return sync();
  }

  Udp client() const { return Udp(at_.node); }
  SocketAddress place(const std::string& address, std::uint16_t port = kServicePort) const {
    return {.address = plan::addr(address), .port = Port{port}};
  }
  // All ways to the service.
  std::vector<SocketAddress> places() const {
    return {place(at_.cluster), place(at_.external), place(at_.load_balancer),
            place(at_.node, kNodePort)};
  }
  // The endpoint that one datagram reaches.
  std::optional<std::size_t> reaches(const Udp& client, const SocketAddress& to,
                                     std::chrono::milliseconds patience = 5s) const {
    client.send_to(to);
    std::vector<pollfd> waiting;
    for (const Udp& server : servers_) waiting.push_back({.fd = server.fd(), .events = POLLIN});
    if (::poll(waiting.data(), waiting.size(), static_cast<int>(patience.count())) == 0)
      return std::nullopt;
    for (std::size_t i = 0; i < servers_.size(); ++i) {
      if (servers_[i].take()) return i;
    }
    return std::nullopt;
  }
  // It reaches nobody. Loopback delivers at once, so this need not wait long.
  bool loses(const Udp& client, const SocketAddress& to) const {
    return !reaches(client, to, 20ms);
  }
  const Addresses& at() const { return at_; }

 private:
  static void ip(std::vector<std::string> words) {
    std::vector<std::string> argv{"ip"};
    if (words.at(2).find(':') != std::string::npos) argv.emplace_back("-6");
    std::ranges::move(words, std::back_inserter(argv));
    const auto done = io::run_blocking({.argv = argv}, "", 10s);
    ASSERT_TRUE(done && done->status.ok()) << (done ? done->err : done.error().message);
  }
  FlowStats sync() {
    FlowStats out;
    syncer_->changed();
    while (auto job = syncer_->next_job()) {
      const Outcome outcome = side_->run(*std::move(job));
      EXPECT_FALSE(outcome.error) << outcome.error->message;
      EXPECT_FALSE(outcome.conntrack_error) << outcome.conntrack_error->message;
      for (const auto& [family, flows] : outcome.flows) {
        out.seen += flows.stats.seen;
        out.deleted += flows.stats.deleted;
      }
      syncer_->finish(outcome);
    }
    return out;
  }

  IpFamily family_;
  Addresses at_;
  FakeClock clock_;
  model::Model model_;
  std::optional<Syncer> syncer_;
  std::optional<KernelSide> side_;
  std::vector<Udp> servers_;
};

class ConntrackKernel : public ::testing::TestWithParam<IpFamily> {};
INSTANTIATE_TEST_SUITE_P(, ConntrackKernel, ::testing::Values(IpFamily::V4, IpFamily::V6),
                         [](const auto& param) { return std::string(to_string(param.param)); });

TEST_P(ConntrackKernel, FlowOfARemovedEndpointMovesOnAndOthersStay) {
  FAIRLEAD_IN_PRIVATE_NETWORK([] {
    Machine machine(GetParam());
    machine.put(machine.service());
    for (const SocketAddress& place : machine.places()) {
      SCOPED_TRACE(place.to_string());
      machine.endpoints({0});
      const Udp moving = machine.client();
      EXPECT_EQ(machine.reaches(moving, place), 0U);
      EXPECT_EQ(machine.endpoints({0, 1}).deleted, 0U);
      EXPECT_EQ(machine.reaches(moving, place), 0U) << "an added endpoint cuts nothing";
      EXPECT_EQ(machine.endpoints({1}).deleted, 1U);
      EXPECT_EQ(machine.reaches(moving, place), 1U);
      EXPECT_EQ(machine.endpoints({0, 1}).deleted, 0U);
      EXPECT_EQ(machine.reaches(moving, place), 1U);
      machine.remove("dns");  // an end to these flows
      machine.put(machine.service());
    }
  });
}

TEST_P(ConntrackKernel, DatagramsSentBeforeThereWasAnEndpointDoNotSpoilThoseAfter) {
  FAIRLEAD_IN_PRIVATE_NETWORK([] {
    Machine machine(GetParam());
    std::vector<Udp> early;
    for (const SocketAddress& place : machine.places()) {
      early.push_back(machine.client());
      EXPECT_TRUE(machine.loses(early.back(), place));
    }
    machine.put(machine.service());
    machine.endpoints({0});
    for (std::size_t i = 0; i < early.size(); ++i) {
      EXPECT_EQ(machine.reaches(early[i], machine.places()[i]), 0U)
          << machine.places()[i].to_string();
    }
  });
}

TEST_P(ConntrackKernel, FlowsEndWithTheLastEndpoint) {
  FAIRLEAD_IN_PRIVATE_NETWORK([] {
    Machine machine(GetParam());
    machine.put(machine.service());
    machine.endpoints({0});
    std::vector<Udp> clients;
    for (const SocketAddress& place : machine.places()) {
      clients.push_back(machine.client());
      EXPECT_EQ(machine.reaches(clients.back(), place), 0U);
    }
    EXPECT_EQ(machine.endpoints({}).deleted, clients.size());
    for (std::size_t i = 0; i < clients.size(); ++i) {
      EXPECT_TRUE(machine.loses(clients[i], machine.places()[i]));
    }
  });
}

TEST_P(ConntrackKernel, FlowsEndWithTheServiceAndWithEachWayToIt) {
  FAIRLEAD_IN_PRIVATE_NETWORK([] {
    Machine machine(GetParam());
    kube::Service service = machine.service();
    machine.put(service);
    machine.endpoints({0});
    std::vector<Udp> clients;
    for (const SocketAddress& place : machine.places()) {
      clients.push_back(machine.client());
      EXPECT_EQ(machine.reaches(clients.back(), place), 0U);
    }
    service.external_ips.clear();
    EXPECT_EQ(machine.put(service).deleted, 1U);
    service.type = kube::ServiceType::ClusterIp;
    service.ports[0].node_port = 0;
    service.ingress.clear();
    EXPECT_EQ(machine.put(service).deleted, 2U) << "node port and load balancer";
    EXPECT_EQ(machine.reaches(clients[0], machine.places()[0]), 0U);
    EXPECT_EQ(machine.remove("dns").deleted, 1U);
    for (std::size_t i = 0; i < clients.size(); ++i) {
      EXPECT_TRUE(machine.loses(clients[i], machine.places()[i]));
    }
  });
}

TEST_P(ConntrackKernel, RestartCutsNoHealthyFlow) {
  FAIRLEAD_IN_PRIVATE_NETWORK([] {
    Machine machine(GetParam());
    machine.put(machine.service());
    machine.endpoints({0, 1});
    std::vector<Udp> clients;
    std::vector<std::optional<std::size_t>> reached;
    for (int i = 0; i < 10; ++i) {
      clients.push_back(machine.client());
      reached.push_back(machine.reaches(clients.back(), machine.places()[0]));
    }
    machine.start_proxy();
    for (std::size_t i = 0; i < clients.size(); ++i) {
      EXPECT_EQ(machine.reaches(clients[i], machine.places()[0]), reached[i]);
    }
  });
}

TEST_P(ConntrackKernel, KernelTellsOfNothingElse) {
  FAIRLEAD_IN_PRIVATE_NETWORK([] {
    Machine machine(GetParam());
    kube::Service other = plan::make_service("other", machine.at().other_cluster);
    other.ports[0].port = kServicePort;
    other.ports[0].protocol = Protocol::Udp;
    machine.put(other);
    machine.endpoints({1}, "other");
    other.ports[0].port = kServicePort + 1;
    other.metadata.name = "far";
    other.cluster_ips = {other.cluster_ip = machine.at().far_cluster};
    machine.put(other);
    machine.endpoints({1}, "far");
    kube::Service service = plan::make_service("dns", machine.at().cluster);
    service.ports[0].port = kServicePort;
    service.ports[0].protocol = Protocol::Udp;
    machine.put(service);
    machine.endpoints({0});
    std::vector<Udp> others;
    for (int i = 0; i < 30; ++i) {
      others.push_back(machine.client());
      const auto to = i < 10 ? machine.place(machine.at().other_cluster)
                             : machine.place(machine.at().far_cluster, kServicePort + 1);
      EXPECT_EQ(machine.reaches(others.back(), to), 1U);
    }
    const Udp client = machine.client();
    EXPECT_EQ(machine.reaches(client, machine.place(machine.at().cluster)), 0U);
    // Of IPv6 addresses the kernel's filter has the wrong idea, so only the port is told apart.
    const std::uint64_t seen = GetParam() == IpFamily::V4 ? 1 : 11;
    EXPECT_EQ(machine.endpoints({1}), (FlowStats{.seen = seen, .deleted = 1}));
  });
}

TEST_P(ConntrackKernel, ManyFlowsAreDeletedInOneWalk) {
  FAIRLEAD_IN_PRIVATE_NETWORK([] {
    constexpr std::size_t kFlows = 300;  // several batches, and no divisor of one
    Machine machine(GetParam());
    machine.put(machine.service());
    machine.endpoints({0});
    std::vector<Udp> clients;
    for (std::size_t i = 0; i < kFlows; ++i) {
      clients.push_back(machine.client());
      EXPECT_EQ(machine.reaches(clients.back(), machine.places()[0]), 0U);
    }
    EXPECT_EQ(machine.endpoints({1}).deleted, kFlows);
  });
}

}  // namespace
}  // namespace fairlead::proxy
