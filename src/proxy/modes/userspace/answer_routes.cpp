#include "proxy/modes/userspace/answer_routes.hpp"

#include <string>

#include "proxy/modes/userspace/entrance.hpp"

namespace fairlead::userspace {
namespace {

struct Present {
  bool rule = false, route = false;
};

Result<Present> present(const char* family) {
  const std::string table = std::to_string(kAnswerTable);
  FAIRLEAD_TRY(rules, run_tool({"ip", family, "rule", "show", "table", table}));
  // A table that never had a route is an error to some versions of ip.
  const auto routes = run_tool({"ip", family, "route", "show", "table", table});
  return Present{.rule = !rules.empty(), .route = routes && !routes->empty()};
}

}  // namespace

Result<void> make_answer_routes() {
  const std::string table = std::to_string(kAnswerTable);
  const std::string mark = fmt::format("{0:#x}/{0:#x}", kAnswerMark);
  for (const char* family : {"-4", "-6"}) {
    FAIRLEAD_TRY(there, present(family));
    if (!there.route) {
      FAIRLEAD_CHECK(run_tool(
          {"ip", family, "route", "replace", "local", "default", "dev", "lo", "table", table}));
    }
    if (!there.rule) {
      FAIRLEAD_CHECK(run_tool({"ip", family, "rule", "add", "fwmark", mark, "lookup", table}));
    }
  }
  return {};
}

Result<bool> has_answer_routes() {
  for (const char* family : {"-4", "-6"}) {
    FAIRLEAD_TRY(there, present(family));
    if (!there.rule || !there.route) return false;
  }
  return true;
}

Result<bool> remove_answer_routes() {
  const std::string table = std::to_string(kAnswerTable);
  bool out = false;
  for (const char* family : {"-4", "-6"}) {
    const auto found = present(family);
    if (!found && found.error().code == ErrorCode::NotFound) continue;  // no ip(8), no routes
    FAIRLEAD_TRY(there, found);
    if (there.rule) FAIRLEAD_CHECK(run_tool({"ip", family, "rule", "del", "table", table}));
    if (there.route) FAIRLEAD_CHECK(run_tool({"ip", family, "route", "flush", "table", table}));
    out = out || there.rule || there.route;
  }
  return out;
}

}  // namespace fairlead::userspace
