#include "etcd/etcd_cluster.hpp"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "io/netns.hpp"
#include "io/socket.hpp"
#include "support/process.hpp"

namespace fairlead::etcd_test {

using namespace std::chrono_literals;

namespace {

bool in_private_network = false;

// Loopback of our own, where nobody else takes ports.
class PrivateNetwork final : public testing::Environment {
 public:
  void SetUp() override {
    const auto own = io::NetNamespace::create();
    in_private_network = own && ::setns(own->fd(), CLONE_NEWNET) == 0;
  }
};
[[maybe_unused]] const auto* const kNetwork =
    testing::AddGlobalTestEnvironment(std::make_unique<PrivateNetwork>().release());

}  // namespace

// Below those that the kernel gives to connections, which would take the port of a server that is
// just being started again. On a loopback that is not ours alone it is the kernel's choice.
std::uint16_t free_port() {
  static std::uint16_t next = 20'000;
  if (in_private_network) return next++;
  auto socket = io::listen_tcp({.address = IpAddress::loopback(IpFamily::V4), .port = Port{0}});
  check(socket.has_value(), "a port is free");
  const auto bound = io::local_address(*socket);
  check(bound.has_value(), "a socket knows its address");
  return number(bound->port);
}

bool listens(const io::Child& child, std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const auto deadline = std::chrono::steady_clock::now() + 20s;
  while (std::chrono::steady_clock::now() < deadline) {
    const io::UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
      return true;
    }
    if (child.ends_before(std::chrono::steady_clock::now() + 20ms)) return false;
  }
  return false;
}

namespace {

std::string tool(const char* variable, const char* name) {
  const char* given = std::getenv(variable);
  const std::string path = given != nullptr && *given != '\0'
                               ? given
                               : fmt::format("{}/.cache/tools/{}", FAIRLEAD_SOURCE_DIR, name);
  return access(path.c_str(), X_OK) == 0 ? path : std::string();
}

}  // namespace

std::string etcd_program() { return tool("FAIRLEAD_ETCD", "etcd"); }
std::string etcdctl_program() { return tool("FAIRLEAD_ETCDCTL", "etcdctl"); }

EtcdCluster::EtcdCluster(std::size_t members, ServerTls tls, std::vector<std::string> flags)
    : tls_(std::move(tls)), flags_(std::move(flags)) {
  folder_ = (std::filesystem::temp_directory_path() / "fairlead-etcd-XXXXXX").string();
  check(mkdtemp(folder_.data()) != nullptr, "a temporary folder can be made");
  members_.resize(members);
  for (Member& member : members_) {
    member.client_port = free_port();
    member.peer_port = free_port();
  }
}

EtcdCluster::~EtcdCluster() {
  for (std::size_t i = 0; i < members_.size(); ++i) end(i, SIGKILL);
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

std::string EtcdCluster::endpoint(std::size_t member) const {
  return fmt::format("{}://127.0.0.1:{}", tls_.ca.empty() ? "http" : "https",
                     members_[member].client_port);
}

std::vector<std::string> EtcdCluster::endpoints() const {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < members_.size(); ++i) out.push_back(endpoint(i));
  return out;
}

std::string EtcdCluster::log() const {
  std::ifstream file(folder_ + "/log");
  std::stringstream out;
  out << file.rdbuf();
  return out.str();
}

std::string EtcdCluster::peer(std::size_t member) const {
  return fmt::format("http://127.0.0.1:{}", members_[member].peer_port);
}

std::string EtcdCluster::initial_cluster() const {
  std::string out;
  for (std::size_t i = 0; i < members_.size(); ++i)
    out += fmt::format("{}m{}={}", i == 0 ? "" : ",", i, peer(i));
  return out;
}

Result<io::Output> EtcdCluster::ctl(std::vector<std::string> arguments) const {
  io::Command command;
  command.argv = {etcdctl_program(), "--endpoints", endpoint(0)};
  command.argv.insert(command.argv.end(), arguments.begin(), arguments.end());
  command.env = {{"ETCDCTL_API", "3"}};
  return io::run_blocking(command, "", 30s);
}

Result<io::Output> EtcdCluster::restore(std::size_t member, const std::string& snapshot) const {
  const std::string data = fmt::format("{}/m{}", folder_, member);
  std::error_code ignored;
  std::filesystem::remove_all(data, ignored);
  return ctl({"snapshot", "restore", snapshot, "--data-dir", data, "--name",
              fmt::format("m{}", member), "--initial-cluster", initial_cluster(),
              "--initial-advertise-peer-urls", peer(member)});
}

bool EtcdCluster::spawn(std::size_t member) {
  io::Command command;
  command.argv = {etcd_program(), "--name", fmt::format("m{}", member), "--data-dir",
                  fmt::format("{}/m{}", folder_, member), "--listen-client-urls", endpoint(member),
                  "--advertise-client-urls", endpoint(member), "--listen-peer-urls", peer(member),
                  "--initial-advertise-peer-urls", peer(member), "--initial-cluster",
                  initial_cluster(),
                  // Quick elections, but not so quick that a busy machine holds them for nothing.
                  "--heartbeat-interval", "40", "--election-timeout", "400"};
  command.argv.insert(command.argv.end(), flags_.begin(), flags_.end());
  if (!tls_.ca.empty()) {
    for (const auto& [flag, path] : {std::pair{"--cert-file", tls_.certificate},
                                     {"--key-file", tls_.key},
                                     {"--trusted-ca-file", tls_.ca}}) {
      command.argv.insert(command.argv.end(), {flag, path});
    }
    command.argv.emplace_back("--client-cert-auth");
  }
  auto child = test::spawn_logging(std::move(command), folder_ + "/log");
  if (!child) return false;
  members_[member].child = *std::move(child);
  return true;
}

// etcd listens for clients once it has a leader.
bool EtcdCluster::start() {
  for (std::size_t i = 0; i < members_.size(); ++i) {
    if (!spawn(i)) return false;
  }
  for (std::size_t i = 0; i < members_.size(); ++i) {
    if (!serves(i)) return false;
  }
  return true;
}

bool EtcdCluster::start(std::size_t member) { return spawn(member) && serves(member); }

void EtcdCluster::end(std::size_t member, int signal) {
  auto& child = members_[member].child;
  if (!child) return;
  static_cast<void>(child->signal(signal));
  static_cast<void>(child->wait_blocking());
  child.reset();
}

std::uint16_t EtcdCluster::move(std::size_t member, std::uint16_t port) {
  return std::exchange(members_[member].client_port, port == 0 ? free_port() : port);
}

}  // namespace fairlead::etcd_test
