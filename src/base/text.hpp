// Small pure functions over text that the standard library lacks.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fairlead {

// "a,b,,c" split at ',' -> {"a","b","","c"}; the empty text gives one empty part.
std::vector<std::string_view> split(std::string_view text, char separator);
std::string_view trim(std::string_view text);  // spaces, tabs, CR, LF at both ends
std::string to_lower_ascii(std::string_view text);
bool equals_ignore_case(std::string_view a, std::string_view b);  // ASCII

// Whole-text decimal; nullopt on sign, blanks, overflow or surplus text ("-5" is allowed for
// signed).
std::optional<std::uint64_t> parse_uint(std::string_view text);
std::optional<std::int64_t> parse_int(std::string_view text);

std::string base64_encode(std::span<const std::uint8_t> bytes);   // RFC 4648 with padding
std::optional<std::string> base64_decode(std::string_view text);  // RFC 4648, padding required
// RFC 4648 section 5 without padding, as JSON Web Tokens have it.
std::string base64url_encode(std::span<const std::uint8_t> bytes);
std::optional<std::string> base64url_decode(std::string_view text);
std::string hex_encode(std::span<const std::uint8_t> bytes);  // lower case

// RFC 1123 label (<=63, [a-z0-9-]) and subdomain (<=253, labels joined by '.').
bool is_dns1123_label(std::string_view text);
bool is_dns1123_subdomain(std::string_view text);

// As the inside of a JSON string (RFC 8259); bytes from 0x80 are passed through as UTF-8.
void append_json_escaped(std::string& out, std::string_view text);

}  // namespace fairlead
