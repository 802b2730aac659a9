// `fairlead explain`, `render` and `verify` as their users run them: over a live cluster, whose
// proxy has programmed this machine, and over manifests.
#include "faults/cluster.hpp"

namespace fairlead::faults {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;

class InspectTest : public ClusterTest {
 protected:
  io::Output fairlead(std::vector<std::string> words, std::string_view input = {}) const {
    words.insert(words.begin(), program_path("fairlead"));
    return run(std::move(words), input);
  }
  // Of the live cluster and its node.
  io::Output about_cluster(std::vector<std::string> words) const {
    for (const std::string& word : {std::string("--kubeconfig"), machine().kubeconfig(),
                                    std::string("--node"), std::string(kNode)}) {
      words.push_back(word);
    }
    return fairlead(std::move(words));
  }
  void start_cluster() {
    start_api();
    create_node();
    create_service("web", "10.96.0.80");
    put_endpoints("web", {"10.1.0.1", "10.1.0.2"});
  }
};

TEST_F(InspectTest, AnswersOverALiveClusterWhatItsProxyDoes) {
  start_cluster();
  const io::Output text = about_cluster({"explain", "tcp", "10.96.0.80:80", "--from", "10.9.9.9"});
  EXPECT_EQ(text.status.code, 0) << text.err;
  EXPECT_THAT(text.out, AllOf(HasSubstr("service   default/web"), HasSubstr("verdict   forward"),
                              HasSubstr("10.1.0.1:8080"), HasSubstr("1/2 (50.0 %)")));
  const io::Output json = about_cluster({"explain", "tcp", "10.96.0.80:81", "-o", "json"});
  EXPECT_EQ(json.status.code, 0) << json.err;
  EXPECT_THAT(json.out, HasSubstr(R"("verdict":"reject")"));
}

TEST_F(InspectTest, VerifyIsQuietWhileTheKernelHoldsThePlanAndNamesWhatDiffers) {
  start_cluster();
  Program proxy = start_proxy();
  ASSERT_TRUE(proxy.until([] { return backends("10.96.0.80").size() == 2; })) << proxy.log();
  const io::Output same = about_cluster({"verify"});
  EXPECT_EQ(same.status.code, 0) << same.out << same.err;
  // What the proxy would mend.
  proxy.signal(SIGKILL);
  ASSERT_TRUE(proxy.end(10s));
  nft("delete element ip fairlead services { 10.96.0.80 . tcp . 80 }");
  const io::Output differs = about_cluster({"verify"});
  EXPECT_EQ(differs.status.code, 1) << differs.err;
  EXPECT_THAT(differs.out, HasSubstr("10.96.0.80 . tcp . 80"));
  stop_api();
  const io::Output cannot = about_cluster({"verify"});
  EXPECT_EQ(cannot.status.code, 2) << cannot.out;
  EXPECT_THAT(cannot.err, HasSubstr("cannot verify"));
}

// The proxy keeps the places of endpoints that stay; a table made anew would have them otherwise.
TEST_F(InspectTest, VerifyDoesNotMindTheOrderOfEndpoints) {
  start_cluster();
  put_endpoints("web", {"10.1.0.1", "10.1.0.2", "10.1.0.3"});
  Program proxy = start_proxy();
  ASSERT_TRUE(proxy.until([] { return backends("10.96.0.80").size() == 3; })) << proxy.log();
  put_endpoints("web", {"10.1.0.2", "10.1.0.3"});
  ASSERT_TRUE(proxy.until([] { return backends("10.96.0.80").size() == 2; })) << proxy.log();
  const io::Output same = about_cluster({"verify"});
  EXPECT_EQ(same.status.code, 0) << same.out << same.err;
}

TEST_F(InspectTest, ManifestsFromStandardInputRenderTheSameBytesTwice) {
  const std::string manifest = R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"a"},
      "spec":{"clusterIP":"10.96.0.1","ports":[{"port":80}]}})";
  for (const char* mode : {"nftables", "iptables"}) {
    const io::Output first = fairlead({"render", "--mode", mode, "-f", "-"}, manifest);
    EXPECT_EQ(first.status.code, 0) << first.err;
    EXPECT_THAT(first.out, HasSubstr("10.96.0.1"));
    EXPECT_EQ(first.out, fairlead({"render", "--mode", mode, "-f", "-"}, manifest).out);
  }
}

TEST_F(InspectTest, WhatCannotBeObeyedIsOneLineAndNoAnswer) {
  const std::string broken = machine().write("broken.yaml",
                                             "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n"
                                             "spec: {clusterIP: 10.96.0.256}\n");
  const std::string good = machine().write("good.yaml",
                                           "apiVersion: v1\nkind: Service\n"
                                           "metadata: {name: a}\n");
  struct Row {
    std::vector<std::string> words;
    std::string said;
  };
  const std::vector<Row> rows = {
      {{"explain", "tcp", "10.96.0.1:80", "-f", broken},
       broken + ": document 1: Service a: spec.clusterIP: \"10.96.0.256\" is not an IP address"},
      {{"explain", "icmp", "10.96.0.1:80", "-f", broken}, "PROTO: \"icmp\""},
      {{"explain", "tcp", "10.96.0.1:80", "--nope"}, "--nope"},
      {{"render", "-f", "/nowhere"}, "/nowhere"},
      {{"render", "-f", broken, "--cluster-cidr", "10.0.0.0/33"}, "10.0.0.0/33"},
      {{"render", "-f", broken, "--mode", "magic"}, "magic"},
      {{"render", "-f", good, "--mode", "userspace"}, "userspace"},
      {{"render", "-f", broken, "--kubeconfig", "x"}, "--kubeconfig"},
      {{"render", "-f", broken, "--family", "ipv5"}, "ipv5"},
      {{"explain", "tcp", "10.96.0.1:80", "--kubeconfig", "/nowhere"}, "/nowhere"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.said);
    const io::Output output = fairlead(row.words);
    EXPECT_TRUE(output.status.code.value_or(0) != 0) << output.status.to_string();
    EXPECT_EQ(output.out, "");
    EXPECT_THAT(output.err, HasSubstr(row.said));
    EXPECT_EQ(std::ranges::count(output.err, '\n'), 1) << output.err;
  }
}

}  // namespace
}  // namespace fairlead::faults
