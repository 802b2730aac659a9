// The small values that texts everywhere are made of: what parses is printed as a text that parses
// to the same value.
#include "base/clock.hpp"
#include "base/ip.hpp"
#include "fuzz/input.hpp"

using namespace fairlead;

namespace {

template <class T>
void survives(const Result<T>& parsed) {
  if (!parsed) return;
  const auto again = T::parse(parsed->to_string());
  check(again && *again == *parsed, "a value survives being printed");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::text_of(data, size);
  survives(IpAddress::parse(text));
  survives(IpAddress::parse_sloppy(text));
  survives(IpPrefix::parse(text));
  survives(IpPrefix::parse_sloppy(text));
  survives(SocketAddress::parse(text));
  if (const auto time = parse_rfc3339(text)) {
    const auto again = parse_rfc3339(format_rfc3339(*time, 9));
    check(again && *again == *time, "a time survives being printed");
  }
  if (const auto duration = parse_duration(text)) {
    const auto again = parse_duration(format_duration(*duration));
    check(again && *again == *duration, "a duration survives being printed");
  }
  static_cast<void>(parse_port(text));
  static_cast<void>(parse_protocol(text));
  return 0;
}
