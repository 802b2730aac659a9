// Labs begin, answer, refuse and end; whatever way they end, nothing is left.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>

#include "lab/lab_fixture.hpp"

namespace fairlead::lab_test {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

class LabLife : public LabTest {};

TEST_F(LabLife, UpSaysHowToUseItAndDownLeavesNothing) {
  test::TemporaryFolder parent;
  const std::map<std::string, std::string> env{{"FAIRLEAD_LAB", parent.path() + "/lab"}};
  const std::string said = must({fairlead_program(), "lab", "up", "--nodes", "3"}, env);
  EXPECT_THAT(said, HasSubstr("The lab is up: 3 nodes and an outside client"));
  EXPECT_THAT(said, HasSubstr("export KUBECONFIG=" + parent.path() + "/lab/kubeconfig"));
  const std::map<std::string, std::string> user{{"KUBECONFIG", parent.path() + "/lab/kubeconfig"},
                                                {"HOME", parent.path()}};
  for (const std::string& kubectl : {kubectl_program(), old_kubectl_program()}) {
    const std::string nodes = must({kubectl, "get", "nodes", "--no-headers"}, user);
    EXPECT_THAT(nodes, ContainsRegex("^node1 +Ready.*\nnode2 +Ready.*\nnode3 +Ready.*\n$"));
  }
  const std::string status = must({fairlead_program(), "lab", "status"}, env);
  EXPECT_THAT(status, ContainsRegex("node3 +192.168.50.13 fd00:50::13 +10.244.3.0/24 "
                                    "fd00:10:244:3::/64 +0 +pid [0-9]+\n"));
  must({fairlead_program(), "lab", "down"}, env);
  EXPECT_FALSE(std::filesystem::exists(parent.path() + "/lab"));
  EXPECT_THAT(refusal({fairlead_program(), "lab", "down"}, env), HasSubstr("no lab is running"));
  EXPECT_THAT(refusal({fairlead_program(), "lab", "status"}, env), HasSubstr("no lab is running"));
}

TEST_F(LabLife, ASecondLabInTheSameFolderIsRefusedAndTheFirstGoesOn) {
  const RunningLab lab({"--nodes=1"});
  EXPECT_EQ(refusal({fairlead_program(), "lab", "up"}, lab.env()),
            fmt::format("fairlead: a lab is already running in {} (supervisor {})\n", lab.folder(),
                        lab.supervisor()));
  EXPECT_THAT(lab.kubectl({"get", "nodes"}), HasSubstr("node1"));
}

TEST_F(LabLife, TwoLabsInTwoFoldersDoNotMeet) {
  const RunningLab one({"--nodes=1"});
  const RunningLab other({"--nodes=2"});
  EXPECT_THAT(one.kubectl({"get", "nodes"}), Not(HasSubstr("node2")));
  EXPECT_THAT(other.kubectl({"get", "nodes"}), HasSubstr("node2"));
}

enum class Victim { Supervisor, Init };
class LabKilled : public LabTest, public testing::WithParamInterface<Victim> {};

TEST_P(LabKilled, LeavesNoProcessBehindAndCanBeStartedAgain) {
  const RunningLab lab({"--nodes=1"});
  lab.apply(R"(
apiVersion: v1
kind: Pod
metadata: {name: sleeper}
spec:
  containers:
  - {name: main, image: none, command: [sh, -c, "sleep 1000 & setsid sleep 1000 & wait"]}
)");
  lab.wait_until_ready("sleeper");
  const pid_t supervisor = lab.supervisor();
  const pid_t victim = GetParam() == Victim::Init ? lab.init() : supervisor;
  ASSERT_GT(victim, 1);
  const std::vector<pid_t> processes = processes_beside(supervisor);
  ASSERT_GE(processes.size(), 6U) << "init, supervisor, proxy, shell, two sleepers";
  EXPECT_TRUE(all_end(processes, [victim] { ::kill(victim, SIGKILL); }));
  EXPECT_THAT(refusal({fairlead_program(), "lab", "status"}, lab.env()),
              HasSubstr("no lab is running"));
  lab.lab({"up", "--nodes=1"});
  EXPECT_THAT(lab.kubectl({"get", "pods", "-A"}), Not(HasSubstr("sleeper")));
}

INSTANTIATE_TEST_SUITE_P(Table, LabKilled, testing::Values(Victim::Supervisor, Victim::Init),
                         [](const auto& row) {
                           return row.param == Victim::Init ? "init" : "supervisor";
                         });

TEST_F(LabLife, ADeadProxyIsStartedAgain) {
  const RunningLab lab({"--nodes=1"});
  const auto proxy = [&lab] {
    const std::string status = lab.lab({"status"});
    const auto pid = status.find("pid ");
    return pid == std::string::npos ? "" : status.substr(pid, status.find('\n', pid) - pid);
  };
  const std::string first = proxy();
  ASSERT_NE(first, "");
  lab.exec("node/node1", {"pkill", "-KILL", "-f", "hostname-override=node1"});
  EXPECT_TRUE(eventually([&] {
    const std::string now = proxy();
    return !now.empty() && now != first;
  }));
}

TEST_F(LabLife, RunReturnsTheExitCodeOfItsCommand) {
  const auto code = [](const Words& command) {
    Words words{fairlead_program(), "lab", "run", "--nodes=1", "--"};
    words.insert(words.end(), command.begin(), command.end());
    return run(words).status.code;
  };
  EXPECT_EQ(code({kubectl_program(), "get", "node", "node1"}), 0);
  EXPECT_EQ(code({"sh", "-c", "exit 7"}), 7);
  EXPECT_EQ(code({"sh", "-c", "kill -9 $$"}), 128 + 9);
}

TEST_F(LabLife, RunPassesSignalsToItsCommandAndEndsTheLab) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const io::UniqueFd read_end(ends[0]);
  io::UniqueFd write_end(ends[1]);
  io::Command command{.argv = {fairlead_program(), "lab", "run", "--nodes=1", "--", "sh", "-c",
                               "trap 'exit 9' TERM; echo $FAIRLEAD_LAB; while :; do :; done"}};
  command.stdout_fd = write_end.get();
  auto child = io::Child::spawn(command);
  ASSERT_TRUE(child);
  write_end.reset();
  std::array<char, 4096> buffer{};
  const ssize_t got = ::read(read_end.get(), buffer.data(), buffer.size());
  ASSERT_GT(got, 1);
  const std::string folder(buffer.data(), static_cast<std::size_t>(got) - 1);
  EXPECT_TRUE(std::filesystem::exists(folder + "/control.sock")) << folder;
  ASSERT_TRUE(child->signal(SIGTERM));
  const auto status = child->wait_blocking();
  ASSERT_TRUE(status);
  EXPECT_EQ(status->to_string(), "exit code 9");
  EXPECT_FALSE(std::filesystem::exists(folder));
}

