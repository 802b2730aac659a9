// The real programs under a cluster that never rests: an API server and the node proxy as processes
// on node1 of a rig, changes without pause, the proxy killed and started again, in another mode if
// need be, or replaced by another process while it runs; and clients that must not notice. Ends by
// itself and says what it saw.
//
// A few seconds a mode by default. FAIRLEAD_CHURN_SECONDS makes it longer (./dev soak).
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "base/text.hpp"
#include "churn/shapes.hpp"
#include "client/api_client.hpp"
#include "packets/probe.hpp"
#include "packets/rig_fixture.hpp"
#include "support/folder.hpp"
#include "support/loop.hpp"

namespace fairlead::churn {
namespace {

using namespace std::chrono_literals;
using packets::Outcome;
using packets::Send;
using Steady = std::chrono::steady_clock;

constexpr auto kPatience = 10s;
constexpr int kBackground = 150;  // services that only make work
constexpr int kHeld = 24;         // connections kept from beginning to end
constexpr Port kShapesPort{9000};
constexpr std::size_t kOtherSockets = 400;  // of services that came meanwhile
constexpr char kServices[] = "/api/v1/namespaces/default/services";
constexpr char kSlices[] = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";

std::chrono::seconds wanted_duration() {
  const char* text = std::getenv("FAIRLEAD_CHURN_SECONDS");
  return std::chrono::seconds(text == nullptr ? 4 : parse_int(text).value_or(4));
}

std::string program(std::string_view name) {
  return fmt::format("{}/src/cli/{}", FAIRLEAD_BINARY_DIR, name);
}

struct Case {
  std::string name;
  std::vector<std::string> modes;  // in turn, one after each kill
  enum class Ends { Killed, Replaced } ends = Ends::Killed;
};
// NOLINTNEXTLINE(readability-identifier-naming): GoogleTest asks for this name
void PrintTo(const Case& value, std::ostream* out) { *out << value.name; }

// ---- what clients see ---------------------------------------------------------------------------

struct Seen {
  std::uint64_t short_connections = 0, pings = 0, datagrams = 0;
  std::vector<std::string> failures;
};

// One thread's: short connections all the time, and a word on each of those that are kept.
class Clients {
 public:
  explicit Clients(packets::Rig& rig) : rig_(rig) {}

  Result<void> connect_held() {
    for (int i = 0; i < kHeld; ++i) {
      auto outcomes = packets::send_all(rig_, {to("pod1", "10.96.0.12", 80)}, kPatience);
      if (outcomes.front().fate != packets::Fate::Answered) {
        return make_error(ErrorCode::Unavailable, "a connection to be kept: {}",
                          outcomes.front().to_string());
      }
      held_.push_back(std::move(outcomes.front().connection));
    }
    return {};
  }

  void run_until(const std::atomic<bool>& over) {
    const std::vector<Send> sends = {
        to("pod1", "10.96.0.11", 80),      to("node1", "10.96.0.11", 80),
        to("outside", "10.96.0.11", 80),   to("outside", "192.168.50.1", 30080),
        to("pod1", "192.168.50.1", 30080), to("pod1", "10.96.0.12", 53, Protocol::Udp)};
    std::size_t next = 0;
    while (!over && seen_.failures.size() < 10) {
      const std::vector<Outcome> outcomes = packets::send_all(rig_, sends, kPatience);
      for (std::size_t i = 0; i < sends.size(); ++i) {
        ++(sends[i].protocol == Protocol::Udp ? seen_.datagrams : seen_.short_connections);
        end_at_once(outcomes[i].connection);
        if (outcomes[i].fate == packets::Fate::Answered) continue;
        seen_.failures.push_back(fmt::format("{} -> {}: {}", sends[i].from, sends[i].to.to_string(),
                                             outcomes[i].to_string()));
      }
      const std::size_t held = next++ % held_.size();
      ++seen_.pings;
      if (!packets::still_answers(held_[held], kPatience)) {
        seen_.failures.push_back(fmt::format("connection {} of those kept is silent", held));
      }
    }
  }

