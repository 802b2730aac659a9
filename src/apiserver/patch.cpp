#include "apiserver/patch.hpp"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <tuple>

#include "apiserver/body.hpp"
#include "apiserver/json_pointer.hpp"

namespace fairlead::apiserver {
namespace {

using boost::json::array;
using boost::json::value;

constexpr std::size_t kMaxOperations = 10'000;
constexpr std::size_t kMaxCopiedBytes = 3 * 1024 * 1024;
constexpr std::size_t kMaxVisited = 10'000'000;

StatusError cannot_patch(std::string_view why) {
  return unprocessable(
      fmt::format("the server rejected our request due to an error in our request: {}", why));
}

// ---- JSON Patch

class JsonPatch {
 public:
  explicit JsonPatch(value document) : document_(std::move(document)) {}

  ApiResult<void> apply(const Document& operation) {
    const std::string_view op = string_member(operation, "op");
    const auto path = parse_json_pointer(string_member(operation, "path"));
    if (!path || !operation.contains("path")) return cannot_patch("an operation has no valid path");
    path_text_ = string_member(operation, "path");
    if (op == "add") {
      return with_value(operation,
                        [&](const value& v) { return place(*path, v, &JsonPatch::add); });
    }
    if (op == "replace") {
      return with_value(operation,
                        [&](const value& v) { return place(*path, v, &JsonPatch::replace); });
    }
    if (op == "test") return with_value(operation, [&](const value& v) { return test(*path, v); });
    if (op == "remove") return remove(*path);
    if (op == "move" || op == "copy") return transfer(operation, *path, op == "move");
    return cannot_patch(fmt::format("unknown operation \"{}\"", op));
  }

  value take() { return std::move(document_); }

 private:
  static std::string_view string_member(const Document& operation, std::string_view name) {
    const value* found = operation.if_contains(name);
    const auto* text = found == nullptr ? nullptr : found->if_string();
    return text == nullptr ? std::string_view() : std::string_view(text->data(), text->size());
  }

  template <class Act>
  static ApiResult<void> with_value(const Document& operation, const Act& act) {
    const value* found = operation.if_contains("value");
    if (found == nullptr) return cannot_patch("an operation has no value");
    return act(*found);
  }

  StatusError missing() const {
    return cannot_patch(fmt::format("path \"{}\" does not exist", path_text_));
  }

  // Puts a value where it makes the document no deeper than one that was sent could be: deeper ones
  // could not be read again. Operations can nest a value in itself any number of times.
  ApiResult<void> place(const std::vector<std::string>& path, const value& v,
                        ApiResult<void> (JsonPatch::*put)(const std::vector<std::string>&,
                                                          const value&)) {
    const std::size_t depth = path.size() + depth_of(v);
    if (depth > kMaxJsonDepth)
      return cannot_patch(fmt::format("path \"{}\" is nested too deeply", path_text_));
    if (visited_ > kMaxVisited) return too_large(kMaxCopiedBytes);
    return (this->*put)(path, v);
  }

  // Levels of containers; counts what it looked at.
  std::size_t depth_of(const value& v) {
    ++visited_;
    std::size_t inner = 0;
    if (const auto* list = v.if_array()) {
      for (const value& item : *list) inner = std::max(inner, depth_of(item));
    } else if (const auto* object = v.if_object()) {
      for (const auto& member : *object) inner = std::max(inner, depth_of(member.value()));
    } else {
      return 0;
    }
    return inner + 1;
  }

  // The container a path ends in; null when it does not exist.
  value* parent_of(const std::vector<std::string>& path) {
    return resolve(document_, std::vector<std::string>(path.begin(), path.end() - 1));
  }

  ApiResult<void> add(const std::vector<std::string>& path, const value& added) {
    if (path.empty()) {
      document_ = added;
      return {};
    }
    value* parent = parent_of(path);
    if (parent == nullptr) return missing();
    if (auto* object = parent->if_object()) {
      (*object)[path.back()] = added;
      return {};
    }
    auto* list = parent->if_array();
    if (list == nullptr) return missing();
    const auto index =
        path.back() == "-" ? std::optional(list->size()) : list_index(path.back(), list->size());
    if (!index) return missing();
    list->insert(list->begin() + static_cast<std::ptrdiff_t>(*index), added);
    return {};
  }

