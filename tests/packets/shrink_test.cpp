#include "packets/shrink.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fairlead::packets {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const Objects kThree = {
    R"({"kind":"Service","metadata":{"name":"a"},"spec":{"ports":[]}})",
    R"({"kind":"Service","metadata":{"name":"b"},)"
    R"("spec":{"type":"NodePort","ports":[{"port":80},{"port":53,"nodePort":1}]}})",
    R"({"kind":"EndpointSlice","metadata":{"name":"b-1"},"endpoints":[{},{}]})"};

TEST(Shrink, LeavesWhatTheFailureNeeds) {
  const auto needs = [](const Objects& objects) {
    return std::ranges::any_of(
        objects, [](const std::string& o) { return o.find(R"("port":53)") != std::string::npos; });
  };
  EXPECT_THAT(shrink(kThree, needs, 1000),
              ElementsAre(R"({"kind":"Service","metadata":{"name":"b"},)"
                          R"("spec":{"ports":[{"port":53}]}})"));
}

TEST(Shrink, AsksNoMoreOftenThanItMay) {
  int asked = 0;
  const auto count = [&](const Objects&) { return ++asked, false; };
  EXPECT_EQ(shrink(kThree, count, 5), kThree);
  EXPECT_EQ(asked, 5);
}

}  // namespace
}  // namespace fairlead::packets
