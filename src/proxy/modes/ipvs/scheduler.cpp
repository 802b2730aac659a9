#include "proxy/modes/ipvs/scheduler.hpp"

#include <algorithm>
#include <array>

namespace fairlead::ipvs {
namespace {

constexpr std::array<std::string_view, 13> kNames = {
    "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "dh", "sed", "nq", "fo", "ovf", "mh"};

bool takes_options(std::string_view name) { return name == "sh" || name == "mh"; }

}  // namespace

std::span<const std::string_view> scheduler_names() { return kNames; }

Result<Scheduling> parse_scheduler(std::string_view text) {
  if (text.empty()) return Scheduling{};
  const std::size_t colon = text.find(':');
  Scheduling out{.name = std::string(text.substr(0, colon))};
  const bool plain = !out.name.empty() && std::ranges::all_of(out.name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
  if (!plain)
    return make_error(ErrorCode::Invalid, "scheduler \"{}\": not a scheduler's name", text);
  if (colon == std::string_view::npos) {
    if (out.name == "mh") out.flags = kHashPort;
    return out;
  }
  if (!takes_options(out.name))
    return make_error(ErrorCode::Invalid, "scheduler \"{}\": {} has no options", text, out.name);
  std::string_view rest = text.substr(colon + 1);
  while (true) {
    const std::size_t comma = rest.find(',');
    const std::string_view option = rest.substr(0, comma);
    if (option == "port") {
      out.flags |= kHashPort;
    } else if (option == "fallback") {
      out.flags |= kFallback;
    } else {
      return make_error(ErrorCode::Invalid,
                        "scheduler \"{}\": \"{}\" is neither \"port\" nor \"fallback\"", text,
                        option);
    }
    if (comma == std::string_view::npos) return out;
    rest.remove_prefix(comma + 1);
  }
}

}  // namespace fairlead::ipvs
