#include "proxy/modes/iptables/leftovers.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fairlead::iptables {
namespace {

using testing::HasSubstr;
using testing::Not;

// As kube-proxy's IPVS mode leaves it, beside kubelet's chains and a rule of the owner's.
constexpr std::string_view kAfterIpvs = R"(*mangle
:KUBE-KUBELET-CANARY - [0:0]
:KUBE-IPTABLES-HINT - [0:0]
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-NODE-PORT - [0:0]
:KUBE-LOAD-BALANCER - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-MARK-DROP - [0:0]
:OWNERS - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -j OWNERS
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT
-A KUBE-LOAD-BALANCER -j KUBE-MARK-MASQ
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A OWNERS -s 192.0.2.0/24 -j KUBE-MARK-MASQ
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:KUBE-FIREWALL - [0:0]
:KUBE-NODE-PORT - [0:0]
:KUBE-IPVS-FILTER - [0:0]
:KUBE-IPVS-OUT-FILTER - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
:KUBE-SOURCE-RANGES-FIREWALL - [0:0]
-A INPUT -j KUBE-FIREWALL
-A INPUT -m comment --comment "kubernetes ipvs access filter" -j KUBE-IPVS-FILTER
-A INPUT -m comment --comment "kube-proxy firewall rules" -j KUBE-PROXY-FIREWALL
-A INPUT -m comment --comment "kubernetes health check rules" -j KUBE-NODE-PORT
-A OUTPUT -m comment --comment "kubernetes ipvs access filter" -j KUBE-IPVS-OUT-FILTER
COMMIT
)";

std::string removal_from(std::string_view saved, InUse in_use) {
  const auto parsed = SavedRules::parse(saved);
  EXPECT_TRUE(parsed) << parsed.error().message;
  return parsed ? removal(*parsed, in_use).text : "";
}

TEST(IptablesLeftovers, KubeProxysGoAndOthersStay) {
  EXPECT_EQ(removal_from(kAfterIpvs, InUse::Nothing), R"(*nat
:KUBE-MARK-MASQ - [0:0]
:KUBE-LOAD-BALANCER - [0:0]
:KUBE-NODE-PORT - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-SERVICES - [0:0]
-D POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-D PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-X KUBE-LOAD-BALANCER
-X KUBE-NODE-PORT
-X KUBE-POSTROUTING
-X KUBE-SERVICES
COMMIT
*filter
:KUBE-IPVS-FILTER - [0:0]
:KUBE-IPVS-OUT-FILTER - [0:0]
:KUBE-NODE-PORT - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
:KUBE-SOURCE-RANGES-FIREWALL - [0:0]
-D INPUT -m comment --comment "kubernetes ipvs access filter" -j KUBE-IPVS-FILTER
-D INPUT -m comment --comment "kube-proxy firewall rules" -j KUBE-PROXY-FIREWALL
-D INPUT -m comment --comment "kubernetes health check rules" -j KUBE-NODE-PORT
-D OUTPUT -m comment --comment "kubernetes ipvs access filter" -j KUBE-IPVS-OUT-FILTER
-X KUBE-IPVS-FILTER
-X KUBE-IPVS-OUT-FILTER
-X KUBE-NODE-PORT
-X KUBE-PROXY-FIREWALL
-X KUBE-SOURCE-RANGES-FIREWALL
COMMIT
)");
}

TEST(IptablesLeftovers, TheModeInUseKeepsItsChains) {
  const std::string beside_iptables = removal_from(kAfterIpvs, InUse::Iptables);
  EXPECT_THAT(beside_iptables, HasSubstr("-X KUBE-LOAD-BALANCER"));
  EXPECT_THAT(beside_iptables, HasSubstr("-X KUBE-IPVS-FILTER"));
  EXPECT_THAT(beside_iptables, Not(HasSubstr("KUBE-SERVICES")));
  EXPECT_THAT(beside_iptables, Not(HasSubstr("KUBE-POSTROUTING")));
  const std::string beside_ipvs = removal_from(kAfterIpvs, InUse::Ipvs);
  EXPECT_THAT(beside_ipvs, HasSubstr("-X KUBE-SERVICES"));
  EXPECT_THAT(beside_ipvs, HasSubstr("-X KUBE-IPVS-OUT-FILTER"));
  EXPECT_THAT(beside_ipvs, Not(HasSubstr("KUBE-IPVS-FILTER")));
}

TEST(IptablesLeftovers, TheFirewallChainGoesOnlyWhenItIsOursAlone) {
  constexpr std::string_view kMartians =
      "-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment \"block incoming "
      "localnet connections\" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP\n";
  const auto saved = [&](std::string_view more, std::string_view mangle = "") {
    return fmt::format(
        "*mangle\n{}COMMIT\n*filter\n:INPUT ACCEPT [0:0]\n:KUBE-FIREWALL - [0:0]\n"
        "-A INPUT -j KUBE-FIREWALL\n{}{}COMMIT\n",
        mangle, kMartians, more);
  };
  EXPECT_THAT(removal_from(saved(""), InUse::Nothing), HasSubstr("-X KUBE-FIREWALL"));
  EXPECT_EQ(removal_from(saved(""), InUse::Iptables), "");
  EXPECT_EQ(removal_from(saved("-A KUBE-FIREWALL -m mark --mark 0x8000/0x8000 -j DROP\n"),
                         InUse::Nothing),
            "");
  EXPECT_EQ(removal_from(saved("-A INPUT -i eth0 -j KUBE-FIREWALL\n"), InUse::Nothing), "");
  EXPECT_EQ(removal_from(saved("", ":KUBE-KUBELET-CANARY - [0:0]\n"), InUse::Nothing), "");
}

TEST(IptablesLeftovers, NothingToDoIsNoText) {
  EXPECT_EQ(removal_from("", InUse::Nothing), "");
  EXPECT_EQ(
      removal_from("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j ACCEPT\nCOMMIT\n", InUse::Nothing),
      "");
}

}  // namespace
}  // namespace fairlead::iptables
