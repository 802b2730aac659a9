#include "io/process.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include "io/netns.hpp"
#include "support/loop.hpp"

namespace fairlead::io {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPlenty{20'000};

TEST(Process, RunsToItsEndAndGivesBackBothOutputs) {
  const auto output =
      run_blocking({.argv = {"sh", "-c", "cat; echo oops >&2; exit 3"}}, "hello\n", kPlenty);
  ASSERT_TRUE(output.has_value()) << output.error().message;
  EXPECT_EQ(output->out, "hello\n");
  EXPECT_EQ(output->err, "oops\n");
  EXPECT_EQ(output->status, ExitStatus{.code = 3});
  EXPECT_EQ(output->status.to_string(), "exit code 3");
}

TEST(Process, MoreInputThanAPipeHoldsDoesNotDeadlock) {
  const std::string big(3'000'000, 'x');
  const auto output = run_blocking({.argv = {"cat"}}, big, kPlenty);
  ASSERT_TRUE(output.has_value()) << output.error().message;
  EXPECT_EQ(output->out.size(), big.size());
}

TEST(Process, AChildThatDoesNotReadItsInputDoesNotEndUs) {
  const auto output = run_blocking({.argv = {"true"}}, std::string(1'000'000, 'x'), kPlenty);
  ASSERT_TRUE(output.has_value()) << output.error().message;
  EXPECT_TRUE(output->status.ok());
}

TEST(Process, AChildThatTakesTooLongIsKilled) {
  const auto output =
      run_blocking({.argv = {"sh", "-c", "exec cat /dev/zero >/dev/null"}}, "", milliseconds{50});
  ASSERT_FALSE(output.has_value());
  EXPECT_EQ(output.error().code, ErrorCode::Timeout);
  const auto silent = run_blocking(
      {.argv = {"sh", "-c", "exec >/dev/null 2>&1; exec cat /dev/zero"}}, "", milliseconds{50});
  ASSERT_FALSE(silent.has_value()) << "closing its outputs is not ending";
}

TEST(Process, AMissingProgramIsAnErrorHere) {
  const auto child = Child::spawn({.argv = {"no-such-program-of-ours"}});
  ASSERT_FALSE(child.has_value());
  EXPECT_EQ(child.error().message, "no program \"no-such-program-of-ours\" in PATH");
  const auto absolute = Child::spawn({.argv = {"/nonexistent/program"}});
  ASSERT_FALSE(absolute.has_value());
  EXPECT_EQ(absolute.error().code, ErrorCode::NotFound);
}

TEST(Process, EnvironmentIsAddedToOurs) {
  const auto output = run_blocking({.argv = {"sh", "-c", "echo $FAIRLEAD_TEST:${PATH:+path}"},
                                    .env = {{"FAIRLEAD_TEST", "yes"}}},
                                   "", kPlenty);
  ASSERT_TRUE(output.has_value()) << output.error().message;
  EXPECT_EQ(output->out, "yes:path\n");
}

TEST(Process, WaitUntilGivesUpAtItsDeadlineAndTheChildLives) {
  test::Loop loop;
  auto child = Child::spawn({.argv = {"sh", "-c", "exec cat /dev/zero >/dev/null"}});
  ASSERT_TRUE(child.has_value());
  const auto now = std::chrono::steady_clock::now();
  const auto late = loop.run(child->wait_until(now + milliseconds{10}));
  ASSERT_TRUE(late.has_value() && late->has_value());
  EXPECT_EQ(**late, std::nullopt);
  EXPECT_TRUE(child->running());
  ASSERT_TRUE(child->signal(SIGKILL).has_value());
  const auto ended = loop.run(child->wait_until(now + kPlenty));
  ASSERT_TRUE(ended.has_value() && ended->has_value());
  EXPECT_EQ(**ended, ExitStatus{.signal = SIGKILL});
}

TEST(Process, ADestroyedChildIsKilledAndReaped) {
  pid_t pid = 0;
  {
    auto quiet = Child::spawn({.argv = {"sh", "-c", "exec cat /dev/zero >/dev/null"}});
    ASSERT_TRUE(quiet.has_value());
    pid = quiet->pid();
    const Child moved = std::move(*quiet);
  }
  EXPECT_EQ(::kill(pid, 0), -1);
}

TEST(Process, ASignalledChildSaysSo) {
  auto child = Child::spawn({.argv = {"sh", "-c", "exec cat /dev/zero >/dev/null"}});
  ASSERT_TRUE(child.has_value());
  ASSERT_TRUE(child->signal(SIGTERM).has_value());
  const auto status = child->wait_blocking();
  ASSERT_TRUE(status.has_value());
  EXPECT_EQ(status->signal, SIGTERM);
  EXPECT_FALSE(child->running());
}

TEST(Process, AChildStartsWithoutOurSignalSettings) {
  sigset_t blocked, before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  ASSERT_EQ(::pthread_sigmask(SIG_BLOCK, &blocked, &before), 0);
  const auto former = ::signal(SIGPIPE, SIG_IGN);
  const auto output =
      run_blocking({.argv = {"grep", "-E", "^Sig(Blk|Ign):", "/proc/self/status"}}, "", kPlenty);
  ::signal(SIGPIPE, former);
  ASSERT_EQ(::pthread_sigmask(SIG_SETMASK, &before, nullptr), 0);
  ASSERT_TRUE(output) << output.error().message;
  EXPECT_EQ(output->out, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

TEST(Process, AssigningOverARunningChildEndsIt) {
  auto first = Child::spawn({.argv = {"cat", "/dev/zero"}});
  auto second = Child::spawn({.argv = {"true"}});
  ASSERT_TRUE(first && second);
  const pid_t pid = first->pid();
  *first = *std::move(second);
  EXPECT_EQ(::kill(pid, 0), -1);
  EXPECT_EQ(errno, ESRCH);
}

TEST(NetNamespace, ChangesOnlyTheThreadThatEntersIt) {
  const auto ns = NetNamespace::create();
  if (!ns && ns.error().code == ErrorCode::Forbidden) GTEST_SKIP() << ns.error().message;
  ASSERT_TRUE(ns.has_value()) << ns.error().message;
  const auto namespace_id = [] {
    char text[64] = {};
    const ssize_t n = ::readlink("/proc/thread-self/ns/net", text, sizeof text - 1);
    return n > 0 ? std::string(text) : std::string();
  };
  const std::string ours = namespace_id();
  std::string inside;
  ASSERT_TRUE(ns->run([&]() -> Result<void> {
                  inside = namespace_id();
                  return {};
                }).has_value());
  EXPECT_NE(inside, ours);
  EXPECT_EQ(namespace_id(), ours);
}

TEST(NetNamespace, ProcessesCanBeStartedInIt) {
  const auto ns = NetNamespace::create();
  if (!ns && ns.error().code == ErrorCode::Forbidden) GTEST_SKIP() << ns.error().message;
  ASSERT_TRUE(ns.has_value()) << ns.error().message;
  const auto output =
      run_blocking({.argv = {"cat", "/proc/net/dev"}, .namespaces = {ns->fd()}}, "", kPlenty);
  ASSERT_TRUE(output.has_value()) << output.error().message;
  EXPECT_NE(output->out.find("lo:"), std::string::npos);
  EXPECT_EQ(output->out.find("eth"), std::string::npos);
}

}  // namespace
}  // namespace fairlead::io