  ApiResult<void> remove(const std::vector<std::string>& path) {
    if (path.empty()) return cannot_patch("the whole document cannot be removed");
    value* parent = parent_of(path);
    if (parent == nullptr) return missing();
    if (auto* object = parent->if_object()) {
      if (object->erase(path.back()) == 0) return missing();
      return {};
    }
    auto* list = parent->if_array();
    const auto index = list == nullptr ? std::nullopt : list_index(path.back(), list->size());
    if (!index || *index >= list->size()) return missing();
    list->erase(list->begin() + static_cast<std::ptrdiff_t>(*index));
    return {};
  }

  ApiResult<void> replace(const std::vector<std::string>& path, const value& with) {
    value* target = resolve(document_, path);
    if (target == nullptr) return missing();
    *target = with;
    return {};
  }

  ApiResult<void> test(const std::vector<std::string>& path, const value& expected) {
    const value* target = resolve(document_, path);
    if (target == nullptr ? !expected.is_null() : *target != expected) {
      return cannot_patch(fmt::format("testing value at path \"{}\" failed", path_text_));
    }
    return {};
  }

  ApiResult<void> transfer(const Document& operation, const std::vector<std::string>& path,
                           bool move) {
    const auto from = parse_json_pointer(string_member(operation, "from"));
    value* source = from ? resolve(document_, *from) : nullptr;
    if (source == nullptr)
      return cannot_patch(
          fmt::format("from \"{}\" does not exist", string_member(operation, "from")));
    const bool into_itself =
        move && path.size() > from->size() && std::equal(from->begin(), from->end(), path.begin());
    if (into_itself) return cannot_patch("a value cannot be moved into itself");
    if (!move) {
      const value copied = *source;
      copied_bytes_ += boost::json::serialize(copied).size();
      if (copied_bytes_ > kMaxCopiedBytes) return too_large(kMaxCopiedBytes);
      return place(path, copied, &JsonPatch::add);
    }
    const value moved = std::move(*source);
    if (auto removed = remove(*from); !removed) return removed;
    return place(path, moved, &JsonPatch::add);
  }

  value document_;
  std::string path_text_;
  std::size_t copied_bytes_ = 0;
  std::size_t visited_ = 0;  // values that were measured
};

// ---- merge patch

void merge_into(value& target, const value& patch) {
  const auto* changes = patch.if_object();
  if (changes == nullptr) {
    target = patch;
    return;
  }
  if (!target.is_object()) target = Document{};
  Document& object = target.get_object();
  for (const auto& member : *changes) {
    if (member.value().is_null()) {
      object.erase(member.key());
    } else {
      merge_into(object[member.key()], member.value());
    }
  }
}

// ---- strategic merge

constexpr std::string_view kPatch = "$patch";
constexpr std::string_view kRetainKeys = "$retainKeys";
constexpr std::string_view kSetElementOrder = "$setElementOrder/";
constexpr std::string_view kDeleteFromPrimitiveList = "$deleteFromPrimitiveList/";

constexpr MergeRule kMergeRules[] = {
    {"", "metadata.ownerReferences", "uid"},
    {"", "metadata.finalizers", ""},
    {"Service", "spec.ports", "port"},
    {"Service", "status.conditions", "type"},
    {"Pod", "spec.containers", "name"},
    {"Pod", "spec.initContainers", "name"},
    {"Pod", "spec.ephemeralContainers", "name"},
    {"Pod", "spec.volumes", "name"},
    {"Pod", "spec.containers.ports", "containerPort"},
    {"Pod", "spec.containers.env", "name"},
    {"Pod", "spec.containers.volumeMounts", "mountPath"},
    {"Pod", "spec.containers.volumeDevices", "devicePath"},
    {"Pod", "spec.initContainers.ports", "containerPort"},
    {"Pod", "spec.initContainers.env", "name"},
    {"Pod", "spec.initContainers.volumeMounts", "mountPath"},
    {"Pod", "spec.imagePullSecrets", "name"},
    {"Pod", "spec.schedulingGates", "name"},
    {"Pod", "spec.resourceClaims", "name"},
    {"Pod", "spec.hostAliases", "ip"},
    {"Pod", "spec.topologySpreadConstraints", "topologyKey"},
    {"Pod", "status.conditions", "type"},
    {"Pod", "status.podIPs", "ip"},
    {"Node", "spec.podCIDRs", ""},
    {"Node", "status.conditions", "type"},
    {"Node", "status.addresses", "type"},
    {"Namespace", "status.conditions", "type"},
    {"ServiceCIDR", "status.conditions", "type"},
};

class StrategicMerge {
 public:
  explicit StrategicMerge(std::string_view kind) : kind_(kind) {}

