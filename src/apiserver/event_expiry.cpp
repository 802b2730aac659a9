#include "apiserver/event_expiry.hpp"

#include <algorithm>

#include "base/log.hpp"

namespace fairlead::apiserver {
namespace {

Resource& events_of(Registry& registry) {
  Resource* found = registry.find("", "v1", "events");
  check(found != nullptr, "Events are among the kinds");
  return *found;
}

// When it seems to have been written last; never in the future, whatever clients say.
WallTime last_written(const Document& event, WallTime now) {
  WallTime out{};
  for (const std::string_view field :
       {"metadata.creationTimestamp", "eventTime", "lastTimestamp", "series.lastObservedTime"}) {
    if (const auto time = parse_rfc3339(string_at(event, field))) out = std::max(out, *time);
  }
  return std::min(out, now);
}

}  // namespace

EventExpiry::EventExpiry(Registry& registry, const Clock& clock, std::chrono::nanoseconds lifetime)
    : events_(events_of(registry)), store_(registry.store()), clock_(clock), lifetime_(lifetime) {}

void EventExpiry::load() {
  const WallTime wall = clock_.wall();
  for (const auto& [key, object] : events_.cache.objects()) {
    const auto age = std::min<std::chrono::nanoseconds>(
        wall - last_written(object->document(), wall), lifetime_);
    entries_.push_back(
        {.key = key, .revision = object->revision, .due = clock_.mono() + (lifetime_ - age)});
  }
  std::ranges::sort(entries_, {}, &Entry::due);
}

void EventExpiry::wrote(const Resource& resource, const StoreEvent& event) {
  if (&resource != &events_ || event.value == nullptr) return;
  entries_.push_back(
      {.key = event.key, .revision = event.revision, .due = clock_.mono() + lifetime_});
}

io::Task<Result<void>> EventExpiry::sweep() {
  while (!entries_.empty() && entries_.front().due <= clock_.mono()) {
    const Entry due = entries_.front();
    const ObjectPtr current = events_.cache.find(due.key);
    if (current != nullptr && current->revision == due.revision)
      FAIRLEAD_CO_CHECK(co_await store_.commit(delete_key(due.key, due.revision)));
    entries_.pop_front();  // what came meanwhile is behind it
  }
  co_return Result<void>();
}

io::Task<void> EventExpiry::run() {
  while (co_await io::sleep_for(kPeriod)) {
    if (const auto done = co_await sweep(); !done)
      log::warning("Old events could not be removed, trying again", {{"err", done.error()}});
  }
}

}  // namespace fairlead::apiserver
