// What a plan becomes, in full, as a golden file: every operation from nothing, and the rules.
// FAIRLEAD_UPDATE_GOLDEN=1 writes it anew; read the difference before committing it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "proxy/modes/ipvs/render.hpp"
#include "proxy/modes/ipvs/rules.hpp"
#include "proxy/modes/ipvs/scheduler.hpp"
#include "proxy/modes/ipvs/script.hpp"
#include "unit/ipvs/plans.hpp"

namespace fairlead::ipvs {
namespace {

using testing::cidr;
using ::testing::ElementsAre;
using testing::ip;

const Surroundings& surroundings() {
  static const Surroundings node{
      .interface_addresses = {ip("127.0.0.1"), ip("192.168.50.1"), ip("10.0.1.1"), ip("::1"),
                              ip("fe80::1"), ip("fd00:50::1")},
      .schedulers = {"rr", "wrr", "sh", "mh"}};
  return node;
}

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

void compare_with_golden(const std::string& name, const std::string& text) {
  const std::string path = fmt::format("{}/tests/golden/ipvs/{}", FAIRLEAD_SOURCE_DIR, name);
  if (std::getenv("FAIRLEAD_UPDATE_GOLDEN") != nullptr) std::ofstream(path) << text;
  EXPECT_EQ(read_file(path), text);
}

TEST(IpvsRender, EveryKindOfServiceGoesAsTheGoldenFileSays) {
  const plan::Plan plan = testing::example_plan();
  std::string text;
  for (const auto& [family, node] : plan.nodes) {
    text += fmt::format("# {}\n", family);
    for (const Operation& operation : difference({}, render_family(plan, family, surroundings())))
      text += to_string(operation) + "\n";
  }
  compare_with_golden("operations.txt", text);
}

TEST(IpvsScript, IsWhatTheToolsOfIpvsRead) {
  const plan::Plan plan = testing::example_plan();
  std::string text = device_script();
  for (const auto& [family, node] : plan.nodes) {
    text += to_script(render_family(plan, family, surroundings()), rules_for(node, family), family);
  }
  compare_with_golden("script.txt", text);
}

TEST(IpvsRules, AreWrittenAsTheGoldenFilesSay) {
  const plan::Plan plan = testing::example_plan();
  compare_with_golden("rules.v4",
                      restore_text({}, rules_for(plan.nodes.at(IpFamily::V4), IpFamily::V4)));
  compare_with_golden("rules.v6",
                      restore_text({}, rules_for(plan.nodes.at(IpFamily::V6), IpFamily::V6)));
}

}  // namespace
}  // namespace fairlead::ipvs
