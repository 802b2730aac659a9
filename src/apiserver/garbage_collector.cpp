#include "apiserver/garbage_collector.hpp"

#include <algorithm>
#include <boost/json/array.hpp>
#include <chrono>

#include "apiserver/metadata.hpp"
#include "apiserver/own_writes.hpp"
#include "base/log.hpp"

namespace fairlead::apiserver {
namespace {

using namespace std::chrono_literals;

constexpr auto kRetry = 5s;

template <class Range, class Value>
bool contains(const Range& range, const Value& value) {
  return std::ranges::find(range, value) != std::ranges::end(range);
}

}  // namespace

GarbageCollector::GarbageCollector(Registry& registry, const Clock& clock, io::Executor executor)
    : registry_(registry), clock_(clock), writer_(registry), changed_(std::move(executor)) {}

void GarbageCollector::load() {
  for (const auto& resource : registry_.resources()) {
    for (const auto& [key, object] : resource->cache.objects()) note(*resource, key);
  }
}

void GarbageCollector::changed(const Resource& resource, const StoreEvent& event) {
  const ResourceInfo& info = resource.info();
  note(*registry_.find(info.group, info.version, info.resource), event.key);
  // Who refers to it may have been waiting for that, or may refer to its predecessor.
  if (event.value == nullptr || event.create_revision == event.revision) mark_dependents(event.key);
}

void GarbageCollector::note(Resource& resource, const std::string& key) {
  const std::vector<std::string> former = forget(key);
  std::vector<std::string> owners;
  if (const ObjectPtr object = resource.cache.find(key)) {
    for (const OwnerLink& owner : object->owners) {
      const Resource* of = owner_resource(owner);
      if (of == nullptr) continue;
      owners.push_back(of->key(object->ns, owner.name));
      dependents_[owners.back()].emplace(key, &resource);
    }
    if (needs_work(*object)) mark(key, &resource);
  }
  // Its former owners may have waited for it to go.
  for (const std::string& owner : former) {
    if (!contains(owners, owner)) mark_owner(owner);
  }
  if (!owners.empty()) owners_.emplace(key, std::move(owners));
}

std::vector<std::string> GarbageCollector::forget(const std::string& key) {
  const auto found = owners_.find(key);
  if (found == owners_.end()) return {};
  std::vector<std::string> out = std::move(found->second);
  owners_.erase(found);
  for (const std::string& owner : out) {
    const auto held = dependents_.find(owner);
    if (held == dependents_.end()) continue;
    held->second.erase(key);
    if (held->second.empty()) dependents_.erase(held);
  }
  return out;
}

void GarbageCollector::mark_owner(const std::string& key) {
  for (const auto& resource : registry_.resources()) {
    if (key.starts_with(resource->info().storage_prefix)) mark(key, resource.get());
  }
}

void GarbageCollector::mark(const std::string& key, Resource* resource) {
  dirty_.emplace(key, resource);
  changed_.notify();
}

void GarbageCollector::mark_dependents(std::string_view key) {
  const auto found = dependents_.find(key);
  if (found == dependents_.end()) return;
  for (const auto& [dependent, resource] : found->second) mark(dependent, resource);
}

Resource* GarbageCollector::owner_resource(const OwnerLink& owner) const {
  for (const auto& resource : registry_.resources()) {
    if (resource->info().kind == owner.kind && resource->info().group == owner.group)
      return resource.get();
  }
  return nullptr;
}

GarbageCollector::Owners GarbageCollector::owners_of(const CachedObject& object) const {
  Owners out;
  for (const OwnerLink& link : object.owners) {
    const Resource* resource = owner_resource(link);
    if (resource == nullptr || (resource->info().namespaced && object.ns.empty())) {
      out.solid = true;
      continue;
    }
    const std::string key = resource->key(object.ns, link.name);
    const ObjectPtr owner = resource->cache.find(key);
    if (resource->cache.find_unreadable(key) != nullptr) {
      out.solid = true;  // for all we know
    } else if (owner == nullptr || owner->uid != link.uid) {
      out.gone_uids.push_back(link.uid);
    } else if (owner->terminating && has_finalizer(owner->document(), kForegroundFinalizer)) {
      out.waiting = true;
      out.gone_uids.push_back(link.uid);
    } else {
      out.solid = true;
    }
  }
  return out;
}

// By what is known so far: examine() decides.
bool GarbageCollector::needs_work(const CachedObject& object) const {
  if (!object.terminating) return !owners_of(object).gone_uids.empty();
  const Document document = object.document();
  return has_finalizer(document, kOrphanFinalizer) || has_finalizer(document, kForegroundFinalizer);
}

std::vector<std::pair<Resource*, ObjectPtr>> GarbageCollector::dependents_of(
    const CachedObject& owner) const {
  std::vector<std::pair<Resource*, ObjectPtr>> out;
  const auto found = dependents_.find(owner.key);
  if (found == dependents_.end()) return out;
  for (const auto& [key, resource] : found->second) {
    ObjectPtr object = resource->cache.find(key);
    const auto refers = [&owner](const OwnerLink& link) { return link.uid == owner.uid; };
    if (object == nullptr || std::ranges::none_of(object->owners, refers)) continue;
    out.emplace_back(resource, std::move(object));
  }
  return out;
}

// ---- Work

io::Task<void> GarbageCollector::run() {
  while (!co_await io::cancelled()) {
    if (co_await work_off()) {
      if (dirty_.empty()) co_await changed_.wait();
    } else {
      co_await changed_.wait_until(std::chrono::steady_clock::now() + kRetry);
    }
  }
}

// From here on an owner that is not in its cache is gone, for whatever was committed before.
io::Task<bool> GarbageCollector::work_off() {
  if (dirty_.empty()) co_return true;
  if (!co_await registry_.catch_up()) co_return false;
  Places work = std::exchange(dirty_, {});
  for (auto place = work.begin(); place != work.end();) {
    const bool done = co_await examine(place->second, place->first);
    place = done ? work.erase(place) : std::next(place);
  }
  const bool done = work.empty();
  dirty_.merge(work);
  co_return done;
}

io::Task<bool> GarbageCollector::examine(Resource* resource, std::string key) {
  const ObjectPtr object = resource->cache.find(key);
  if (object == nullptr) co_return true;
  if (object->terminating) co_return co_await finish(resource, object);
  const Owners owners = owners_of(*object);
  if (owners.gone_uids.empty()) co_return true;
  if (owners.solid) co_return co_await drop_references(resource, object, owners.gone_uids);
  co_return co_await collect(resource, object, owners.waiting);
}

// Who waits for this one to go waits for its dependents too, unless they wait for each other.
io::Task<bool> GarbageCollector::collect(Resource* resource, ObjectPtr object, bool foreground) {
  const Document document = object->document();
  DeleteOptions options;
  options.uid = object->uid;
  options.resource_version = std::to_string(object->revision);
  const auto dependents = dependents_of(*object);
  const bool in_a_ring = std::ranges::any_of(dependents, [](const auto& dependent) {
    return dependent.second->terminating &&
           has_finalizer(dependent.second->document(), kForegroundFinalizer);
  });
  if (foreground && !dependents.empty() && !in_a_ring) {
    options.propagation_policy = "Foreground";
  } else if (!has_finalizer(document, kOrphanFinalizer) &&
             !has_finalizer(document, kForegroundFinalizer)) {
    options.propagation_policy = "Background";
  }
  const auto removed =
      co_await writer_.remove(*resource, own_request(clock_, object->ns, object->name), options);
  if (removed) {
    log::verbose(2, "object without owners deleted", {{"key", object->key}});
    co_return true;
  }
  if (removed.error().code == 409) {  // it has changed: look again
    mark(object->key, resource);
    co_return true;
  }
  if (is_gone(removed.error())) co_return true;
  log::warning("Object whose owners are gone stays, retrying",
               {{"key", object->key}, {"err", removed.error().message}});
  co_return false;
}

// An object that is being deleted and says what is to become of its dependents.
io::Task<bool> GarbageCollector::finish(Resource* resource, ObjectPtr owner) {
  const Document document = owner->document();
  const auto dependents = dependents_of(*owner);
  if (has_finalizer(document, kOrphanFinalizer)) {
    for (const auto& [of, dependent] : dependents) {
      if (!co_await drop_references(of, dependent, {owner->uid})) co_return false;
    }
    co_return co_await drop_finalizer(resource, owner, std::string(kOrphanFinalizer));
  }
  if (!has_finalizer(document, kForegroundFinalizer)) co_return true;
  bool blocked = false;
  for (const auto& [of, dependent] : dependents) {
    blocked = blocked || std::ranges::any_of(dependent->owners, [&owner](const OwnerLink& link) {
                return link.uid == owner->uid && link.blocks;
              });
    if (!dependent->terminating) mark(dependent->key, of);
  }
  if (blocked) co_return true;  // their end comes as a change
  co_return co_await drop_finalizer(resource, owner, std::string(kForegroundFinalizer));
}

io::Task<bool> GarbageCollector::drop_references(Resource* resource, ObjectPtr object,
                                                 std::vector<std::string> uids) {
  const auto done = co_await writer_.update(
      *resource, own_request(clock_, object->ns, object->name),
      [uids = std::move(uids)](const Document& current) {
        Document next = current;
        boost::json::array kept;
        for (const Document* owner : objects_at(current, "metadata.ownerReferences")) {
          if (!contains(uids, string_at(*owner, "uid"))) kept.emplace_back(*owner);
        }
        Document& metadata = ensure_object(next, "metadata");
        metadata.erase("ownerReferences");
        if (!kept.empty()) metadata["ownerReferences"] = std::move(kept);
        return ApiResult<Document>(std::move(next));
      });
  if (done || is_gone(done.error())) co_return true;
  log::warning("Reference to an owner stays, retrying",
               {{"key", object->key}, {"err", done.error().message}});
  co_return false;
}

io::Task<bool> GarbageCollector::drop_finalizer(Resource* resource, ObjectPtr object,
                                                std::string finalizer) {
  const auto done = co_await writer_.update(
      *resource, own_request(clock_, object->ns, object->name),
      [uid = object->uid, finalizer = std::move(finalizer)](const Document& current) {
        Document next = current;
        // Not of another object of the same name.
        if (string_at(current, "metadata.uid") == uid) remove_finalizer(next, finalizer);
        return ApiResult<Document>(std::move(next));
      });
  if (done || is_gone(done.error())) co_return true;
  log::warning("Finalizer stays, retrying", {{"key", object->key}, {"err", done.error().message}});
  co_return false;
}

}  // namespace fairlead::apiserver
