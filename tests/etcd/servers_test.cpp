// Several fairlead-apiserver processes on one etcd are one API.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <csignal>
#include <future>
#include <set>

#include "etcd/etcd_cluster.hpp"
#include "support/process.hpp"

namespace fairlead::etcd_test {
namespace {

using namespace std::chrono_literals;

// One server, spoken to in plain HTTP with curl.
class ServerProcess {
 public:
  // `address`: where it says that pods reach it.
  ServerProcess(std::string folder, std::string address, std::vector<std::string> etcd)
      : folder_(std::move(folder)),
        address_(std::move(address)),
        etcd_(std::move(etcd)),
        port_(free_port()) {}

  bool start() {
    io::Command command;
    command.argv = {std::string(FAIRLEAD_BINARY_DIR) + "/src/cli/fairlead-apiserver",
                    "--etcd-servers",
                    fmt::format("{}", fmt::join(etcd_, ",")),
                    "--data-dir",
                    folder_,
                    "--bind-address",
                    "127.0.0.1",
                    "--advertise-address",
                    address_,
                    "--secure-port",
                    "0",
                    "--http-port",
                    std::to_string(port_),
                    "--service-cluster-ip-range",
                    "10.0.0.0/24"};
    auto child = test::spawn_logging(std::move(command), folder_ + ".log");
    if (!child) return false;
    child_ = *std::move(child);
    return listens(*child_, port_) && ask("GET", "/readyz").status == 200;
  }
  io::ExitStatus end(int signal) {
    EXPECT_TRUE(child_->signal(signal));
    auto status = child_->wait_blocking();
    child_.reset();
    return status ? *status : io::ExitStatus{};
  }

  struct Answer {
    int status = 0;  // 0: none
    boost::json::value body;
  };
  Answer ask(const std::string& method, const std::string& path,
             const std::string& body = {}) const {
    io::Command command;
    command.argv = {"curl",
                    "-sS",
                    "--max-time",
                    "20",
                    "-X",
                    method,
                    "-w",
                    "\n%{http_code}",
                    fmt::format("http://127.0.0.1:{}{}", port_, path)};
    if (!body.empty()) {
      command.argv.insert(command.argv.end(),
                          {"-H", "Content-Type: application/json", "--data-binary", "@-"});
    }
    auto output = io::run_blocking(command, body, 30s);
    if (!output || !output->status.ok()) return {};
    const auto end = output->out.rfind('\n');
    boost::system::error_code failed;
    return {.status = std::stoi(output->out.substr(end + 1)),
            .body = boost::json::parse(output->out.substr(0, end), failed)};
  }

 private:
  std::string folder_, address_;
  std::vector<std::string> etcd_;
  std::uint16_t port_;
  std::optional<io::Child> child_;
};

std::string service(const std::string& name, const std::string& type = "ClusterIP") {
  return fmt::format(
      R"({{"apiVersion":"v1","kind":"Service","metadata":{{"name":"{}"}},"spec":{{"type":"{}","ports":[{{"port":80}}]}}}})",
      name, type);
}

constexpr char kServices[] = "/api/v1/namespaces/kube-public/services";

class ServersTest : public testing::Test {
 protected:
  void SetUp() override {
    if (etcd_program().empty()) {
      GTEST_SKIP() << "SKIPPED: no etcd; run ./dev setup, or set FAIRLEAD_ETCD";
    }
    etcd_.emplace(1);
    ASSERT_TRUE(etcd_->start()) << etcd_->log();
    for (const char* address : {"192.0.2.1", "192.0.2.2"}) {
      servers_.push_back(std::make_unique<ServerProcess>(etcd_->folder() + "/server-" + address,
                                                         address, etcd_->endpoints()));
      ASSERT_TRUE(servers_.back()->start());
    }
  }
  ServerProcess& a() { return *servers_[0]; }
  ServerProcess& b() { return *servers_[1]; }

