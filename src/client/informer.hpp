// Store<T>: the objects of one resource in memory, kept in step by a Reflector, with change
// callbacks.
//
// A value store for one loop: loop thread only, owned by the controller or agent that reads it; the
// reflector that feeds it must not outlive it. Pointers handed out are valid until the loop turns.
// Callbacks run inside the delivery: they note what changed (a dirty key) and return; they never
// call back into the store's feeding side.
#pragma once

#include <functional>
#include <map>
#include <ranges>
#include <string>
#include <utility>
#include <vector>

#include "client/reflector.hpp"
#include "kube/meta.hpp"

namespace fairlead::client {

template <class T>
class Store final : public ReflectorHandler<T> {
 public:
  // nullptr old = the object is new; nullptr new = it is gone. Not called for an object delivered
  // again unchanged.
  using OnChange = std::function<void(const T* old_object, const T* new_object)>;

  const T* get(const kube::NamespacedName& key) const {
    const auto it = objects_.find(key);
    return it == objects_.end() ? nullptr : &it->second;
  }
  // By key, ascending.
  const std::map<kube::NamespacedName, T>& all() const { return objects_; }
  // Those of one namespace, likewise.
  auto in_namespace(const std::string& namespace_) const {
    return std::ranges::subrange(objects_.lower_bound({namespace_, ""}),
                                 objects_.lower_bound({namespace_ + '\0', ""}));
  }
  std::size_t size() const { return objects_.size(); }
  // The store has held the whole collection at least once.
  bool has_synced() const { return synced_; }

  void on_change(OnChange callback) { on_change_.push_back(std::move(callback)); }
  // After every complete sync, the first included.
  void on_synced(std::function<void()> callback) { on_synced_.push_back(std::move(callback)); }

  void upsert(T object) override {
    const kube::NamespacedName key{.namespace_ = object.metadata.namespace_,
                                   .name = object.metadata.name};
    const auto it = objects_.find(key);
    if (it == objects_.end()) {
      const auto& added = objects_.emplace(key, std::move(object)).first->second;
      tell(nullptr, &added);
    } else if (!(it->second == object)) {
      const T old = std::exchange(it->second, std::move(object));
      tell(&old, &it->second);
    }
  }
  void remove(const kube::NamespacedName& key) override {
    auto node = objects_.extract(key);
    if (!node.empty()) tell(&node.mapped(), nullptr);
  }
  void synced() override {
    synced_ = true;
    for (const auto& callback : on_synced_) callback();
  }

 private:
  void tell(const T* old_object, const T* new_object) const {
    for (const auto& callback : on_change_) callback(old_object, new_object);
  }

  std::map<kube::NamespacedName, T> objects_;
  std::vector<OnChange> on_change_;
  std::vector<std::function<void()>> on_synced_;
  bool synced_ = false;
};

}  // namespace fairlead::client
