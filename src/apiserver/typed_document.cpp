#include "apiserver/typed_document.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

namespace fairlead::apiserver {
namespace {

using boost::json::array;
using boost::json::value;

const Schema& anything() {
  static const Schema schema = Schema::parse("any");
  return schema;
}

const Schema& text_schema() {
  static const Schema schema = Schema::parse("s");
  return schema;
}

// Of the member `name` of an object.
const Schema& member_schema(const Schema& schema, std::string_view name) {
  if (schema.type() == Schema::Type::StringMap) return text_schema();
  const Schema* field = schema.type() == Schema::Type::Object ? schema.field(name) : nullptr;
  return field == nullptr ? anything() : *field;
}

bool is_object_of_places(const Schema& schema, const value& v) {
  return v.is_object() && !schema.atomic();
}

bool is_list_of_places(const Schema& schema, const value& v) {
  return v.is_array() && schema.type() == Schema::Type::List && !schema.atomic();
}

bool has_places(const Schema& schema, const value& v) {
  return is_object_of_places(schema, v) || is_list_of_places(schema, v);
}

bool is_empty(const value& v) {
  return v.is_object() ? v.get_object().empty() : v.is_array() && v.get_array().empty();
}

// The path element of an item; nullopt when it has no keys.
std::optional<std::string> element_of(const Schema& list, const value& item) {
  if (list.is_set()) return value_element(item);
  const auto* object = item.if_object();
  if (object == nullptr) return std::nullopt;
  std::vector<std::pair<std::string_view, value>> keys;
  for (const Schema::Key& key : list.keys()) {
    const value* held = object->if_contains(key.name);
    if (held != nullptr && held->is_structured()) return std::nullopt;
    if (held == nullptr && key.fallback.empty()) return std::nullopt;
    keys.emplace_back(key.name, held == nullptr ? text_value(key.fallback) : *held);
  }
  return keys_element(std::move(keys));
}

// Items by their element, in the list's order.
struct Items {
  std::vector<std::pair<std::string, const value*>> in_order;

  Items(const Schema& list, const value* of) {
    if (of == nullptr || !of->is_array()) return;
    std::size_t index = 0;
    for (const value& item : of->get_array()) {
      // What has no keys is known by its place: the object was stored before, or is of any shape.
      in_order.emplace_back(element_of(list, item).value_or(fmt::format("i:{}", index)), &item);
      ++index;
    }
  }
};

// ---- the places of a configuration

ApiResult<FieldSet> places_of(const Schema& schema, const value& v, const std::string& path);

ApiResult<FieldSet> places_of_object(const Schema& schema, const Document& object,
                                     const std::string& path) {
  std::vector<FieldSet::Entry> out;
  for (const auto& [name, held] : object) {
    const std::string_view key(name.data(), name.size());
    const Schema& inner = member_schema(schema, key);
    FAIRLEAD_TRY(below, places_of(inner, held, fmt::format("{}.{}", path, key)));
    const bool leaf = !has_places(inner, held) || is_empty(held);
    out.push_back({.element = field_element(key), .member = leaf, .below = std::move(below)});
  }
  return FieldSet::of(std::move(out));
}

ApiResult<FieldSet> places_of_list(const Schema& schema, const array& list,
                                   const std::string& path) {
  std::vector<FieldSet::Entry> out;
  std::set<std::string> seen;
  for (std::size_t i = 0; i < list.size(); ++i) {
    auto element = element_of(schema, list[i]);
    if (!element) {
      return bad_request(fmt::format(
          "{}: element {}: associative list with keys has an element that omits a key field", path,
          i));
    }
    if (!seen.insert(*element).second) {
      return bad_request(fmt::format("{}: duplicate entries for {}", path, path_text({*element})));
    }
    FAIRLEAD_TRY(below, places_of(schema.items(), list[i], path + path_text({*element})));
    out.push_back({.element = *std::move(element), .member = true, .below = std::move(below)});
  }
  return FieldSet::of(std::move(out));
}

ApiResult<FieldSet> places_of(const Schema& schema, const value& v, const std::string& path) {
  if (is_object_of_places(schema, v)) return places_of_object(schema, v.get_object(), path);
  if (is_list_of_places(schema, v)) return places_of_list(schema, v.get_array(), path);
  return FieldSet();
}

// ---- differences

class Comparison {
 public:
  void object(const Schema& schema, const Document* before, const Document* after, bool topmost) {
    if (before != nullptr) {
      for (const auto& [name, held] : *before) {
        const std::string_view key(name.data(), name.size());
        const value* now = after == nullptr ? nullptr : after->if_contains(key);
        place(member_schema(schema, key), field_element(key), &held, now, topmost);
      }
    }
    if (after == nullptr) return;
    for (const auto& [name, held] : *after) {
      const std::string_view key(name.data(), name.size());
      if (before != nullptr && before->contains(key)) continue;
      place(member_schema(schema, key), field_element(key), nullptr, &held, topmost);
    }
  }

