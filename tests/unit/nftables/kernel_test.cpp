// The same ruleset in a real kernel, each test in a network namespace of its own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>

#include "proxy/modes/nftables/nftables_mode.hpp"
#include "unit/nftables/namespace_guard.hpp"
#include "unit/nftables/plans.hpp"

namespace fairlead::nftables {
namespace {

using namespace testing;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Output of a command run in this thread's namespace, and whether it succeeded.
struct Ran {
  bool ok = false;
  std::string output;
};
Ran run(const std::string& command) {
  Ran ran;
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "re");
  if (pipe == nullptr) return ran;
  std::array<char, 4096> part{};
  while (const std::size_t n = std::fread(part.data(), 1, part.size(), pipe))
    ran.output.append(part.data(), n);
  ran.ok = ::pclose(pipe) == 0;
  return ran;
}

// A file that is gone with the test.
class ScratchFile {
 public:
  explicit ScratchFile(const std::string& content)
      : path_(std::filesystem::temp_directory_path() /
              fmt::format("fairlead-{}-{}", ::getpid(), ::rand())) {
    std::ofstream(path_) << content;
  }
  ~ScratchFile() { std::filesystem::remove(path_); }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

std::unique_ptr<plan::Mode> make_mode() {
  auto mode = create({});
  EXPECT_TRUE(mode) << mode.error().message;
  return mode ? *std::move(mode) : nullptr;
}

void expect_in_order(plan::Mode& mode, const plan::Plan& plan) {
  const auto differences = mode.verify(plan, 20);
  ASSERT_TRUE(differences) << differences.error().message;
  EXPECT_THAT(*differences, IsEmpty());
}

TEST(NftablesKernel, ExampleLoadsAndReadsBackAsExpected) {
  FAIRLEAD_IN_PRIVATE_NETWORK([] {
    auto mode = make_mode();
    ASSERT_TRUE(mode);
    const plan::Plan plan = example_plan();
    const auto applied = mode->apply_full(plan);
    ASSERT_TRUE(applied) << applied.error().message;
    expect_in_order(*mode, plan);
    if (std::getenv("SHOW")) std::puts(run("nft list ruleset").output.c_str());
  });
}

}  // namespace
}  // namespace fairlead::nftables