  ApiResult<void> merge(Document& target, const Document& patch, const std::string& path) {
    const value* directive = patch.if_contains(kPatch);
    if (directive != nullptr && *directive == "replace") {
      target = patch;
      target.erase(kPatch);
      return {};
    }
    if (directive != nullptr && *directive == "delete") {
      target.clear();
      return {};
    }
    if (directive != nullptr && *directive != "merge")
      return bad_request("unknown $patch directive in a strategic merge patch");
    if (auto retained = retain_keys(target, patch); !retained) return retained;
    for (const auto& member : patch) {
      const std::string_view name(member.key());
      if (name.starts_with('$')) continue;
      if (auto merged = merge_member(target, name, member.value(), join(path, name)); !merged)
        return merged;
    }
    for (const auto& member : patch) {
      if (auto done = list_directive(target, std::string_view(member.key()), member.value(), path);
          !done)
        return done;
    }
    return {};
  }

 private:
  static std::string join(const std::string& path, std::string_view name) {
    return path.empty() ? std::string(name) : fmt::format("{}.{}", path, name);
  }

  const MergeRule* rule_for(std::string_view path) const {
    for (const MergeRule& rule : kMergeRules) {
      if (rule.path == path && rule.is_of(kind_)) return &rule;
    }
    return nullptr;
  }

  static ApiResult<void> retain_keys(Document& target, const Document& patch) {
    const value* retain = patch.if_contains(kRetainKeys);
    if (retain == nullptr) return {};
    const array* names = retain->if_array();
    if (names == nullptr) return bad_request("$retainKeys is not a list");
    Document kept;
    for (const auto& member : target) {
      for (const value& name : *names) {
        if (name.is_string() && name.get_string() == member.key()) kept.insert(member);
      }
    }
    target = std::move(kept);
    return {};
  }

  ApiResult<void> merge_member(Document& target, std::string_view name, const value& change,
                               const std::string& path) {
    if (change.is_null()) {
      target.erase(name);
      return {};
    }
    if (const auto* object = change.if_object()) {
      value& held = target[name];
      if (!held.is_object()) held = Document{};
      return merge(held.get_object(), *object, path);
    }
    const MergeRule* rule = change.is_array() ? rule_for(path) : nullptr;
    if (rule == nullptr) {
      target[name] = change;
      return {};
    }
    value& held = target[name];
    if (!held.is_array()) held = array{};
    if (rule->key.empty()) {
      merge_primitives(held.get_array(), change.get_array());
      return {};
    }
    return merge_list(held.get_array(), change.get_array(), rule->key, path);
  }

  static void merge_primitives(array& target, const array& additions) {
    for (const value& item : additions) {
      if (std::find(target.begin(), target.end(), item) == target.end()) target.push_back(item);
    }
  }

  static value* find_by_key(array& list, std::string_view key, const value& wanted) {
    for (value& item : list) {
      const auto* object = item.if_object();
      const value* held = object == nullptr ? nullptr : object->if_contains(key);
      if (held != nullptr && *held == wanted) return &item;
    }
    return nullptr;
  }

  ApiResult<void> merge_list(array& target, const array& changes, std::string_view key,
                             const std::string& path) {
    for (const value& item : changes) {
      const auto* change = item.if_object();
      if (change == nullptr)
        return bad_request(fmt::format("{}: an element is not an object", path));
      const value* directive = change->if_contains(kPatch);
      if (directive != nullptr && *directive == "replace") {
        target.clear();
        continue;
      }
      const value* id = change->if_contains(key);
      if (id == nullptr)
        return bad_request(
            fmt::format("{}: an element does not contain the merge key {}", path, key));
      value* held = find_by_key(target, key, *id);
      if (directive != nullptr && *directive == "delete") {
        if (held != nullptr) target.erase(target.begin() + (held - target.data()));
        continue;
      }
      if (held == nullptr) {
        target.emplace_back(Document{});
        held = &target.back();
      }
      if (auto merged = merge(held->get_object(), *change, path); !merged) return merged;
    }
    return {};
  }

