#include "proxy/modes/ipvs/scheduler.hpp"

#include <gtest/gtest.h>

namespace fairlead::ipvs {
namespace {

TEST(IpvsScheduler, IsReadAsUsersWriteIt) {
  struct Row {
    std::string_view text;
    std::string_view name;  // empty: refused
    std::uint32_t flags = 0;
  };
  const std::array rows = {
      Row{"", "rr"},
      Row{"wlc", "wlc"},
      Row{"mh", "mh", kHashPort},
      Row{"mh:fallback", "mh", kFallback},
      Row{"sh:port,fallback", "sh", kHashPort | kFallback},
      Row{"twos", "twos"},
      Row{"rr:port", ""},
      Row{"sh:ports", ""},
      Row{"sh:", ""},
      Row{"RR", ""},
      Row{":port", ""},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.text);
    const auto parsed = parse_scheduler(row.text);
    EXPECT_EQ(parsed.has_value(), !row.name.empty());
    if (parsed) EXPECT_EQ(*parsed, (Scheduling{.name = std::string(row.name), .flags = row.flags}));
  }
}

}  // namespace
}  // namespace fairlead::ipvs
