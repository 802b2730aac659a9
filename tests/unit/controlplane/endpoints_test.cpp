// The Endpoints controller against the API server of the same build.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "controlplane/control_plane.hpp"
#include "io/socket.hpp"
#include "support/loop.hpp"

namespace fairlead::controlplane {
namespace {

using namespace std::chrono_literals;

constexpr char kEndpoints[] = "/api/v1/namespaces/default/endpoints";

// Watches Endpoints of the namespace default; "name: ip ip | not-ready".
class Seen final : public client::ReflectorHandler<kube::Endpoints> {
 public:
  explicit Seen(io::Executor executor) : changed_(std::move(executor)) {}
  void upsert(kube::Endpoints endpoints) override {
    std::string text;
    for (const kube::EndpointSubset& subset : endpoints.subsets) {
      for (const auto& address : subset.addresses) text += address.ip + " ";
      text += "|";
      for (const auto& address : subset.not_ready_addresses) text += " " + address.ip;
    }
    all_.insert_or_assign(endpoints.metadata.name, text);
    changed_.notify();
  }
  void remove(const kube::NamespacedName& key) override {
    all_.erase(key.name);
    changed_.notify();
  }
  void synced() override { changed_.notify(); }
  // Waits for it; false and a failure when it does not come.
  io::Task<bool> shows(std::string name, std::string text) {
    const auto deadline = std::chrono::steady_clock::now() + 10s;
    while (of(name) != text) {
      if (!co_await changed_.wait_until(deadline)) break;
    }
    EXPECT_EQ(of(name), text) << name;
    co_return of(name) == text;
  }

 private:
  std::string of(const std::string& name) const {
    const auto found = all_.find(name);
    return found == all_.end() ? "none" : found->second;
  }
  std::map<std::string, std::string> all_;
  io::Event changed_;
};

std::string pod(std::string_view name, std::string_view address, bool ready) {
  return fmt::format(
      R"({{"status":{{"phase":"Running","podIP":"{1}","podIPs":[{{"ip":"{1}"}}],)"
      R"("conditions":[{{"type":"Ready","status":"{2}"}}]}},"metadata":{{"name":"{0}"}}}})",
      name, address, ready ? "True" : "False");
}

io::Task<Result<void>> make_pod(client::ApiClient* client, std::string name, std::string address,
                                bool ready) {
  const std::string path = "/api/v1/namespaces/default/pods";
  FAIRLEAD_CO_CHECK(co_await client->post(
      path, fmt::format(R"({{"metadata":{{"name":"{}","labels":{{"app":"web"}}}},)"
                        R"("spec":{{"containers":[{{"name":"c","image":"i"}}]}}}})",
                        name)));
  FAIRLEAD_CO_CHECK(co_await client->patch(
      path + "/" + name + "/status", "application/merge-patch+json", pod(name, address, ready)));
  co_return Result<void>{};
}

io::Task<Result<void>> follow(ControlPlane* cluster, io::Executor executor) {
  FAIRLEAD_CO_CHECK(co_await cluster->start());
  client::ApiClient& client = cluster->client();
  Seen seen(executor);
  client::Reflector<kube::Endpoints> reflector(
      {.client = &client, .handler = &seen, .options = {.namespace_ = "default"}});
  io::TaskGroup tasks(executor, "seen");
  tasks.spawn(reflector.run());
  const std::string services = "/api/v1/namespaces/default/services";
  FAIRLEAD_CO_CHECK(co_await client.post(
      kEndpoints, R"({"metadata":{"name":"mine"},"subsets":[{"addresses":[{"ip":"10.9.9.9"}]}]})"));
  FAIRLEAD_CO_CHECK(co_await client.post(services, R"({"metadata":{"name":"web"},"spec":{
      "selector":{"app":"web"},"ports":[{"port":80}]}})"));
  co_await seen.shows("web", "");
  FAIRLEAD_CO_CHECK(co_await make_pod(&client, "a", "10.0.0.1", true));
  FAIRLEAD_CO_CHECK(co_await make_pod(&client, "b", "10.0.0.2", false));
  co_await seen.shows("web", "10.0.0.1 | 10.0.0.2");
  // Who spoils them sees them mended.
  FAIRLEAD_CO_CHECK(co_await client.patch(std::string(kEndpoints) + "/web",
                                          "application/merge-patch+json", R"({"subsets":null})"));
  co_await seen.shows("web", "10.0.0.1 | 10.0.0.2");
  FAIRLEAD_CO_CHECK(co_await client.remove(std::string(kEndpoints) + "/web"));
  FAIRLEAD_CO_CHECK(co_await client.remove("/api/v1/namespaces/default/pods/b"));
  co_await seen.shows("web", "10.0.0.1 |");
  FAIRLEAD_CO_CHECK(co_await client.remove(services + "/web"));
  co_await seen.shows("web", "none");
  co_await seen.shows("mine", "10.9.9.9 |");
  co_await tasks.close();
  co_return Result<void>{};
}

TEST(EndpointsKept, FollowPodsAndAreMended) {
  test::Loop loop;
  auto socket = io::listen_tcp({.address = IpAddress::loopback(IpFamily::V4)});
  ASSERT_TRUE(socket);
  apiserver::ApiServer::Config config;
  config.listeners.push_back({.socket = *std::move(socket)});
  config.kinds.service_cidrs = {*IpPrefix::parse("10.96.0.0/16")};
  auto cluster = ControlPlane::create(loop.executor(), std::move(config));
  ASSERT_TRUE(cluster) << (cluster ? "" : cluster.error().message);
  const auto followed = loop.run(follow(cluster->get(), loop.executor()));
  EXPECT_TRUE(loop.run((*cluster)->close()));
  ASSERT_TRUE(followed && *followed) << (followed ? followed->error().message : "");
}

}  // namespace
}  // namespace fairlead::controlplane