  // spec.clusterIP of each service, as the server lists them.
  static std::map<std::string, std::string> cluster_ips(const ServerProcess& server) {
    std::map<std::string, std::string> out;
    const auto list = server.ask("GET", kServices);
    EXPECT_EQ(list.status, 200);
    if (list.status != 200) return out;
    for (const auto& item : list.body.at("items").as_array()) {
      out.emplace(item.at_pointer("/metadata/name").as_string(),
                  item.at_pointer("/spec/clusterIP").as_string());
    }
    return out;
  }

  std::optional<EtcdCluster> etcd_;
  std::vector<std::unique_ptr<ServerProcess>> servers_;
};

TEST_F(ServersTest, WhatOneAnsweredTheOtherKnows) {
  for (int i = 0; i < 10; ++i) {
    const std::string name = fmt::format("s{}", i);
    const std::string path = fmt::format("{}/{}", kServices, name);
    ASSERT_EQ(a().ask("POST", kServices, service(name)).status, 201);
    const auto got = b().ask("GET", path);
    ASSERT_EQ(got.status, 200) << name;
    ASSERT_EQ(b().ask("DELETE", path).status, 200);
    ASSERT_EQ(a().ask("GET", path).status, 404);
    ASSERT_EQ(a().ask("POST", kServices, service(name)).status, 201) << "again";
  }
}

// A /24 has 254 addresses; two servers hand out 100 at the same time.
TEST_F(ServersTest, AnAccountMadeByOneHasATokenFromTheOtherAtOnce) {
  const std::string accounts = "/api/v1/namespaces/kube-public/serviceaccounts";
  for (int i = 0; i < 20; ++i) {
    const std::string name = fmt::format("robot{}", i);
    ASSERT_EQ(
        a().ask("POST", accounts, fmt::format(R"({{"metadata":{{"name":"{}"}}}})", name)).status,
        201);
    EXPECT_EQ(b().ask("POST", fmt::format("{}/{}/token", accounts, name), "{}").status, 201)
        << name;
  }
}

TEST_F(ServersTest, TheKindsAroundServicesAreOneToBoth) {
  const std::string events = "/apis/events.k8s.io/v1/namespaces/kube-public/events";
  ASSERT_EQ(a().ask("POST", events, R"({"metadata":{"name":"x"},"reason":"r","action":"a",
      "eventTime":"2026-01-01T00:00:00.000001Z","reportingController":"c","note":"n",
      "reportingInstance":"i","type":"Normal","regarding":{"namespace":"kube-public"}})")
                .status,
            201);
  const auto event = b().ask("GET", "/api/v1/namespaces/kube-public/events/x");
  ASSERT_EQ(event.status, 200);
  EXPECT_EQ(event.body.at("message"), "n") << "in the form of v1";

  const std::string leases = "/apis/coordination.k8s.io/v1/namespaces/kube-public/leases";
  const auto lease = a().ask("POST", leases, R"({"metadata":{"name":"l"},"spec":{}})");
  ASSERT_EQ(lease.status, 201);
  const auto taken_by = [&](std::string_view who) {
    boost::json::value next = lease.body;
    next.at("spec").as_object()["holderIdentity"] = who;
    return boost::json::serialize(next);
  };
  EXPECT_EQ(b().ask("PUT", leases + "/l", taken_by("b")).status, 200);
  EXPECT_EQ(a().ask("PUT", leases + "/l", taken_by("a")).status, 409) << "b was quicker";

