// Cuts a stream of bytes into lines; pure. A watch stream is one JSON object a line, and chunks end
// anywhere.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace fairlead::client {

class LineSplitter {
 public:
  explicit LineSplitter(std::size_t longest_line) : longest_line_(longest_line) {}

  // Adds bytes. TooLarge when the line they belong to is longer than allowed; the splitter is then
  // of no further use.
  Result<void> feed(std::string chunk);
  // The next whole line without its end ("\n" or "\r\n"); blank lines are skipped. Valid until the
  // next feed().
  std::optional<std::string_view> next();
  bool has_partial_line() const { return begin_ < buffer_.size(); }

 private:
  std::size_t longest_line_;
  std::string buffer_;
  std::size_t begin_ = 0;    // start of the first line not handed out
  std::size_t scanned_ = 0;  // no line end in [begin_, scanned_)
};

}  // namespace fairlead::client
