// Texts that repeat a hundred thousand times (node names, zones) kept once and named by a number.
// Entries are never dropped: there are as many as distinct node names and zones ever seen, which is
// a few kilobytes even in clusters that replace their nodes daily. Not thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>

namespace fairlead::model {

enum class TextId : std::uint32_t {};  // 0 is the empty text

class Interner {
 public:
  Interner() { intern(""); }
  Interner(const Interner&) = delete;  // the index refers into texts_
  Interner& operator=(const Interner&) = delete;

  TextId intern(std::string_view text) {
    if (const auto found = ids_.find(text); found != ids_.end()) return found->second;
    const auto id = static_cast<TextId>(texts_.size());
    ids_.emplace(texts_.emplace_back(text), id);
    return id;
  }
  std::string_view text(TextId id) const { return texts_[static_cast<std::uint32_t>(id)]; }

 private:
  std::deque<std::string> texts_;  // a deque: growing it moves no string
  std::unordered_map<std::string_view, TextId> ids_;
};

}  // namespace fairlead::model