  Differences take() {
    return {.added = FieldSet::of(std::move(added_)),
            .changed = FieldSet::of(std::move(changed_)),
            .removed = FieldSet::of(std::move(removed_))};
  }

 private:
  void list(const Schema& schema, const value* before, const value* after) {
    struct Pair {
      std::vector<const value*> before, after;
    };
    std::map<std::string, Pair> pairs;
    for (auto& [element, item] : Items(schema, before).in_order)
      pairs[std::move(element)].before.push_back(item);
    for (auto& [element, item] : Items(schema, after).in_order)
      pairs[std::move(element)].after.push_back(item);
    for (const auto& [element, pair] : pairs) {
      if (pair.before.size() > 1 || pair.after.size() > 1) {
        several(element, pair.before, pair.after);
        continue;
      }
      place(schema.items(), element, pair.before.empty() ? nullptr : pair.before.front(),
            pair.after.empty() ? nullptr : pair.after.front(), false);
    }
  }

  void several(const std::string& element, const std::vector<const value*>& before,
               const std::vector<const value*>& after) {
    if (before.empty()) {
      added_.push_back(leaf(element));
    } else if (after.empty()) {
      removed_.push_back(leaf(element));
    } else if (!std::ranges::equal(before, after,
                                   [](const value* a, const value* b) { return *a == *b; })) {
      changed_.push_back(leaf(element));
    }
  }

  void place(const Schema& schema, std::string element, const value* before, const value* after,
             bool topmost) {
    const auto holds = [&schema](const value* v) { return v == nullptr || has_places(schema, *v); };
    const auto nothing = [](const value* v) { return v == nullptr || is_empty(*v); };
    const bool always_there =
        topmost && (element == "f:metadata" || element == "f:spec" || element == "f:status");
    if (always_there && nothing(before) && nothing(after)) return;
    if (!holds(before) || !holds(after) || (nothing(before) && nothing(after))) {
      if (before == nullptr) {
        added_.push_back(leaf(std::move(element)));
      } else if (after == nullptr) {
        removed_.push_back(leaf(std::move(element)));
      } else if (*before != *after) {
        changed_.push_back(leaf(std::move(element)));
      }
      return;
    }
    Comparison inner;
    const value& any = before == nullptr ? *after : *before;
    if (any.is_object()) {
      inner.object(schema, before == nullptr ? nullptr : before->if_object(),
                   after == nullptr ? nullptr : after->if_object(), false);
    } else {
      inner.list(schema, before, after);
    }
    Differences below = inner.take();
    added_.push_back({.element = element,
                      .member = before == nullptr && !always_there,
                      .below = std::move(below.added)});
    changed_.push_back({.element = element, .member = false, .below = std::move(below.changed)});
    removed_.push_back({.element = std::move(element),
                        .member = after == nullptr && !always_there,
                        .below = std::move(below.removed)});
  }

  static FieldSet::Entry leaf(std::string element) {
    return {.element = std::move(element), .member = true, .below = {}};
  }

