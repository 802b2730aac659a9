// Set declarations, with the user data in which nft keeps what the kernel does not need: byte
// orders, and that a key of several fields is a concatenation. Without
// it `nft list` cannot read our sets.
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include "proxy/modes/nftables/nftnl_objects.hpp"

namespace fairlead::nftables {
namespace {

// nft's own numbers (its datatype.h, expression.h, proto.h), stable because they live in saved user
// data.
enum class NftType : std::uint32_t {
  Ipv4 = 7,
  Ipv6 = 8,
  Protocol = 12,
  Service = 13,
  ClassId = 23
};
enum class NftExpression : std::uint32_t { Concat = 13 };
enum class ByteOrder : std::uint32_t { Unknown = 0, Host = 1, Big = 2 };
constexpr unsigned kTypeBits = 6;

NftType type_of(FieldType field, IpFamily family) {
  switch (field) {
    case FieldType::Address:
      return family == IpFamily::V4 ? NftType::Ipv4 : NftType::Ipv6;
    case FieldType::Protocol:
      return NftType::Protocol;
    case FieldType::Service:
      return NftType::Service;
    case FieldType::Slot:
    case FieldType::Token:
    case FieldType::Shape:
      return NftType::ClassId;
  }
  return NftType::ClassId;
}

std::uint32_t concatenated(std::span<const FieldType> fields, IpFamily family) {
  std::uint32_t type = 0;
  for (const FieldType field : fields)
    type = (type << kTypeBits) | static_cast<std::uint32_t>(type_of(field, family));
  return type;
}

std::vector<FieldType> data_fields(DataKind data) {
  if (data == DataKind::Backend) return {FieldType::Address, FieldType::Service};
  if (data == DataKind::Token) return {FieldType::Token};
  if (data == DataKind::Shape) return {FieldType::Shape};
  return {};
}

// Type-length-value records with one-byte types and lengths, nested.
class UserData {
 public:
  UserData& number(std::uint8_t type, std::uint32_t value) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(&value);
    return record(type, {bytes, sizeof value});
  }
  template <class Enum>
  UserData& number(std::uint8_t type, Enum value) {
    return number(type, static_cast<std::uint32_t>(value));
  }
  UserData& nest(std::uint8_t type, const UserData& inner) { return record(type, inner.bytes_); }
  const std::vector<std::uint8_t>& bytes() const { return bytes_; }

 private:
  UserData& record(std::uint8_t type, std::span<const std::uint8_t> value) {
    bytes_.push_back(type);
    bytes_.push_back(static_cast<std::uint8_t>(value.size()));
    bytes_.insert(bytes_.end(), value.begin(), value.end());
    return *this;
  }
  std::vector<std::uint8_t> bytes_;
};

// Record types inside "typeof".
constexpr std::uint8_t kExpression = NFTNL_UDATA_SET_TYPEOF_EXPR;
constexpr std::uint8_t kDetails = NFTNL_UDATA_SET_TYPEOF_DATA;

// What nft wants for a concatenation whose parts the type already names.
UserData concatenation() {
  return std::move(
      UserData{}.number(kExpression, NftExpression::Concat).nest(kDetails, UserData{}));
}

ByteOrder byte_order(std::span<const FieldType> fields) {
  if (fields.size() != 1) return ByteOrder::Unknown;
  return type_of(fields[0], IpFamily::V4) == NftType::ClassId ? ByteOrder::Host : ByteOrder::Big;
}

UserData user_data(const SetSchema& s) {
  const std::vector<FieldType> data = data_fields(s.data);
  UserData u;
  u.number(NFTNL_UDATA_SET_KEYBYTEORDER, byte_order(s.key));
  if (s.data != DataKind::None) u.number(NFTNL_UDATA_SET_DATABYTEORDER, byte_order(data));
  if (s.key.size() > 1) u.nest(NFTNL_UDATA_SET_KEY_TYPEOF, concatenation());
  if (data.size() > 1) u.nest(NFTNL_UDATA_SET_DATA_TYPEOF, concatenation());
  if (s.data != DataKind::None) u.number(NFTNL_UDATA_SET_DATA_INTERVAL, std::uint32_t{0});
  return u;
}

std::uint32_t flags_of(const SetSchema& s) {
  std::uint32_t flags = 0;
  if (s.data != DataKind::None) flags |= NFT_SET_MAP;
  if (s.interval) flags |= NFT_SET_INTERVAL | NFT_SET_CONCAT;
  if (s.learnt) flags |= NFT_SET_TIMEOUT | NFT_SET_EVAL;
  return flags;
}

// Unpadded lengths of the key's fields, for interval sets.
std::vector<std::uint8_t> field_lengths(const SetSchema& s, IpFamily family) {
  std::vector<std::uint8_t> lengths;
  for (const FieldType field : s.key) {
    const std::size_t bytes = field == FieldType::Protocol  ? 1
                              : field == FieldType::Service ? 2
                                                            : width(field, family);
    lengths.push_back(static_cast<std::uint8_t>(bytes));
  }
  return lengths;
}

}  // namespace

SetPtr make_set(SetId id, IpFamily family, const std::string& table, std::uint32_t number) {
  const SetSchema& s = schema(id);
  SetPtr set(nftnl_set_alloc());
  check(set != nullptr, "memory for a set");
  nftnl_set_set_str(set.get(), NFTNL_SET_TABLE, table.c_str());
  nftnl_set_set_str(set.get(), NFTNL_SET_NAME, std::string(s.name).c_str());
  nftnl_set_set_u32(set.get(), NFTNL_SET_FAMILY, nf_family(family));
  nftnl_set_set_u32(set.get(), NFTNL_SET_ID, number);
  nftnl_set_set_u32(set.get(), NFTNL_SET_FLAGS, flags_of(s));
  nftnl_set_set_u32(set.get(), NFTNL_SET_KEY_TYPE, concatenated(s.key, family));
  nftnl_set_set_u32(set.get(), NFTNL_SET_KEY_LEN,
                    static_cast<std::uint32_t>(key_width(id, family)));
  if (s.data == DataKind::Verdict) {
    nftnl_set_set_u32(set.get(), NFTNL_SET_DATA_TYPE, static_cast<std::uint32_t>(NFT_DATA_VERDICT));
  } else if (s.data != DataKind::None) {
    nftnl_set_set_u32(set.get(), NFTNL_SET_DATA_TYPE, concatenated(data_fields(s.data), family));
    nftnl_set_set_u32(set.get(), NFTNL_SET_DATA_LEN,
                      static_cast<std::uint32_t>(data_width(id, family)));
  }
  if (s.interval) {
    const std::vector<std::uint8_t> lengths = field_lengths(s, family);
    nftnl_set_set_data(set.get(), NFTNL_SET_DESC_CONCAT, lengths.data(),
                       static_cast<std::uint32_t>(lengths.size()));
  }
  if (s.learnt) nftnl_set_set_u32(set.get(), NFTNL_SET_DESC_SIZE, kAffinitySize);
  const UserData u = user_data(s);
  nftnl_set_set_data(set.get(), NFTNL_SET_USERDATA, u.bytes().data(),
                     static_cast<std::uint32_t>(u.bytes().size()));
  return set;
}

std::uint8_t nf_family(IpFamily family) {
  return family == IpFamily::V4 ? NFPROTO_IPV4 : NFPROTO_IPV6;
}

}  // namespace fairlead::nftables
