#include "apiserver/request.hpp"

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cmath>
#include <cstdlib>
#include <map>

#include "base/text.hpp"
#include "kube/protobuf.hpp"

namespace fairlead::apiserver {

// ---- path

namespace {

// Decoded segments without the leading slash; nullopt when one is empty or decodes to something
// with a slash or NUL.
std::optional<std::vector<std::string>> segments_of(std::string_view path) {
  if (path.empty() || path.front() != '/') return std::nullopt;
  path.remove_prefix(1);
  if (!path.empty() && path.back() == '/') path.remove_suffix(1);
  std::vector<std::string> out;
  for (const std::string_view raw : split(path, '/')) {
    Result<std::string> decoded = io::percent_decode(raw);
    if (!decoded || decoded->empty() ||
        decoded->find_first_of(std::string_view("/%\0", 3)) != std::string::npos) {
      return std::nullopt;
    }
    out.push_back(*std::move(decoded));
  }
  return out;
}

}  // namespace

ApiResult<ApiPath> parse_api_path(std::string_view path) {
  const auto segments = segments_of(path);
  if (!segments) return ApiPath{};
  const auto& all = *segments;
  ApiPath out;
  std::size_t at = 0;
  if (all.size() >= 2 && all[0] == "api") {
    out.version = all[1];
    at = 2;
  } else if (all.size() >= 3 && all[0] == "apis") {
    out.group = all[1];
    out.version = all[2];
    at = 3;
  } else {
    return ApiPath{};
  }
  std::vector<std::string> rest(all.begin() + static_cast<std::ptrdiff_t>(at), all.end());
  if (rest.empty()) {
    out.kind = ApiPath::Kind::GroupVersion;
    return out;
  }
  for (const std::string& segment : rest) {
    if (segment == "." || segment == "..") {
      return bad_request(
          fmt::format("name parameter invalid: \"{}\": may not be '.' or '..'", segment));
    }
  }
  out.kind = ApiPath::Kind::Resource;
  // namespaces/X/status and /finalize are subresources of the namespace itself, namespaces/X/other
  // are things in it.
  const bool inside =
      rest[0] == "namespaces" && rest.size() >= 3 &&
      !(out.group.empty() && rest.size() == 3 && (rest[2] == "status" || rest[2] == "finalize"));
  if (inside) {
    out.ns = rest[1];
    rest.erase(rest.begin(), rest.begin() + 2);
  }
  if (rest.size() > 3) return ApiPath{};
  out.resource = rest[0];
  if (rest.size() > 1) out.name = rest[1];
  if (rest.size() > 2) out.subresource = rest[2];
  return out;
}

// ---- Accept

namespace {

// What is no number counts as none given.
double quality_of(const std::string& text) {
  char* end = nullptr;
  const double quality = std::strtod(text.c_str(), &end);
  return end == text.c_str() || *end != '\0' || std::isnan(quality) ? 1 : quality;
}

}  // namespace

std::vector<AcceptClause> parse_accept(std::string_view text) {
  // Equal ranks stay in the order given.
  std::multimap<std::pair<double, int>, AcceptClause, std::greater<>> ranked;
  for (const std::string_view part : split(text, ',')) {
    const auto fields = split(part, ';');
    AcceptClause clause{.type = to_lower_ascii(trim(fields[0])), .parameters = {}};
    if (clause.type.empty()) continue;
    double quality = 1;
    for (std::size_t i = 1; i < fields.size(); ++i) {
      const auto pair = split(trim(fields[i]), '=');
      if (pair.size() != 2) continue;
      std::string name = to_lower_ascii(trim(pair[0]));
      std::string value(trim(pair[1]));
      if (name == "q") {
        quality = quality_of(value);
      } else {
        clause.parameters.insert_or_assign(std::move(name), std::move(value));
      }
    }
    if (quality <= 0) continue;
    const int specific = clause.type == "*/*" ? 0 : clause.type.ends_with("/*") ? 1 : 2;
    ranked.emplace(std::pair(quality, specific), std::move(clause));
  }
  std::vector<AcceptClause> out;
  for (auto& [rank, clause] : ranked) out.push_back(std::move(clause));
  return out;
}

namespace {

std::string_view parameter(const AcceptClause& clause, const std::string& name) {
  const auto found = clause.parameters.find(name);
  return found == clause.parameters.end() ? std::string_view() : std::string_view(found->second);
}

std::optional<Representation::Format> format_of(const AcceptClause& clause) {
  if (clause.type == "application/yaml") return Representation::Format::Yaml;
  if (clause.type == kube::kProtobufMediaType) return Representation::Format::Protobuf;
  if (clause.type == "application/json" || clause.type == "application/*" || clause.type == "*/*")
    return Representation::Format::Json;
  return std::nullopt;
}

// nullopt: we do not speak this.
std::optional<Representation> representation_of(const AcceptClause& clause) {
  const auto format = format_of(clause);
  if (!format) return std::nullopt;
  Representation out;
  out.format = *format;
  const std::string_view as = parameter(clause, "as");
  if (as.empty()) return out;
  const std::string_view version = parameter(clause, "v");
  if (parameter(clause, "g") != "meta.k8s.io" || (version != "v1" && version != "v1beta1"))
    return std::nullopt;
  out.meta_version = version;
  if (as == "Table") {
    if (out.format == Representation::Format::Protobuf) return std::nullopt;  // it has no message
    out.shape = Representation::Shape::Table;
  } else if (as == "PartialObjectMetadata" || as == "PartialObjectMetadataList") {
    out.shape = Representation::Shape::PartialMetadata;
  } else {
    return std::nullopt;
  }
  return out;
}

}  // namespace

ApiResult<Representation> negotiate(std::string_view accept, bool has_protobuf) {
  if (trim(accept).empty()) return Representation{};
  for (const AcceptClause& clause : parse_accept(accept)) {
    auto found = representation_of(clause);
    if (!found) continue;
    if (found->format != Representation::Format::Protobuf || has_protobuf) return *std::move(found);
  }
  return not_acceptable(has_protobuf ? "application/json, application/yaml, "
                                       "application/vnd.kubernetes.protobuf"
                                     : "application/json, application/yaml");
}

Representation::Format status_format(std::string_view accept) {
  for (const AcceptClause& clause : parse_accept(accept)) {
    const auto format = format_of(clause);
    if (format && parameter(clause, "as").empty()) return *format;
  }
  return Representation::Format::Json;
}

// ---- list and watch options

namespace {

bool is_true(std::optional<std::string_view> text) {
  return text && !text->empty() && *text != "0" && *text != "false";
}

ApiResult<std::optional<std::int64_t>> integer_param(const io::Url& url, std::string_view name) {
  const auto text = url.param(name);
  if (!text || text->empty()) return std::optional<std::int64_t>();
  const auto value = parse_int(*text);
  if (!value) return bad_request(fmt::format("{}: \"{}\" is not an integer", name, *text));
  return value;
}

// Field labels: the canonical ones of the kind, and metadata's.
bool supports_field(const Strategy& strategy, std::string_view label) {
  if (label == "metadata.name" || (label == "metadata.namespace" && strategy.info().namespaced))
    return true;
  const auto fields = strategy.selectable_fields({});
  return std::ranges::any_of(fields, [label](const auto& field) { return field.first == label; });
}

ApiResult<Selection> parse_selection(const io::Url& url, const Strategy& strategy,
                                     std::string_view ns) {
  Selection out;
  out.ns = ns;
  if (const auto text = url.param("labelSelector"); text && !text->empty()) {
    auto parsed = kube::LabelSelector::parse(*text);
    if (!parsed)
      return bad_request(
          fmt::format("unable to parse labelSelector \"{}\": {}", *text, parsed.error()));
    out.labels = *std::move(parsed);
  }
  if (const auto text = url.param("fieldSelector"); text && !text->empty()) {
    auto parsed = kube::parse_field_selector(*text);
    if (!parsed)
      return bad_request(
          fmt::format("unable to parse fieldSelector \"{}\": {}", *text, parsed.error()));
    for (const kube::FieldTerm& term : *parsed) {
      if (!supports_field(strategy, term.field)) {
        return bad_request(fmt::format("field label not supported: {}", term.field));
      }
    }
    out.fields = *std::move(parsed);
  }
  return out;
}

// Unset for what is none; the checks below say so.
ListOptions::Match parse_match(std::string_view text) {
  if (text == "Exact") return ListOptions::Match::Exact;
  if (text == "NotOlderThan") return ListOptions::Match::NotOlderThan;
  return ListOptions::Match::Unset;
}

constexpr std::string_view kMatch = "resourceVersionMatch";

FieldErrors watch_errors(const ListOptions& options, std::string_view match) {
  FieldErrors out;
  const bool not_older = options.match == ListOptions::Match::NotOlderThan;
  if (options.send_initial_events && !not_older) {
    out.push_back(forbidden(std::string(kMatch),
                            "sendInitialEvents requires setting resourceVersionMatch to "
                            "NotOlderThan"));
  }
  if (match.empty()) return out;
  if (!options.send_initial_events) {
    out.push_back(forbidden(std::string(kMatch),
                            "resourceVersionMatch is forbidden for watch unless sendInitialEvents "
                            "is provided"));
  }
  if (!not_older) out.push_back(not_supported(std::string(kMatch), match, {"NotOlderThan"}));
  if (!options.continue_token.empty()) {
    out.push_back(forbidden(std::string(kMatch),
                            "resourceVersionMatch is forbidden when continue is provided"));
  }
  return out;
}

FieldErrors list_errors(const ListOptions& options, std::string_view match) {
  FieldErrors out;
  if (!match.empty()) {
    if (!options.resource_version) {
      out.push_back(forbidden(std::string(kMatch),
                              "resourceVersionMatch is forbidden unless resourceVersion is "
                              "provided"));
    }
    if (!options.continue_token.empty()) {
      out.push_back(forbidden(std::string(kMatch),
                              "resourceVersionMatch is forbidden when continue is provided"));
    }
    if (options.match == ListOptions::Match::Unset) {
      out.push_back(not_supported(std::string(kMatch), match, {"Exact", "NotOlderThan"}));
    }
    if (options.match == ListOptions::Match::Exact && options.resource_version == Revision{0}) {
      out.push_back(forbidden(std::string(kMatch),
                              "resourceVersionMatch \"exact\" is forbidden for resourceVersion "
                              "\"0\""));
    }
  }
  if (options.send_initial_events) {
    out.push_back(forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
  }
  return out;
}

// Everything that is wrong at once.
ApiResult<void> check_options(const ListOptions& options, std::string_view match) {
  const FieldErrors errors =
      options.watch ? watch_errors(options, match) : list_errors(options, match);
  if (!errors.empty()) {
    return invalid_status({.group = "meta.k8s.io", .resource = "ListOptions"}, "", errors);
  }
  if (!options.watch && !options.continue_token.empty() &&
      options.resource_version.value_or(0) != 0) {
    return bad_request("specifying resource version is not allowed when using continue");
  }
  return {};
}

}  // namespace

ApiResult<ListOptions> parse_list_options(const io::Url& url, const Strategy& strategy,
                                          std::string_view ns) {
  ListOptions out;
  FAIRLEAD_TRY(selection, parse_selection(url, strategy, ns));
  out.selection = std::move(selection);
  FAIRLEAD_TRY(limit, integer_param(url, "limit"));
  out.limit = static_cast<std::size_t>(std::max<std::int64_t>(limit.value_or(0), 0));
  out.continue_token = url.param("continue").value_or("");
  if (const auto text = url.param("resourceVersion"); text && !text->empty()) {
    const auto value = parse_uint(*text);
    if (!value)
      return bad_request(fmt::format("resourceVersion: \"{}\" is not an unsigned integer", *text));
    out.resource_version = value;
  }
  const std::string_view match = url.param(kMatch).value_or("");
  out.match = parse_match(match);
  out.watch = is_true(url.param("watch"));
  out.allow_bookmarks = is_true(url.param("allowWatchBookmarks"));
  if (const auto text = url.param("sendInitialEvents"); text && !text->empty()) {
    out.send_initial_events = is_true(text);
  }
  FAIRLEAD_TRY(timeout, integer_param(url, "timeoutSeconds"));
  if (timeout && *timeout > 0) {
    out.timeout_seconds = static_cast<std::uint32_t>(std::min<std::int64_t>(*timeout, 24 * 3600));
  }
  FAIRLEAD_CHECK(check_options(out, match));
  return out;
}

// base64 of "v2 <revision> <remaining> <start>": opaque to clients.
std::string encode_continue(const ContinueToken& token) {
  const std::string text = fmt::format("v2 {} {} {}", token.revision, token.remaining, token.start);
  return base64_encode({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

ApiResult<ContinueToken> decode_continue(std::string_view text) {
  const auto refuse = [] { return bad_request("continue key is not valid"); };
  const auto decoded = base64_decode(text);
  if (!decoded) return refuse();
  const auto parts = split(*decoded, ' ');
  if (parts.size() != 4 || parts[0] != "v2") return refuse();
  const auto revision = parse_uint(parts[1]);
  const auto remaining = parse_uint(parts[2]);
  const std::string start(parts[3]);
  if (!revision || !remaining || start.empty() || start.front() == '/' ||
      start.find("..") != std::string::npos)
    return refuse();
  return ContinueToken{.revision = *revision, .start = start, .remaining = *remaining};
}

// ---- write options

ApiResult<WriteOptions> parse_write_options(const io::Url& url, std::string_view kind) {
  WriteOptions out;
  const auto refuse = [kind](FieldError error) {
    return invalid_status({.group = "meta.k8s.io", .resource = kind}, "", {std::move(error)});
  };
  if (const auto text = url.param("dryRun"); text && !text->empty()) {
    if (*text != "All") return refuse(not_supported("dryRun", *text, {"All"}));
    out.dry_run = true;
  }
  const std::string_view validation = url.param("fieldValidation").value_or("");
  if (validation == "Ignore") {
    out.field_validation = FieldValidation::Ignore;
  } else if (validation == "Strict") {
    out.field_validation = FieldValidation::Strict;
  } else if (!validation.empty() && validation != "Warn") {
    return refuse(not_supported("fieldValidation", validation, {"Ignore", "Strict", "Warn"}));
  }
  out.field_manager = url.param("fieldManager").value_or("");
  if (out.field_manager.size() > 128) {
    return refuse(too_long("fieldManager", 128));
  }
  const auto is_control = [](char c) { return (c >= 0 && c < ' ') || c == '\x7f'; };
  if (std::ranges::any_of(out.field_manager, is_control)) {
    return refuse(
        invalid("fieldManager", out.field_manager, "should only contain printable characters"));
  }
  return out;
}

namespace {

StatusError invalid_delete_options(FieldError error) {
  return invalid_status({.group = "meta.k8s.io", .resource = "DeleteOptions"}, "",
                        {std::move(error)});
}

ApiResult<DeleteOptions> delete_options_of_body(const Document& body) {
  DeleteOptions out;
  for (const std::string_view key : {"gracePeriodSeconds"}) {
    const auto* value = body.if_contains(key);
    if (value == nullptr || value->is_null()) continue;
    out.grace_period_seconds = int_at(body, key);
    if (!out.grace_period_seconds)
      return bad_request(
          fmt::format("{}: {} is not an integer", key, boost::json::serialize(*value)));
  }
  if (const std::string_view text = string_at(body, "propagationPolicy"); !text.empty())
    out.propagation_policy = text;
  out.orphan_dependents = bool_at(body, "orphanDependents");
  if (const std::string_view text = string_at(body, "preconditions.uid"); !text.empty())
    out.uid = text;
  if (const std::string_view text = string_at(body, "preconditions.resourceVersion");
      !text.empty()) {
    out.resource_version = text;
  }
  if (const auto* list = array_at(body, "dryRun"); list != nullptr && !list->empty()) {
    for (const auto& entry : *list) {
      if (entry != "All") return invalid_delete_options(not_supported("dryRun", entry, {"All"}));
    }
    out.dry_run = true;
  }
  return out;
}

ApiResult<DeleteOptions> delete_options_of_query(const io::Url& url) {
  DeleteOptions out;
  FAIRLEAD_TRY(grace, integer_param(url, "gracePeriodSeconds"));
  out.grace_period_seconds = grace;
  if (const auto text = url.param("propagationPolicy"); text && !text->empty())
    out.propagation_policy = *text;
  if (const auto text = url.param("orphanDependents"); text && !text->empty())
    out.orphan_dependents = is_true(text);
  if (const auto text = url.param("dryRun"); text && !text->empty()) {
    if (*text != "All") return invalid_delete_options(not_supported("dryRun", *text, {"All"}));
    out.dry_run = true;
  }
  return out;
}

}  // namespace

ApiResult<DeleteOptions> parse_delete_options(const io::Url& url, const Document* body) {
  FAIRLEAD_TRY(out, body != nullptr ? delete_options_of_body(*body) : delete_options_of_query(url));
  if (out.propagation_policy && *out.propagation_policy != "Foreground" &&
      *out.propagation_policy != "Background" && *out.propagation_policy != "Orphan") {
    return invalid_delete_options(not_supported("propagationPolicy", *out.propagation_policy,
                                                {"Foreground", "Background", "Orphan"}));
  }
  if (out.propagation_policy && out.orphan_dependents) {
    return invalid_delete_options(
        invalid("propagationPolicy", *out.propagation_policy,
                "orphanDependents and deletionPropagation cannot be both set"));
  }
  return out;
}

bool wants_pretty(const io::Url& url, std::string_view user_agent) {
  if (const auto text = url.param("pretty")) return is_true(text);
  return user_agent.starts_with("curl") || user_agent.starts_with("Wget") ||
         user_agent.starts_with("Mozilla/5.0");
}

}  // namespace fairlead::apiserver
