// The namespace that the tests are started in is not theirs: it must look the same afterwards.
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <string>

namespace fairlead::packets {
namespace {

std::string output_of(const std::string& command) {
  std::FILE* pipe = ::popen((command + " 2>/dev/null").c_str(), "re");
  if (pipe == nullptr) return "";
  std::string out;
  std::array<char, 4096> part{};
  while (const std::size_t n = std::fread(part.data(), 1, part.size(), pipe))
    out.append(part.data(), n);
  ::pclose(pipe);
  // What changes by itself: counters, dates, lifetimes.
  return std::regex_replace(out, std::regex("\\[[0-9]+:[0-9]+\\]|#[^\n]*|expires [0-9]+sec"), "");
}

std::map<std::string, std::string> look() {
  std::map<std::string, std::string> out;
  for (const std::string command :
       {"nft -s list ruleset", "iptables-save", "ip6tables-save", "ip -brief address",
        "ip -4 route show table all", "ip -6 route show table all", "ip rule"})
    out[command] = output_of(command);
  for (const std::string folder :
       {"ipv4/conf/all", "ipv4/conf/default", "ipv6/conf/all", "ipv6/conf/default"}) {
    const auto path = std::filesystem::path("/proc/sys/net") / folder;
    if (!std::filesystem::exists(path)) continue;
    for (const auto& entry : std::filesystem::directory_iterator(path))
      std::getline(std::ifstream(entry.path()), out[entry.path()]);
  }
  for (const std::string file : {"ipv4/ip_forward", "ipv4/icmp_ratelimit", "ipv6/icmp/ratelimit",
                                 "netfilter/nf_conntrack_max"})
    std::getline(std::ifstream("/proc/sys/net/" + file), out[file]);
  return out;
}

class HostGuard : public ::testing::Environment {
 public:
  void SetUp() override { before_ = look(); }
  void TearDown() override {
    const auto after = look();
    for (const auto& [what, text] : before_)
      EXPECT_EQ(after.at(what), text) << "the tests changed the host's own: " << what;
  }

 private:
  std::map<std::string, std::string> before_;
};

const auto* const kGuard = ::testing::AddGlobalTestEnvironment(new HostGuard);

}  // namespace
}  // namespace fairlead::packets
