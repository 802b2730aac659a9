// Protobuf's wire format: numbered fields that are a varint or bytes. Included by the codec only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace fairlead::kube {

// One field as it stands on the wire.
struct WireField {
  std::uint32_t number = 0;
  std::uint64_t varint = 0;  // wire type 0
  std::string_view bytes;    // wire type 2
  bool is_bytes = false;
};

// Reads fields off the front. Fixed-width fields and groups, which the API does not use, are
// skipped.
class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : rest_(bytes) {}

  bool at_end() const { return rest_.empty(); }
  // nullopt at the end.
  Result<std::optional<WireField>> next();
  Result<std::uint64_t> varint();

 private:
  Result<std::string_view> take(std::uint64_t size);

  std::string_view rest_;
};

void append_varint(std::string& out, std::uint64_t value);
std::size_t varint_size(std::uint64_t value);
void append_varint_field(std::string& out, std::uint32_t number, std::uint64_t value);
void append_bytes_field(std::string& out, std::uint32_t number, std::string_view bytes);
// The tag and the length only; `size` bytes are to follow.
void append_bytes_head(std::string& out, std::uint32_t number, std::size_t size);

// A field whose bytes are written in place: begin() gives what end() wants. The length is put
// before the bytes when it is known.
std::size_t begin_bytes_field(std::string& out, std::uint32_t number);
void end_bytes_field(std::string& out, std::size_t begin);

}  // namespace fairlead::kube
