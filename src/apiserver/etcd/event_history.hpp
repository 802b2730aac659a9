// The newest events of the store, bounded in number and bytes, for watches that start in the past.
// Owned by EtcdStore. Values; loop thread only.
#pragma once

#include <deque>
#include <string_view>
#include <vector>

#include "apiserver/store/store.hpp"

namespace fairlead::apiserver {

class EventHistory {
 public:
  void reset(Revision floor) {
    events_.clear();
    bytes_ = 0;
    floor_ = floor;
  }
  void add(const std::vector<StoreEvent>& events);
  void forget_to(Revision revision);  // events up to it, and no subscriber may start before it
  std::vector<StoreEvent> since(Revision after, std::string_view prefix) const;
  Revision floor() const { return floor_; }  // complete above

 private:
  static std::size_t size_of(const StoreEvent& event) {
    return event.key.size() + (event.value ? event.value->size() : 0) + sizeof event;
  }

  std::deque<StoreEvent> events_;
  std::size_t bytes_ = 0;
  Revision floor_ = 0;
};

}  // namespace fairlead::apiserver
