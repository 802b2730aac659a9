// The namespaces that a lab is started in are not its own: they must look the same afterwards.
#include <filesystem>
#include <fstream>
#include <sstream>

#include "lab/program.hpp"

namespace fairlead::lab_test {
namespace {

std::map<std::string, std::string> look() {
  std::map<std::string, std::string> out;
  for (const Words& command :
       {Words{"nft", "-s", "list", "ruleset"}, Words{"ip", "-d", "-o", "address"},
        Words{"ip", "-d", "-o", "link"}, Words{"ip", "-4", "route", "show", "table", "all"},
        Words{"ip", "-6", "route", "show", "table", "all"}, Words{"ip", "rule"},
        Words{"ls", "/run/netns"}, Words{"cat", "/proc/self/mountinfo"}})
    out[fmt::format("{}", fmt::join(command, " "))] = run(command).out;
  std::error_code ec;
  const auto quietly = std::filesystem::directory_options::skip_permission_denied;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator("/proc/sys/net", quietly)) {
    const std::string path = entry.path();
    // What the kernel counts by itself.
    if (!entry.is_regular_file(ec) || path.ends_with("nf_conntrack_count")) continue;
    std::stringstream text;
    text << std::ifstream(path).rdbuf();
    out[path] = text.str();
  }
  return out;
}

class HostGuard : public testing::Environment {
 public:
  void SetUp() override { before_ = look(); }
  void TearDown() override {
    const auto after = look();
    for (const auto& [what, text] : before_)
      EXPECT_EQ(after.at(what), text) << "the lab changed the host's own: " << what;
    EXPECT_EQ(after.size(), before_.size());
  }

 private:
  std::map<std::string, std::string> before_;
};

const auto* const kGuard = testing::AddGlobalTestEnvironment(new HostGuard);

}  // namespace
}  // namespace fairlead::lab_test
