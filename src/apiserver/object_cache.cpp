#include "apiserver/object_cache.hpp"

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "apiserver/body.hpp"
#include "base/log.hpp"
#include "kube/protobuf.hpp"

namespace fairlead::apiserver {

// One change, kept for watches that start later. Both states are kept to resolve selector
// transitions.
struct Watcher::Past {
  EventType type = EventType::Added;
  Revision revision = 0;
  ObjectPtr object;    // Deleted: the last state, at the revision of the deletion
  ObjectPtr previous;  // null for Added
  // The previous state at this event's revision, for watchers whose selector it stops matching;
  // made on demand.
  mutable ObjectPtr left;

  std::size_t bytes() const {
    return object->json->size() + (previous == nullptr ? 0 : previous->json->size());
  }
  ObjectPtr left_view() const {
    if (left == nullptr) left = at_revision(*previous, revision);
    return left;
  }
};

namespace {

constexpr std::size_t kMostTold = 100;  // unreadable objects of one resource, in the log

Result<Document> parse_stored(std::string_view stored, std::string_view key) {
  boost::json::error_code failed;
  boost::json::value value = boost::json::parse(stored, failed, {}, {.max_depth = kMaxJsonDepth});
  if (failed || !value.is_object()) {
    return make_error(ErrorCode::Internal, "stored value of {} is no JSON object", key);
  }
  return std::move(value.get_object());
}

kube::StringMap string_map(const Document* object) {
  kube::StringMap out;
  if (object == nullptr) return out;
  for (const auto& [key, value] : *object) {
    if (const auto* text = value.if_string()) out.emplace(key, *text);
  }
  return out;
}

}  // namespace

Document CachedObject::document() const {
  auto parsed = parse_stored(*json, key);
  check(parsed.has_value(), "a cached object is JSON that was serialised here");
  ensure_object(*parsed, "metadata").erase("resourceVersion");
  return *std::move(parsed);
}

SharedBytes CachedObject::protobuf() const {
  if (protobuf_ == nullptr) {
    const auto whole = parse_stored(*json, key);
    check(whole.has_value(), "a cached object is JSON that was serialised here");
    const kube::KindName kind{.api_version = string_at(*whole, "apiVersion"),
                              .kind = string_at(*whole, "kind")};
    protobuf_ = std::make_shared<const std::string>(kube::protobuf_message(kind, *whole));
  }
  return protobuf_;
}

namespace {

std::vector<OwnerLink> owners_of(const Document& document) {
  std::vector<OwnerLink> out;
  for (const Document* owner : objects_at(document, "metadata.ownerReferences")) {
    const std::string_view version = string_at(*owner, "apiVersion");
    const auto slash = version.find('/');
    out.push_back({.group = std::string(version.substr(0, slash == version.npos ? 0 : slash)),
                   .kind = std::string(string_at(*owner, "kind")),
                   .name = std::string(string_at(*owner, "name")),
                   .uid = std::string(string_at(*owner, "uid")),
                   .blocks = bool_at(*owner, "blockOwnerDeletion").value_or(false)});
  }
  return out;
}

}  // namespace

Result<ObjectPtr> make_cached_object(const Strategy& strategy, const std::string& key,
                                     std::string_view stored, Revision revision) {
  FAIRLEAD_TRY(document, parse_stored(stored, key));
  const auto is_infinite = [](const auto& member) { return has_infinite_number(member.value()); };
  if (std::ranges::any_of(document, is_infinite))
    return make_error(ErrorCode::Internal, "stored value of {}: a number is out of range", key);
  strategy.from_stored(document);
  auto out = std::make_shared<CachedObject>();
  out->key = key;
  out->revision = revision;
  out->ns = string_at(document, "metadata.namespace");
  out->name = string_at(document, "metadata.name");
  out->uid = string_at(document, "metadata.uid");
  if (out->name.empty() || !key.ends_with("/" + out->name)) {
    return make_error(ErrorCode::Internal, "stored object {}: its name is \"{}\"", key, out->name);
  }
  out->labels = string_map(object_at(document, "metadata.labels"));
  out->owners = owners_of(document);
  out->terminating = !string_at(document, "metadata.deletionTimestamp").empty();
  out->fields = strategy.selectable_fields(document);
  out->fields.emplace_back("metadata.name", out->name);
  if (strategy.info().namespaced) out->fields.emplace_back("metadata.namespace", out->ns);
  ensure_object(document, "metadata")["resourceVersion"] = std::to_string(revision);
  out->json = std::make_shared<const std::string>(boost::json::serialize(document));
  return ObjectPtr(std::move(out));
}

ObjectPtr at_revision(const CachedObject& object, Revision revision) {
  auto out = std::make_shared<CachedObject>(object);
  Document document = object.document();
  ensure_object(document, "metadata")["resourceVersion"] = std::to_string(revision);
  out->revision = revision;
  out->json = std::make_shared<const std::string>(boost::json::serialize(document));
  out->protobuf_ = nullptr;
  return out;
}

bool Selection::matches(const CachedObject& object) const {
  if (!ns.empty() && object.ns != ns) return false;
  for (const kube::FieldTerm& term : fields) {
    const auto found =
        std::ranges::find(object.fields, term.field, &std::pair<std::string, std::string>::first);
    const bool equal =
        found != object.fields.end() ? found->second == term.value : term.value.empty();
    if (equal == term.negated) return false;
  }
  return labels.empty() || labels.matches(object.labels);
}

// ---- Watcher

Watcher::Watcher(ObjectCache& cache, Selection selection, Revision after, io::Executor executor)
    : cache_(cache),
      selection_(std::move(selection)),
      after_(after),
      next_(cache.ring_begin_),
      wake_(std::move(executor)) {
  const auto first = std::ranges::upper_bound(cache.ring_, after, {},
                                              [](const auto& past) { return past->revision; });
  next_ += static_cast<std::uint64_t>(first - cache.ring_.begin());
  skip_foreign();
  cache_.watchers_.push_back(this);
}

Watcher::~Watcher() { cache_.watchers_.remove(this); }

std::vector<WatchedEvent> Watcher::take(std::size_t bytes) {
  std::vector<WatchedEvent> out;
  if (cut_off()) return out;
  for (std::size_t taken = 0; taken < bytes && next_ < cache_.ring_end(); ++next_) {
    auto event = seen(*cache_.ring_[next_ - cache_.ring_begin_]);
    if (!event) continue;
    taken += event->object->json->size();
    out.push_back(*std::move(event));
  }
  cache_.events_taken_ += out.size();
  skip_foreign();
  return out;
}

bool Watcher::has_events() const { return !cut_off() && next_ < cache_.ring_end(); }

bool Watcher::cut_off() const { return cut_off_ || next_ < cache_.ring_begin_; }

Revision Watcher::passed() const { return std::max(after_, cache_.revision()); }

std::optional<WatchedEvent> Watcher::seen(const Past& past) const {
  if (past.revision <= after_) return std::nullopt;
  const bool before = past.previous != nullptr && selection_.matches(*past.previous);
  const bool after = past.type != EventType::Deleted && selection_.matches(*past.object);
  if (before && after) return WatchedEvent{.type = EventType::Modified, .object = past.object};
  if (after) return WatchedEvent{.type = EventType::Added, .object = past.object};
  if (!before) return std::nullopt;
  return WatchedEvent{.type = EventType::Deleted,
                      .object = past.type == EventType::Deleted ? past.object : past.left_view()};
}

// So that a watcher to whom nothing happens is never left behind.
void Watcher::skip_foreign() {
  if (cut_off()) return;
  while (next_ < cache_.ring_end() && !seen(*cache_.ring_[next_ - cache_.ring_begin_])) ++next_;
}

void Watcher::cut() {
  cut_off_ = true;
  wake_.notify();
}

// ---- ObjectCache

ObjectCache::ObjectCache(const Strategy& strategy, io::Executor executor)
    : strategy_(strategy), executor_(std::move(executor)) {}

ObjectCache::~ObjectCache() { check(watchers_.empty(), "watches end before their cache"); }

void ObjectCache::load(const ListPage& page) {
  objects_.clear();
  unreadable_.clear();
  last_change_ = 0;
  for (const KeyValue& item : page.items) {
    last_change_ = std::max(last_change_, item.mod_revision);
    auto object = make_cached_object(strategy_, item.key, *item.value, item.mod_revision);
    if (object) {
      objects_.emplace(item.key, *std::move(object));
    } else {
      note_unreadable(item.key, item.mod_revision, object.error());
    }
  }
  revision_ = page.revision;
  oldest_ = page.revision;
}

// A store of somebody else's making may hold nothing but such values.
void ObjectCache::note_unreadable(const std::string& key, Revision revision, const Error& error) {
  unreadable_.insert_or_assign(key, Unreadable{.revision = revision, .why = error.message});
  if (unreadable_.size() > kMostTold) return;
  log::error("Stored object cannot be served", {{"err", error}, {"revision", revision}});
  if (unreadable_.size() == kMostTold)
    log::warning("Further ones are only counted", {{"resource", strategy_.info().resource}});
}

const ObjectCache::Unreadable* ObjectCache::find_unreadable(std::string_view key) const {
  const auto found = unreadable_.find(key);
  return found == unreadable_.end() ? nullptr : &found->second;
}

void ObjectCache::apply(const EventBatch& batch) {
  for (const StoreEvent& event : batch.events) apply_one(event);
  revision_ = batch.revision;
  if (batch.gap) forget_past();
  for (io::Event* waiter : waiters_) waiter->notify();
}

void ObjectCache::apply_one(const StoreEvent& event) {
  auto past = std::make_shared<Watcher::Past>();
  past->revision = event.revision;
  past->previous = find(event.key);
  unreadable_.erase(event.key);
  Result<ObjectPtr> object = ObjectPtr();  // none
  if (event.value != nullptr) {
    object = make_cached_object(strategy_, event.key, *event.value, event.revision);
    if (!object) note_unreadable(event.key, event.revision, object.error());
  }
  if (!object || *object == nullptr) {
    if (past->previous == nullptr) return;
    past->type = EventType::Deleted;
    past->object = at_revision(*past->previous, event.revision);
    objects_.erase(event.key);
  } else {
    past->type = past->previous == nullptr ? EventType::Added : EventType::Modified;
    past->object = *object;
    objects_.insert_or_assign(event.key, *std::move(object));
  }
  last_change_ = event.revision;
  remember(std::move(past));
  for (Watcher* watcher : watchers_) {
    watcher->skip_foreign();
    if (watcher->has_events()) watcher->wake().notify();
  }
}

// Nobody may go on from before: what happened there is not known in full.
void ObjectCache::forget_past() {
  ring_begin_ = ring_end();
  ring_.clear();
  ring_bytes_ = 0;
  oldest_ = revision_;
  for (Watcher* watcher : watchers_) watcher->cut();
}

void ObjectCache::remember(std::shared_ptr<const Watcher::Past> past) {
  ring_bytes_ += past->bytes();
  ring_.push_back(std::move(past));
  while (ring_.size() > kMaxRingEvents || ring_bytes_ > kMaxRingBytes) {
    ring_bytes_ -= ring_.front()->bytes();
    oldest_ = ring_.front()->revision;
    ring_.pop_front();
    ++ring_begin_;
  }
}

ObjectPtr ObjectCache::find(std::string_view key) const {
  const auto found = objects_.find(key);
  return found == objects_.end() ? nullptr : found->second;
}

ObjectCache::Page ObjectCache::list(const Selection& selection, std::string_view from,
                                    std::size_t limit) const {
  const ResourceInfo& info = strategy_.info();
  const std::string prefix = info.namespaced && !selection.ns.empty()
                                 ? info.storage_prefix + selection.ns + "/"
                                 : info.storage_prefix;
  const auto end = objects_.lower_bound(prefix_end(prefix));
  auto here = objects_.lower_bound(from > prefix ? from : std::string_view(prefix));
  Page page;
  for (; here != end; ++here) {
    if (!selection.matches(*here->second)) continue;
    if (limit != 0 && page.items.size() == limit) break;
    page.items.push_back(here->second);
  }
  if (here == end) return page;
  page.next = here->first;
  if (!selection.selects()) page.remaining = static_cast<std::size_t>(std::distance(here, end));
  return page;
}

ApiResult<std::unique_ptr<Watcher>> ObjectCache::watch(Selection selection, Revision after) {
  if (after < oldest_) {
    return expired(fmt::format("too old resource version: {} ({})", after, oldest_ + 1));
  }
  return std::unique_ptr<Watcher>(new Watcher(*this, std::move(selection), after, executor_));
}

io::Task<bool> ObjectCache::wait_for(Revision wanted, std::chrono::steady_clock::time_point until) {
  struct Registered {
    std::list<io::Event*>& list;
    std::list<io::Event*>::iterator here;
    ~Registered() { list.erase(here); }
  };
  io::Event arrived(executor_);
  const Registered registered{.list = waiters_, .here = waiters_.insert(waiters_.end(), &arrived)};
  bool in_time = true;
  while (in_time && revision_ < wanted) in_time = co_await arrived.wait_until(until);
  co_return revision_ >= wanted;
}

}  // namespace fairlead::apiserver
