// The API server's answers about Services, read into the values of a History.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "history/history.hpp"

namespace fairlead::history {

Result<State> service_state(std::string_view json);
Result<Listing> service_list(std::string_view json);

// One line of a watch: an event, or a bookmark's revision, or that the past is forgotten.
struct Told {
  std::optional<Event> event;
  Revision revision = 0;
  bool expired = false;
};
Result<Told> watch_line(std::string_view json);

// The names of a list of IPAddresses whose parent lives in this namespace.
Result<std::set<std::string>> addresses_of(std::string_view json, std::string_view ns);

}  // namespace fairlead::history
