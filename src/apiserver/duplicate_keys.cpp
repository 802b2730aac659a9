#include "apiserver/duplicate_keys.hpp"

#include <fmt/format.h>

#include <boost/json/basic_parser_impl.hpp>
#include <set>
#include "apiserver/body.hpp"

namespace fairlead::apiserver {
namespace {

// The interface boost::json::basic_parser asks for; only structure and keys matter.
class KeyHandler {
 public:
  // NOLINTBEGIN(readability-identifier-naming): basic_parser looks for these names
  static constexpr std::size_t max_object_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_array_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_key_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_string_size = static_cast<std::size_t>(-1);
  // NOLINTEND(readability-identifier-naming)

  using ErrorCode = boost::json::error_code;
  using Text = boost::json::string_view;

  bool on_document_begin(ErrorCode&) { return true; }
  bool on_document_end(ErrorCode&) { return true; }
  bool on_object_begin(ErrorCode&) { return open(false); }
  bool on_object_end(std::size_t, ErrorCode&) { return close(); }
  bool on_array_begin(ErrorCode&) { return open(true); }
  bool on_array_end(std::size_t, ErrorCode&) { return close(); }
  bool on_key_part(Text part, std::size_t, ErrorCode&) {
    key_.append(part.data(), part.size());
    return true;
  }
  bool on_key(Text part, std::size_t, ErrorCode&) {
    key_.append(part.data(), part.size());
    Level& level = levels_.back();
    level.name = key_;
    if (!level.seen.insert(std::move(key_)).second) found_.push_back(path());
    key_.clear();
    return true;
  }
  bool on_string_part(Text, std::size_t, ErrorCode&) { return true; }
  bool on_string(Text, std::size_t, ErrorCode&) { return scalar(); }
  bool on_number_part(Text, ErrorCode&) { return true; }
  bool on_int64(std::int64_t, Text, ErrorCode&) { return scalar(); }
  bool on_uint64(std::uint64_t, Text, ErrorCode&) { return scalar(); }
  bool on_double(double, Text, ErrorCode&) { return scalar(); }
  bool on_bool(bool, ErrorCode&) { return scalar(); }
  bool on_null(ErrorCode&) { return scalar(); }
  bool on_comment_part(Text, ErrorCode&) { return true; }
  bool on_comment(Text, ErrorCode&) { return true; }

  std::vector<std::string> take() { return std::move(found_); }

 private:
  struct Level {
    bool array = false;
    std::size_t index = 0;
    std::string name;
    std::set<std::string> seen;
  };
  bool open(bool array) {
    levels_.push_back({.array = array, .index = 0, .name = {}, .seen = {}});
    return true;
  }
  bool close() {
    levels_.pop_back();
    return scalar();
  }
  bool scalar() {
    if (!levels_.empty() && levels_.back().array) ++levels_.back().index;
    return true;
  }
  std::string path() const {
    std::string out;
    for (const Level& level : levels_) {
      if (level.array) {
        out += fmt::format("[{}]", level.index);
      } else {
        out += fmt::format("{}{}", out.empty() ? "" : ".", level.name);
      }
    }
    return out;
  }

  std::string key_;
  std::vector<Level> levels_;
  std::vector<std::string> found_;
};

}  // namespace

std::vector<std::string> duplicate_keys(std::string_view json) {
  boost::json::parse_options options;
  options.max_depth = kMaxJsonDepth;
  boost::json::basic_parser<KeyHandler> parser(options);
  boost::json::error_code failed;
  parser.write_some(false, json.data(), json.size(), failed);
  if (failed) return {};
  return parser.handler().take();
}

}  // namespace fairlead::apiserver
