// Events, which two groups serve: v1 as it always was, and events.k8s.io/v1 with clearer names and
// stricter rules. There is one set of stored objects, in the form of v1; the other kind renames
// fields on the way (spec 4.9). Rules speak of fields by their names in v1, as Kubernetes' do.
#include <algorithm>
#include <array>
#include <boost/json/array.hpp>

#include "apiserver/kind_strategy.hpp"
#include "apiserver/metadata.hpp"
#include "base/text.hpp"

namespace fairlead::apiserver {
namespace {

constexpr std::string_view kStoredVersion = "v1";
constexpr std::string_view kNewVersion = "events.k8s.io/v1";
constexpr std::size_t kLongestName = 128;  // of an instance, an action, a reason
constexpr std::size_t kLongestNote = 1024;

struct Renamed {
  std::string_view stored, shown;
};
constexpr std::array<Renamed, 7> kRenamed = {{
    {"involvedObject", "regarding"},
    {"message", "note"},
    {"source", "deprecatedSource"},
    {"firstTimestamp", "deprecatedFirstTimestamp"},
    {"lastTimestamp", "deprecatedLastTimestamp"},
    {"count", "deprecatedCount"},
    {"reportingComponent", "reportingController"},
}};

void rename_fields(Document& event, std::string_view Renamed::* from,
                   std::string_view Renamed::* to) {
  Document out;
  for (auto& member : event) {
    const auto found =
        std::ranges::find_if(kRenamed, [&](const Renamed& r) { return r.*from == member.key(); });
    const std::string_view key(member.key());
    out[found == kRenamed.end() ? key : (*found).*to] = std::move(member.value());
  }
  event = std::move(out);
}

// ---- Rules, of documents in the stored form

FieldError does_not_match(std::string_view ns) {
  return invalid("involvedObject.namespace", ns, "does not match event.namespace");
}

void check_text(const Document& event, std::string_view field, std::size_t most, bool needed,
                FieldErrors& errors) {
  const std::string_view text = string_at(event, field);
  if (needed && text.empty()) errors.push_back(required(std::string(field)));
  if (text.size() > most) {
    errors.push_back(
        invalid(std::string(field), "", fmt::format("can have at most {} characters", most)));
  }
}

// What holds for every Event, whoever wrote it. Those with an eventTime are of the newer sort.
FieldErrors common_errors(const Document& event) {
  FieldErrors errors;
  const std::string_view involved = string_at(event, "involvedObject.namespace"),
                         own = string_at(event, "metadata.namespace");
  const bool of_cluster = involved.empty() && (own == "default" || own == "kube-system");
  if (involved != own && !of_cluster) errors.push_back(does_not_match(involved));
  if (string_at(event, "eventTime").empty()) return errors;
  const std::string_view reporter = string_at(event, "reportingComponent");
  if (reporter.empty()) {
    errors.push_back(required("reportingComponent"));
  } else {
    for (std::string& why : qualified_name_errors(reporter))
      errors.push_back(invalid("reportingComponent", reporter, std::move(why)));
  }
  check_text(event, "reportingInstance", kLongestName, true, errors);
  check_text(event, "action", kLongestName, true, errors);
  check_text(event, "reason", kLongestName, true, errors);
  check_text(event, "message", kLongestNote, false, errors);
  return errors;
}

FieldErrors series_errors(const Document& event) {
  const Document* series = object_at(event, "series");
  if (series == nullptr) return {};
  FieldErrors errors;
  if (int_at(*series, "count").value_or(0) < 2)
    errors.push_back(invalid("series.count", "", "should be at least 2"));
  if (string_at(*series, "lastObservedTime").empty())
    errors.push_back(required("series.lastObservedTime"));
  return errors;
}

// What a new Event of events.k8s.io must be beyond that.
FieldErrors strict_errors(const Document& event) {
  FieldErrors errors = series_errors(event);
  if (string_at(event, "eventTime").empty()) errors.push_back(required("eventTime"));
  const std::string_view type = string_at(event, "type");
  if (type != "Normal" && type != "Warning")
    errors.push_back(invalid("type", "", fmt::format("has invalid value: {}", type)));
  for (const std::string_view field : {"firstTimestamp", "lastTimestamp"}) {
    if (const std::string_view time = string_at(event, field); !time.empty())
      errors.push_back(invalid(std::string(field), time, "needs to be unset"));
  }
  if (const auto count = int_at(event, "count").value_or(0); count != 0)
    errors.push_back(invalid("count", count, "needs to be unset"));
  const Document* source = object_at(event, "source");
  if (source != nullptr && !source->empty())
    errors.push_back(invalid("source", *source, "needs to be unset"));
  return errors;
}

// Nothing of an Event of events.k8s.io changes but that it repeats itself.
FieldErrors fixed_errors(const Document& old, const Document& event) {
  FieldErrors errors;
  for (const std::string_view field :
       {"involvedObject", "related", "reason", "message", "source", "firstTimestamp",
        "lastTimestamp", "count", "reportingComponent", "reportingInstance", "action", "type",
        "eventTime"}) {
    const auto *before = old.if_contains(field), *now = event.if_contains(field);
    const bool same = before == nullptr || now == nullptr ? before == now : *before == *now;
    if (!same) {
      errors.push_back(invalid(std::string(field), now == nullptr ? boost::json::value() : *now,
                               "field is immutable"));
    }
  }
  return errors;
}

// ---- What people see

std::string source_cell(const Document& event) {
  const auto first_of = [&](std::string_view one, std::string_view other) {
    const std::string_view text = string_at(event, one);
    return std::string(text.empty() ? string_at(event, other) : text);
  };
  const std::string component = first_of("source.component", "reportingComponent");
  const std::string host = first_of("source.host", "reportingInstance");
  return host.empty() ? component : component + ", " + host;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  const auto first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

boost::json::array cells_of(const Document& event, WallTime now) {
  const auto first_of = [&](std::string_view one, std::string_view other) {
    const std::string_view time = string_at(event, one);
    return time.empty() ? string_at(event, other) : time;
  };
  const std::string_view first = first_of("firstTimestamp", "eventTime");
  std::string_view last = string_at(event, "lastTimestamp");
  if (last.empty()) last = first;
  // One that happened once has no count in the new API.
  std::int64_t count = std::max<std::int64_t>(int_at(event, "count").value_or(0), 1);
  if (object_at(event, "series") != nullptr) {
    last = string_at(event, "series.lastObservedTime");
    count = int_at(event, "series.count").value_or(0);
  }
  std::string object = to_lower_ascii(string_at(event, "involvedObject.kind"));
  if (const std::string_view name = string_at(event, "involvedObject.name"); !name.empty())
    object.append("/").append(name);
  return {text_value(age_since(last, now)),
          text_value(string_at(event, "type")),
          text_value(string_at(event, "reason")),
          text_value(object),
          text_value(string_at(event, "involvedObject.fieldPath")),
          text_value(source_cell(event)),
          text_value(trimmed(string_at(event, "message"))),
          text_value(age_since(first, now)),
          count,
          name_cell(event)};
}

std::vector<TableColumn> event_columns() {
  return {{.name = "Last Seen"},
          {.name = "Type"},
          {.name = "Reason"},
          {.name = "Object"},
          {.name = "Subobject", .priority = 1},
          {.name = "Source", .priority = 1},
          {.name = "Message"},
          {.name = "First Seen", .priority = 1},
          {.name = "Count", .type = "integer", .priority = 1},
          {.name = "Name", .format = "name", .priority = 1}};
}

using Fields = std::vector<std::pair<std::string, std::string>>;

Fields fields_of(const Document& event, std::string_view object, std::string_view reporter) {
  Fields out;
  for (const std::string_view name :
       {"kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"}) {
    out.emplace_back(fmt::format("{}.{}", object, name),
                     string_at(event, fmt::format("{}.{}", object, name)));
  }
  for (const std::string_view path :
       {std::string_view("reason"), reporter, std::string_view("type")})
    out.emplace_back(path, string_at(event, path));
  return out;
}

// ---- The two kinds

ResourceInfo event_info(std::string group) {
  return {.group = std::move(group),
          .version = "v1",
          .resource = "events",
          .singular = "event",
          .kind = "Event",
          .short_names = {"ev"},
          .storage_prefix = "/registry/events/"};
}

class CoreEventStrategy final : public KindStrategy {
 public:
  CoreEventStrategy() : KindStrategy(event_info(""), event_columns()) {}
  // Whatever can be a segment of a path: an Event is often named after an object whose name is no
  // subdomain.
  std::vector<std::string> name_errors(std::string_view name) const override {
    if (name == "." || name == "..") return {fmt::format("may not be '{}'", name)};
    for (const char c : {'/', '%'}) {
      if (name.find(c) != std::string_view::npos) return {fmt::format("may not contain '{}'", c)};
    }
    return {};
  }
  bool put_may_create() const override { return true; }
  FieldErrors validate_create(const RequestContext&, const Document& event) const override {
    return common_errors(event);
  }
  Fields selectable_fields(const Document& event) const override {
    Fields out = fields_of(event, "involvedObject", "reportingComponent");
    const std::string_view source = string_at(event, "source.component");
    out.emplace_back("source", source.empty() ? string_at(event, "reportingComponent") : source);
    return out;
  }
  boost::json::array table_cells(const Document& event, WallTime now) const override {
    return cells_of(event, now);
  }
};

class EventStrategy final : public KindStrategy {
 public:
  EventStrategy() : KindStrategy(event_info("events.k8s.io"), event_columns()) {}
  void from_stored(Document& event) const override {
    rename_fields(event, &Renamed::stored, &Renamed::shown);
    event["apiVersion"] = kNewVersion;
  }
  void to_stored(Document& event) const override {
    rename_fields(event, &Renamed::shown, &Renamed::stored);
    event["apiVersion"] = kStoredVersion;
  }
  bool put_may_create() const override { return true; }
  FieldErrors validate_create(const RequestContext&, const Document& event) const override {
    const Document stored = in_stored_form(event);
    FieldErrors errors = common_errors(stored);
    append(errors, strict_errors(stored));
    return errors;
  }
  FieldErrors validate_update(const RequestContext&, const Document& old,
                              const Document& event) const override {
    const Document before = in_stored_form(old), now = in_stored_form(event);
    FieldErrors errors = common_errors(now);
    if (object_at(before, "series") == nullptr || object_at(now, "series") == nullptr ||
        *object_at(before, "series") != *object_at(now, "series")) {
      append(errors, series_errors(now));
    }
    append(errors, fixed_errors(before, now));
    return errors;
  }
  Fields selectable_fields(const Document& event) const override {
    return fields_of(event, "regarding", "reportingController");
  }
  boost::json::array table_cells(const Document& event, WallTime now) const override {
    return cells_of(in_stored_form(event), now);
  }

 private:
  Document in_stored_form(Document event) const {
    to_stored(event);
    return event;
  }
};

}  // namespace

std::unique_ptr<const Strategy> make_core_event_strategy() {
  return std::make_unique<CoreEventStrategy>();
}
std::unique_ptr<const Strategy> make_event_strategy() { return std::make_unique<EventStrategy>(); }

}  // namespace fairlead::apiserver
