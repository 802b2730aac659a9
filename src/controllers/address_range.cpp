#include "controllers/address_range.hpp"

#include "base/text.hpp"

namespace fairlead::controllers {
namespace {

IpAddress address_before(const IpAddress& address) { return address.plus(~std::uint64_t{0}); }

Result<AddressRange> parse_bounds(std::string_view first, std::string_view last) {
  FAIRLEAD_TRY(from, IpAddress::parse(trim(first)));
  FAIRLEAD_TRY(to, IpAddress::parse(trim(last)));
  if (from.family() != to.family())
    return make_error(ErrorCode::Invalid, "{} and {} are of different families", from, to);
  if (to < from) return make_error(ErrorCode::Invalid, "{} is above {}", from, to);
  return AddressRange{.first = from, .last = to};
}

AddressRange usable(const IpPrefix& prefix) {
  AddressRange out{.first = prefix.address(), .last = prefix.last()};
  if (prefix.length() + 1 >= prefix.address().bits()) return out;
  out.first = out.first.plus(1);
  if (prefix.family() == IpFamily::V4) out.last = address_before(out.last);
  return out;
}

}  // namespace

std::string AddressRange::to_string() const {
  return first == last ? first.to_string() : fmt::format("{}-{}", first, last);
}

Result<AddressRange> parse_address_range(std::string_view text) {
  const std::string_view whole = trim(text);
  const auto dash = whole.find('-');
  if (dash != std::string_view::npos) {
    auto bounds = parse_bounds(whole.substr(0, dash), whole.substr(dash + 1));
    if (!bounds) return bounds.error().with_context(fmt::format("address range \"{}\"", whole));
    return bounds;
  }
  if (whole.find('/') == std::string_view::npos)
    return parse_address_range(fmt::format("{0}-{0}", whole));
  const auto prefix = IpPrefix::parse(whole);
  if (!prefix) return prefix.error().with_context(fmt::format("address range \"{}\"", whole));
  return usable(*prefix);
}

Result<std::vector<AddressRange>> parse_address_ranges(std::span<const std::string> texts) {
  std::vector<AddressRange> out;
  for (const std::string& text : texts) {
    FAIRLEAD_TRY(range, parse_address_range(text));
    for (const AddressRange& other : out) {
      if (range.first <= other.last && other.first <= range.last)
        return make_error(ErrorCode::Invalid, "address ranges {} and {} overlap", other.to_string(),
                          range.to_string());
    }
    out.push_back(range);
  }
  return out;
}

}  // namespace fairlead::controllers
