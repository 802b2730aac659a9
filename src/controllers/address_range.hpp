// Ranges of addresses that a cluster's operator gives away to Services, as the flags write them.
// Values, pure.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.hpp"

namespace fairlead::controllers {

struct AddressRange {
  IpAddress first, last;  // both included, of one family, first <= last
  bool contains(const IpAddress& address) const { return first <= address && address <= last; }
  std::string to_string() const;
  bool operator==(const AddressRange&) const = default;
};

// "192.0.2.0/28" leaves out the network's own address and its broadcast address (IPv6: the subnet
// routers' anycast address, RFC 4291 2.6.1), as far as the prefix has such: /31, /32, /127 and /128
// are taken whole. "192.0.2.0-192.0.2.15" means just that.
Result<AddressRange> parse_address_range(std::string_view text);

// Parses each; ranges that overlap are an error, since an address belongs to one pool.
Result<std::vector<AddressRange>> parse_address_ranges(std::span<const std::string> texts);

}  // namespace fairlead::controllers
