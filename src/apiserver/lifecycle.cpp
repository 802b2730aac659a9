#include "apiserver/lifecycle.hpp"

#include <algorithm>
#include <boost/json/array.hpp>
#include <set>

#include "apiserver/own_writes.hpp"
#include "base/log.hpp"

namespace fairlead::apiserver {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view kOwnFinalizer = "kubernetes";
constexpr auto kCompactionPeriod = 1min;
constexpr std::string_view kContentFailure = "NamespaceDeletionContentFailure";
constexpr std::size_t kMostNamed = 5;  // in its message
constexpr auto kReaperRetry = 5s;      // objects that wait for a finalizer or a grace period

}  // namespace

io::Task<Result<void>> make_system_namespaces(Registry* registry, const Clock* clock) {
  for (const char* name : {"default", "kube-system", "kube-public", "kube-node-lease"}) {
    Document object{{"metadata", Document{{"name", name}}}};
    FAIRLEAD_CO_CHECK(co_await create_unless_there(registry, clock, &registry->namespaces(), "",
                                                   std::move(object)));
  }
  co_return Result<void>();
}

// ---- namespaces

NamespaceReaper::NamespaceReaper(Registry& registry, const Clock& clock, io::Executor executor)
    : registry_(registry), clock_(clock), writer_(registry), changed_(std::move(executor)) {}

io::Task<void> NamespaceReaper::run() {
  while (!co_await io::cancelled()) {
    bool waiting = false;
    std::vector<std::string> terminating;
    for (const auto& [key, object] : registry_.namespaces().cache.objects()) {
      if (object->terminating) terminating.push_back(object->name);
    }
    for (const std::string& ns : terminating) {
      const bool done = co_await reap(ns) && co_await release(ns);
      waiting = waiting || !done;
    }
    if (waiting) {
      co_await changed_.wait_until(std::chrono::steady_clock::now() + kReaperRetry);
    } else {
      co_await changed_.wait();
    }
  }
}

// "configmaps/x", ...
std::vector<std::string> NamespaceReaper::unreadable_in(const std::string& ns) const {
  std::set<std::string> out;  // two resources may be views of the same objects
  for (const auto& resource : registry_.resources()) {
    const std::string prefix = fmt::format("{}{}/", resource->info().storage_prefix, ns);
    const auto& all = resource->cache.unreadable();
    if (!resource->info().namespaced) continue;
    for (auto it = all.lower_bound(prefix); it != all.end() && it->first.starts_with(prefix); ++it)
      out.insert(fmt::format("{}/{}", resource->info().resource, it->first.substr(prefix.size())));
  }
  return {out.begin(), out.end()};
}

io::Task<void> NamespaceReaper::say_unreadable(std::string ns, std::vector<std::string> objects) {
  const std::size_t told = std::min(objects.size(), kMostNamed);
  const std::string message = fmt::format(
      "{} stored objects cannot be read and must be deleted by name: {}{}", objects.size(),
      fmt::join(objects.begin(), objects.begin() + static_cast<std::ptrdiff_t>(told), ", "),
      told < objects.size() ? ", ..." : "");
  WriteRequest request = own_request(clock_, "", ns);
  request.subresource = "status";
  bool said = false;
  const auto done = co_await writer_.update(
      registry_.namespaces(), request,
      [&message, &said, now = clock_.wall()](const Document& current) -> ApiResult<Document> {
        Document next = current;
        boost::json::array conditions;
        for (const Document* condition : objects_at(current, "status.conditions")) {
          if (string_at(*condition, "type") != kContentFailure) {
            conditions.emplace_back(*condition);
          } else if (string_at(*condition, "message") == message) {
            said = true;
          }
        }
        if (said) return next;
        conditions.emplace_back(Document{{"type", text_value(kContentFailure)},
                                         {"status", "True"},
                                         {"reason", "ContentDeletionFailed"},
                                         {"message", message},
                                         {"lastTransitionTime", format_rfc3339(now)}});
        ensure_object(next, "status")["conditions"] = std::move(conditions);
        return next;
      });
  if (said) co_return;
  log::warning("Namespace that is being deleted stays", {{"namespace", ns}, {"why", message}});
  if (!done && done.error().code != 404)
    log::warning("Its condition could not be set", {{"err", done.error().message}});
}

io::Task<bool> NamespaceReaper::reap(std::string ns) {
  bool empty = true;
  for (const auto& resource : registry_.resources()) {
    if (!resource->info().namespaced) continue;
    const Selection all{.ns = ns, .labels = {}, .fields = {}};
    for (const ObjectPtr& object : resource->cache.list(all, {}, 0).items) {
      if (object->terminating) {  // waits for its grace period or its finalizers
        empty = false;
        continue;
      }
      const auto removed =
          co_await writer_.remove(*resource, own_request(clock_, ns, object->name), {});
      if (!removed && removed.error().code != 404) {
        log::warning("Object of a namespace that is being deleted stays, retrying",
                     {{"resource", resource->info().resource},
                      {"namespace", ns},
                      {"name", object->name},
                      {"err", removed.error().message}});
      }
      if (removed ? !removed->removed : removed.error().code != 404) empty = false;
    }
  }
  if (auto unreadable = unreadable_in(ns); !unreadable.empty()) {
    co_await say_unreadable(ns, std::move(unreadable));
    empty = false;
  }
  co_return empty;
}

// What the namespace controller does through the finalize subresource: its own finalizer goes,
// those of others hold the namespace until they let go of it themselves.
io::Task<bool> NamespaceReaper::release(std::string ns) {
  WriteRequest request = own_request(clock_, "", ns);
  request.subresource = "finalize";
  const auto done =
      co_await writer_.update(registry_.namespaces(), request, [](const Document& current) {
        Document next = current;
        boost::json::array others;
        for (std::string& finalizer : texts_at(current, "spec.finalizers")) {
          if (finalizer != kOwnFinalizer) others.emplace_back(std::move(finalizer));
        }
        ensure_object(next, "spec")["finalizers"] = std::move(others);
        return ApiResult<Document>(std::move(next));
      });
  if (done || done.error().code == 404) co_return true;
  log::warning("Namespace could not be released, retrying",
               {{"namespace", ns}, {"err", done.error().message}});
  co_return false;
}

// ---- compaction

Revision CompactionPolicy::observe(MonoTime now, Revision revision) {
  samples_.push_back({.time = now, .revision = revision});
  Revision target = 0;
  while (samples_.size() > 1 && samples_[1].time <= now - kKeptTime) samples_.pop_front();
  if (samples_.front().time <= now - kKeptTime) target = samples_.front().revision;
  target = std::min(target, revision > kKeptAtLeast ? revision - kKeptAtLeast : 0);
  return std::max(target, revision > kKeptAtMost ? revision - kKeptAtMost : 0);
}

io::Task<void> compact_regularly(Store* store, const Clock* clock) {
  CompactionPolicy policy;
  while (!co_await io::cancelled()) {
    if (const Revision target = policy.observe(clock->mono(), store->current_revision());
        target > 0) {
      const auto done = co_await store->compact(target);
      if (!done) log::warning("Compaction failed, retrying in a minute", {{"err", done.error()}});
    }
    if (!co_await io::sleep_for(kCompactionPeriod)) co_return;
  }
}

}  // namespace fairlead::apiserver
