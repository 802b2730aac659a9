#include "apiserver/metadata.hpp"

#include <sys/random.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include "base/text.hpp"

namespace fairlead::apiserver {
namespace {

constexpr std::size_t kMaxAnnotationBytes = 256 * 1024;
constexpr std::size_t kMaxGeneratedBase = 58;

// Fields of metadata that are the server's alone, or that we do not keep.
constexpr std::string_view kServerOnly[] = {
    "uid",      "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
    "selfLink", "generation"};
// ... of which an update takes these from the stored object.
constexpr std::string_view kCarriedOver[] = {"uid", "creationTimestamp", "deletionTimestamp",
                                             "deletionGracePeriodSeconds", "generation"};

bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// [A-Za-z0-9] at both ends, also - _ . inside.
bool is_label_text(std::string_view text) {
  if (text.empty() || !is_alphanumeric(text.front()) || !is_alphanumeric(text.back())) return false;
  return std::ranges::all_of(
      text, [](char c) { return is_alphanumeric(c) || c == '-' || c == '_' || c == '.'; });
}

ApiResult<void> check_string_map(const Document& metadata, std::string_view field) {
  const auto* value = metadata.if_contains(field);
  if (value == nullptr) return {};
  const auto* map = value->if_object();
  if (map == nullptr)
    return bad_request(fmt::format("metadata.{}: must be an object of strings", field));
  for (const auto& [key, entry] : *map) {
    if (!entry.is_string()) {
      return bad_request(fmt::format("metadata.{}[{}]: must be a string, not {}", field,
                                     std::string_view(key), boost::json::serialize(entry)));
    }
  }
  return {};
}

ApiResult<void> check_array(const Document& metadata, std::string_view field,
                            boost::json::kind element) {
  const auto* value = metadata.if_contains(field);
  if (value == nullptr) return {};
  const auto* list = value->if_array();
  const bool fits = list != nullptr && std::ranges::all_of(*list, [element](const auto& entry) {
                      return entry.kind() == element;
                    });
  if (!fits) {
    return bad_request(
        fmt::format("metadata.{}: must be a list of {}s", field, boost::json::to_string(element)));
  }
  return {};
}

ApiResult<void> check_metadata_types(Document& metadata) {
  for (auto it = metadata.begin(); it != metadata.end();) {
    it = it->value().is_null() ? metadata.erase(it) : it + 1;
  }
  for (const std::string_view field :
       {"name", "generateName", "namespace", "uid", "resourceVersion"}) {
    const auto* value = metadata.if_contains(field);
    if (value != nullptr && !value->is_string()) {
      return bad_request(fmt::format("metadata.{}: must be a string, not {}", field,
                                     boost::json::serialize(*value)));
    }
    if (value != nullptr && value->get_string().empty()) metadata.erase(field);
  }
  for (const std::string_view field : {"labels", "annotations"})
    FAIRLEAD_CHECK(check_string_map(metadata, field));
  FAIRLEAD_CHECK(check_array(metadata, "finalizers", boost::json::kind::string));
  FAIRLEAD_CHECK(check_array(metadata, "ownerReferences", boost::json::kind::object));
  for (const std::string_view field : {"labels", "annotations"}) {
    if (const auto* map = object_at(metadata, field); map != nullptr && map->empty())
      metadata.erase(field);
  }
  for (const std::string_view field : {"finalizers", "ownerReferences"}) {
    if (const auto* list = array_at(metadata, field); list != nullptr && list->empty())
      metadata.erase(field);
  }
  return {};
}

// Two owners with the same uid are one.
void drop_duplicate_owners(Document& metadata) {
  auto* value = metadata.if_contains("ownerReferences");
  if (value == nullptr || !value->is_array()) return;
  boost::json::array unique;
  for (const auto& owner : value->get_array()) {
    const std::string_view uid = string_at(owner.get_object(), "uid");
    const bool seen = std::ranges::any_of(
        unique, [uid](const auto& kept) { return string_at(kept.get_object(), "uid") == uid; });
    if (!seen) unique.push_back(owner);
  }
  *value = std::move(unique);
}

}  // namespace

ApiResult<void> conform_type_and_metadata(const ResourceInfo& info, Document& document) {
  for (const std::string_view field : {"kind", "apiVersion"}) {
    const auto* value = document.if_contains(field);
    if (value != nullptr && !value->is_string() && !value->is_null()) {
      return bad_request(
          fmt::format("{}: must be a string, not {}", field, boost::json::serialize(*value)));
    }
  }
  const std::string_view kind = string_at(document, "kind");
  const std::string_view version = string_at(document, "apiVersion");
  const std::string expected = info.api_version();
  if ((!kind.empty() && kind != info.kind) || (!version.empty() && version != expected)) {
    return bad_request(fmt::format(
        "{} in version \"{}\" cannot be handled as a {}: expected kind \"{}\" in version \"{}\"",
        kind.empty() ? info.kind : kind, version.empty() ? expected : version, info.kind, info.kind,
        expected));
  }
  Document ordered{{"kind", info.kind}, {"apiVersion", expected}};
  const auto* metadata = document.if_contains("metadata");
  if (metadata != nullptr && !metadata->is_object() && !metadata->is_null()) {
    return bad_request(
        fmt::format("metadata: must be an object, not {}", boost::json::serialize(*metadata)));
  }
  Document& kept = ordered.emplace("metadata", Document{}).first->value().get_object();
  if (metadata != nullptr && metadata->is_object()) kept = metadata->get_object();
  FAIRLEAD_CHECK(check_metadata_types(kept));
  drop_duplicate_owners(kept);
  for (auto& [key, value] : document) {
    if (key != "kind" && key != "apiVersion" && key != "metadata")
      ordered.emplace(key, std::move(value));
  }
  document = std::move(ordered);
  return {};
}

ApiResult<void> prepare_metadata_for_create(const Strategy& strategy, std::string_view ns,
                                            const RequestContext& context, const std::string& uid,
                                            Document& document) {
  Document& metadata = ensure_object(document, "metadata");
  if (!string_at(metadata, "resourceVersion").empty()) {
    return bad_request("resourceVersion should not be set on objects to be created");
  }
  const std::string_view sent = string_at(metadata, "namespace");
  if (strategy.info().namespaced) {
    if (!sent.empty() && sent != ns) {
      return bad_request(
          fmt::format("the namespace of the provided object does not match the namespace sent on "
                      "the request: \"{}\" and \"{}\"",
                      sent, ns));
    }
    metadata["namespace"] = ns;
  } else {
    metadata.erase("namespace");
  }
  for (const std::string_view field : kServerOnly) metadata.erase(field);
  metadata.erase("resourceVersion");
  metadata["uid"] = uid;
  metadata["creationTimestamp"] = format_rfc3339(context.now);
  if (strategy.has_generation()) metadata["generation"] = 1;
  return {};
}

std::string generated_name(std::string_view base, const std::array<std::uint8_t, 5>& random) {
  constexpr std::string_view kLetters = "bcdfghjklmnpqrstvwxz2456789";
  std::string out(base.substr(0, kMaxGeneratedBase));
  for (const std::uint8_t byte : random) out += kLetters[byte % kLetters.size()];
  return out;
}

std::array<std::uint8_t, 5> random_suffix() {
  std::array<std::uint8_t, 5> out{};
  check(getrandom(out.data(), out.size(), 0) == static_cast<ssize_t>(out.size()),
        "the kernel has random bytes");
  return out;
}

std::string new_uid() {
  std::array<std::uint8_t, 16> bytes{};
  check(getrandom(bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()),
        "the kernel has random bytes");
  bytes[6] = static_cast<std::uint8_t>((bytes[6] & 0x0f) | 0x40);  // version 4
  bytes[8] = static_cast<std::uint8_t>((bytes[8] & 0x3f) | 0x80);  // RFC 9562 variant
  const std::string hex = hex_encode(bytes);
  const std::string_view text = hex;
  return fmt::format("{}-{}-{}-{}-{}", text.substr(0, 8), text.substr(8, 4), text.substr(12, 4),
                     text.substr(16, 4), text.substr(20));
}

namespace {

ApiResult<void> check_update_target(const Strategy& strategy, const UpdateTarget& target,
                                    const Document& old, const Document& metadata) {
  const ResourceInfo& info = strategy.info();
  const std::string_view name = string_at(metadata, "name");
  if (name != target.name) {
    return bad_request(fmt::format(
        "the name of the object ({}) does not match the name on the URL ({})", name, target.name));
  }
  const std::string_view ns = string_at(metadata, "namespace");
  if (info.namespaced && !ns.empty() && ns != target.ns) {
    return bad_request(
        fmt::format("the namespace of the provided object does not match the namespace sent on the "
                    "request: \"{}\" and \"{}\"",
                    ns, target.ns));
  }
  const std::string_view uid = string_at(metadata, "uid");
  const std::string_view old_uid = string_at(old, "metadata.uid");
  if (!uid.empty() && uid != old_uid) {
    if (target.is_patch) {
      return invalid_status(info.qualified_kind(), target.name,
                            {invalid("metadata.uid", uid, "field is immutable")});
    }
    return conflict(
        info.qualified_resource(), target.name,
        fmt::format("Precondition failed: UID in precondition: {}, UID in object meta: {}", uid,
                    old_uid));
  }
  const std::string_view revision = string_at(metadata, "resourceVersion");
  if (revision.empty() && target.needs_resource_version) {
    return invalid_status(
        info.qualified_kind(), target.name,
        {invalid("metadata.resourceVersion", 0, "must be specified for an update")});
  }
  if (revision.empty() || revision == "0") return {};
  if (!parse_uint(revision)) {
    return invalid_status(
        info.qualified_kind(), target.name,
        {invalid("metadata.resourceVersion", revision, "must be an unsigned integer")});
  }
  if (parse_uint(revision) != target.revision)
    return modified_conflict(info.qualified_resource(), target.name);
  return {};
}

}  // namespace

ApiResult<void> prepare_metadata_for_update(const Strategy& strategy, const UpdateTarget& target,
                                            const Document& old, Document& document) {
  Document& metadata = ensure_object(document, "metadata");
  FAIRLEAD_CHECK(check_update_target(strategy, target, old, metadata));
  for (const std::string_view field : kServerOnly) metadata.erase(field);
  metadata.erase("resourceVersion");
  metadata.erase("namespace");
  if (strategy.info().namespaced) metadata["namespace"] = target.ns;
  for (const std::string_view field : kCarriedOver) {
    if (const auto* value = find_path(old, fmt::format("metadata.{}", field)))
      metadata[field] = *value;
  }
  return {};
}

bool is_terminating(const Document& document) {
  return !string_at(document, "metadata.deletionTimestamp").empty();
}

bool has_finalizers(const Document& document) {
  const auto* list = array_at(document, "metadata.finalizers");
  return list != nullptr && !list->empty();
}

bool has_finalizer(const Document& document, std::string_view finalizer) {
  const std::vector<std::string> all = texts_at(document, "metadata.finalizers");
  return std::ranges::find(all, finalizer) != all.end();
}

void add_finalizer(Document& document, std::string_view finalizer) {
  if (has_finalizer(document, finalizer)) return;
  auto& all = ensure_object(document, "metadata")["finalizers"];
  if (!all.is_array()) all.emplace_array();
  all.get_array().emplace_back(finalizer);
}

void remove_finalizer(Document& document, std::string_view finalizer) {
  if (!has_finalizer(document, finalizer)) return;
  boost::json::array kept;
  for (const std::string& other : texts_at(document, "metadata.finalizers")) {
    if (other != finalizer) kept.emplace_back(other);
  }
  Document& metadata = ensure_object(document, "metadata");
  metadata.erase("finalizers");
  if (!kept.empty()) metadata["finalizers"] = std::move(kept);
}

std::vector<std::string> qualified_name_errors(std::string_view text) {
  std::vector<std::string> out;
  const std::size_t slash = text.find('/');
  std::string_view name = text;
  if (slash != std::string_view::npos) {
    const std::string_view prefix = text.substr(0, slash);
    name = text.substr(slash + 1);
    if (prefix.empty()) out.emplace_back("prefix part must be non-empty");
    if (!prefix.empty() && !is_dns1123_subdomain(prefix)) {
      out.emplace_back(
          "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric "
          "characters, '-' or '.', "
          "and must start and end with an alphanumeric character (e.g. 'example.com')");
    }
  }
  if (name.empty()) {
    out.emplace_back("name part must be non-empty");
  } else if (name.size() > 63) {
    out.emplace_back("name part must be no more than 63 bytes");
  }
  if (!is_label_text(name)) {
    out.emplace_back(
        "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and "
        "end with an alphanumeric "
        "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
        "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')");
  }
  return out;
}

std::vector<std::string> label_value_errors(std::string_view text) {
  std::vector<std::string> out;
  if (text.size() > 63) out.emplace_back("must be no more than 63 bytes");
  if (!text.empty() && !is_label_text(text)) {
    out.emplace_back(
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
        "'.', and must start and "
        "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex "
        "used for validation is "
        "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')");
  }
  return out;
}

namespace {

void check_name(const Strategy& strategy, const Document& metadata, FieldErrors& errors) {
  const std::string_view name = string_at(metadata, "name");
  if (name.empty()) {
    errors.push_back(required("metadata.name", "name or generateName is required"));
    return;
  }
  for (std::string& why : strategy.name_errors(name))
    errors.push_back(invalid("metadata.name", name, std::move(why)));
}

void check_labels(const Document& metadata, FieldErrors& errors) {
  const Document* labels = object_at(metadata, "labels");
  if (labels == nullptr) return;
  for (const auto& [key, value] : *labels) {
    for (std::string& why : qualified_name_errors(key)) {
      errors.push_back(invalid("metadata.labels", boost::json::string(key), std::move(why)));
    }
    for (std::string& why : label_value_errors(value.get_string())) {
      errors.push_back(invalid("metadata.labels", value, std::move(why)));
    }
  }
}

void check_annotations(const Document& metadata, FieldErrors& errors) {
  const Document* annotations = object_at(metadata, "annotations");
  if (annotations == nullptr) return;
  std::size_t bytes = 0;
  for (const auto& [key, value] : *annotations) {
    for (std::string& why : qualified_name_errors(to_lower_ascii(key))) {
      errors.push_back(invalid("metadata.annotations", boost::json::string(key), std::move(why)));
    }
    bytes += key.size() + value.get_string().size();
  }
  if (bytes > kMaxAnnotationBytes)
    errors.push_back(too_long("metadata.annotations", kMaxAnnotationBytes));
}

void check_owners(const Document& metadata, FieldErrors& errors) {
  const auto* owners = array_at(metadata, "ownerReferences");
  if (owners == nullptr) return;
  std::string_view controller;
  for (std::size_t i = 0; i < owners->size(); ++i) {
    const Document& owner = (*owners)[i].get_object();
    for (const std::string_view field : {"apiVersion", "kind", "name", "uid"}) {
      if (!string_at(owner, field).empty()) continue;
      errors.push_back(invalid(fmt::format("metadata.ownerReferences.{}", field), "",
                               fmt::format("{} must not be empty", field)));
    }
    if (!bool_at(owner, "controller").value_or(false)) continue;
    if (!controller.empty()) {
      errors.push_back(invalid(
          "metadata.ownerReferences", owner,
          fmt::format("Only one reference can have Controller set to true. Found \"true\" in "
                      "references for {} and {}",
                      controller, string_at(owner, "name"))));
    }
    controller = string_at(owner, "name");
  }
}

void check_finalizers(const Document& metadata, FieldErrors& errors) {
  const auto* finalizers = array_at(metadata, "finalizers");
  if (finalizers == nullptr) return;
  const auto contains = [finalizers](std::string_view text) {
    return std::ranges::any_of(*finalizers,
                               [text](const auto& entry) { return entry.get_string() == text; });
  };
  for (std::size_t i = 0; i < finalizers->size(); ++i) {
    const std::string_view text = (*finalizers)[i].get_string();
    const std::string field = fmt::format("metadata.finalizers[{}]", i);
    const bool known =
        text == kOrphanFinalizer || text == kForegroundFinalizer || text == "kubernetes";
    for (std::string& why : qualified_name_errors(text))
      errors.push_back(invalid(field, text, std::move(why)));
    if (!known && text.find('/') == std::string_view::npos) {
      errors.push_back(invalid(
          field, text, "name is neither a standard finalizer name nor is it fully qualified"));
    }
  }
  if (contains(kOrphanFinalizer) && contains(kForegroundFinalizer)) {
    errors.push_back(invalid("metadata.finalizers", *finalizers,
                             "finalizers orphan and foregroundDeletion cannot both be set"));
  }
}

}  // namespace

FieldErrors validate_metadata(const Strategy& strategy, const Document& document) {
  FieldErrors errors;
  const Document* metadata = object_at(document, "metadata");
  check(metadata != nullptr, "metadata was made by conform_type_and_metadata");
  check_name(strategy, *metadata, errors);
  check_labels(*metadata, errors);
  check_annotations(*metadata, errors);
  check_owners(*metadata, errors);
  check_finalizers(*metadata, errors);
  return errors;
}

FieldErrors validate_metadata_update(const Document& old, const Document& document) {
  FieldErrors errors;
  if (!is_terminating(old)) return errors;
  const auto* before = array_at(old, "metadata.finalizers");
  const auto* after = array_at(document, "metadata.finalizers");
  if (after == nullptr) return errors;
  std::string added;
  for (const auto& entry : *after) {
    const bool known = before != nullptr && std::ranges::find(*before, entry) != before->end();
    if (!known)
      added +=
          fmt::format("{}\"{}\"", added.empty() ? "" : ", ", std::string_view(entry.get_string()));
  }
  if (!added.empty()) {
    errors.push_back(forbidden(
        "metadata.finalizers",
        fmt::format("no new finalizers can be added if the object is being deleted, found new "
                    "finalizers []string{{{}}}",
                    added)));
  }
  return errors;
}

}  // namespace fairlead::apiserver
