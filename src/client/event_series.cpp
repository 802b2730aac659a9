#include "client/event_series.hpp"

#include <algorithm>

#include "client/api_client.hpp"
#include "kube/json_writer.hpp"

namespace fairlead::client {
namespace {

constexpr std::size_t kLongestNote = 1024;
constexpr int kMicroseconds = 6;

// Without half a character at its end.
std::string_view shortened(std::string_view text, std::size_t most) {
  if (text.size() <= most) return text;
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xC0U) == 0x80U) --most;
  return text.substr(0, most);
}

std::string namespace_of(const Event& event) {
  return event.regarding.namespace_.empty() ? "default" : event.regarding.namespace_;
}

}  // namespace

std::string to_json(const Event& event, const Reporter& reporter, const std::string& name,
                    WallTime when) {
  kube::JsonWriter out;
  out.begin_object();
  out.member("kind", "Event");
  out.member("apiVersion", "events.k8s.io/v1");
  out.key("metadata");
  out.begin_object();
  out.member("name", name);
  out.member("namespace", namespace_of(event));
  out.end_object();
  out.member("eventTime", format_rfc3339(when, kMicroseconds));
  out.member("reportingController", reporter.controller);
  out.member("reportingInstance", shortened(reporter.instance, 128));
  out.member("action", event.action);
  out.member("reason", event.reason);
  out.key("regarding");
  out.begin_object();
  out.member("kind", event.regarding.kind);
  out.member_unless_empty("namespace", event.regarding.namespace_);
  out.member("name", event.regarding.name);
  out.member_unless_empty("uid", event.regarding.uid);
  out.member("apiVersion", event.regarding.api_version);
  out.end_object();
  out.member_unless_empty("note", shortened(event.note, kLongestNote));
  out.member("type", event.type == Event::Type::Warning ? "Warning" : "Normal");
  out.end_object();
  return out.take();
}

void EventSeries::record(const Event& event, MonoTime now, WallTime wall) {
  forget(now);
  const auto known = std::ranges::find(entries_, event, &Entry::event);
  if (known != entries_.end()) {
    ++known->count;
    known->last = wall;
    known->last_seen = now;
    return;
  }
  if (entries_.size() >= config_.capacity) {
    ++dropped_;
    return;
  }
  const auto stamp = std::chrono::duration_cast<std::chrono::nanoseconds>(wall.time_since_epoch());
  entries_.push_back({.event = event,
                      .name = fmt::format("{}.{:x}", event.regarding.name, stamp.count()),
                      .first = wall,
                      .last = wall,
                      .last_seen = now,
                      .due = now});
}

void EventSeries::forget(MonoTime now) {
  if (under_way_ != nullptr) return;  // it points into the list
  std::erase_if(entries_, [&](const Entry& entry) {
    return !waits(entry) && now - entry.last_seen >= config_.memory;
  });
}

EventSeries::Entry* EventSeries::soonest() {
  Entry* out = nullptr;
  for (Entry& entry : entries_) {
    if (waits(entry) && (out == nullptr || entry.due < out->due)) out = &entry;
  }
  return out;
}

std::optional<MonoTime> EventSeries::next_due() const {
  std::optional<MonoTime> out;
  for (const Entry& entry : entries_) {
    if (waits(entry) && (!out || entry.due < *out)) out = entry.due;
  }
  return out;
}

std::string EventSeries::collection(const Event& event) const {
  return collection_path("events.k8s.io/v1", "events", namespace_of(event));
}

std::optional<EventSeries::Request> EventSeries::next(MonoTime now) {
  forget(now);
  Entry* entry = soonest();
  if (entry == nullptr || entry->due > now) return std::nullopt;
  under_way_ = entry;
  if (entry->told == 0) {
    return Request{.create = true,
                   .path = collection(entry->event),
                   .body = to_json(entry->event, config_.reporter, entry->name, entry->first)};
  }
  return Request{.create = false,
                 .path = collection(entry->event) + "/" + io::percent_encode(entry->name),
                 .body = fmt::format(R"({{"series":{{"count":{},"lastObservedTime":"{}"}}}})",
                                     entry->count, format_rfc3339(entry->last, kMicroseconds))};
}

void EventSeries::sent(MonoTime now) {
  Entry& entry = *std::exchange(under_way_, nullptr);
  // What came in since it was created is told with the next word, and so are repetitions of which
  // a creation says nothing.
  entry.told = entry.told == 0 ? 1 : entry.count;
  entry.due = now + config_.interval;
  entry.failures = 0;
}

void EventSeries::refused() {
  std::exchange(under_way_, nullptr)->abandoned = true;
  ++dropped_;
}

void EventSeries::lost(MonoTime not_before) {
  Entry& entry = *under_way_;
  if (++entry.failures >= config_.attempts) return refused();
  entry.due = not_before;
  under_way_ = nullptr;
}

void EventSeries::vanished(MonoTime now) {
  Entry& entry = *std::exchange(under_way_, nullptr);
  entry.told = 0;
  entry.due = now;
}

bool EventSeries::idle() const {
  return std::ranges::none_of(
      entries_, [](const Entry& entry) { return !entry.abandoned && entry.told == 0; });
}

}  // namespace fairlead::client
