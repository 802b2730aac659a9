// Over real sockets on loopback.
#include "io/status_server.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/socket.hpp"
#include "support/loop.hpp"

namespace fairlead::io {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

SocketAddress free_address() {
  return *local_address(*listen_tcp({.address = IpAddress::loopback(IpFamily::V4), .port = Port{0}},
                                    {.dual = false}));
}

Task<void> note(std::vector<std::string>& order, std::string target) {
  co_await asio::post(kNoThrow);  // something else may run meanwhile
  order.push_back("prepared for " + target);
}

TEST(StatusServer, AnswersWhatItsPreparationHasMadeReady) {
  test::Loop loop;
  std::vector<std::string> order;
  StatusServer server(
      {.executor = loop.executor(),
       .address = free_address().to_string(),
       .name = "test",
       .responder =
           [&](const auto&) {
             order.emplace_back("answered");
             return HttpResponse{.status = 200, .body = "now"};
           },
       .prepare = [&](const auto& request) { return note(order, request.target); }});
  loop.run(server.run());
  auto client = *HttpClient::create(loop.executor(),
                                    {.host = "127.0.0.1", .port = server.local_address()->port});
  const auto answer = loop.run(client->send({.method = "GET", .target = "/metrics"}, 10s));
  ASSERT_TRUE(answer && *answer);
  EXPECT_EQ((*answer)->body, "now");
  EXPECT_THAT(order, ElementsAre("prepared for /metrics", "answered"));
  loop.run(server.close());
}

TEST(StatusServer, TriesATakenAddressUntilItIsFree) {
  test::Loop loop;
  std::optional<UniqueFd> taken =
      *listen_tcp({.address = IpAddress::loopback(IpFamily::V4), .port = Port{0}}, {.dual = false});
  const SocketAddress where = *local_address(*taken);
  StatusServer server({.executor = loop.executor(),
                       .address = where.to_string(),
                       .name = "test",
                       .responder = [](const auto&) { return not_found_response(); }});
  TaskGroup tasks(loop.executor(), "test");
  tasks.spawn(server.run());
  loop.run(sleep_for(1ms));
  EXPECT_FALSE(server.local_address());
  taken.reset();
  while (!server.local_address()) loop.run(sleep_for(10ms));
  EXPECT_EQ(server.local_address(), where);
  loop.run(tasks.close());
  loop.run(server.close());
}

TEST(StatusServer, TellsOfAnAddressThatCannotBeHadIfThatIsTheEnd) {
  test::Loop loop;
  std::string told;
  StatusServer server({.executor = loop.executor(),
                       .address = "192.0.2.1:9",  // TEST-NET-1: no host's own
                       .name = "test",
                       .hard_fail = true,
                       .responder = [](const auto&) { return not_found_response(); },
                       .on_fatal = [&told](const Error& error) { told = error.message; }});
  loop.run(server.run());
  EXPECT_THAT(told, testing::HasSubstr("test server"));
  EXPECT_THAT(told, testing::HasSubstr("192.0.2.1:9"));
  EXPECT_FALSE(server.local_address());
}

TEST(FailedTries, PauseLongerAndLonger) {
  FailedTries failed;
  std::vector<std::chrono::nanoseconds> pauses;
  for (int i = 0; i < 6; ++i) {
    failed.add();
    EXPECT_EQ(failed.is_first_complaint(), i == 2);
    pauses.push_back(failed.pause(3s));
  }
  EXPECT_THAT(pauses, ElementsAre(250ms, 500ms, 1000ms, 2000ms, 3000ms, 3000ms));
}

}  // namespace
}  // namespace fairlead::io
