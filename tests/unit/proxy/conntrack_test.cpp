#include "proxy/conntrack.hpp"

#include <gtest/gtest.h>

#include "unit/plan/model_builder.hpp"

namespace fairlead::proxy {
namespace {

SocketAddress at(std::string_view text) { return *SocketAddress::parse(text); }

struct Case {
  std::string name;
  std::string destination, reply_source;
  bool stale = false;
};

TEST(StaleFlows, AreThoseThatLeadToNoServingEndpoint) {
  StaleFlows stale({plan::addr("192.168.50.1")});
  stale.add({.key = plan::make_key("dns", IpFamily::V4, Protocol::Udp),
             .frontends = {{.address = plan::addr("10.96.0.53"), .port = Port{53}},
                           {.kind = plan::FrontendKind::ExternalIp,
                            .address = plan::addr("203.0.113.7"),
                            .port = Port{53}},
                           {.kind = plan::FrontendKind::NodePort, .port = Port{30053}}},
             .serving = {at("10.0.1.1:5353"), at("10.0.1.2:5353")}});
  stale.add({.key = plan::make_key("relayed", IpFamily::V4, Protocol::Udp),
             .frontends = {{.address = plan::addr("10.96.0.60"), .port = Port{53}},
                           {.kind = plan::FrontendKind::NodePort, .port = Port{30060}}},
             .serving = {at("10.0.1.1:5353")}},
            {Port{40001}, Port{40002}});
  stale.add({.key = plan::make_key("gone", IpFamily::V6, Protocol::Udp),
             .former = {{.address = plan::addr("fd00:96::1"), .port = Port{53}}}});
  const std::vector<Case> cases = {
      {.name = "to a serving endpoint",
       .destination = "10.96.0.53:53",
       .reply_source = "10.0.1.2:5353"},
      {.name = "to a gone endpoint",
       .destination = "10.96.0.53:53",
       .reply_source = "10.0.1.3:5353",
       .stale = true},
      {.name = "to another port of a serving pod",
       .destination = "10.96.0.53:53",
       .reply_source = "10.0.1.1:53",
       .stale = true},
      {.name = "sent before there was an endpoint",
       .destination = "10.96.0.53:53",
       .reply_source = "10.96.0.53:53",
       .stale = true},
      {.name = "through an external IP",
       .destination = "203.0.113.7:53",
       .reply_source = "10.0.1.3:5353",
       .stale = true},
      {.name = "to the node itself, which passes it on",
       .destination = "10.96.0.60:53",
       .reply_source = "192.168.50.1:40002"},
      {.name = "from the node to itself, which passes it on",
       .destination = "10.96.0.60:53",
       .reply_source = "127.0.0.1:40001"},
      {.name = "node port to the node itself, which passes it on",
       .destination = "192.168.50.1:30060",
       .reply_source = "192.168.50.1:40001"},
      {.name = "to a port the node has had",
       .destination = "10.96.0.60:53",
       .reply_source = "192.168.50.1:40003",
       .stale = true},
      {.name = "to that port of somebody else",
       .destination = "10.96.0.60:53",
       .reply_source = "10.0.9.9:40001",
       .stale = true},
      {.name = "to a port at which the node takes another service's",
       .destination = "10.96.0.53:53",
       .reply_source = "192.168.50.1:40001",
       .stale = true},
      {.name = "another port of the address",
       .destination = "10.96.0.53:54",
       .reply_source = "10.0.1.3:5353"},
      {.name = "node port to a gone endpoint",
       .destination = "192.168.50.1:30053",
       .reply_source = "10.0.1.3:5353",
       .stale = true},
      {.name = "node port of a wider address, translated",
       .destination = "172.16.0.1:30053",
       .reply_source = "10.0.1.3:5353",
       .stale = true},
      {.name = "node port black hole",
       .destination = "192.168.50.1:30053",
       .reply_source = "192.168.50.1:30053",
       .stale = true},
      {.name = "the same port of somebody else's host",
       .destination = "8.8.8.8:30053",
       .reply_source = "8.8.8.8:30053"},
      {.name = "a deleted service",
       .destination = "[fd00:96::1]:53",
       .reply_source = "[fd00:1::1]:53",
       .stale = true},
      {.name = "nothing of ours", .destination = "8.8.8.8:53", .reply_source = "8.8.8.8:53"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(stale.is_stale({.source = at("10.9.9.9:1000"),
                              .destination = at(c.destination),
                              .reply_source = at(c.reply_source)}),
              c.stale);
  }
  EXPECT_TRUE(stale.concerns(IpFamily::V6));
  EXPECT_FALSE(StaleFlows().concerns(IpFamily::V4));
}

plan::Frontend cluster_ip(std::string_view address, std::uint16_t port = 53) {
  return {.address = plan::addr(address), .port = Port{port}};
}

TEST(StaleFlows, PlaceThatChangedHandsIsJudgedByWhoHasIt) {
  const plan::FlowReview heir = {.key = plan::make_key("m", IpFamily::V4, Protocol::Udp),
                                 .frontends = {cluster_ip("10.96.0.53")},
                                 .serving = {at("10.0.1.1:5353")}};
  for (const std::string former : {"a", "z"}) {  // reviewed before, and after
    StaleFlows stale;
    const plan::FlowReview loser = {.key = plan::make_key(former, IpFamily::V4, Protocol::Udp),
                                    .former = {cluster_ip("10.96.0.53")}};
    for (const auto& review : former == "a" ? std::vector{loser, heir} : std::vector{heir, loser}) {
      stale.add(review);
    }
    EXPECT_FALSE(stale.is_stale({.source = at("10.9.9.9:1000"),
                                 .destination = at("10.96.0.53:53"),
                                 .reply_source = at("10.0.1.1:5353")}))
        << former;
  }
}

struct FilterCase {
  std::string name;
  std::vector<plan::Frontend> frontends;
  FlowFilter filter;
};

TEST(StaleFlows, KernelIsAskedForNoMoreThanNeeded) {
  const plan::Frontend node_port = {.kind = plan::FrontendKind::NodePort, .port = Port{30053}};
  const std::vector<FilterCase> cases = {
      {.name = "one place",
       .frontends = {cluster_ip("10.96.0.53")},
       .filter = {.destination = plan::addr("10.96.0.53"), .port = Port{53}}},
      {.name = "two ports",
       .frontends = {cluster_ip("10.96.0.53"), cluster_ip("10.96.0.53", 54)},
       .filter = {.destination = plan::addr("10.96.0.53")}},
      {.name = "two addresses",
       .frontends = {cluster_ip("10.96.0.53"), cluster_ip("10.96.0.54")},
       .filter = {.port = Port{53}}},
      {.name = "a node port", .frontends = {node_port}, .filter = {.port = Port{30053}}},
      {.name = "and an address", .frontends = {node_port, cluster_ip("10.96.0.53")}, .filter = {}},
  };
  for (const FilterCase& c : cases) {
    SCOPED_TRACE(c.name);
    StaleFlows stale;
    stale.add(
        {.key = plan::make_key("dns", IpFamily::V4, Protocol::Udp), .frontends = c.frontends});
    stale.add({.key = plan::make_key("dns", IpFamily::V6, Protocol::Udp),
               .former = {cluster_ip("fd00:96::1", 99)}});
    EXPECT_EQ(stale.filter(IpFamily::V4), c.filter);
  }
}

TEST(StaleFlows, LaterReviewForgetsNoPlaceOfTheEarlierOne) {
  const plan::FlowReview earlier = {.frontends = {cluster_ip("10.96.0.1"), cluster_ip("10.96.0.2")},
                                    .former = {cluster_ip("10.96.0.3")}};
  const plan::FlowReview later = {.frontends = {cluster_ip("10.96.0.2"), cluster_ip("10.96.0.4")},
                                  .serving = {at("10.0.1.1:53")}};
  const plan::FlowReview both = merged(earlier, later);
  EXPECT_EQ(both.frontends, later.frontends);
  EXPECT_EQ(both.former, (std::vector{cluster_ip("10.96.0.1"), cluster_ip("10.96.0.3")}));
  EXPECT_EQ(both.serving, later.serving);
}

}  // namespace
}  // namespace fairlead::proxy
