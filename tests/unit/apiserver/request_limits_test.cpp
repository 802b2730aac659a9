// Token buckets by name, and what of the server one asker may have.
#include "apiserver/request_limits.hpp"

#include <gmock/gmock.h>

#include "unit/apiserver/server_fixture.hpp"

namespace fairlead::apiserver {
namespace {

using namespace std::chrono_literals;
using Reason = RequestLimits::Reason;

MonoTime at(std::chrono::nanoseconds time) { return MonoTime(time); }

// How many of `asked` tokens come at that time.
std::size_t taken(TokenBuckets& buckets, std::string_view name, std::chrono::nanoseconds time,
                  std::size_t asked = 100) {
  std::size_t out = 0;
  for (std::size_t i = 0; i < asked; ++i) {
    if (!buckets.take(name, at(time))) ++out;
  }
  return out;
}

TEST(TokenBuckets, FillAtTheirRateUpToTheirBurst) {
  TokenBuckets buckets({.per_second = 2, .burst = 5}, 10);
  EXPECT_EQ(taken(buckets, "a", 0s), 5U);
  EXPECT_EQ(buckets.take("a", at(0s)), 500ms) << "until there is one again";
  EXPECT_EQ(taken(buckets, "a", 500ms), 1U);
  EXPECT_EQ(buckets.take("a", at(750ms)), 250ms);
  EXPECT_EQ(taken(buckets, "a", 1500ms), 2U);
  EXPECT_EQ(taken(buckets, "a", 1h), 5U);
  EXPECT_EQ(taken(buckets, "b", 1h), 5U) << "everybody has one of his own";
}

TEST(TokenBuckets, WithoutARateAreNeverEmpty) {
  TokenBuckets buckets({.per_second = 0, .burst = 1}, 10);
  EXPECT_EQ(taken(buckets, "a", 0s, 1000), 1000U);
  EXPECT_EQ(buckets.size(), 0U);
}

TEST(TokenBuckets, ATimeThatGoesBackGivesNothing) {
  TokenBuckets buckets({.per_second = 1, .burst = 1}, 10);
  EXPECT_EQ(taken(buckets, "a", 10s), 1U);
  EXPECT_EQ(taken(buckets, "a", 5s), 0U);
}

TEST(TokenBuckets, AreForgottenWhenFullAndBoundedInNumber) {
  TokenBuckets buckets({.per_second = 1, .burst = 2}, 3);
  for (const char* name : {"a", "b", "c"}) EXPECT_EQ(taken(buckets, name, 0s), 2U);
  EXPECT_EQ(taken(buckets, "d", 0s), 2U);
  EXPECT_EQ(buckets.size(), 3U) << "a gave way";
  EXPECT_EQ(taken(buckets, "c", 0s), 0U) << "others are still known";
  EXPECT_EQ(taken(buckets, "e", 2s), 2U);
  EXPECT_EQ(buckets.size(), 1U) << "all were full again";
  for (int i = 0; i < 10'000; ++i) taken(buckets, std::to_string(i), 3s, 1);
  EXPECT_EQ(buckets.size(), 3U);
}

// ---- who is limited

class RequestLimitsTest : public testing::Test {
 protected:
  RequestLimits limits(RequestLimitsConfig config) { return {config, clock_}; }
  const IpAddress here_ = IpAddress::loopback(IpFamily::V4);
  FakeClock clock_;
};

// Requests of the user that are admitted of a hundred.
std::size_t admitted(RequestLimits& limits, const User& user, const IpAddress& from) {
  std::size_t out = 0;
  for (int i = 0; i < 100; ++i) out += limits.admit(user, from) ? 1 : 0;
  return out;
}

TEST_F(RequestLimitsTest, UsersAreLimitedByNameStrangersByAddress) {
  RequestLimits limits =
      this->limits({.requests_per_user = 10, .requests_per_address = 2, .events_per_source = 0});
  const User alice{.name = "alice"}, bob{.name = "bob"};
  const User nobody{.name = std::string(kAnonymous)};
  EXPECT_EQ(admitted(limits, alice, here_), 20U);
  EXPECT_EQ(admitted(limits, bob, here_), 20U);
  EXPECT_EQ(admitted(limits, nobody, here_), 4U);
  EXPECT_FALSE(limits.admit_stranger(here_)) << "wrong credentials count as none";
  EXPECT_EQ(admitted(limits, nobody, here_.plus(1)), 4U);
  const IpAddress one = *IpAddress::parse("2001:db8::1"), same = *IpAddress::parse("2001:db8::2");
  EXPECT_EQ(admitted(limits, nobody, one), 4U);
  EXPECT_EQ(admitted(limits, nobody, same), 0U) << "a subscriber has all of a /64";
  EXPECT_EQ(limits.refused(Reason::UserRate), 160U);
  EXPECT_EQ(limits.refused(Reason::AddressRate), 389U);
}

TEST_F(RequestLimitsTest, WhoKeepsTheClusterRunningIsNot) {
  RequestLimits limits =
      this->limits({.requests_per_user = 1, .events_per_source = 1, .watches_per_user = 1});
  for (const User& user :
       {User{.name = "admin", .groups = {std::string(kMasters)}}, User{.name = "system:kube-proxy"},
        User{.name = "system:fairlead-controller"}}) {
    EXPECT_EQ(admitted(limits, user, here_), 100U) << user.name;
    const auto first = limits.begin_watch(user), second = limits.begin_watch(user);
    EXPECT_TRUE(first && second) << user.name;
  }
}

TEST_F(RequestLimitsTest, ARefusalSaysWhenToComeAgain) {
  RequestLimits limits = this->limits({.requests_per_user = 0.25});
  const User alice{.name = "alice"};
  EXPECT_TRUE(limits.admit(alice, here_));
  const auto refused = limits.admit(alice, here_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, 429U);
  EXPECT_EQ(refused.error().reason, "TooManyRequests");
  EXPECT_EQ(refused.error().retry_after_seconds, 4);
  clock_.advance(4s);
  EXPECT_TRUE(limits.admit(alice, here_));
}

TEST_F(RequestLimitsTest, EventsAreLimitedByUserAndNamespace) {
  RequestLimits limits = this->limits({.events_per_source = 0.5});
  const User alice{.name = "alice"}, bob{.name = "bob"};
  const auto event = [](std::string_view verb, std::string_view ns) {
    return Attributes{.verb = std::string(verb), .resource = "events", .ns = std::string(ns)};
  };
  EXPECT_TRUE(limits.admit_event(alice, event("create", "a")));
  EXPECT_FALSE(limits.admit_event(alice, event("patch", "a")));
  EXPECT_TRUE(limits.admit_event(alice, event("create", "b")));
  EXPECT_TRUE(limits.admit_event(bob, event("create", "a")));
  EXPECT_TRUE(limits.admit_event(alice, event("list", "a")));
  EXPECT_TRUE(limits.admit_event(alice, {.verb = "create", .resource = "pods", .ns = "a"}));
  EXPECT_EQ(limits.refused(Reason::EventRate), 1U);
}

TEST_F(RequestLimitsTest, WhatIsInProgressAndOpenIsBoundedUntilItEnds) {
  RequestLimits limits = this->limits({.watches_per_user = 2});
  const User alice{.name = "alice"}, bob{.name = "bob"};
  {
    std::vector<RequestLimits::InProgress> reading;
    for (std::size_t i = 0; i < RequestLimits::kMostReading; ++i)
      reading.push_back(*limits.begin(true));
    EXPECT_EQ(limits.reading(), 400U);
    EXPECT_FALSE(limits.begin(true));
    EXPECT_TRUE(limits.begin(false)) << "writes have room of their own";
    const auto first = limits.begin_watch(alice), second = limits.begin_watch(alice);
    EXPECT_EQ(limits.begin_watch(alice).error().code, 429U);
    EXPECT_TRUE(limits.begin_watch(bob));
  }
  EXPECT_EQ(limits.reading(), 0U);
  EXPECT_TRUE(limits.begin(true));
  EXPECT_TRUE(limits.begin_watch(alice));
  EXPECT_EQ(limits.refused(Reason::Concurrency), 1U);
  EXPECT_EQ(limits.refused(Reason::Watches), 1U);
}

// ---- over HTTP

class LimitedServerTest : public ServerTest {
 protected:
  Answer get_as(std::string_view token, std::string_view target) {
    return send(*client_, {.target = std::string(target),
                           .headers = {{"Authorization", fmt::format("Bearer {}", token)}}});
  }
  double refused(std::string_view reason) {
    const auto got = run_task(loop_, client_->send({.target = "/metrics"}, 5s));
    EXPECT_TRUE(got);
    const std::string line =
        fmt::format("\napiserver_flowcontrol_rejected_requests_total{{reason=\"{}\"}} ", reason);
    const std::size_t found = got->body.find(line);
    EXPECT_NE(found, std::string::npos) << got->body;
    return found == std::string::npos ? -1 : std::stod(got->body.substr(found + line.size()));
  }
};

TEST_F(LimitedServerTest, WhoAsksTooOftenIsToldWhenToComeAgain) {
  limits_ = {.requests_per_user = 0.01, .requests_per_address = 0.01};
  start();
  EXPECT_EQ(get_as("alices-token", "/version").status, 200U);
  const Answer refused_user = get_as("alices-token", "/version");
  EXPECT_EQ(refused_user.status, 429U);
  EXPECT_EQ(refused_user.reason(), "TooManyRequests");
  EXPECT_EQ(io::find_header(refused_user.headers, "Retry-After"), "100");
  EXPECT_EQ(int_at(refused_user.body, "details.retryAfterSeconds"), 100);
  EXPECT_EQ(get_as("guessed", "/version").status, 401U);
  EXPECT_EQ(get_as("guessed", "/version").status, 429U);
  EXPECT_EQ(call("GET", "/version").status, 200U) << "an administrator is not limited";
  EXPECT_EQ(refused("user-rate"), 1);
  EXPECT_EQ(refused("address-rate"), 1);
  EXPECT_EQ(refused("event-rate"), 0);
}

TEST_F(LimitedServerTest, WatchesOfOneUserAreBounded) {
  limits_ = {.watches_per_user = 1};
  authorization_ = AuthorizationMode::AlwaysAllow;
  start();
  const auto open = [this] {
    auto opened =
        run_task(loop_, client_->open({.target = std::string(kNodes) + "?watch=true",
                                       .headers = {{"Authorization", "Bearer alices-token"}}},
                                      5s));
    EXPECT_TRUE(opened);
    return *std::move(opened);
  };
  auto first = open();
  EXPECT_EQ(first->status(), 200U);
  EXPECT_EQ(open()->status(), 429U);
  EXPECT_EQ(refused("watches"), 1);
}

TEST_F(LimitedServerTest, EventsOfOneSourceAreBounded) {
  limits_ = {.events_per_source = 0.01};
  authorization_ = AuthorizationMode::AlwaysAllow;
  start();
  const auto post = [this](std::string_view name) {
    return send(*client_,
                {.method = "POST",
                 .target = "/api/v1/namespaces/default/events",
                 .headers = {{"Authorization", "Bearer alices-token"}},
                 .body = fmt::format(
                     R"({{"metadata":{{"name":"{}"}},"involvedObject":{{"namespace":"default"}}}})",
                     name)})
        .status;
  };
  EXPECT_EQ(post("e1"), 201U);
  EXPECT_EQ(post("e2"), 429U);
  EXPECT_EQ(get_as("alices-token", "/api/v1/namespaces/default/events/e1").status, 200U);
  EXPECT_EQ(refused("event-rate"), 1);
}

}  // namespace
}  // namespace fairlead::apiserver
