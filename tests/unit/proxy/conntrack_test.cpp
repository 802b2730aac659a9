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
  stale.add({.key = plan::make_key("gone", IpFamily::V6, Protocol::Udp),
             .frontends = {{.address = plan::addr("fd00:96::1"), .port = Port{53}}}});
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

}  // namespace
}  // namespace fairlead::proxy
