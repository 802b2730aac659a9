// The pod addresses of one node as small numbers: the n-th address of its IPv4 and IPv6 slice.
// Freed numbers come round again as late as possible, so that a new pod does not inherit what
// others still send to an old one.
#pragma once

#include <bitset>
#include <optional>

namespace fairlead::lab {

class AddressPool {
 public:
  static constexpr unsigned kFirst = 2, kLast = 254;  // .1 is the gateway, .255 stays unused

  std::optional<unsigned> take() {
    for (unsigned tried = kFirst; tried <= kLast; ++tried) {
      const unsigned candidate = next_;
      next_ = next_ == kLast ? kFirst : next_ + 1;
      if (used_.test(candidate)) continue;
      used_.set(candidate);
      return candidate;
    }
    return std::nullopt;
  }
  void give_back(unsigned number) { used_.reset(number); }

 private:
  std::bitset<kLast + 1> used_;
  unsigned next_ = kFirst;
};

}  // namespace fairlead::lab
