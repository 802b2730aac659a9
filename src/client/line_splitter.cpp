#include "client/line_splitter.hpp"

#include <utility>

namespace fairlead::client {

Result<void> LineSplitter::feed(std::string chunk) {
  if (begin_ == buffer_.size()) {
    buffer_ = std::move(chunk);  // the usual case: chunks end where lines end, nothing is copied
    begin_ = scanned_ = 0;
    return {};
  }
  buffer_.erase(0, begin_);
  scanned_ -= begin_;
  begin_ = 0;
  if (buffer_.size() > longest_line_ && buffer_.find('\n', scanned_) == std::string::npos) {
    return make_error(ErrorCode::TooLarge, "a line is longer than {} bytes", longest_line_);
  }
  buffer_ += chunk;
  return {};
}

std::optional<std::string_view> LineSplitter::next() {
  while (begin_ < buffer_.size()) {
    const auto end = buffer_.find('\n', scanned_);
    if (end == std::string::npos) {
      scanned_ = buffer_.size();
      return std::nullopt;
    }
    auto line = std::string_view(buffer_).substr(begin_, end - begin_);
    begin_ = scanned_ = end + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) return line;
  }
  return std::nullopt;
}

}  // namespace fairlead::client
