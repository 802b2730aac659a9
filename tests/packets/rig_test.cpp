// The rig itself, without any rules: what the scenarios take for granted.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "packets/probe.hpp"
#include "packets/rig_fixture.hpp"

namespace fairlead::packets {
namespace {

using namespace std::chrono_literals;

class RigByFamily : public RigTest, public ::testing::WithParamInterface<IpFamily> {
 protected:
  Send send(std::string from, std::string_view to, Port port, Protocol protocol = Protocol::Tcp) {
    return {.from = std::move(from),
            .protocol = protocol,
            .to = {.address = *IpAddress::parse(Rig::expand(to, GetParam())), .port = port}};
  }
  std::string outcome_of(Send send) {
    return send_all(rig(), {std::move(send)}, 2s).front().to_string();
  }
};
INSTANTIATE_TEST_SUITE_P(, RigByFamily, ::testing::Values(IpFamily::V4, IpFamily::V6),
                         [](const auto& param) { return fmt::format("{}", param.param); });

TEST_P(RigByFamily, PodsReachOneAnotherWithTheirOwnAddress) {
  const std::string seen = Rig::expand("which saw ${pod1}", GetParam());
  for (const Protocol protocol : {Protocol::Tcp, Protocol::Udp}) {
    EXPECT_EQ(outcome_of(send("pod1", "${pod2}", Port{8080}, protocol)),
              "answered by pod2:8080, " + seen);
    EXPECT_EQ(outcome_of(send("pod1", "${pod4}", Port{8081}, protocol)),
              "answered by pod4:8081, " + seen);
  }
}

TEST_P(RigByFamily, PacketsThatNobodyCatchesAreAnsweredByTheInternet) {
  for (const std::string from : {"pod1", "node1", "outside"}) {
    for (const Protocol protocol : {Protocol::Tcp, Protocol::Udp}) {
      EXPECT_THAT(outcome_of(send(from, "${vip1}", Port{80}, protocol)),
                  ::testing::StartsWith("answered by internet:7"));
    }
  }
}

TEST_P(RigByFamily, PortsThatNobodyServesAreRefused) {
  EXPECT_EQ(outcome_of(send("pod1", "${pod2}", Port{9}, Protocol::Tcp)), "refused");
  EXPECT_EQ(outcome_of(send("pod1", "${pod2}", Port{9}, Protocol::Udp)), "refused");
}

}  // namespace
}  // namespace fairlead::packets
