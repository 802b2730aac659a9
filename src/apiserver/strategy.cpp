#include "apiserver/strategy.hpp"

#include <boost/json/array.hpp>

#include "base/text.hpp"

namespace fairlead::apiserver {

std::string ResourceInfo::api_version() const {
  return group.empty() ? version : group + "/" + version;
}

std::string ResourceInfo::storage_key(std::string_view ns, std::string_view name) const {
  return namespaced ? fmt::format("{}{}/{}", storage_prefix, ns, name)
                    : fmt::format("{}{}", storage_prefix, name);
}

ApiResult<std::vector<std::string>> Strategy::conform(Document& /*document*/) const {
  return std::vector<std::string>{};
}

void Strategy::from_stored(Document& /*document*/) const {}

void Strategy::to_stored(Document& /*document*/) const {}

std::vector<std::string> Strategy::name_errors(std::string_view name) const {
  if (is_dns1123_subdomain(name)) return {};
  return {
      "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
      "'.', and must start "
      "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
      "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"};
}

ApiResult<void> Strategy::allocate(const RequestContext& /*context*/, Transaction& /*transaction*/,
                                   const Document* /*old*/, Document& /*document*/) const {
  return {};
}

void Strategy::carry_over(const Document& /*old*/, Document& /*document*/) const {}

void Strategy::release(Transaction& /*transaction*/, const Document& /*document*/) const {}

std::vector<std::string> Strategy::reservations(Transaction& /*state*/, std::string_view /*ns*/,
                                                std::string_view /*name*/) const {
  return {};
}

std::vector<std::string> Strategy::warnings(const Document& /*document*/) const { return {}; }

void Strategy::prepare_subresource_update(const RequestContext& /*context*/,
                                          std::string_view subresource, const Document& old,
                                          Document& document) const {
  if (subresource != "status") return;
  Document next = old;
  if (const auto* status = document.if_contains("status")) {
    next["status"] = *status;
  } else {
    next.erase("status");
  }
  Document& metadata = ensure_object(next, "metadata");
  const Document* sent = object_at(document, "metadata");
  for (const std::string_view key : {"labels", "annotations"}) {
    const auto* value = sent == nullptr ? nullptr : sent->if_contains(key);
    if (value != nullptr) {
      metadata[key] = *value;
    } else {
      metadata.erase(key);
    }
  }
  document = std::move(next);
}

FieldErrors Strategy::validate_subresource_update(const RequestContext& /*context*/,
                                                  std::string_view /*subresource*/,
                                                  const Document& /*old*/,
                                                  const Document& /*document*/) const {
  return {};
}

ApiResult<void> Strategy::create_subresource(const RequestContext& /*context*/,
                                             std::string_view /*subresource*/,
                                             const Document& /*body*/, Document& /*object*/) const {
  return method_not_allowed();
}

bool Strategy::bumps_generation(const Document& /*old*/, const Document& /*document*/) const {
  return false;
}

ApiResult<DeletionRule> Strategy::deletion_rule(const Document& /*document*/,
                                                const DeleteOptions& /*options*/) const {
  return DeletionRule{};
}

void Strategy::mark_deleting(Document& /*document*/) const {}

void Strategy::to_former_version(Document& /*document*/) const {}

bool Strategy::is_held(const Document& /*document*/) const { return false; }

std::vector<std::pair<std::string, std::string>> Strategy::selectable_fields(
    const Document& /*document*/) const {
  return {};
}

const boost::json::value* find_path(const Document& document, std::string_view dotted) {
  const Document* here = &document;
  while (true) {
    const std::size_t dot = dotted.find('.');
    const boost::json::value* found = here->if_contains(dotted.substr(0, dot));
    if (found == nullptr || dot == std::string_view::npos) return found;
    here = found->if_object();
    if (here == nullptr) return nullptr;
    dotted.remove_prefix(dot + 1);
  }
}

std::string_view string_at(const Document& document, std::string_view dotted) {
  const auto* value = find_path(document, dotted);
  const auto* text = value == nullptr ? nullptr : value->if_string();
  return text == nullptr ? std::string_view() : std::string_view(*text);
}

const Document* object_at(const Document& document, std::string_view dotted) {
  const auto* value = find_path(document, dotted);
  return value == nullptr ? nullptr : value->if_object();
}

const boost::json::array* array_at(const Document& document, std::string_view dotted) {
  const auto* value = find_path(document, dotted);
  return value == nullptr ? nullptr : value->if_array();
}

std::optional<std::int64_t> int_at(const Document& document, std::string_view dotted) {
  const auto* value = find_path(document, dotted);
  if (value == nullptr) return std::nullopt;
  if (const auto* number = value->if_int64()) return *number;
  if (const auto* number = value->if_uint64(); number != nullptr && *number <= INT64_MAX) {
    return static_cast<std::int64_t>(*number);
  }
  return std::nullopt;
}

std::optional<bool> bool_at(const Document& document, std::string_view dotted) {
  const auto* value = find_path(document, dotted);
  const auto* flag = value == nullptr ? nullptr : value->if_bool();
  return flag == nullptr ? std::nullopt : std::optional(*flag);
}

Document& ensure_object(Document& parent, std::string_view key) {
  boost::json::value& value = parent[key];
  if (!value.is_object()) value = Document{};
  return value.get_object();
}

namespace {

// apimachinery's HumanDuration: about two significant units.
std::string human_duration(std::int64_t seconds) {
  if (seconds < -1) return "<invalid>";
  if (seconds < 0) return "0s";
  if (seconds < 120) return fmt::format("{}s", seconds);
  const std::int64_t minutes = seconds / 60;
  if (minutes < 10) {
    return seconds % 60 == 0 ? fmt::format("{}m", minutes)
                             : fmt::format("{}m{}s", minutes, seconds % 60);
  }
  if (minutes < 180) return fmt::format("{}m", minutes);
  const std::int64_t hours = minutes / 60;
  if (hours < 8)
    return minutes % 60 == 0 ? fmt::format("{}h", hours)
                             : fmt::format("{}h{}m", hours, minutes % 60);
  if (hours < 48) return fmt::format("{}h", hours);
  const std::int64_t days = hours / 24;
  if (days < 8)
    return hours % 24 == 0 ? fmt::format("{}d", days) : fmt::format("{}d{}h", days, hours % 24);
  if (days < 365 * 2) return fmt::format("{}d", days);
  const std::int64_t years = days / 365;
  if (years < 8)
    return days % 365 == 0 ? fmt::format("{}y", years) : fmt::format("{}y{}d", years, days % 365);
  return fmt::format("{}y", years);
}

}  // namespace

std::vector<std::string> texts_at(const Document& document, std::string_view path) {
  std::vector<std::string> out;
  if (const auto* list = array_at(document, path)) {
    for (const auto& item : *list) {
      if (item.is_string()) out.emplace_back(item.get_string());
    }
  }
  return out;
}

std::vector<const Document*> objects_at(const Document& document, std::string_view path) {
  std::vector<const Document*> out;
  if (const auto* list = array_at(document, path)) {
    for (const auto& item : *list) {
      if (item.is_object()) out.push_back(&item.get_object());
    }
  }
  return out;
}

std::string age_since(std::string_view time, WallTime now) {
  const Result<WallTime> then = parse_rfc3339(time);
  if (!then) return "<unknown>";
  return human_duration(std::chrono::duration_cast<std::chrono::seconds>(now - *then).count());
}

std::string age_text(const Document& document, WallTime now) {
  return age_since(string_at(document, "metadata.creationTimestamp"), now);
}

}  // namespace fairlead::apiserver
