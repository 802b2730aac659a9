#include "apiserver/field_owners.hpp"

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

#include "apiserver/body.hpp"
#include "apiserver/metadata.hpp"
#include "apiserver/typed_document.hpp"
#include "base/text.hpp"

namespace fairlead::apiserver {
namespace {

using boost::json::array;
using boost::json::value;

constexpr std::size_t kMaxUpdaters = 10;
constexpr std::size_t kMaxManagerBytes = 128;
constexpr std::string_view kAncient = "ancient-changes";
constexpr std::string_view kBeforeFirstApply = "before-first-apply";
// kubectl apply keeps here what it applied last, for itself.
constexpr std::string_view kLastApplied = "kubectl.kubernetes.io/last-applied-configuration";
constexpr std::size_t kMaxAnnotationBytes = 256 * 1024;

// Members of metadata that belong to the server, or name the object.
constexpr std::string_view kNobodys[] = {"name",          "namespace",         "uid",
                                         "generation",    "creationTimestamp", "selfLink",
                                         "managedFields", "resourceVersion"};

struct Owner {
  std::string manager;
  bool applied = false;
  std::string api_version, subresource, time;
  FieldSet fields;

  // Who applies is one owner in all versions.
  auto identity() const {
    return std::tuple(applied, applied ? std::string_view() : std::string_view(api_version),
                      std::string_view(manager), std::string_view(subresource));
  }
};
using Owners = std::vector<Owner>;

Owner writing_owner(const ResourceInfo& info, const FieldWriter& writer, bool applied) {
  return {.manager = writer.manager,
          .applied = applied,
          .api_version = info.api_version(),
          .subresource = writer.subresource,
          .time = {},
          .fields = {}};
}

Owner* find_owner(Owners& owners, const Owner& like) {
  const auto found = std::ranges::find_if(
      owners, [&like](const Owner& owner) { return owner.identity() == like.identity(); });
  return found == owners.end() ? nullptr : &*found;
}

// ---- as JSON

std::optional<Owner> parse_owner(const value& entry) {
  const auto* object = entry.if_object();
  if (object == nullptr || string_at(*object, "fieldsType") != "FieldsV1") return std::nullopt;
  const std::string_view operation = string_at(*object, "operation");
  if (operation != "Apply" && operation != "Update") return std::nullopt;
  Owner out{.manager = std::string(string_at(*object, "manager")),
            .applied = operation == "Apply",
            .api_version = std::string(string_at(*object, "apiVersion")),
            .subresource = std::string(string_at(*object, "subresource")),
            .time = std::string(string_at(*object, "time")),
            .fields = {}};
  if (out.api_version.empty()) return std::nullopt;
  const value* fields = object->if_contains("fieldsV1");
  if (fields == nullptr) return out;
  auto parsed = FieldSet::parse(*fields);
  if (!parsed) return std::nullopt;
  out.fields = *std::move(parsed);
  return out;
}

// nullopt: not a list of owners.
std::optional<Owners> parse_owners(const array* list) {
  Owners out;
  if (list == nullptr) return out;
  for (const value& entry : *list) {
    auto owner = parse_owner(entry);
    if (!owner) return std::nullopt;
    if (Owner* same = find_owner(out, *owner)) {
      same->fields = same->fields.union_with(owner->fields);
    } else {
      out.push_back(*std::move(owner));
    }
  }
  return out;
}

Owners owners_of(const Document& object) {
  return parse_owners(array_at(object, "metadata.managedFields")).value_or(Owners{});
}

array print_owners(Owners owners) {
  std::ranges::sort(owners, {}, [](const Owner& owner) {
    return std::tuple(!owner.applied, std::string_view(owner.time), std::string_view(owner.manager),
                      std::string_view(owner.api_version), std::string_view(owner.subresource));
  });
  array out;
  for (const Owner& owner : owners) {
    Document entry{{"manager", owner.manager},
                   {"operation", owner.applied ? "Apply" : "Update"},
                   {"apiVersion", owner.api_version}};
    if (!owner.time.empty()) entry["time"] = owner.time;
    entry["fieldsType"] = "FieldsV1";
    entry["fieldsV1"] = owner.fields.to_json();
    if (!owner.subresource.empty()) entry["subresource"] = owner.subresource;
    out.push_back(std::move(entry));
  }
  return out;
}

// Keeps the list short: the oldest updaters become one, a version.
void merge_ancient(Owners& owners) {
  std::vector<Owner*> updaters;
  for (Owner& owner : owners) {
    if (!owner.applied) updaters.push_back(&owner);
  }
  if (updaters.size() <= kMaxUpdaters) return;
  std::ranges::sort(updaters, {}, [](const Owner* owner) {
    return std::tuple(std::string_view(owner->time), std::string_view(owner->manager));
  });
  std::map<std::string, Owner*> first;  // of each version
  std::size_t left = updaters.size();
  for (Owner* owner : updaters) {
    if (left <= kMaxUpdaters) break;
    const auto [bucket, is_first] = first.emplace(owner->api_version, owner);
    if (is_first) continue;
    Owner& ancient = *bucket->second;
    ancient.manager = kAncient;
    ancient.subresource.clear();
    ancient.time = owner->time;
    ancient.fields = ancient.fields.union_with(owner->fields);
    owner->fields = {};
    --left;
  }
}

void drop_empty(Owners& owners) {
  std::erase_if(owners, [](const Owner& owner) { return owner.fields.empty(); });
}

// ---- which fields count

bool has_status(const ResourceInfo& info) {
  return std::ranges::find(info.subresources, "status", &Subresource::name) !=
         info.subresources.end();
}

bool metadata_counts(std::string_view name, std::string_view subresource) {
  if (std::ranges::find(kNobodys, name) != std::end(kNobodys)) return false;
  return subresource != "status" || name == "labels" || name == "annotations";
}

bool member_counts(const ResourceInfo& info, std::string_view name, std::string_view subresource) {
  if (name == "apiVersion" || name == "kind") return false;
  if (subresource == "status") return name == "status" || name == "metadata";
  return name != "status" || !subresource.empty() || !has_status(info);
}

FieldSet what_counts(const ResourceInfo& info, std::string_view subresource, const FieldSet& all) {
  std::vector<FieldSet::Entry> out;
  for (const FieldSet::Entry& entry : all.entries()) {
    const std::string_view name = std::string_view(entry.element).substr(2);
    if (!member_counts(info, name, subresource)) continue;
    if (name != "metadata") {
      out.push_back(entry);
      continue;
    }
    std::vector<FieldSet::Entry> below;
    for (const FieldSet::Entry& field : entry.below.entries()) {
      if (metadata_counts(std::string_view(field.element).substr(2), subresource))
        below.push_back(field);
    }
    out.push_back(
        {.element = entry.element, .member = false, .below = FieldSet::of(std::move(below))});
  }
  return FieldSet::of(std::move(out));
}

const Schema& schema_for(const ResourceInfo& info) {
  const Schema* schema = schema_of_kind(info.group, info.kind);
  check(schema != nullptr, "fields are owned of kinds that have a schema");
  return *schema;
}

Differences differences_that_count(const ResourceInfo& info, std::string_view subresource,
                                   const Document& before, const Document& after) {
  Differences out = differences(schema_for(info), before, after);
  return {.added = what_counts(info, subresource, out.added),
          .changed = what_counts(info, subresource, out.changed),
          .removed = what_counts(info, subresource, out.removed)};
}

// ---- updates

// What an update starts from: `next` may name other owners than `live`, on purpose.
std::optional<Owners> owners_before(const FieldWriter& writer, const Document* live,
                                    const Document& next) {
  const array* sent = array_at(next, "metadata.managedFields");
  const bool reset = sent != nullptr && sent->size() == 1 && sent->front().is_object() &&
                     sent->front().get_object().empty();
  if (live == nullptr) return reset ? Owners{} : parse_owners(sent).value_or(Owners{});
  if (writer.subresource.empty() && sent != nullptr) {
    if (reset) return std::nullopt;
    const auto owners = parse_owners(sent);
    if (owners && !owners->empty()) return owners;
  }
  Owners held = owners_of(*live);
  if (held.empty()) return std::nullopt;
  return held;
}

void record(const ResourceInfo& info, const FieldWriter& writer, const Differences& made,
            Owners& owners) {
  const FieldSet written = made.added.union_with(made.changed);
  const FieldSet lost = written.union_with(made.removed);
  Owner own = writing_owner(info, writer, false);
  for (Owner& owner : owners) {
    if (owner.api_version == own.api_version) owner.fields = owner.fields.difference(lost);
  }
  if (!written.empty()) {
    own.time = format_rfc3339(writer.now);
    own.fields = written;
    if (Owner* before = find_owner(owners, own)) {
      own.fields = own.fields.union_with(before->fields);
      *before = std::move(own);
    } else {
      owners.push_back(std::move(own));
    }
  }
  drop_empty(owners);
  merge_ancient(owners);
  drop_empty(owners);
}

// ---- apply

struct Conflict {
  std::string manager;  // as messages call it
  FieldPath path;
};

std::string describe(const Owner& owner) {
  std::string out = boost::json::serialize(text_value(owner.manager));
  if (!owner.subresource.empty()) {
    out +=
        fmt::format(" with subresource {}", boost::json::serialize(text_value(owner.subresource)));
  }
  if (owner.applied) return out;
  out += fmt::format(" using {}", owner.api_version);
  if (!owner.time.empty()) out += fmt::format(" at {}", owner.time);
  return out;
}

StatusError conflict_status(const std::vector<Conflict>& conflicts) {
  StatusError out{.code = 409, .reason = "Conflict", .message = {}};
  std::map<std::string, std::vector<std::string>> by_manager;
  for (const Conflict& conflict : conflicts) {
    const std::string path = path_text(conflict.path);
    out.causes.push_back({.reason = "FieldManagerConflict",
                          .message = fmt::format("conflict with {}", conflict.manager),
                          .field = path});
    by_manager[conflict.manager].push_back(path);
  }
  if (conflicts.size() == 1) {
    out.message = fmt::format("Apply failed with 1 conflict: conflict with {}: {}",
                              conflicts.front().manager, path_text(conflicts.front().path));
    return out;
  }
  std::vector<std::string> texts;
  for (const auto& [manager, paths] : by_manager) {
    texts.push_back(fmt::format("conflicts with {}:\n- {}", manager, fmt::join(paths, "\n- ")));
  }
  out.message =
      fmt::format("Apply failed with {} conflicts: {}", conflicts.size(), fmt::join(texts, "\n"));
  return out;
}

// What `kubectl apply` applied last from the client, as far as it is still so: its own fields, that
// no Update has to be asked for when kubectl begins to apply on the server.
FieldSet still_as_last_applied(const ResourceInfo& info, const Document& live) {
  const Document* annotations = object_at(live, "metadata.annotations");
  const value* text = annotations == nullptr ? nullptr : annotations->if_contains(kLastApplied);
  if (text == nullptr || !text->is_string()) return {};
  auto parsed = parse_json({text->get_string().data(), text->get_string().size()});
  if (!parsed || !parsed->value.is_object()) return {};
  const Schema& schema = schema_for(info);
  Document last = std::move(parsed->value.get_object());
  if (!schema.conform(last)) return {};
  const auto fields = fields_of(schema, last);
  if (!fields) return {};
  const Differences now = differences(schema, live, last);
  return fields->difference(now.added).difference(now.changed).difference(now.removed);
}

// `live` with `config`, without what the writer applied before and applies no more, unless that is
// somebody's.
Document applied(const Schema& schema, const Document& live, const Document& config,
                 const FieldSet& config_fields, const FieldSet& before, const Owners& others,
                 std::string_view version) {
  Document merged = merged_document(schema, live, config);
  if (before.empty()) return merged;
  FieldSet owned = config_fields;
  for (const Owner& owner : others) {
    if (owner.api_version == version) owned = owned.union_with(owner.fields);
  }
  for (const std::string_view always : {"metadata", "spec", "status"})
    owned.add(field_element(always), true);
  const FieldSet gone = before.with_containers().difference(owned.with_containers());
  // Once more, for what the configuration wants empty.
  return merged_document(schema, without_fields(schema, std::move(merged), gone), config);
}

void set_last_applied(const FieldWriter& writer, const Document& live, const Document& config,
                      Document& next) {
  const Document* annotations = object_at(live, "metadata.annotations");
  if (writer.manager != "kubectl" || annotations == nullptr ||
      !annotations->contains(kLastApplied)) {
    return;
  }
  Document said = config;
  if (auto* held = ensure_object(said, "metadata").if_contains("annotations");
      held != nullptr && held->is_object()) {
    held->get_object().erase(kLastApplied);
  }
  const std::string text = boost::json::serialize(said) + "\n";
  Document& kept = ensure_object(ensure_object(next, "metadata"), "annotations");
  if (text.size() > kMaxAnnotationBytes) {
    kept.erase(kLastApplied);
  } else {
    kept[kLastApplied] = text_value(text);
  }
}

// An object nobody owned anything of is from before: an unnamed updater's.
Owners owners_before_apply(const ResourceInfo& info, const Document& live) {
  Owners out = owners_of(live);
  if (!out.empty()) return out;
  Owner before{.manager = std::string(kBeforeFirstApply),
               .applied = false,
               .api_version = info.api_version(),
               .subresource = {},
               .time = {},
               .fields = differences_that_count(info, "", {}, live).added};
  if (!before.fields.empty()) out.push_back(std::move(before));
  return out;
}

}  // namespace

std::string field_manager_name(std::string_view requested, std::string_view user_agent) {
  if (!requested.empty()) return std::string(requested);
  std::string out;
  for (const char c : user_agent.substr(0, user_agent.find('/'))) {
    if (c >= ' ' && c <= '~' && out.size() < kMaxManagerBytes) out += c;
  }
  return out.empty() ? "unknown" : out;
}

array owners_after_update(const ResourceInfo& info, const FieldWriter& writer, const Document* live,
                          const Document& next) {
  if (schema_of_kind(info.group, info.kind) == nullptr) return {};
  const Document empty;
  const Differences made =
      differences_that_count(info, writer.subresource, live == nullptr ? empty : *live, next);
  if (made.empty() && live != nullptr) {
    // By far the most of those that change nothing: nothing has to be parsed.
    const array* before = array_at(*live, "metadata.managedFields");
    const array* sent = array_at(next, "metadata.managedFields");
    if (before != nullptr && (sent == nullptr || *sent == *before)) return *before;
  }
  auto owners = owners_before(writer, live, next);
  if (!owners) return {};
  record(info, writer, made, *owners);
  return print_owners(*std::move(owners));
}

bool same_owners(const array& a, const array& b) {
  return std::ranges::equal(a, b, [](const value& left, const value& right) {
    if (!left.is_object() || !right.is_object()) return left == right;
    Document x = left.get_object(), y = right.get_object();
    x.erase("time");
    y.erase("time");
    return x == y;
  });
}

ApiResult<Document> conform_configuration(const Strategy& strategy, std::string_view subresource,
                                          Document body) {
  const ResourceInfo& info = strategy.info();
  const std::string version(string_at(body, "apiVersion"));
  if (string_at(body, "kind").empty()) return bad_request("Object 'Kind' is missing in the patch");
  if (version.empty()) return bad_request("Object 'apiVersion' is missing in the patch");
  if (version != info.api_version()) {
    return bad_request(fmt::format(
        "Incorrect version specified in apply patch. Specified patch version: {}, expected: {}",
        version, info.api_version()));
  }
  if (const auto* owners = array_at(body, "metadata.managedFields");
      owners != nullptr && !owners->empty()) {
    return bad_request("metadata.managedFields must be nil");
  }
  FAIRLEAD_CHECK(conform_type_and_metadata(info, body));
  const std::string what = fmt::format("failed to create typed patch object ({}/{}; {}, Kind={})",
                                       string_at(body, "metadata.namespace"),
                                       string_at(body, "metadata.name"), version, info.kind);
  const auto unknown = schema_for(info).conform(body);
  if (!unknown) return bad_request(fmt::format("{}: {}", what, unknown.error().message));
  if (!unknown->empty()) {
    return bad_request(
        fmt::format("{}: .{}: field not declared in schema", what, unknown->front()));
  }
  if (const auto fields = fields_of(schema_for(info), body); !fields)
    return bad_request(fmt::format("{}: {}", what, fields.error().message));
  Document out;
  for (auto& [name, held] : body) {
    const std::string_view key(name.data(), name.size());
    if (key == "apiVersion" || key == "kind" || member_counts(info, key, subresource))
      out.emplace(key, std::move(held));
  }
  if (subresource != "status") return out;
  Document kept;
  for (auto& [name, held] : ensure_object(out, "metadata")) {
    const std::string_view key(name.data(), name.size());
    const bool names = std::ranges::find(kNobodys, key) != std::end(kNobodys);
    if (names || metadata_counts(key, subresource)) kept.emplace(key, std::move(held));
  }
  out["metadata"] = std::move(kept);
  return out;
}

ApiResult<Document> apply_configuration(const ResourceInfo& info, const FieldWriter& writer,
                                        const Document* live, const Document& config, bool force) {
  const Schema& schema = schema_for(info);
  const std::string_view uid = string_at(config, "metadata.uid");
  if (live == nullptr && !uid.empty()) {
    return conflict(info.qualified_resource(), string_at(config, "metadata.name"),
                    fmt::format("uid mismatch: the provided object specified uid {}, and no "
                                "existing object was found",
                                uid));
  }
  const Document current = live == nullptr ? Document{} : *live;
  FAIRLEAD_TRY(config_fields, fields_of(schema, config));
  Owners owners = live == nullptr ? Owners{} : owners_before_apply(info, current);
  Owner own = writing_owner(info, writer, true);
  FieldSet before;
  if (const Owner* held = find_owner(owners, own)) {
    before = held->fields;
    own.time = held->time;
  }
  std::erase_if(owners, [&own](const Owner& o) { return o.identity() == own.identity(); });
  own.fields = what_counts(info, writer.subresource, config_fields);

  Document next = applied(schema, current, config, config_fields, before, owners, own.api_version);
  const Differences made = differences_that_count(info, writer.subresource, current, next);
  const FieldSet written = made.added.union_with(made.changed);
  FieldSet disputed = written;
  if (writer.manager == "kubectl" && live != nullptr)
    disputed = disputed.difference(still_as_last_applied(info, current));
  std::vector<Conflict> conflicts;
  for (Owner& owner : owners) {
    if (owner.api_version != own.api_version) continue;
    for (FieldPath& path : owner.fields.intersection(disputed).paths())
      conflicts.push_back({.manager = describe(owner), .path = std::move(path)});
    owner.fields = owner.fields.difference(written.union_with(made.removed));
  }
  if (!conflicts.empty() && !force) return conflict_status(conflicts);
  if (own.fields != before || !made.empty() || own.time.empty())
    own.time = format_rfc3339(writer.now);
  if (live != nullptr) set_last_applied(writer, current, config, next);
  if (!own.fields.empty()) owners.push_back(std::move(own));
  drop_empty(owners);
  merge_ancient(owners);
  drop_empty(owners);
  ensure_object(next, "metadata")["managedFields"] = print_owners(std::move(owners));
  return next;
}

}  // namespace fairlead::apiserver