  const auto endpoints = b().ask("GET", "/api/v1/namespaces/default/endpoints/kubernetes");
  ASSERT_EQ(endpoints.status, 200);
  EXPECT_EQ(endpoints.body.at_pointer("/subsets/0/addresses").as_array().size(), 2U);
}

TEST_F(ServersTest, NoAddressAndNoNodePortIsGivenOutTwice) {
  const auto create_many = [](const ServerProcess& server, const std::string& prefix) {
    int created = 0;
    for (int i = 0; i < 50; ++i) {
      created += server.ask("POST", kServices, service(fmt::format("{}{}", prefix, i), "NodePort"))
                             .status == 201
                     ? 1
                     : 0;
    }
    return created;
  };
  auto other = std::async(std::launch::async, create_many, std::cref(b()), "b");
  EXPECT_EQ(create_many(a(), "a"), 50);
  EXPECT_EQ(other.get(), 50);
  const auto list = a().ask("GET", kServices);
  ASSERT_EQ(list.status, 200);
  std::set<std::string> ips;
  std::set<std::int64_t> ports;
  std::size_t services = 0;
  for (const auto& item : list.body.at("items").as_array()) {
    ips.emplace(item.at_pointer("/spec/clusterIP").as_string());
    ports.insert(item.at_pointer("/spec/ports/0/nodePort").as_int64());
    ++services;
  }
  EXPECT_EQ(services, 100U);
  EXPECT_EQ(ips.size(), 100U);
  EXPECT_EQ(ports.size(), 100U);
}

TEST_F(ServersTest, AServerThatIsKilledLeavesTheOtherServingAndComesBackWithEverything) {
  for (int i = 0; i < 5; ++i) {
    ASSERT_EQ(a().ask("POST", kServices, service(fmt::format("before{}", i))).status, 201);
  }
  a().end(SIGKILL);
  for (int i = 0; i < 5; ++i) {
    ASSERT_EQ(b().ask("POST", kServices, service(fmt::format("after{}", i))).status, 201);
  }
  ASSERT_TRUE(a().start());
  EXPECT_EQ(cluster_ips(a()), cluster_ips(b()));
  EXPECT_EQ(cluster_ips(a()).size(), 10U);
}

TEST_F(ServersTest, WithoutEtcdReadsAndWritesFailByStatusAndItsReturnEndsThat) {
  ASSERT_EQ(a().ask("POST", kServices, service("before")).status, 201);
  etcd_->end(0, SIGKILL);
  const auto refused = a().ask("POST", kServices, service("meanwhile"));
  EXPECT_EQ(refused.status, 503);
  ASSERT_TRUE(refused.body.is_object());
  EXPECT_EQ(refused.body.at("kind"), "Status");
  for (const char* path : {"/readyz", "/readyz/etcd"})
    EXPECT_EQ(a().ask("GET", path).status, 500) << path;
  for (const char* path : {"/livez", "/readyz/ping", "/readyz?exclude=etcd"})
    EXPECT_EQ(a().ask("GET", path).status, 200) << path;
  // A list that may be old is answered from memory.
  EXPECT_EQ(a().ask("GET", std::string(kServices) + "?resourceVersion=0").status, 200);
  ASSERT_TRUE(etcd_->start(0)) << etcd_->log();
  EXPECT_EQ(a().ask("POST", kServices, service("after")).status, 201);
  EXPECT_EQ(a().ask("GET", "/readyz").status, 200);
  EXPECT_EQ(cluster_ips(b()).size(), 2U);
}

TEST_F(ServersTest, ServiceKubernetesLeadsToThoseThatServe) {
  const auto addresses = [](const ServerProcess& server) {
    std::vector<std::string> out;
    const auto slice =
        server.ask("GET", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes");
    EXPECT_EQ(slice.status, 200);
    if (slice.status != 200) return out;
    for (const auto& endpoint : slice.body.at("endpoints").as_array()) {
      out.emplace_back(endpoint.at_pointer("/addresses/0").as_string());
    }
    return out;
  };
  EXPECT_EQ(addresses(a()), (std::vector<std::string>{"192.0.2.1", "192.0.2.2"}));
  EXPECT_EQ(b().end(SIGTERM), (io::ExitStatus{.code = 0, .signal = {}}));
  EXPECT_EQ(addresses(a()), (std::vector<std::string>{"192.0.2.1"}));
}

}  // namespace
}  // namespace fairlead::etcd_test
