// What the node proxy tells of, in the API server of the same build: the recorder's requests are
// ones this server takes, and old clients see them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/event_recorder.hpp"
#include "controlplane/control_plane.hpp"
#include "io/socket.hpp"
#include "support/loop.hpp"

namespace fairlead::controlplane {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;

struct Told {
  std::string by_old_name, by_new_name;
};

// Records an event twice; what the server then has.
io::Task<Result<Told>> tell_twice(ControlPlane* cluster, io::Executor executor) {
  FAIRLEAD_CO_CHECK(co_await cluster->start());
  client::ApiClient& client = cluster->client();
  client::EventRecorder recorder(
      executor, {.client = &client,
                 .series = {.reporter = {.controller = "kube-proxy", .instance = "kube-proxy-n1"},
                            .interval = 0s}});
  io::TaskGroup tasks(executor, "recorder");
  tasks.spawn(recorder.run());
  const client::Event event{.type = client::Event::Type::Warning,
                            .reason = "FailedToStartServiceHealthcheck",
                            .action = "Listen",
                            .regarding = {.kind = "Service", .namespace_ = "default", .name = "lb"},
                            .note = "port 31000 is taken"};
  const std::string path = "/api/v1/namespaces/default/events";
  recorder.record(event);
  co_await recorder.flush(10s);
  recorder.record(event);
  Told told;
  const auto deadline = std::chrono::steady_clock::now() + 15s;
  while (told.by_old_name.find("\"series\"") == std::string::npos &&
         std::chrono::steady_clock::now() < deadline) {
    FAIRLEAD_CO_TRY(read, co_await client.get(path));
    told.by_old_name = std::move(read);
  }
  FAIRLEAD_CO_TRY(read, co_await client.get("/apis/events.k8s.io/v1/namespaces/default/events"));
  told.by_new_name = std::move(read);
  co_await tasks.close();
  co_return told;
}

TEST(Events, OfTheRecorderAreKeptWithTheirRepetitions) {
  test::Loop loop;
  auto socket = io::listen_tcp({.address = IpAddress::loopback(IpFamily::V4)});
  ASSERT_TRUE(socket);
  apiserver::ApiServer::Config config;
  config.listeners.push_back({.socket = *std::move(socket)});
  config.kinds.service_cidrs = {*IpPrefix::parse("10.96.0.0/16")};
  auto cluster = ControlPlane::create(loop.executor(), std::move(config));
  ASSERT_TRUE(cluster) << (cluster ? "" : cluster.error().message);
  const auto told = loop.run(tell_twice(cluster->get(), loop.executor()));
  EXPECT_TRUE(loop.run((*cluster)->close()));
  ASSERT_TRUE(told && *told) << (told ? told->error().message : "");
  EXPECT_THAT((*told)->by_old_name,
              AllOf(HasSubstr(R"("message":"port 31000 is taken")"),
                    HasSubstr(R"("reportingComponent":"kube-proxy")"),
                    HasSubstr(R"("involvedObject":{"kind":"Service","namespace":"default")"),
                    HasSubstr(R"("series":{"count":2,)")));
  EXPECT_THAT((*told)->by_new_name,
              AllOf(HasSubstr(R"("kind":"EventList","apiVersion":"events.k8s.io/v1")"),
                    HasSubstr(R"("note":"port 31000 is taken")"),
                    HasSubstr(R"("reportingController":"kube-proxy")")));
}

}  // namespace
}  // namespace fairlead::controlplane