  // "$deleteFromPrimitiveList/x" and "$setElementOrder/x" act on list x beside them, after the
  // merge.
  ApiResult<void> list_directive(Document& target, std::string_view name, const value& argument,
                                 const std::string& path) {
    const bool deletes = name.starts_with(kDeleteFromPrimitiveList);
    if (!deletes && !name.starts_with(kSetElementOrder)) return {};
    const array* items = argument.if_array();
    if (items == nullptr) return bad_request(fmt::format("{} is not a list", name));
    const std::string_view list_name =
        name.substr((deletes ? kDeleteFromPrimitiveList : kSetElementOrder).size());
    value* held = target.if_contains(list_name);
    if (held == nullptr || !held->is_array()) return {};
    array& list = held->get_array();
    if (deletes) {
      for (const value& item : *items) {
        list.erase(std::remove(list.begin(), list.end(), item), list.end());
      }
      return {};
    }
    const MergeRule* rule = rule_for(join(path, list_name));
    if (rule != nullptr) set_order(list, *items, rule->key);
    return {};
  }

  static const value* identity(const value& item, std::string_view key) {
    if (key.empty()) return &item;
    const auto* object = item.if_object();
    return object == nullptr ? nullptr : object->if_contains(key);
  }

  // Named elements take the order given; the others stay behind the element they stood behind.
  static void set_order(array& list, const array& order, std::string_view key) {
    const auto rank = [&](const value& item) -> std::optional<std::size_t> {
      const value* id = identity(item, key);
      for (std::size_t i = 0; id != nullptr && i < order.size(); ++i) {
        const value* wanted = identity(order[i], key);
        if (wanted != nullptr && *wanted == *id) return i;
      }
      return std::nullopt;
    };
    struct Ranked {
      std::size_t rank, place;
      value item;
    };
    std::vector<Ranked> ranked;
    std::size_t last = 0;
    for (value& item : list) {
      last = rank(item).value_or(last);
      ranked.push_back({.rank = last, .place = ranked.size(), .item = std::move(item)});
    }
    std::sort(ranked.begin(), ranked.end(), [](const Ranked& a, const Ranked& b) {
      return std::tie(a.rank, a.place) < std::tie(b.rank, b.place);
    });
    for (std::size_t i = 0; i < ranked.size(); ++i) list[i] = std::move(ranked[i].item);
  }

  std::string_view kind_;
};

}  // namespace

ApiResult<Document> apply_json_patch(const Document& current, const value& patch) {
  const array* operations = patch.if_array();
  if (operations == nullptr) return bad_request("a JSON patch is a list of operations");
  if (operations->size() > kMaxOperations) {
    return StatusError{
        .code = 413,
        .reason = "RequestEntityTooLarge",
        .message = fmt::format("a JSON patch may have {} operations at most", kMaxOperations)};
  }
  JsonPatch work(current);
  for (const value& operation : *operations) {
    const auto* object = operation.if_object();
    if (object == nullptr) return bad_request("an operation of the JSON patch is not an object");
    if (auto applied = work.apply(*object); !applied) return std::move(applied).error();
  }
  value result = work.take();
  if (!result.is_object()) return cannot_patch("the patched document is not an object");
  return std::move(result.get_object());
}

ApiResult<Document> apply_merge_patch(const Document& current, const value& patch) {
  if (!patch.is_object()) return bad_request("a merge patch is an object");
  value result = current;
  merge_into(result, patch);
  return std::move(result.get_object());
}

std::span<const MergeRule> merge_rules() { return kMergeRules; }

ApiResult<Document> apply_strategic_merge_patch(std::string_view kind, const Document& current,
                                                const value& patch) {
  const auto* changes = patch.if_object();
  if (changes == nullptr) return bad_request("a strategic merge patch is an object");
  Document result = current;
  if (auto merged = StrategicMerge(kind).merge(result, *changes, ""); !merged)
    return std::move(merged).error();
  return result;
}

}  // namespace fairlead::apiserver
