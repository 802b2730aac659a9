// What cannot be obeyed is refused before anything is touched: one line on stderr that names the
// field and the value, exit code 1, no rule in the kernel.
#include <algorithm>

#include "faults/cluster.hpp"

namespace fairlead::faults {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;

class BadInputTest : public ClusterTest {};

struct BadFlags {
  std::vector<std::string> flags;
  std::string field, value;
};

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += word + " ";
  return out;
}

void expect_refused(const std::vector<std::string>& flags, const std::string& field,
                    const std::string& value) {
  SCOPED_TRACE(joined(flags));
  std::vector<std::string> command = {program_path("fairlead-proxy")};
  command.insert(command.end(), flags.begin(), flags.end());
  Program proxy(command);
  EXPECT_EQ(proxy.end(5s), (io::ExitStatus{.code = 1}));
  EXPECT_THAT(proxy.log(), AllOf(HasSubstr(field), HasSubstr(value)));
  EXPECT_EQ(std::ranges::count(proxy.log(), '\n'), 1) << proxy.log();
  EXPECT_EQ(ruleset(), "");
}

TEST_F(BadInputTest, FlagsAreRefused) {
  const std::string broken = machine().write("broken", "{not: [a kubeconfig");
  const std::string empty = machine().write("empty", "apiVersion: v1\nkind: Config\n");
  const std::vector<BadFlags> rows = {
      {.flags = {"--nope"}, .field = "unknown flag", .value = "--nope"},
      {.flags = {"word"}, .field = "takes no arguments", .value = "word"},
      {.flags = {"--conntrack-min=many"}, .field = "--conntrack-min", .value = "many"},
      {.flags = {"--iptables-sync-period=-5s"}, .field = "syncPeriod", .value = "-5s"},
      {.flags = {"--cluster-cidr=10.0.0.0/33"}, .field = "clusterCIDR", .value = "10.0.0.0/33"},
      {.flags = {"--bind-address=here"}, .field = "bindAddress", .value = "here"},
      {.flags = {"--nodeport-addresses=all"}, .field = "nodePortAddresses", .value = "all"},
      {.flags = {"--metrics-bind-address=:0"}, .field = "metricsBindAddress", .value = ":0"},
      {.flags = {"--iptables-masquerade-bit=40"}, .field = "masqueradeBit", .value = "40"},
      {.flags = {"--oom-score-adj=5000"}, .field = "oomScoreAdj", .value = "5000"},
      {.flags = {"--proxy-mode=magic"}, .field = "mode", .value = "magic"},
      {.flags = {"--detect-local-mode=Guess"}, .field = "detectLocalMode", .value = "Guess"},
      {.flags = {"--kubeconfig=/nowhere/kc"}, .field = "kubeconfig", .value = "/nowhere/kc"},
      {.flags = {"--kubeconfig=" + broken}, .field = "kubeconfig", .value = broken},
      {.flags = {"--kubeconfig=" + empty}, .field = "context", .value = empty},
      {.flags = {"--master=ftp://x"}, .field = "master", .value = "ftp://x"},
      {.flags = {"--config=/nowhere/c"}, .field = "configuration file", .value = "/nowhere/c"},
  };
  for (const BadFlags& row : rows) expect_refused(row.flags, row.field, row.value);
}

struct BadFile {
  std::string body, field, value;
};

TEST_F(BadInputTest, FilesAreRefused) {
  const std::vector<BadFile> rows = {
      {.body = "mode: 5\n", .field = "mode", .value = "5"},
      {.body = "mode: kernelspace\n", .field = "mode", .value = "kernelspace"},
      {.body = "conntrack: {min: x}\n", .field = "conntrack.min", .value = "x"},
      {.body = "conntrack: {tcpCloseWaitTimeout: soon}\n",
       .field = "conntrack.tcpCloseWaitTimeout",
       .value = "soon"},
      {.body = "featureGates: {A: perhaps}\n", .field = "featureGates", .value = "map"},
      {.body = "nodePortAddresses: [\"nope\"]\n", .field = "nodePortAddresses", .value = "nope"},
      {.body = "clusterCIDR: [\n", .field = "line", .value = "file"},
  };
  for (const BadFile& row : rows) {
    const std::string file = machine().write(
        "config.yaml",
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n" + row.body);
    expect_refused({"--config", file}, row.field, row.value);
  }
  expect_refused({"--config", machine().write("v2", "apiVersion: v2\nkind: Wrong\n")}, "apiVersion",
                 "v2");
}

// A field we do not know may be one of a later release: said, and skipped.
TEST_F(BadInputTest, UnknownFieldsAndFlagsWithoutEffectAreSaid) {
  start_api();
  const std::string file =
      machine().write("config.yaml",
                      "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
                      "clientConnection: {kubeconfig: " +
                          machine().kubeconfig() + "}\nnftables: {turbo: 9}\n");
  Program proxy({program_path("fairlead-proxy"), "--config", file, "--ipvs-scheduler=rr",
                 "--hostname-override", kNode});
  EXPECT_TRUE(proxy.says("Programmed all rules")) << proxy.log();
  EXPECT_THAT(proxy.log(), AllOf(HasSubstr("unknown field \\\"nftables.turbo\\\", ignored"),
                                 HasSubstr("flag --ipvs-scheduler is overruled by the file")));
}

}  // namespace
}  // namespace fairlead::faults
