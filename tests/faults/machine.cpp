#include "faults/machine.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace fairlead::faults {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

Result<void> enter(const io::NetNamespace& network) {
  if (setns(network.fd(), CLONE_NEWNET) != 0) return errno_error(errno, "enter a namespace");
  return {};
}

}  // namespace

Result<std::unique_ptr<Machine>> Machine::create() {
  FAIRLEAD_TRY(home, io::NetNamespace::current());
  FAIRLEAD_TRY(own, io::NetNamespace::create());
  FAIRLEAD_CHECK(enter(own));
  std::unique_ptr<Machine> out(new Machine(std::move(home), std::move(own)));
  out->folder_ = testing::TempDir() + "fairlead-faults-XXXXXX";
  if (mkdtemp(out->folder_.data()) == nullptr) return errno_error(errno, "make a folder");
  return out;
}

Machine::~Machine() {
  check(enter(home_).has_value(), "the namespace we came from can be entered again");
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

std::string Machine::write(std::string_view name, std::string_view content) const {
  std::ofstream(path(name)) << content;
  return path(name);
}

io::Output run(std::vector<std::string> argv, std::string_view input) {
  auto output = io::run_blocking({.argv = std::move(argv)}, input, 10s);
  EXPECT_TRUE(output) << (output ? "" : output.error().message);
  return output ? *std::move(output) : io::Output{.status = {.code = -1}};
}

std::string nft(const std::string& command) {
  const io::Output output = run({"nft", command});
  EXPECT_TRUE(output.status.ok()) << command << ": " << output.err;
  return output.out;
}

std::string ruleset() { return run({"nft", "--stateless", "list", "ruleset"}).out; }

std::string program_path(std::string_view name) {
  return std::string(FAIRLEAD_BINARY_DIR) + "/src/cli/" + std::string(name);
}

Program::Program(std::vector<std::string> argv) {
  std::array<int, 2> ends{};
  check(pipe2(ends.data(), O_CLOEXEC) == 0, "a pipe can be made");
  output_ = io::UniqueFd(ends[0]);
  const io::UniqueFd writer(ends[1]);
  auto child = io::Child::spawn({.argv = std::move(argv), .stderr_fd = writer.get()});
  check(child.has_value(), "the program under test is built and starts");
  child_ = *std::move(child);
}

bool Program::read_more(steady_clock::time_point deadline) {
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(deadline - steady_clock::now());
  pollfd waiting{.fd = output_.get(), .events = POLLIN, .revents = 0};
  if (left <= 0ms || poll(&waiting, 1, static_cast<int>(left.count())) <= 0) return false;
  std::array<char, 4096> buffer;
  const ssize_t size = read(output_.get(), buffer.data(), buffer.size());
  if (size <= 0) return false;
  log_.append(buffer.data(), static_cast<std::size_t>(size));
  return true;
}

bool Program::says(std::string_view text, std::chrono::milliseconds patience) {
  const auto deadline = steady_clock::now() + patience;
  while (true) {
    const auto found = log_.find(text, seen_);
    const auto end = found == std::string::npos ? found : log_.find('\n', found);
    if (end != std::string::npos) {
      seen_ = end + 1;
      return true;
    }
    if (!read_more(deadline)) return false;
  }
}

bool Program::until(const std::function<bool()>& holds) {
  const auto deadline = steady_clock::now() + 20s;
  while (!holds()) {
    if (!read_more(deadline)) return holds();
  }
  return true;
}

void Program::signal(int number) { EXPECT_TRUE(child_->signal(number)); }

std::optional<io::ExitStatus> Program::end(std::chrono::milliseconds patience) {
  const auto deadline = steady_clock::now() + patience;
  while (read_more(deadline)) {
  }
  if (!child_->ends_before(deadline)) return std::nullopt;
  auto status = child_->wait_blocking();
  EXPECT_TRUE(status);
  return status ? std::optional(*status) : std::nullopt;
}

}  // namespace fairlead::faults