TEST_F(LabLife, UnprivilegedUsersAreToldWhatIsMissing) {
  test::TemporaryFolder folder;
  ASSERT_EQ(::chmod(folder.path().c_str(), 0777), 0);
  const std::string said =
      refusal({"setpriv", "--reuid=65534", "--clear-groups", "--regid=65534", fairlead_program(),
               "lab", "up", "--state", folder.path() + "/lab"});
  EXPECT_THAT(said, HasSubstr("a lab needs root (CAP_SYS_ADMIN and CAP_NET_ADMIN): try sudo"));
}

struct RefusalRow {
  const char* name;
  Words words;
  const char* says;
};
class LabRefusal : public LabTest, public testing::WithParamInterface<RefusalRow> {};

TEST_P(LabRefusal, IsOneLine) {
  Words words{fairlead_program()};
  words.insert(words.end(), GetParam().words.begin(), GetParam().words.end());
  EXPECT_THAT(refusal(words), HasSubstr(GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(
    Table, LabRefusal,
    testing::Values(RefusalRow{"nothing", {}, "A subcommand is required"},
                    RefusalRow{"unknown_command", {"nonsense"}, "nonsense"},
                    RefusalRow{"unknown_lab_command", {"lab", "nonsense"}, "nonsense"},
                    RefusalRow{"no_nodes", {"lab", "up", "--nodes", "0"}, "--nodes"},
                    RefusalRow{"too_many_nodes", {"lab", "up", "--nodes", "90"}, "89"},
                    RefusalRow{"nodes_in_words", {"lab", "up", "--nodes", "two"}, "two"},
                    RefusalRow{"unknown_flag", {"lab", "up", "--colour"}, "--colour"},
                    RefusalRow{"no_command", {"lab", "run"}, "command"}),
    [](const auto& row) { return row.param.name; });

TEST_F(LabLife, AFolderWhosePathIsTooLongIsRefusedAndNotMade) {
  const test::TemporaryFolder parent;
  const std::string folder = parent.path() + "/" + std::string(120, 'x');
  EXPECT_THAT(refusal({fairlead_program(), "lab", "up", "--state", folder}),
              HasSubstr("too long for a socket"));
  EXPECT_FALSE(std::filesystem::exists(folder));
}

TEST_F(LabLife, PlacesThatAreNotThereAreNamed) {
  const RunningLab lab({"--nodes=1"});
  const auto says = [&lab](Words words) {
    words.insert(words.begin(), {fairlead_program(), "lab"});
    return refusal(words, lab.env());
  };
  EXPECT_EQ(says({"exec", "ghost", "--", "true"}),
            "fairlead: no pod \"ghost\" in namespace \"default\" on any node\n");
  EXPECT_EQ(says({"exec", "node/x", "--", "true"}),
            "fairlead: no node \"x\" (there are node1 to node1)\n");
  EXPECT_THAT(says({"exec", "client", "--", "/no/such/program"}), HasSubstr("/no/such/program"));
  EXPECT_THAT(says({"logs", "ghost"}), HasSubstr("no log of pod default/ghost"));
}

}  // namespace
}  // namespace fairlead::lab_test