  std::vector<FieldSet::Entry> added_, changed_, removed_;
};

// ---- merging

void merge_value(const Schema& schema, value& live, const value& config);

void merge_object(const Schema& schema, Document& live, const Document& config) {
  for (const auto& [name, held] : config) {
    const std::string_view key(name.data(), name.size());
    if (value* there = live.if_contains(key)) {
      merge_value(member_schema(schema, key), *there, held);
    } else {
      live.emplace(key, held);
    }
  }
}

array merged_list(const Schema& schema, const value& live, const value& config) {
  const Items before(schema, &live), wanted(schema, &config);
  std::map<std::string_view, const value*> held;
  for (const auto& [element, item] : before.in_order) held.emplace(element, item);
  std::set<std::string_view> named, placed;
  for (const auto& [element, item] : wanted.in_order) named.insert(element);
  array out;
  auto next = wanted.in_order.begin();
  // Those of the configuration up to and with the first that was there before.
  const auto take_wanted = [&](bool all) {
    while (next != wanted.in_order.end()) {
      const auto& [element, item] = *next++;
      const auto found = held.find(element);
      value merged = found == held.end() ? *item : *found->second;
      if (found != held.end()) merge_value(schema.items(), merged, *item);
      out.push_back(std::move(merged));
      if (found != held.end() && !all) return;
    }
  };
  for (const auto& [element, item] : before.in_order) {
    if (!named.contains(element)) {
      out.push_back(*item);
    } else if (placed.insert(element).second) {
      take_wanted(false);
    }
  }
  take_wanted(true);
  return out;
}

void merge_value(const Schema& schema, value& live, const value& config) {
  if (is_object_of_places(schema, config) && live.is_object()) {
    merge_object(schema, live.get_object(), config.get_object());
  } else if (is_list_of_places(schema, config) && live.is_array()) {
    live = merged_list(schema, live, config);
  } else {
    live = config;
  }
}

// ---- removing

bool remove_places(const Schema& schema, value& from, const FieldSet& removed);

bool remove_members(const Schema& schema, Document& object, const FieldSet& removed) {
  for (const FieldSet::Entry& entry : removed.entries()) {
    if (!entry.element.starts_with("f:")) continue;
    const std::string_view name = std::string_view(entry.element).substr(2);
    value* held = object.if_contains(name);
    if (held == nullptr) continue;
    if (entry.member || remove_places(member_schema(schema, name), *held, entry.below))
      object.erase(name);
  }
  return object.empty();
}

bool remove_elements(const Schema& schema, value& list, const FieldSet& removed) {
  array kept;
  std::size_t index = 0;
  for (value& item : list.get_array()) {
    const std::string element = element_of(schema, item).value_or(fmt::format("i:{}", index++));
    const FieldSet::Entry* entry = removed.find(element);
    if (entry != nullptr && entry->member) continue;
    if (entry != nullptr) static_cast<void>(remove_places(schema.items(), item, entry->below));
    kept.push_back(std::move(item));
  }
  list = std::move(kept);
  return list.get_array().empty();
}

// Whether nothing is left of what was something.
bool remove_places(const Schema& schema, value& from, const FieldSet& removed) {
  if (is_empty(from)) return false;
  if (is_object_of_places(schema, from)) return remove_members(schema, from.get_object(), removed);
  if (is_list_of_places(schema, from)) return remove_elements(schema, from, removed);
  return false;
}

}  // namespace

ApiResult<FieldSet> fields_of(const Schema& schema, const Document& document) {
  return places_of_object(schema, document, "");
}

Differences differences(const Schema& schema, const Document& before, const Document& after) {
  Comparison comparison;
  comparison.object(schema, &before, &after, true);
  return comparison.take();
}

Document merged_document(const Schema& schema, const Document& live, const Document& config) {
  Document out = live;
  merge_object(schema, out, config);
  return out;
}

Document without_fields(const Schema& schema, Document document, const FieldSet& removed) {
  static_cast<void>(remove_members(schema, document, removed));
  return document;
}

}  // namespace fairlead::apiserver
