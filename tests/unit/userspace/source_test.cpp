// Whose address endpoints see, and the routes that bring their answers back; in network namespaces.
#include "proxy/modes/userspace/source.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "io/netns.hpp"
#include "proxy/modes/userspace/answer_routes.hpp"
#include "proxy/modes/userspace/entrance.hpp"
#include "proxy/plan/explain.hpp"

namespace fairlead::userspace {
namespace {

IpAddress at(std::string_view text) { return *IpAddress::parse(text); }

class SourceTest : public testing::Test {
 protected:
  void SetUp() override {
    auto network = io::NetNamespace::create();
    if (!network) GTEST_SKIP() << network.error().message;
    network_.emplace(*std::move(network));
    in_node([] {
      const auto made = run_tool({"ip", "-batch", "-"},
                                 "link set lo up\n"
                                 "link add pods type bridge\naddr add 10.0.1.1/24 dev pods\n"
                                 "link add out type bridge\naddr add 192.168.50.1/24 dev out\n"
                                 "link set pods up\nlink set out up\n"
                                 "route add 10.0.2.0/24 via 192.168.50.2\n");
      ASSERT_TRUE(made) << made.error().message;
    });
  }
  template <class Work>
  void in_node(Work work) {
    const auto done = network_->run([&]() -> Result<void> {
      work();
      return {};
    });
    ASSERT_TRUE(done) << done.error().message;
  }
  std::optional<io::NetNamespace> network_;
};

// What explain says of the same is the measure.
bool explained(const plan::Frontend& frontend, const plan::NodePlan& node,
               const IpAddress& client) {
  const plan::PlanKey key{.service_port = {.namespace_ = "ns", .name = "web"}};
  const auto service = std::make_shared<const plan::ServicePlan>(
      plan::ServicePlan{.key = key,
                        .cluster_pool = {{.address = at("10.0.2.2"), .port = Port{80}}},
                        .local_pool = {{.address = at("10.0.2.2"), .port = Port{80}}},
                        .frontends = {frontend}});
  plan::Plan all;
  all.nodes.emplace(IpFamily::V4, node);
  all.services.emplace(key, service);
  const auto explanation = plan::explain(
      all, {.source = client, .destination = {.address = frontend.address, .port = frontend.port}},
      plan::NodeAddresses{{at("192.168.50.1"), at("10.0.1.1")}});
  return !explanation.endpoints.empty() && !explanation.endpoints.front().masqueraded;
}

TEST_F(SourceTest, IsKeptWhereThePlanDoesNotMasquerade) {
  const auto frontend = [](plan::FrontendKind kind, plan::Masquerade masquerade,
                           bool short_circuit = false) {
    return plan::Frontend{
        .kind = kind,
        .address = at("10.96.0.10"),
        .port = Port{80},
        .target = short_circuit ? plan::Target::LocalPool : plan::Target::ClusterPool,
        .masquerade = masquerade,
        .short_circuit = short_circuit};
  };
  using enum plan::FrontendKind;
  using enum plan::Masquerade;
  const std::vector<plan::Frontend> frontends = {
      frontend(ClusterIp, OffCluster), frontend(ClusterIp, Never), frontend(ExternalIp, Always),
      frontend(ExternalIp, Never, true), frontend(LoadBalancerIp, Never)};
  plan::NodePlan with_pods;
  with_pods.detector.source_prefix = *IpPrefix::parse("10.0.0.0/16");
  plan::NodePlan all_masqueraded = with_pods;
  all_masqueraded.masquerade_all = true;
  in_node([&] {
    int kept = 0;
    for (const plan::NodePlan& node : {plan::NodePlan{}, with_pods, all_masqueraded}) {
      const SourcePolicy policy(node);
      for (const plan::Frontend& one : frontends) {
        for (const char* client : {"10.0.1.2", "192.168.50.100", "192.168.50.1"}) {
          const bool keeps = policy.keeps(source_rule(one), at(client));
          EXPECT_EQ(keeps, explained(one, node, at(client)))
              << client << ", kind " << static_cast<int>(one.kind) << ", masquerade "
              << static_cast<int>(one.masquerade) << ", detector " << node.detector.implemented();
          kept += keeps ? 1 : 0;
        }
      }
    }
    EXPECT_GT(kept, 0);
    EXPECT_LT(kept, 45);
  });
}

TEST_F(SourceTest, AnswersPassByWhereTheTwoAreBehindDifferentInterfaces) {
  in_node([] {
    EXPECT_TRUE(answers_pass_here(at("10.0.1.2"), at("10.0.2.2"))) << "a pod, and another node's";
    EXPECT_TRUE(answers_pass_here(at("192.168.50.100"), at("10.0.1.2"))) << "from outside to a pod";
    EXPECT_FALSE(answers_pass_here(at("10.0.1.2"), at("10.0.1.3"))) << "two pods of one bridge";
    EXPECT_FALSE(answers_pass_here(at("192.168.50.100"), at("10.0.2.2"))) << "both elsewhere";
    EXPECT_FALSE(answers_pass_here(at("192.168.50.1"), at("10.0.1.2"))) << "the node itself";
    EXPECT_FALSE(answers_pass_here(at("8.8.8.8"), at("10.0.1.2"))) << "no route back";
  });
}

TEST_F(SourceTest, SocketSpeaksAsSomebodyElse) {
  in_node([] {
    const io::UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const auto done = speak_as(socket.get(), at("10.0.1.2"));
    ASSERT_TRUE(done) << done.error().message;
  });
}

TEST_F(SourceTest, AnswerRoutesComeAndGoWhole) {
  in_node([] {
    EXPECT_FALSE(*has_answer_routes());
    ASSERT_TRUE(make_answer_routes());
    ASSERT_TRUE(make_answer_routes());  // they are there
    EXPECT_TRUE(*has_answer_routes());
    ASSERT_TRUE(run_tool({"ip", "-4", "rule", "del", "table", std::to_string(kAnswerTable)}));
    EXPECT_FALSE(*has_answer_routes()) << "somebody took a part";
    ASSERT_TRUE(make_answer_routes());
    EXPECT_TRUE(*has_answer_routes());
    EXPECT_TRUE(*remove_answer_routes());
    EXPECT_FALSE(*has_answer_routes());
    EXPECT_FALSE(*remove_answer_routes());
    EXPECT_EQ(*run_tool({"ip", "rule", "show", "table", std::to_string(kAnswerTable)}), "")
        << "not one of two";
  });
}

}  // namespace
}  // namespace fairlead::userspace
