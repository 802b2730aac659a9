// `fairlead up` in a network namespace of its own, with one way out so that routes exist.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "io/netns.hpp"
#include "lab/program.hpp"

namespace fairlead::lab_test {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

class Up : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_not_here(); !why.empty()) GTEST_SKIP() << "SKIPPED: " << why;
    auto space = io::NetNamespace::create();
    ASSERT_TRUE(space) << space.error().message;
    space_ = *std::move(space);
    for (const char* line :
         {"link add out type veth peer name far", "address add 192.0.2.10/24 dev out",
          "link set out up", "link set far up", "route add default via 192.0.2.1"})
      inside({"sh", "-c", fmt::format("ip {}", line)});
  }

  io::Output run_inside(Words argv, std::string_view input = {}) const {
    auto output = io::run_blocking(command(std::move(argv)), input, 30s);
    EXPECT_TRUE(output);
    return output ? *std::move(output) : io::Output{};
  }
  std::string inside(Words argv, std::string_view input = {}) const {
    const std::string line = fmt::format("{}", fmt::join(argv, " "));
    io::Output output = run_inside(std::move(argv), input);
    EXPECT_TRUE(output.status.ok()) << line << "\n" << output.out << output.err;
    return output.out;
  }
  std::string kubectl(Words words, std::string_view input = {}) const {
    words.insert(words.begin(), kubectl_program());
    return inside(std::move(words), input);
  }
  std::string rules() const { return inside({"nft", "list", "ruleset"}); }

  // Starts and waits for what it says when everything serves.
  io::Child start() {
    return start({fairlead_program(), "up", "--data-dir", data()}, "Ctrl-C ends it.");
  }
  io::Child start(Words argv, std::string_view ready) {
    io::UniqueFd output(::open(log().c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    io::Command program = command(std::move(argv));
    program.stdout_fd = program.stderr_fd = output.get();
    auto child = io::Child::spawn(program);
    check(child.has_value(), "the program starts");
    EXPECT_TRUE(eventually([&] { return said().find(ready) != std::string::npos; })) << said();
    return *std::move(child);
  }
  std::string refused(Words words) const {
    words.insert(words.begin(), {fairlead_program(), "up"});
    const io::Output output = run_inside(std::move(words));
    EXPECT_TRUE(output.status.code.value_or(0) != 0) << output.status.to_string();
    return output.err;
  }
  std::string said() const {
    std::ifstream file(log());
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::string data() const { return folder_.path() + "/data"; }
  std::string log() const { return folder_.path() + "/up.log"; }

 private:
  io::Command command(Words argv) const {
    io::Command out{.argv = std::move(argv)};
    out.env = {{"KUBECONFIG", data() + "/admin.kubeconfig"}, {"HOME", folder_.path()}};
    out.namespaces = {space_->fd()};
    return out;
  }
  test::TemporaryFolder folder_;
  std::optional<io::NetNamespace> space_;
};

constexpr char kService[] = R"(
apiVersion: v1
kind: Service
metadata: {name: local}
spec: {clusterIP: 10.96.0.80, ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: local-1, labels: {kubernetes.io/service-name: local}}
addressType: IPv4
endpoints: [{addresses: [192.0.2.10]}]
ports: [{port: 8080}]
)";

TEST_F(Up, ServesUntilAnInterruptRemovesItsRulesAndKeepsTheData) {
  io::Child up = start();
  EXPECT_THAT(said(), HasSubstr("export KUBECONFIG=" + data() + "/admin.kubeconfig"));
  EXPECT_THAT(kubectl({"get", "nodes"}), HasSubstr("Ready"));
  kubectl({"apply", "-f", "-"}, kService);
  io::Command server{.argv = {fairlead_program(), "echo", "--name=here", "--tcp", "8080"}};

  auto space_of_up = io::NetNamespace::of_process(up.pid());
  ASSERT_TRUE(space_of_up);
  server.namespaces = {space_of_up->fd()};
  auto echo = io::Child::spawn(server);
  ASSERT_TRUE(echo);
  io::Output answer;
  EXPECT_TRUE(eventually([&] {
    answer = run_inside({fairlead_program(), "probe", "10.96.0.80:80", "--timeout=500ms"});
    return answer.status.ok();
  })) << answer.out
      << said() << rules();
  EXPECT_THAT(answer.out, HasSubstr("here"));
  ASSERT_TRUE(up.signal(SIGINT));
  EXPECT_TRUE(up.ends_before(std::chrono::steady_clock::now() + 5s)) << said();
  EXPECT_EQ(rules(), "");
  const io::Child again = start();
  EXPECT_THAT(kubectl({"get", "service", "local", "--no-headers"}), HasSubstr("10.96.0.80"));
}

TEST_F(Up, KilledLeavesItsRulesAndTheNextStartTakesThemOver) {
  {
    io::Child up = start();
    EXPECT_THAT(kubectl({"apply", "-f", "-"}, kService), HasSubstr("service/local created"));
    EXPECT_TRUE(eventually([this] { return rules().find("10.96.0.80") != std::string::npos; }));
    ASSERT_TRUE(up.signal(SIGKILL));
    ASSERT_TRUE(up.wait_blocking());
  }
  EXPECT_THAT(rules(), HasSubstr("10.96.0.80"));
  io::Child again = start();
  EXPECT_THAT(rules(), HasSubstr("10.96.0.80"));
  ASSERT_TRUE(again.signal(SIGTERM));
  EXPECT_TRUE(again.ends_before(std::chrono::steady_clock::now() + 5s)) << said();
  EXPECT_EQ(rules(), "");
}

TEST_F(Up, APortInUseIsNamed) {
  const io::Child first = start();
  EXPECT_THAT(refused({"--data-dir", data() + "2"}), HasSubstr("--secure-port"));
}

TEST_F(Up, ABadProxyFlagIsTold) {
  EXPECT_THAT(refused({"--data-dir", data(), "--", "--no-such-flag"}), HasSubstr("--no-such-flag"));
  EXPECT_EQ(rules(), "");
}

TEST_F(Up, TheApiServerAloneLeadsPodsToTheAddressOfTheDefaultRoute) {
  const Words words{fairlead_program() + "-apiserver", "--data-dir", data()};
  const Words found{"get", "endpointslice", "kubernetes", "-o",
                    "jsonpath={.endpoints[*].addresses[*]}:{.ports[*].port}"};
  {
    const io::Child server = start(words, "\"Serving\"");
    EXPECT_EQ(kubectl(found), "192.0.2.10:6443");
  }
  Words on_loopback = words;
  on_loopback.insert(on_loopback.end(), {"--bind-address", "127.0.0.1"});
  const io::Child server = start(std::move(on_loopback), "default/kubernetes is not made");
}

TEST_F(Up, ADataFolderThatCannotBeMadeIsNamed) {
  EXPECT_THAT(refused({"--data-dir", "/proc/data"}), HasSubstr("/proc/data"));
}

TEST_F(Up, WithoutThePrivilegeItSaysWhatIsMissing) {
  const io::Output output =
      run_inside({"setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin",
                  fairlead_program(), "up", "--data-dir", data()});
  EXPECT_EQ(output.status.code, 1);
  EXPECT_THAT(output.err, HasSubstr("CAP_NET_ADMIN"));
}

}  // namespace
}  // namespace fairlead::lab_test
