// Answers and rules for one cluster, as text: tests/golden/inspect. What is rendered must load, and
// once loaded must be what the mode would have programmed.
//
// FAIRLEAD_UPDATE_GOLDEN=1 writes the golden files anew; read the difference before committing it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "inspect/answer.hpp"
#include "inspect/manifests.hpp"
#include "inspect/rules.hpp"
#include "proxy/modes/iptables/iptables_mode.hpp"
#include "proxy/modes/nftables/nftables_mode.hpp"
#include "support/folder.hpp"
#include "unit/nftables/namespace_guard.hpp"

namespace fairlead::inspect {
namespace {

using ::testing::IsEmpty;

std::filesystem::path golden(std::string_view name) {
  return std::filesystem::path(FAIRLEAD_SOURCE_DIR) / "tests/golden/inspect" / name;
}

void expect_golden(std::string_view name, const std::string& text) {
  const auto path = golden(name);
  if (std::getenv("FAIRLEAD_UPDATE_GOLDEN") != nullptr) std::ofstream(path) << text;
  std::ostringstream wanted;
  wanted << std::ifstream(path).rdbuf();
  EXPECT_EQ(text, wanted.str()) << "differs from " << path;
}

std::unique_ptr<NodeView> golden_view(const std::string& mode) {
  ManifestReader reader;
  const auto read = reader.add_path(golden("cluster.yaml"));
  check(read.has_value(), read ? "" : read.error().message);
  proxy::Config config;
  config.mode = mode;
  config.cluster_cidr = "10.0.0.0/16,fd00:10::/32";
  // Where addresses are loaded into a kernel that has none, both modes see no node port address.
  auto view = NodeView::create(reader.take(), {.config = config,
                                               .host = {.node_name = "node-a",
                                                        .families = {IpFamily::V4, IpFamily::V6},
                                                        .interface_addresses = {}}});
  check(view.has_value(), view ? "" : view.error().message);
  return *std::move(view);
}

struct Asked {
  std::string why;
  Words words;
};

std::vector<Asked> questions() {
  return {
      {.why = "topology hints, affinity, hairpin",
       .words = {.protocol = "tcp", .destination = "10.96.0.10:80", .source = "10.0.1.2"}},
      {.why = "the node itself", .words = {.protocol = "TCP", .destination = "10.96.0.10:80"}},
      {.why = "the other family",
       .words = {.protocol = "tcp", .destination = "[fd00:96::10]:80", .source = "fd00:10:2::9"}},
      {.why = "another port of a cluster IP",
       .words = {.protocol = "tcp", .destination = "10.96.0.10:81", .source = "10.0.1.2"}},
      {.why = "outside, policy Local, allowed",
       .words = {.protocol = "tcp", .destination = "203.0.113.20:80", .source = "198.51.100.7"}},
      {.why = "outside, policy Local, not allowed",
       .words = {.protocol = "tcp", .destination = "203.0.113.20:80", .source = "192.0.2.7"}},
      {.why = "the short cut of a pod",
       .words = {.protocol = "tcp", .destination = "203.0.113.10:80", .source = "10.0.2.99"}},
      {.why = "an address of a load balancer that takes the packets itself",
       .words = {.protocol = "tcp", .destination = "203.0.113.21:80", .source = "192.0.2.7"}},
      {.why = "a node port",
       .words = {.protocol = "tcp", .destination = "192.168.50.1:30080", .source = "192.0.2.7"}},
      {.why = "a node port on loopback",
       .words = {.protocol = "tcp", .destination = "127.0.0.1:30080"}},
      {.why = "the health-check port",
       .words = {.protocol = "tcp", .destination = "192.168.50.1:32000", .source = "192.0.2.7"}},
      {.why = "only terminating endpoints",
       .words = {.protocol = "udp", .destination = "10.96.0.30:53", .source = "10.0.1.2"}},
      {.why = "internal policy Local, endpoints elsewhere",
       .words = {.protocol = "tcp", .destination = "10.96.0.40:80", .source = "10.0.1.2"}},
      {.why = "no endpoints",
       .words = {.protocol = "tcp", .destination = "10.96.0.50:80", .source = "10.0.1.2"}},
      {.why = "left to another proxy",
       .words = {.protocol = "tcp", .destination = "10.97.0.60:80", .source = "10.0.1.2"}},
      {.why = "nobody's address of the service range",
       .words = {.protocol = "tcp", .destination = "10.96.9.9:80", .source = "10.0.1.2"}},
      {.why = "an endpoint, directly",
       .words = {.protocol = "tcp", .destination = "10.0.2.2:8080", .source = "10.0.1.2"}},
  };
}

std::string all_answers(const std::string& mode) {
  const auto view = golden_view(mode);
  std::string out;
  for (const Asked& asked : questions()) {
    const auto question = parse_question(asked.words);
    check(question.has_value(), "a good question");
    const Answer said = answer(*view, *question);
    out += fmt::format("# {}\n{}{}\n\n", asked.why, to_text(said), to_json(said));
  }
  return out;
}

TEST(InspectGolden, AnswersForNftables) {
  expect_golden("answers-nftables.txt", all_answers("nftables"));
}
TEST(InspectGolden, AnswersForIptables) {
  expect_golden("answers-iptables.txt", all_answers("iptables"));
}

std::string rules(const std::string& mode, std::vector<IpFamily> families) {
  const auto text = render_rules(*golden_view(mode), {.families = std::move(families)});
  EXPECT_TRUE(text);
  return text.value_or("");
}

TEST(InspectGolden, RulesForNftables) {
  expect_golden("rules.nft", rules("nftables", {IpFamily::V4, IpFamily::V6}));
}
TEST(InspectGolden, RulesForIptables) {
  expect_golden("rules.iptables", rules("iptables", {IpFamily::V4}));
  expect_golden("rules.ip6tables", rules("iptables", {IpFamily::V6}));
}

TEST(InspectGolden, RulesForIpvs) {
  expect_golden("rules.ipvs", rules("ipvs", {IpFamily::V4, IpFamily::V6}));
}

void must(const std::string& command) { EXPECT_EQ(std::system(command.c_str()), 0) << command; }

// Against a Mode that has programmed nothing itself.
std::vector<std::string> differences(plan::Mode& mode, const plan::Plan& plan) {
  const auto found = mode.verify(plan, 100);
  EXPECT_TRUE(found) << found.error().message;
  return found.value_or(std::vector<std::string>{"could not"});
}

TEST(InspectGolden, NftLoadsTheRulesAndTheModeFindsItsOwn) {
  FAIRLEAD_IN_PRIVATE_NETWORK([] {
    const auto view = golden_view("nftables");
    auto mode = nftables::create({});
    ASSERT_TRUE(mode) << mode.error().message;
    EXPECT_THAT(differences(**mode, view->plan()),
                ::testing::SizeIs(2));  // no table of either family
    must("nft -f " + golden("rules.nft").string());
    EXPECT_THAT(differences(**mode, view->plan()), IsEmpty());
    must("nft delete element ip fairlead services '{ 10.96.0.10 . tcp . 80 }'");
    EXPECT_THAT(differences(**mode, view->plan()),
                ::testing::ElementsAre(::testing::HasSubstr("10.96.0.10 . tcp . 80")));
  });
}

TEST(InspectGolden, IptablesRestoreLoadsTheRulesAndTheModeFindsItsOwn) {
  for (const auto variant : {iptables::Variant::Nft, iptables::Variant::Legacy}) {
    SCOPED_TRACE(to_string(variant));
    FAIRLEAD_IN_PRIVATE_NETWORK([variant] {
      const auto view = golden_view("iptables");
      auto mode = iptables::create({.variant = variant});
      ASSERT_TRUE(mode) << mode.error().message;
      const auto tool = [&](std::string_view family) {
        return fmt::format("{}-{}-restore --noflush < ", family, to_string(variant));
      };
      must(tool("iptables") + golden("rules.iptables").string());
      must(tool("ip6tables") + golden("rules.ip6tables").string());
      EXPECT_THAT(differences(**mode, view->plan()), IsEmpty());
      must(fmt::format("iptables-{} -t nat -F KUBE-SERVICES", to_string(variant)));
      EXPECT_THAT(differences(**mode, view->plan()),
                  ::testing::Contains(::testing::HasSubstr("KUBE-SERVICES")));
    });
  }
}

}  // namespace
}  // namespace fairlead::inspect
