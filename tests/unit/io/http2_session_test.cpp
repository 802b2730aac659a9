#include "io/http2_session.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/io/http2_peer.hpp"

namespace fairlead::io {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using testing::Http2Peer;
using ::testing::IsEmpty;
using StreamId = Http2Session::StreamId;

constexpr HttpLimits kLimits{.header_bytes = 2048, .body_bytes = 1000, .header_timeout = 30s};
const Deadline kNow = Deadline() + 1h;

// Both ends, and the bytes between them.
struct Wire {
  explicit Wire(Http2Peer::Options options = {}) : peer(options) {}

  Http2Session session{kLimits};
  Http2Peer peer;
  std::vector<Http2Session::Incoming> incoming;
  bool broken = false;

  // Until neither has anything to say.
  void run(Deadline now = kNow) {
    while (true) {
      const std::string there = peer.output();
      if (!there.empty() && !session.receive(there, now)) broken = true;
      for (auto& one : session.take_incoming()) incoming.push_back(std::move(one));
      const std::string back = session.output(1 << 20);
      if (!back.empty()) ASSERT_TRUE(peer.receive(back));
      if (there.empty() && back.empty()) return;
    }
  }
  void answer(StreamId id, std::string body) {
    session.head(id, {{":status", "200"}}, body.empty());
    session.append(id, std::make_shared<const std::string>(std::move(body)));
    session.end(id);
  }
};

TEST(Http2Session, HandsOutWholeRequests) {
  Wire wire;
  const auto id = wire.peer.ask("PUT", "/a?b=c", "hello", {{"x-one", "1"}, {"x-two", "2"}});
  wire.run();
  ASSERT_EQ(wire.incoming.size(), 1U);
  ASSERT_TRUE(wire.incoming[0].request);
  const HttpRequest& request = *wire.incoming[0].request;
  EXPECT_EQ(wire.incoming[0].id, id);
  EXPECT_EQ(request.method, "PUT");
  EXPECT_EQ(request.target, "/a?b=c");
  EXPECT_EQ(request.body, "hello");
  EXPECT_THAT(request.headers, ElementsAre(HttpHeader{"x-one", "1"}, HttpHeader{"x-two", "2"},
                                           HttpHeader{"Host", "api.example"}));
}

TEST(Http2Session, SaysItsLimits) {
  Wire wire;
  wire.run();
  EXPECT_EQ(wire.peer.settings().at(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS),
            Http2Session::kMostStreams);
  EXPECT_EQ(wire.peer.settings().at(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE), kLimits.header_bytes);
}

TEST(Http2Session, AnswersInAnyOrder) {
  Wire wire;
  const auto first = wire.peer.ask("GET", "/1");
  const auto second = wire.peer.ask("GET", "/2");
  wire.run();
  wire.answer(second, "two");
  wire.run();
  EXPECT_TRUE(wire.peer.answer(second).ended);
  EXPECT_FALSE(wire.peer.answer(first).ended);
  wire.answer(first, "one");
  wire.run();
  EXPECT_EQ(wire.peer.answer(first).body, "one");
  EXPECT_EQ(wire.peer.answer(second).body, "two");
  EXPECT_THAT(wire.session.take_changed(), ::testing::IsSupersetOf({first, second}));
  EXPECT_EQ(wire.session.streams(), 0U);
}

TEST(Http2Session, PartsGoOutAsTheyCome) {
  Wire wire;
  const auto id = wire.peer.ask("GET", "/watch");
  wire.run();
  wire.session.head(id, {{":status", "200"}}, false);
  wire.run();
  EXPECT_EQ(wire.peer.answer(id).status, 200U);
  for (const char* text : {"one", "", "two"}) {
    wire.session.append(id, std::make_shared<const std::string>(text));
    wire.run();
  }
  EXPECT_EQ(wire.peer.answer(id).body, "onetwo");
  EXPECT_FALSE(wire.peer.answer(id).ended);
  EXPECT_EQ(wire.session.unsent(id), 0U);
  wire.session.end(id);
  wire.run();
  EXPECT_TRUE(wire.peer.answer(id).ended);
}

// A peer that does not read one stream holds up that one alone.
TEST(Http2Session, AFullWindowHoldsUpItsStreamAlone) {
  Wire wire({.window = 10, .reads = false});
  const auto slow = wire.peer.ask("GET", "/slow");
  const auto other = wire.peer.ask("GET", "/other");
  wire.run();
  wire.answer(slow, std::string(25, 's'));
  wire.answer(other, "short");
  wire.run();
  EXPECT_EQ(wire.peer.answer(slow).body.size(), 10U);
  EXPECT_EQ(wire.session.unsent(slow), 15U);
  EXPECT_TRUE(wire.peer.answer(other).ended);
  wire.peer.take(slow, 10);
  wire.run();
  EXPECT_EQ(wire.session.unsent(slow), 5U);
  wire.peer.take(slow, 10);
  wire.run();
  EXPECT_EQ(wire.peer.answer(slow).body, std::string(25, 's'));
  EXPECT_TRUE(wire.peer.answer(slow).ended);
}

TEST(Http2Session, ABodyThatIsTooLargeIsRefusedBeforeItEnds) {
  Wire wire;
  const auto id = wire.peer.ask("POST", "/", std::string(kLimits.body_bytes + 1, 'x'), {}, false);
  wire.run();
  ASSERT_EQ(wire.incoming.size(), 1U);
  EXPECT_EQ(wire.incoming[0].refusal, 413U);
  wire.answer(id, "too large\n");
  wire.run();
  EXPECT_EQ(wire.peer.answer(id).body, "too large\n");
  EXPECT_EQ(wire.peer.answer(id).reset, std::uint32_t{NGHTTP2_NO_ERROR});
  EXPECT_EQ(wire.session.streams(), 0U);
}

TEST(Http2Session, AHeadThatIsTooLargeIsRefused) {
  Wire wire;
  HttpHeaders many;
  for (int i = 0; i < 50; ++i) many.push_back({fmt::format("x-{}", i), std::string(20, 'v')});
  wire.peer.ask("GET", "/", {}, many);
  wire.run();
  ASSERT_EQ(wire.incoming.size(), 1U);
  EXPECT_EQ(wire.incoming[0].refusal, 431U);
}

TEST(Http2Session, WhatHasNoPathIsRefused) {
  Wire wire;
  wire.peer.ask("GET", "index");
  wire.run();
  // nghttp2 may refuse it itself; in no case is it a request.
  for (const auto& one : wire.incoming) EXPECT_FALSE(one.request);
}

TEST(Http2Session, BodiesTogetherAreBounded) {
  Wire wire;
  std::vector<StreamId> ids;
  for (std::size_t i = 0; i <= Http2Session::kMostBodies; ++i)
    ids.push_back(wire.peer.ask("POST", "/", std::string(kLimits.body_bytes, 'x')));
  wire.run();
  EXPECT_EQ(wire.incoming.size(), Http2Session::kMostBodies);
  EXPECT_EQ(wire.peer.answer(ids.back()).reset, std::uint32_t{NGHTTP2_REFUSED_STREAM});
  // Those that are answered make room.
  wire.answer(ids.front(), "done");
  wire.session.release(ids.front());
  wire.incoming.clear();
  wire.peer.ask("POST", "/", std::string(kLimits.body_bytes, 'x'));
  wire.run();
  ASSERT_EQ(wire.incoming.size(), 1U);
  EXPECT_TRUE(wire.incoming[0].request);
}

TEST(Http2Session, StreamsAreBounded) {
  Wire wire;
  std::vector<StreamId> ids;
  for (std::size_t i = 0; i <= Http2Session::kMostStreams; ++i)
    ids.push_back(wire.peer.ask("GET", "/"));
  wire.run();
  EXPECT_EQ(wire.incoming.size(), Http2Session::kMostStreams);
  EXPECT_EQ(wire.session.streams(), Http2Session::kMostStreams);
  EXPECT_EQ(wire.peer.answer(ids.back()).reset, std::uint32_t{NGHTTP2_REFUSED_STREAM});
}

TEST(Http2Session, ARequestThatDoesNotCompleteIsReset) {
  Wire wire;
  const auto slow = wire.peer.ask("POST", "/", "begun", {}, false);
  wire.run();
  EXPECT_THAT(wire.incoming, IsEmpty());
  EXPECT_EQ(wire.session.next_due(), kNow + kLimits.header_timeout);
  wire.session.expire(kNow + kLimits.header_timeout - 1s);
  wire.run();
  EXPECT_FALSE(wire.peer.answer(slow).reset);
  wire.session.expire(kNow + kLimits.header_timeout);
  wire.run();
  EXPECT_EQ(wire.peer.answer(slow).reset, std::uint32_t{NGHTTP2_CANCEL});
  EXPECT_EQ(wire.session.next_due(), kNoDeadline);
  EXPECT_EQ(wire.session.streams(), 0U);
}

TEST(Http2Session, ARequestThatIsWholeIsNeverOverdue) {
  Wire wire;
  const auto id = wire.peer.ask("GET", "/watch");
  wire.run();
  EXPECT_EQ(wire.session.next_due(), kNoDeadline);
  wire.session.expire(kNow + 1h);
  wire.run();
  EXPECT_TRUE(wire.session.open(id));
}

TEST(Http2Session, AskingAndResettingWithoutEndEndsTheConnection) {
  Wire wire;
  int asked = 0;
  for (; asked < 5000 && !wire.broken && !wire.peer.farewell(); ++asked) {
    const auto id = wire.peer.ask("GET", "/");
    wire.run();
    wire.peer.reset(id);
    wire.run();
  }
  EXPECT_LT(asked, 5000);
}

TEST(Http2Session, TellsToGoOnWhenAsked) {
  Wire wire;
  const auto id = wire.peer.ask("POST", "/", "body", {{"expect", "100-continue"}});
  wire.run();
  EXPECT_THAT(wire.peer.answer(id).interim, ElementsAre(100U));
  wire.answer(id, "done");
  wire.run();
  EXPECT_EQ(wire.peer.answer(id).status, 200U);
}

TEST(Http2Session, AStreamThatWasResetTakesNothing) {
  Wire wire;
  const auto id = wire.peer.ask("GET", "/watch");
  wire.run();
  wire.session.head(id, {{":status", "200"}}, false);
  wire.run();
  wire.peer.reset(id);
  wire.run();
  EXPECT_FALSE(wire.session.open(id));
  EXPECT_THAT(wire.session.take_changed(), ElementsAre(id));
  wire.session.append(id, std::make_shared<const std::string>("late"));
  wire.session.end(id);
  EXPECT_EQ(wire.session.unsent(id), 0U);
  EXPECT_THAT(wire.session.output(1000), IsEmpty());
}

TEST(Http2Session, GoesAway) {
  Wire wire;
  wire.run();
  EXPECT_FALSE(wire.session.finished());
  wire.session.go_away();
  wire.run();
  EXPECT_EQ(wire.peer.farewell(), std::uint32_t{NGHTTP2_NO_ERROR});
  EXPECT_TRUE(wire.session.finished());
}

TEST(Http2Session, WhatIsNotHttp2EndsIt) {
  Http2Session session(kLimits);
  EXPECT_FALSE(session.receive("GET / HTTP/1.1\r\nHost: x\r\n\r\n......", kNow));
}

}  // namespace
}  // namespace fairlead::io
