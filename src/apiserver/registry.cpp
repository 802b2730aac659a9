#include "apiserver/registry.hpp"

#include <algorithm>
#include <chrono>

namespace fairlead::apiserver {
namespace {

// A restarted server can resume watches from this many revisions ago, if the store still knows
// them.
constexpr Revision kReplayed = 5000;
constexpr auto kCatchUpPatience = std::chrono::seconds(10);

}  // namespace

Registry::Registry(io::Executor executor, Store& store, Strategies strategies)
    : store_(store), strategies_(std::move(strategies)) {
  for (const auto& strategy : strategies_) {
    resources_.push_back(std::make_unique<Resource>(*strategy, executor));
    if (strategy->info().resource == "namespaces") namespaces_ = resources_.back().get();
  }
  check(namespaces_ != nullptr, "namespaces are among the kinds");
}

io::Task<Result<void>> Registry::load() {
  for (const auto& resource : resources_) FAIRLEAD_CO_CHECK(co_await load_resource(*resource));
  co_return co_await load_ranges();
}

// Starts from an old state and replays the changes since, so that the ring of past events is
// filled. While others write, the store may forget that state before it is watched from there: a
// younger one, halfway to the present, leaves more time.
io::Task<Result<void>> Registry::load_resource(Resource& resource) {
  const Revision first = store_.current_revision();
  Revision base = first > kReplayed ? first - kReplayed : Revision{1};
  while (true) {
    base = std::max(base, store_.compacted_revision());
    const auto loaded = co_await load_from(resource, base);
    const Revision now = store_.current_revision();
    if (loaded || loaded.error().code != ErrorCode::Expired || base >= now) co_return loaded;
    base += (now - base + 1) / 2;
  }
}

io::Task<Result<void>> Registry::load_from(Resource& resource, Revision base) {
  const std::string prefix = resource.info().storage_prefix;
  FAIRLEAD_CO_TRY(page, co_await store_.list({.prefix = prefix, .revision = base}));
  resource.cache.load(page);
  FAIRLEAD_CO_TRY(feed,
                  co_await store_.watch(prefix, base, [this, &resource](const EventBatch& batch) {
                    apply(resource, batch);
                  }));
  resource.feed = std::move(feed);
  co_return Result<void>();
}

io::Task<Result<void>> Registry::load_ranges() {
  FAIRLEAD_CO_TRY(page, co_await store_.list({.prefix = std::string(kRangesPrefix)}));
  for (KeyValue& item : page.items) {
    ranges_.emplace(std::move(item.key),
                    State{.revision = item.mod_revision, .json = std::move(item.value)});
  }
  FAIRLEAD_CO_TRY(feed,
                  co_await store_.watch(std::string(kRangesPrefix), page.revision,
                                        [this](const EventBatch& batch) { apply_ranges(batch); }));
  ranges_feed_ = std::move(feed);
  co_return Result<void>();
}

io::Task<bool> Registry::catch_up() {
  const auto current = co_await store_.synchronize();
  if (!current) co_return false;
  const auto deadline = std::chrono::steady_clock::now() + kCatchUpPatience;
  for (const auto& resource : resources_) {
    if (!co_await resource->cache.wait_for(*current, deadline)) co_return false;
  }
  co_return true;
}

void Registry::apply(Resource& resource, const EventBatch& batch) {
  resource.cache.apply(batch);
  if (!listener_) return;
  for (const StoreEvent& event : batch.events) listener_(resource, event);
}

void Registry::apply_ranges(const EventBatch& batch) {
  for (const StoreEvent& event : batch.events) {
    if (event.value == nullptr) {
      ranges_.erase(event.key);
    } else {
      ranges_.insert_or_assign(event.key, State{.revision = event.revision, .json = event.value});
    }
  }
}

namespace {

bool is_version(const ResourceInfo& info, std::string_view version) {
  return info.version == version ||
         (!info.former_version.empty() && info.former_version == version);
}

}  // namespace

Resource* Registry::find(std::string_view group, std::string_view version,
                         std::string_view resource) const {
  const auto found = std::ranges::find_if(resources_, [&](const auto& candidate) {
    const ResourceInfo& info = candidate->info();
    return info.group == group && info.resource == resource && is_version(info, version);
  });
  return found == resources_.end() ? nullptr : found->get();
}

bool Registry::has_group_version(std::string_view group, std::string_view version) const {
  return std::ranges::any_of(resources_, [&](const auto& candidate) {
    return candidate->info().group == group && is_version(candidate->info(), version);
  });
}

const Resource* Registry::resource_of(std::string_view key) const {
  const auto found = std::ranges::find_if(resources_, [key](const auto& candidate) {
    return key.starts_with(candidate->info().storage_prefix);
  });
  return found == resources_.end() ? nullptr : found->get();
}

StateReader::State Registry::read(std::string_view key) const {
  if (const Resource* resource = resource_of(key)) {
    if (const ObjectPtr object = resource->cache.find(key))
      return {.revision = object->revision, .json = object->json};
    const auto* unreadable = resource->cache.find_unreadable(key);
    return unreadable == nullptr ? State{} : State{.revision = unreadable->revision, .json = {}};
  }
  const auto found = ranges_.find(key);
  return found == ranges_.end() ? State{} : found->second;
}

ApiResult<ObjectPtr> Resource::get(std::string_view ns, std::string_view name) const {
  const std::string at = key(ns, name);
  if (ObjectPtr object = cache.find(at)) return object;
  const auto* unreadable = cache.find_unreadable(at);
  if (unreadable == nullptr) return not_found(info().qualified_resource(), name);
  return storage_read_error(info().qualified_resource(), name, unreadable->why);
}

void Registry::for_each_key(std::string_view prefix,
                            const std::function<bool(std::string_view)>& each) const {
  std::vector<std::string_view> keys;
  const auto collect = [prefix, &keys](const auto& map) {
    for (auto it = map.lower_bound(prefix); it != map.end() && it->first.starts_with(prefix); ++it)
      keys.push_back(it->first);
  };
  if (const Resource* resource = resource_of(prefix)) {
    collect(resource->cache.objects());
    if (!resource->cache.unreadable().empty()) {
      collect(resource->cache.unreadable());
      std::ranges::sort(keys);
    }
  } else {
    collect(ranges_);
  }
  for (const std::string_view key : keys) {
    if (!each(key)) return;
  }
}

}  // namespace fairlead::apiserver
