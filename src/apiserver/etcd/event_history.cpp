#include "apiserver/etcd/event_history.hpp"

#include <algorithm>

namespace fairlead::apiserver {
namespace {

constexpr std::size_t kMostEvents = 5000;
constexpr std::size_t kMostBytes = 16 * 1024 * 1024;

}  // namespace

void EventHistory::add(const std::vector<StoreEvent>& events) {
  for (const StoreEvent& event : events) {
    bytes_ += size_of(event);
    events_.push_back(event);
  }
  while (events_.size() > kMostEvents || bytes_ > kMostBytes) {
    forget_to(events_.front().revision);
  }
}

void EventHistory::forget_to(Revision revision) {
  floor_ = std::max(floor_, revision);
  while (!events_.empty() && events_.front().revision <= floor_) {
    bytes_ -= size_of(events_.front());
    events_.pop_front();
  }
}

std::vector<StoreEvent> EventHistory::since(Revision after, std::string_view prefix) const {
  std::vector<StoreEvent> out;
  for (const StoreEvent& event : events_) {
    if (event.revision > after && event.key.starts_with(prefix)) out.push_back(event);
  }
  return out;
}

}  // namespace fairlead::apiserver
