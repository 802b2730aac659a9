#include "controllers/enabled.hpp"

#include <gtest/gtest.h>

namespace fairlead::controllers {
namespace {

TEST(EnabledControllers, AreThoseTheListNames) {
  EnabledControllers without_health = all_controllers();
  without_health.erase(ControllerName::NodeHealth);
  const struct {
    std::vector<std::string> list;
    EnabledControllers enabled;
  } cases[] = {
      {.list = {"*"}, .enabled = all_controllers()},
      {.list = {}, .enabled = {}},
      {.list = {"*", "-node-lifecycle-controller"}, .enabled = without_health},
      {.list = {"-nodelifecycle", "*"}, .enabled = without_health},
      {.list = {"podgc", "endpointslice-controller"},
       .enabled = {ControllerName::PodGarbage, ControllerName::EndpointSlices}},
      {.list = {"podgc", "-podgc"}, .enabled = {ControllerName::PodGarbage}},
  };
  for (const auto& row : cases) {
    const auto enabled = enabled_controllers(row.list);
    ASSERT_TRUE(enabled) << enabled.error().message;
    EXPECT_EQ(*enabled, row.enabled) << fmt::format("{}", fmt::join(row.list, ","));
  }
}

TEST(EnabledControllers, ANameOfNoneIsRefused) {
  for (const char* name : {"", "-", "-*", "deployment", "--podgc"}) {
    const auto enabled = enabled_controllers({"*", name});
    ASSERT_FALSE(enabled) << name;
    EXPECT_EQ(enabled.error().message,
              fmt::format("\"{}\" is none of endpointslice-controller, endpoints-controller, "
                          "endpointslice-mirroring-controller, service-lb-controller, "
                          "pod-garbage-collector-controller, node-lifecycle-controller",
                          name));
  }
}

}  // namespace
}  // namespace fairlead::controllers