  const Seen& seen() const { return seen_; }

 private:
  // By a reset, so that its port is free again: ports come round within seconds.
  static void end_at_once(const io::UniqueFd& connection) {
    const linger none{.l_onoff = 1, .l_linger = 0};
    if (connection) ::setsockopt(connection.get(), SOL_SOCKET, SO_LINGER, &none, sizeof none);
  }
  static Send to(std::string from, std::string_view address, std::uint16_t port,
                 Protocol protocol = Protocol::Tcp) {
    return {.from = std::move(from),
            .protocol = protocol,
            .to = {.address = *IpAddress::parse(address), .port = Port{port}}};
  }

  packets::Rig& rig_;
  std::vector<io::UniqueFd> held_;
  Seen seen_;
};

// ---- the cluster --------------------------------------------------------------------------------

std::string node_port_json(int port) {
  return port == 0 ? "" : fmt::format(R"(,"nodePort":{})", port);
}

// `node_port` and another kBackground above it; 0 = none.
std::string service_json(std::string_view name, std::string_view address, int node_port) {
  return fmt::format(R"({{"apiVersion":"v1","kind":"Service","metadata":{{"name":"{}"}},"spec":{{)"
                     R"("clusterIP":"{}",{}"ports":[{{"name":"a","port":80{}}},)"
                     R"({{"name":"b","port":53,"protocol":"UDP"{}}}]}}}})",
                     name, address, node_port == 0 ? "" : R"("type":"NodePort",)",
                     node_port_json(node_port),
                     node_port_json(node_port == 0 ? 0 : node_port + kBackground));
}

std::string slice_json(std::string_view service, const std::vector<std::string>& addresses,
                       Port port = Port{8080}) {
  std::string endpoints;
  for (const std::string& address : addresses) {
    endpoints += fmt::format(
        R"({}{{"addresses":["{}"],"nodeName":"{}","conditions":{{"ready":true}}}})",
        endpoints.empty() ? "" : ",", address, address.starts_with("10.0.1.") ? "node1" : "node2");
  }
  return fmt::format(
      R"({{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","addressType":"IPv4",)"
      R"("metadata":{{"name":"{0}-1","labels":{{"kubernetes.io/service-name":"{0}"}}}},)"
      R"("endpoints":[{1}],"ports":[{{"name":"a","port":{2},"protocol":"TCP"}},)"
      R"({{"name":"b","port":{2},"protocol":"UDP"}}]}})",
      service, endpoints, number(port));
}

class ChurnTest : public packets::RigTest, public testing::WithParamInterface<Case> {
 protected:
  void SetUp() override {
    RigTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    log_ =
        io::UniqueFd(::open(path("log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    ASSERT_TRUE(log_);
  }

  std::string path(std::string_view name) const { return folder_.path() + "/" + std::string(name); }
  std::string log() const {
    std::ifstream file(path("log"));
    return {std::istreambuf_iterator<char>(file), {}};
  }
  // Says how often the log has it.
  int logged(std::string_view text) const {
    int out = 0;
    const std::string all = log();
    for (auto at = all.find(text); at != std::string::npos; at = all.find(text, at + 1)) ++out;
    return out;
  }
  bool comes_true(const std::function<bool()>& holds) const {
    const auto deadline = Steady::now() + 30s;
    while (!holds()) {
      if (Steady::now() > deadline) return false;
      std::this_thread::sleep_for(10ms);  // sleeps: between two looks at another process
    }
    return true;
  }

  io::Child start(std::vector<std::string> argv) {
    auto child = io::Child::spawn({.argv = std::move(argv),
                                   .env = {{"XTABLES_LOCKFILE", path("xtables.lock")}},
                                   .namespaces = {rig().node().network.fd()},
                                   .stdout_fd = log_.get(),
                                   .stderr_fd = log_.get()});
    check(child.has_value(), "the programs under test are built and start");
    return *std::move(child);
  }

  void start_api() {
    api_server_.emplace(
        start({program("fairlead-apiserver"), "--data-dir", path("data"), "--bind-address",
               "192.168.50.1", "--secure-port", "6443", "--write-kubeconfig", path("kubeconfig")}));
    ASSERT_TRUE(comes_true([&] { return logged("Serving") > 0; })) << log();
    auto access = client::load_kubeconfig(path("kubeconfig"));
    ASSERT_TRUE(access) << access.error().message;
    auto made = client::ApiClient::create(loop_.executor(), {.access = *std::move(access)});
    ASSERT_TRUE(made) << made.error().message;
    api_ = *std::move(made);
  }

  void start_proxy(const std::string& mode) {
    const std::string variant = mode.substr(std::min(mode.find('-') + 1, mode.size()));
    if (mode.starts_with("iptables")) hint(variant);
    proxy_.emplace(start(
        {program("fairlead-proxy"), "--kubeconfig", path("kubeconfig"), "--hostname-override",
         "node1", "--cluster-cidr", "10.0.0.0/16", "--proxy-mode", mode.substr(0, mode.find('-')),
         "--iptables-min-sync-period", "10ms", "--userspace-drain-timeout", "1h"}));
    ++starts_;
  }
  // kubelet's, by which the variant of iptables is chosen.
  void hint(const std::string& variant) {
    for (const std::string one : {"nft", "legacy"}) {
      (void)packets::Rig::run(rig().node(), {"iptables-" + one, "-t", "mangle",
                                             one == variant ? "-N" : "-X", "KUBE-IPTABLES-HINT"});
    }
  }
  bool in_step() const { return logged("Programmed all rules") >= starts_; }

  void put(const std::string& collection, const std::string& name, const std::string& json) {
    const bool exists = !known_.insert(collection + name).second;
    const auto answer = exists ? *loop_.run(api_->put(collection + ("/" + name), json))
                               : *loop_.run(api_->post(collection, json));
    ASSERT_TRUE(answer) << answer.error().message << "\n" << json;
    ++changes_;
  }
  void remove(const std::string& collection, const std::string& name) {
    if (known_.erase(collection + name) == 0) return;
    const auto answer = *loop_.run(api_->remove(collection + ("/" + name)));
    ASSERT_TRUE(answer) << answer.error().message;
    ++changes_;
  }

  std::uint32_t dice(std::uint32_t sides) { return random_() % sides; }

  // Two of a busy service's endpoints always stay.
  std::vector<std::string> some_pods() {
    std::vector<std::string> out = {"10.0.1.3", "10.0.2.2"};
    for (const char* pod : {"10.0.1.2", "10.0.1.4", "10.0.2.3"}) {
      if (dice(2) == 0) out.emplace_back(pod);
    }
    return out;
  }
  void put_background(int i) {
    const std::string name = fmt::format("bg-{}", i);
    put(kServices, name,
        service_json(name, fmt::format("10.96.1.{}", i + 1), dice(2) == 0 ? 31000 + i : 0));
    std::vector<std::string> endpoints;
    for (std::uint32_t n = dice(8); n > 0; --n) {
      endpoints.push_back(fmt::format("10.0.{}.{}", 10 + dice(100), 1 + dice(250)));
    }
    put(kSlices, name + "-1", slice_json(name, endpoints));
  }
  void one_change() {
    const int i = static_cast<int>(dice(kBackground));
    switch (dice(5)) {
      case 0:
        put(kSlices, "shapes-1", slice_json("shapes", some_pods(), kShapesPort));
        return put(kSlices, "busy-1", slice_json("busy", some_pods()));
      case 1:
        remove(kServices, fmt::format("bg-{}", i));
        return remove(kSlices, fmt::format("bg-{}-1", i));
      default:
        return put_background(i);
    }
  }

  void make_cluster() {
    put("/api/v1/nodes", "node1",
        R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"node1"},"status":)"
        R"({"addresses":[{"type":"InternalIP","address":"192.168.50.1"}]}})");
    put(kServices, "busy", service_json("busy", "10.96.0.11", 30080));
    put(kSlices, "busy-1", slice_json("busy", some_pods()));
    put(kServices, "shapes", service_json("shapes", "10.96.0.13", 0));
    put(kSlices, "shapes-1", slice_json("shapes", some_pods(), kShapesPort));
    put(kServices, "calm", service_json("calm", "10.96.0.12", 0));
    put(kSlices, "calm-1", slice_json("calm", {"10.0.1.3", "10.0.2.2"}));
    for (int i = 0; i < kBackground && !HasFatalFailure(); ++i) put_background(i);
  }

  std::vector<const packets::Host*> all_pods() {
    std::vector<const packets::Host*> out;
    for (const char* pod : {"pod1", "pod2", "pod3", "pod4", "pod5"})
      out.push_back(&rig().host(pod));
    return out;
  }

  std::size_t proxy_sockets() const {
    std::size_t out = 0;
    std::error_code ignored;
    for (const auto& entry :
         std::filesystem::directory_iterator(fmt::format("/proc/{}/fd", proxy_->pid()), ignored)) {
      if (std::filesystem::read_symlink(entry, ignored).string().starts_with("socket:")) ++out;
    }
    return out;
  }
  std::uint64_t proxy_kilobytes() const {
    std::ifstream status(fmt::format("/proc/{}/status", proxy_->pid()));
    std::string word;
    while (status >> word && word != "VmRSS:") {
    }
    std::uint64_t out = 0;
    status >> out;
    return out;
  }

  // Changes until `end`; kills in the first half, so that memory can be watched in the second.
  void churn(Steady::time_point begin, Steady::time_point end) {
    const auto middle = begin + (end - begin) / 2;
    const auto pause = std::max<Steady::duration>((end - begin) / 12, 700ms);
    auto next_kill = begin + pause;
    while (Steady::now() < end && !HasFailure()) {
      for (int i = 0; i < 20 && !HasFailure(); ++i) one_change();
      if (!memory_ && Steady::now() > middle + (end - begin) / 10) memory_ = proxy_kilobytes();
      if (Steady::now() < next_kill || Steady::now() > middle) continue;
      ASSERT_TRUE(comes_true([&] { return in_step(); })) << log();
      if (GetParam().ends == Case::Ends::Killed) {
        ASSERT_TRUE(proxy_->signal(SIGKILL));
        ASSERT_TRUE(proxy_->wait_blocking());
      } else {
        replaced_.push_back(*std::exchange(proxy_, std::nullopt));
      }
      mode_ = GetParam().modes[static_cast<std::size_t>(starts_) % GetParam().modes.size()];
      start_proxy(mode_);
      next_kill = Steady::now() + pause;
    }
  }

  bool kernel_has_it() {
    const std::string mode = mode_.substr(0, mode_.find('-'));
    const auto verified = io::run_blocking(
        {.argv = {program("fairlead"), "verify", "--kubeconfig", path("kubeconfig"), "--mode", mode,
                  "--node", "node1", "--cluster-cidr", "10.0.0.0/16"},
         .namespaces = {rig().node().network.fd()}},
        {}, 30s);
    verdict_ = verified ? verified->out + verified->err : verified.error().message;
    return verified && verified->status.ok();
  }

  test::TemporaryFolder folder_;
  io::UniqueFd log_;
  test::Loop loop_;
  std::optional<io::Child> api_server_, proxy_;
  std::vector<io::Child> replaced_;  // the first one has the connections that are kept
  std::unique_ptr<client::ApiClient> api_;
  std::set<std::string> known_;
  std::mt19937 random_{1};
  std::string mode_, verdict_;
  std::uint64_t changes_ = 0;
  int starts_ = 0;
  std::optional<std::uint64_t> memory_;  // kB of the proxy, when the last kill is long ago
};

TEST_P(ChurnTest, NobodyNotices) {
  const auto done = rig().node().network.run([&]() -> Result<void> {
    start_api();
    if (HasFatalFailure()) return {};
    make_cluster();
    if (HasFatalFailure()) return {};
    mode_ = GetParam().modes.front();
    start_proxy(mode_);
    EXPECT_TRUE(comes_true([&] { return in_step(); })) << log();

    Clients clients(rig());
    FAIRLEAD_CHECK(clients.connect_held());
    Complaints complaints;
    FAIRLEAD_TRY(server, ShapeServer::start(all_pods(), kShapesPort, complaints));
    const std::size_t sockets = proxy_sockets();
    std::atomic<bool> over = false;
    std::thread thread([&] { clients.run_until(over); });
    ShapeClients shapes(rig(), {.address = *IpAddress::parse("10.96.0.13"), .port = Port{80}}, over,
                        complaints);
    changes_ = 0;
    const auto begin = Steady::now();
    churn(begin, begin + wanted_duration());
    const std::chrono::duration<double> took = Steady::now() - begin;
    const std::uint64_t memory = proxy_kilobytes();
    over = true;
    thread.join();
    shapes.join();
    server.reset();
    EXPECT_THAT(complaints.all(), testing::IsEmpty()) << log();
    EXPECT_TRUE(comes_true([&] { return proxy_sockets() <= sockets + kOtherSockets; }))
        << proxy_sockets() << " sockets, " << sockets << " at first";

    const Seen& seen = clients.seen();
    EXPECT_THAT(seen.failures, testing::IsEmpty()) << log();
    EXPECT_GT(seen.short_connections, 0U);
    EXPECT_TRUE(comes_true([&] {
      return logged("Another process has taken over") == static_cast<int>(replaced_.size());
    })) << log();
    for (std::size_t i = 1; i < replaced_.size(); ++i) {
      EXPECT_TRUE(replaced_[i].ends_before(Steady::now() + kPatience)) << "its connections ended";
    }
    if (took > 2min && memory_) {
      EXPECT_LT(memory, *memory_ + *memory_ / 10) << "the proxy grows";
    }
    if (GetParam().name != "userspace") {
      EXPECT_TRUE(comes_true([&] { return kernel_has_it(); })) << verdict_ << log();
    }
    fmt::print(
        "{}: {} changes in {:.0f} s, {} short connections, {} datagrams, {} pings on kept "
        "connections, {} starts of the proxy, {} failures; memory {} kB, then {} kB\n",
        GetParam().name, changes_, took.count(), seen.short_connections, seen.datagrams, seen.pings,
        starts_, seen.failures.size(), memory_.value_or(0), memory);
    for (const auto& [shape, count] : shapes.connections()) fmt::print("  {}: {}\n", shape, count);
    fmt::print("  {} MB checked byte by byte\n", shapes.bytes() / 1'000'000);
    api_.reset();
    return {};
  });
  ASSERT_TRUE(done) << done.error().message;
}

INSTANTIATE_TEST_SUITE_P(
    , ChurnTest,
    testing::Values(Case{.name = "nftables", .modes = {"nftables"}},
                    Case{.name = "iptables_nft", .modes = {"iptables-nft"}},
                    Case{.name = "iptables_legacy", .modes = {"iptables-legacy"}},
                    Case{.name = "changing",
                         .modes = {"nftables", "iptables-legacy", "nftables", "iptables-nft"}},
                    // Its connections end with the process.
                    Case{
                        .name = "userspace", .modes = {"userspace"}, .ends = Case::Ends::Replaced}),
    [](const auto& param) { return param.param.name; });

}  // namespace
}  // namespace fairlead::churn
