#include "kube/protobuf_wire.hpp"

namespace fairlead::kube {
namespace {

constexpr std::uint64_t kMaxFieldNumber = (1U << 29) - 1;
constexpr std::uint8_t kVarint = 0, kFixed64 = 1, kBytes = 2, kGroup = 3, kGroupEnd = 4,
                       kFixed32 = 5;

Error truncated() { return make_error(ErrorCode::BadRequest, "protobuf: the body is truncated"); }

}  // namespace

Result<std::uint64_t> WireReader::varint() {
  std::uint64_t out = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (rest_.empty()) return truncated();
    const auto byte = static_cast<std::uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    out |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return out;
  }
  return make_error(ErrorCode::BadRequest, "protobuf: a number has more than ten bytes");
}

Result<std::string_view> WireReader::take(std::uint64_t size) {
  if (size > rest_.size()) return truncated();
  const std::string_view out = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return out;
}

Result<std::optional<WireField>> WireReader::next() {
  std::size_t groups = 0;  // open ones, all of it skipped
  while (!rest_.empty()) {
    FAIRLEAD_TRY(tag, varint());
    if (tag >> 3 == 0 || tag >> 3 > kMaxFieldNumber)
      return make_error(ErrorCode::BadRequest, "protobuf: {} is no field number", tag >> 3);
    WireField field{.number = static_cast<std::uint32_t>(tag >> 3)};
    const auto type = static_cast<std::uint8_t>(tag & 7);
    if (type == kVarint) {
      FAIRLEAD_TRY(number, varint());
      field.varint = number;
      if (groups == 0) return std::optional(field);
    } else if (type == kBytes) {
      FAIRLEAD_TRY(size, varint());
      FAIRLEAD_TRY(bytes, take(size));
      field.bytes = bytes;
      field.is_bytes = true;
      if (groups == 0) return std::optional(field);
    } else if (type == kFixed64 || type == kFixed32) {
      FAIRLEAD_CHECK(take(type == kFixed64 ? 8 : 4));
    } else if (type == kGroup) {
      ++groups;
    } else if (type == kGroupEnd && groups > 0) {
      --groups;
    } else {
      return make_error(ErrorCode::BadRequest, "protobuf: wire type {} of field {} is not known",
                        type, field.number);
    }
  }
  if (groups > 0) return truncated();
  return std::optional<WireField>();
}

void append_varint(std::string& out, std::uint64_t value) {
  while (value >= 0x80) {
    out += static_cast<char>(value | 0x80);
    value >>= 7;
  }
  out += static_cast<char>(value);
}

std::size_t varint_size(std::uint64_t value) {
  std::size_t out = 1;
  for (; value >= 0x80; value >>= 7) ++out;
  return out;
}

void append_varint_field(std::string& out, std::uint32_t number, std::uint64_t value) {
  append_varint(out, number << 3 | kVarint);
  append_varint(out, value);
}

void append_bytes_head(std::string& out, std::uint32_t number, std::size_t size) {
  append_varint(out, number << 3 | kBytes);
  append_varint(out, size);
}

void append_bytes_field(std::string& out, std::uint32_t number, std::string_view bytes) {
  append_bytes_head(out, number, bytes.size());
  out += bytes;
}

// One byte is kept for the length, which is nearly always enough.
std::size_t begin_bytes_field(std::string& out, std::uint32_t number) {
  append_varint(out, number << 3 | kBytes);
  out += '\0';
  return out.size();
}

void end_bytes_field(std::string& out, std::size_t begin) {
  std::string size;
  append_varint(size, out.size() - begin);
  out[begin - 1] = size.front();
  out.insert(begin, size, 1);
}

}  // namespace fairlead::kube
