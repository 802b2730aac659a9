#include "apiserver/field_set.hpp"

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <optional>

#include "base/text.hpp"

namespace fairlead::apiserver {
namespace {

using boost::json::value;

constexpr std::size_t kMaxDepth = 64;
constexpr std::size_t kMaxValueDepth = 8;  // of the JSON in an element

std::string serialize_keys(std::vector<std::pair<std::string_view, value>> keys) {
  std::sort(keys.begin(), keys.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  boost::json::object out;
  for (auto& [name, held] : keys) out[name] = std::move(held);
  return boost::json::serialize(out);
}

std::optional<value> parse_value(std::string_view text) {
  boost::json::error_code failed;
  value out = boost::json::parse(boost::json::string_view(text.data(), text.size()), failed, {},
                                 {.max_depth = kMaxValueDepth});
  if (failed) return std::nullopt;
  return out;
}

// A number that is read again may be another one then, if it has no place among the integers. No
// list of Kubernetes has such keys.
bool holds_fraction(const value& any) {
  if (const auto* list = any.if_array()) return std::ranges::any_of(*list, holds_fraction);
  if (const auto* map = any.if_object()) {
    return std::ranges::any_of(*map, [](const auto& one) { return holds_fraction(one.value()); });
  }
  return any.is_double();
}

std::optional<std::string> canonical_keys(std::string_view text) {
  const auto parsed = parse_value(text);
  const auto* object = parsed ? parsed->if_object() : nullptr;
  if (object == nullptr || object->empty()) return std::nullopt;
  std::vector<std::pair<std::string_view, value>> keys;
  for (const auto& [name, held] : *object) {
    if (held.is_structured() || held.is_double()) return std::nullopt;
    keys.emplace_back(std::string_view(name.data(), name.size()), held);
  }
  return keys_element(std::move(keys));
}

// nullopt: no element of a path.
std::optional<std::string> canonical_element(std::string_view text) {
  const std::string_view rest = text.size() < 2 ? std::string_view() : text.substr(2);
  if (text.starts_with("f:")) return std::string(text);
  if (text.starts_with("k:")) return canonical_keys(rest);
  if (text.starts_with("v:")) {
    const auto held = parse_value(rest);
    return held && !holds_fraction(*held) ? std::optional(value_element(*held)) : std::nullopt;
  }
  if (text.starts_with("i:")) {
    const auto index = parse_uint(rest);
    return index ? std::optional(fmt::format("i:{}", *index)) : std::nullopt;
  }
  return std::nullopt;
}

std::string display(std::string_view element) {
  const std::string_view rest = element.substr(2);
  if (element.starts_with("f:")) return fmt::format(".{}", rest);
  if (element.starts_with("v:")) return fmt::format("[={}]", rest);
  if (element.starts_with("i:")) return fmt::format("[{}]", rest);
  const auto keys = parse_value(rest);
  check(keys && keys->is_object(), "an element's keys are an object");
  std::vector<std::string> parts;
  for (const auto& [name, held] : keys->get_object()) {
    parts.push_back(fmt::format("{}={}", std::string_view(name.data(), name.size()),
                                boost::json::serialize(held)));
  }
  return fmt::format("[{}]", fmt::join(parts, ","));
}

ApiResult<FieldSet> parse_level(const value& fields, std::size_t depth) {
  const auto* object = fields.if_object();
  if (object == nullptr) return bad_request("fieldsV1: a level is not an object");
  if (depth == kMaxDepth)
    return bad_request(fmt::format("fieldsV1: more than {} levels", kMaxDepth));
  std::vector<FieldSet::Entry> entries;
  entries.reserve(object->size());
  for (const auto& [name, inner] : *object) {
    const std::string_view text(name.data(), name.size());
    if (text == ".") continue;  // read with the level above
    auto element = canonical_element(text);
    if (!element) {
      return bad_request(
          fmt::format("fieldsV1: \"{}\" is no element of a path", text.substr(0, 128)));
    }
    FAIRLEAD_TRY(below, parse_level(inner, depth + 1));
    const bool member = below.empty() || inner.get_object().contains(".");
    entries.push_back(
        {.element = *std::move(element), .member = member, .below = std::move(below)});
  }
  return FieldSet::of(std::move(entries));
}

void collect(const FieldSet& set, FieldPath& path, std::vector<FieldPath>& out) {
  for (const FieldSet::Entry& entry : set.entries()) {
    path.push_back(entry.element);
    if (entry.member) out.push_back(path);
    collect(entry.below, path, out);
    path.pop_back();
  }
}

// Both sets side by side: `each` sees every element of either, null where a set has it not.
template <class Each>
void side_by_side(const FieldSet& a, const FieldSet& b, const Each& each) {
  auto left = a.entries().begin();
  auto right = b.entries().begin();
  while (left != a.entries().end() || right != b.entries().end()) {
    const bool only_left =
        right == b.entries().end() || (left != a.entries().end() && left->element < right->element);
    const bool only_right =
        left == a.entries().end() || (right != b.entries().end() && right->element < left->element);
    each(only_right ? nullptr : &*left, only_left ? nullptr : &*right);
    if (!only_right) ++left;
    if (!only_left) ++right;
  }
}

}  // namespace

std::string field_element(std::string_view name) { return fmt::format("f:{}", name); }

std::string value_element(const value& of) {
  return fmt::format("v:{}", boost::json::serialize(of));
}

std::string keys_element(std::vector<std::pair<std::string_view, value>> keys) {
  return fmt::format("k:{}", serialize_keys(std::move(keys)));
}

std::string path_text(const FieldPath& path) {
  std::string out;
  for (const std::string& element : path) out += display(element);
  return out;
}

FieldSet::FieldSet() = default;
FieldSet::FieldSet(const FieldSet&) = default;
FieldSet::FieldSet(FieldSet&&) noexcept = default;
FieldSet& FieldSet::operator=(const FieldSet&) = default;
FieldSet& FieldSet::operator=(FieldSet&&) noexcept = default;
FieldSet::~FieldSet() = default;
bool FieldSet::operator==(const FieldSet& other) const = default;

FieldSet FieldSet::of(std::vector<Entry> entries) {
  std::ranges::sort(entries, {}, &Entry::element);
  FieldSet out;
  for (Entry& entry : entries) {
    if (!entry.member && entry.below.empty()) continue;
    if (out.entries_.empty() || out.entries_.back().element != entry.element) {
      out.entries_.push_back(std::move(entry));
      continue;
    }
    Entry& same = out.entries_.back();
    same.member = same.member || entry.member;
    same.below = same.below.union_with(entry.below);
  }
  return out;
}

ApiResult<FieldSet> FieldSet::parse(const value& fields_v1) { return parse_level(fields_v1, 0); }

boost::json::object FieldSet::to_json() const {
  boost::json::object out;
  out.reserve(entries_.size());
  for (const Entry& entry : entries_) {
    boost::json::object below;
    if (!entry.below.empty()) {
      below = entry.below.to_json();
      // First, as kube-apiserver writes it: "." sorts before every element.
      if (entry.member) {
        boost::json::object with_itself{{".", boost::json::object{}}};
        for (auto& member : below) with_itself.emplace(member.key(), std::move(member.value()));
        below = std::move(with_itself);
      }
    }
    out.emplace(entry.element, std::move(below));
  }
  return out;
}

const FieldSet::Entry* FieldSet::find(std::string_view element) const {
  const auto at = std::ranges::lower_bound(entries_, element, {}, &Entry::element);
  return at == entries_.end() || at->element != element ? nullptr : &*at;
}

bool FieldSet::contains(std::span<const std::string> path) const {
  if (path.empty()) return false;
  const Entry* entry = find(path.front());
  if (entry == nullptr) return false;
  return path.size() == 1 ? entry->member : entry->below.contains(path.subspan(1));
}

std::vector<FieldPath> FieldSet::paths() const {
  std::vector<FieldPath> out;
  FieldPath path;
  collect(*this, path, out);
  return out;
}

void FieldSet::insert(std::span<const std::string> path) {
  if (path.empty()) return;
  FieldSet below;
  below.insert(path.subspan(1));
  add(path.front(), path.size() == 1, std::move(below));
}

void FieldSet::add(std::string_view element, bool member, FieldSet below) {
  if (!member && below.empty()) return;
  const auto at = std::ranges::lower_bound(entries_, element, {}, &Entry::element);
  if (at == entries_.end() || at->element != element) {
    entries_.insert(
        at, Entry{.element = std::string(element), .member = member, .below = std::move(below)});
    return;
  }
  at->member = at->member || member;
  at->below = at->below.empty() ? std::move(below) : at->below.union_with(below);
}

FieldSet FieldSet::union_with(const FieldSet& other) const {
  FieldSet out;
  side_by_side(*this, other, [&out](const Entry* a, const Entry* b) {
    if (a == nullptr || b == nullptr) {
      out.entries_.push_back(a == nullptr ? *b : *a);
      return;
    }
    out.entries_.push_back({.element = a->element,
                            .member = a->member || b->member,
                            .below = a->below.union_with(b->below)});
  });
  return out;
}

FieldSet FieldSet::intersection(const FieldSet& other) const {
  FieldSet out;
  side_by_side(*this, other, [&out](const Entry* a, const Entry* b) {
    if (a != nullptr && b != nullptr)
      out.add(a->element, a->member && b->member, a->below.intersection(b->below));
  });
  return out;
}

FieldSet FieldSet::difference(const FieldSet& other) const {
  FieldSet out;
  side_by_side(*this, other, [&out](const Entry* a, const Entry* b) {
    if (a != nullptr && b == nullptr) out.entries_.push_back(*a);
    if (a != nullptr && b != nullptr)
      out.add(a->element, a->member && !b->member, a->below.difference(b->below));
  });
  return out;
}

FieldSet FieldSet::without_subtrees(const FieldSet& other) const {
  FieldSet out;
  side_by_side(*this, other, [&out](const Entry* a, const Entry* b) {
    if (a != nullptr && b == nullptr) out.entries_.push_back(*a);
    if (a != nullptr && b != nullptr && !b->member)
      out.add(a->element, a->member, a->below.without_subtrees(b->below));
  });
  return out;
}

FieldSet FieldSet::with_containers() const {
  FieldSet out = *this;
  for (Entry& entry : out.entries_) {
    entry.member = entry.member || entry.element.starts_with("f:");
    entry.below = entry.below.with_containers();
  }
  return out;
}

}  // namespace fairlead::apiserver
