#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/event_recorder.hpp"
#include "unit/client/fake_api.hpp"

namespace fairlead::client {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using testing::FakeApi;
using ::testing::HasSubstr;

constexpr char kCollection[] = "/apis/events.k8s.io/v1/namespaces/ns/events";

Event bind_failure() {
  return {.type = Event::Type::Warning,
          .reason = "FailedToStartServiceHealthcheck",
          .action = "Listen",
          .regarding = {.kind = "Service", .namespace_ = "ns", .name = "lb", .uid = "u-1"},
          .note = "port 31000 is taken"};
}

struct Rig {
  std::optional<EventSeries::Request> next() { return series.next(clock.mono()); }
  void record(const Event& event) { series.record(event, clock.mono(), clock.wall()); }
  void send() {
    ASSERT_TRUE(next());
    series.sent(clock.mono());
  }
  FakeClock clock;
  EventSeries series{{.reporter = {.controller = "kube-proxy", .instance = "kube-proxy-n1"},
                      .capacity = 2,
                      .attempts = 3}};
};

TEST(EventSeries, FirstIsCreatedAsKubeProxyWouldWriteIt) {
  Rig rig;
  rig.record(bind_failure());
  EXPECT_EQ(
      rig.next(),
      (EventSeries::Request{
          .create = true,
          .path = kCollection,
          .body = R"({"kind":"Event","apiVersion":"events.k8s.io/v1","metadata":)"
                  R"({"name":"lb.17979cfe362a0000","namespace":"ns"},)"
                  R"("eventTime":"2023-11-14T22:13:20.000000Z","reportingController":"kube-proxy",)"
                  R"("reportingInstance":"kube-proxy-n1","action":"Listen",)"
                  R"("reason":"FailedToStartServiceHealthcheck","regarding":{"kind":"Service",)"
                  R"("namespace":"ns","name":"lb","uid":"u-1","apiVersion":"v1"},)"
                  R"("note":"port 31000 is taken","type":"Warning"})"}));
}

TEST(EventSeries, RepetitionsAreToldOfOnceAMinute) {
  Rig rig;
  rig.record(bind_failure());
  rig.send();
  for (int i = 0; i < 5; ++i) {
    rig.clock.advance(1s);
    rig.record(bind_failure());
    EXPECT_EQ(rig.next(), std::nullopt);
  }
  rig.clock.advance(55s);
  EXPECT_EQ(
      rig.next(),
      (EventSeries::Request{
          .create = false,
          .path = std::string(kCollection) + "/lb.17979cfe362a0000",
          .body = R"({"series":{"count":6,"lastObservedTime":"2023-11-14T22:13:25.000000Z"}})"}));
  rig.series.sent(rig.clock.mono());
  EXPECT_EQ(rig.series.next_due(), std::nullopt) << "nothing new";
}

TEST(EventSeries, AnotherAfterTheSeriesHasEndedIsANewEvent) {
  Rig rig;
  rig.record(bind_failure());
  rig.send();
  rig.clock.advance(7min);
  rig.record(bind_failure());
  EXPECT_TRUE(rig.next()->create);
}

TEST(EventSeries, UpdateOfAnEventThatIsGoneCreatesItAnew) {
  Rig rig;
  rig.record(bind_failure());
  rig.send();
  rig.clock.advance(60s);
  rig.record(bind_failure());
  EXPECT_FALSE(rig.next()->create);
  rig.series.vanished(rig.clock.mono());
  EXPECT_TRUE(rig.next()->create);
}

TEST(EventSeries, GivesUpAfterSomeAttemptsAndRemembersNoMoreThanItMay) {
  Rig rig;
  rig.record(bind_failure());
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(rig.next()) << i;
    rig.series.lost(rig.clock.mono() + 1s);
    EXPECT_EQ(rig.next(), std::nullopt) << "not before its time";
    rig.clock.advance(1s);
  }
  EXPECT_EQ(rig.next(), std::nullopt);
  EXPECT_TRUE(rig.series.idle());
  EXPECT_EQ(rig.series.dropped(), 1U);
  for (const char* reason : {"A", "B"}) {
    Event event = bind_failure();
    event.reason = reason;
    rig.record(event);
  }
  EXPECT_EQ(rig.series.dropped(), 2U) << "a third does not fit";
}

TEST(EventSeries, LongNoteIsCutBetweenCharacters) {
  Event event = bind_failure();
  event.note = std::string(1023, 'x') + "é";
  EXPECT_THAT(to_json(event, {}, "n", {}), HasSubstr(std::string(1023, 'x') + "\","));
}

// The recorder against a real HTTP server.
class EventRecorderTest : public ::testing::Test {
 protected:
  void record_and_flush(const Event& event) {
    recorder_.record(event);
    if (!started_) tasks_.spawn(recorder_.run());
    started_ = true;
    loop_.run(recorder_.flush(10s));
  }
  void TearDown() override { loop_.run(tasks_.close()); }
  std::vector<std::string> asked() const {
    std::vector<std::string> out;
    for (const auto& request : api_.requests()) {
      out.push_back(fmt::format("{} {}", request.method, request.target));
    }
    return out;
  }

  test::Loop loop_;
  FakeApi api_{&loop_};
  std::unique_ptr<ApiClient> client_ = testing::client_to(&loop_, {.server = api_.url()});
  EventRecorder recorder_{loop_.executor(), {.client = client_.get(), .backoff = {.first = 1ms}}};
  io::TaskGroup tasks_{loop_.executor(), "test"};
  bool started_ = false;
};

TEST_F(EventRecorderTest, PostsAnEvent) {
  api_.script({.status = 201, .body = "{}"});
  record_and_flush(bind_failure());
  EXPECT_THAT(asked(), ElementsAre(fmt::format("POST {}", kCollection)));
  EXPECT_THAT(api_.requests()[0].body, HasSubstr(R"("reason":"FailedToStartServiceHealthcheck")"));
}

TEST_F(EventRecorderTest, ServerThatIsBusyIsAskedAgain) {
  api_.script({.status = 503, .body = testing::status_json(503, "ServiceUnavailable", "wait")});
  api_.script({.status = 201, .body = "{}"});
  record_and_flush(bind_failure());
  EXPECT_EQ(asked().size(), 2U);
}

TEST_F(EventRecorderTest, ServerWithoutEventsIsComplainedOfOnce) {
  ::testing::internal::CaptureStderr();
  for (const int code : {404, 403}) {
    api_.script({.status = static_cast<unsigned>(code),
                 .body = testing::status_json(code, code == 404 ? "NotFound" : "Forbidden", "no")});
    Event event = bind_failure();
    event.note = std::to_string(code);
    record_and_flush(event);
  }
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(asked().size(), 2U);
  const auto first = log.find("does not take events from us");
  ASSERT_NE(first, std::string::npos) << log;
  EXPECT_EQ(log.find("does not take events from us", first + 1), std::string::npos) << log;
}

}  // namespace
}  // namespace fairlead::client
