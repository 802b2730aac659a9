// Registry: every resource with its cache, kept current from the store. Finds resources by what
// URLs call them and answers "what is at this key now" for transactions. Owned by the ApiServer;
// loop thread only.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "apiserver/object_cache.hpp"
#include "apiserver/store/store.hpp"
#include "apiserver/strategy.hpp"
#include "apiserver/transaction.hpp"

namespace fairlead::apiserver {

// Raw documents of strategies (reservations that are no API objects) live below this prefix.
inline constexpr std::string_view kRangesPrefix = "/registry/ranges/";

using Strategies = std::vector<std::unique_ptr<const Strategy>>;

struct Resource {
  Resource(const Strategy& kind, io::Executor executor)
      : strategy(kind), cache(kind, std::move(executor)) {}
  const ResourceInfo& info() const { return strategy.info(); }
  std::string key(std::string_view ns, std::string_view name) const {
    return info().storage_key(ns, name);
  }
  // The object; 404, or 500 when what is stored there cannot be read.
  ApiResult<ObjectPtr> get(std::string_view ns, std::string_view name) const;

  const Strategy& strategy;
  ObjectCache cache;
  std::unique_ptr<StoreWatch> feed;
};

class Registry final : public StateReader {
 public:
  Registry(io::Executor executor, Store& store, Strategies strategies);

  // Fills the caches, then keeps them current. To be awaited once, before anything else.
  io::Task<Result<void>> load();

  // Waits until the caches have all that was committed before, by whomever. False: the store does
  // not answer, or it takes too long.
  io::Task<bool> catch_up();

  Store& store() { return store_; }
  const Strategies& strategies() const { return strategies_; }
  const std::vector<std::unique_ptr<Resource>>& resources() const { return resources_; }
  // Also by its former version.
  Resource* find(std::string_view group, std::string_view version, std::string_view resource) const;
  bool has_group_version(std::string_view group, std::string_view version) const;
  Resource& namespaces() const { return *namespaces_; }

  // Called after every change, with the resource and the event's key; for the server's own
  // reactions (one listener).
  void on_change(std::function<void(const Resource&, const StoreEvent&)> listener) {
    listener_ = std::move(listener);
  }

  State read(std::string_view key) const override;
  void for_each_key(std::string_view prefix,
                    const std::function<bool(std::string_view)>& each) const override;

 private:
  io::Task<Result<void>> load_resource(Resource& resource);
  io::Task<Result<void>> load_from(Resource& resource, Revision base);
  io::Task<Result<void>> load_ranges();
  const Resource* resource_of(std::string_view key) const;
  void apply(Resource& resource, const EventBatch& batch);
  void apply_ranges(const EventBatch& batch);

  Store& store_;
  Strategies strategies_;
  std::vector<std::unique_ptr<Resource>> resources_;
  Resource* namespaces_ = nullptr;
  std::map<std::string, State, std::less<>> ranges_;
  std::unique_ptr<StoreWatch> ranges_feed_;
  std::function<void(const Resource&, const StoreEvent&)> listener_;
};

}  // namespace fairlead::apiserver
