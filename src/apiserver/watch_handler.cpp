// ResourceHandler::watch: one watch from its request to the end of its stream (spec 2.4, 2.5).
#include <random>

#include "apiserver/resource_handler.hpp"
#include "base/log.hpp"

namespace fairlead::apiserver {
namespace {

using namespace std::chrono_literals;
using Time = std::chrono::steady_clock::time_point;

constexpr auto kFreshnessWait = 3s;
constexpr auto kBookmarkPeriod = 60s;
constexpr auto kBookmarkBeforeEnd = 2s;
constexpr std::size_t kBytesPerWrite = 256 * 1024;  // and what one object is longer

// Where a watch begins.
struct Start {
  bool initial_events = false;
  bool end_bookmark = false;
  Revision at_least = 0;            // initial events: the state must be at least this
  std::optional<Revision> after{};  // else: live events above this; absent = from now on
};

// The table of spec 2.4.
Start start_of(const ListOptions& options) {
  const Revision revision = options.resource_version.value_or(0);
  if (options.send_initial_events.value_or(false) ||
      (!options.send_initial_events && revision == 0)) {
    return {.initial_events = true, .end_bookmark = options.allow_bookmarks, .at_least = revision};
  }
  if (revision != 0) return {.after = revision};
  return {};
}

Time end_of(const ListOptions& options, Time now) {
  if (options.timeout_seconds) return now + std::chrono::seconds(*options.timeout_seconds);
  std::minstd_rand random{
      std::random_device{}()};  // so that watches that began together do not end together
  return now + std::chrono::seconds(std::uniform_int_distribution<int>(30 * 60, 60 * 60)(random));
}

// The peer's end of the stream, noticed by a task of its own.
struct PeerState {
  bool gone = false;
};

io::Task<void> notice_peer(io::HttpExchange* exchange, PeerState* state, io::Event* wake) {
  co_await exchange->peer_gone();
  state->gone = true;
  wake->notify();
}

// One running stream.
class Stream {
 public:
  Stream(io::HttpExchange* exchange, const Strategy& strategy, View view, const Clock& clock)
      : exchange_(exchange), clock_(clock), encoder_(strategy, std::move(view)) {}

  io::Task<bool> open(std::string type, std::string deprecation) {
    io::HttpHeaders headers{{"Content-Type", std::move(type)},
                            {"Cache-Control", "no-cache, private"}};
    if (!deprecation.empty()) headers.push_back(warning_header(deprecation));
    co_return (co_await exchange_->start_stream(200, std::move(headers))).has_value();
  }
  // What exists when the watch begins. False: the peer is gone or the watcher was cut off
  // meanwhile. So the states held here are current or in the ring, and cost nothing of their own.
  io::Task<bool> send_initial(std::vector<ObjectPtr> objects, const Watcher* watcher) {
    std::size_t bytes = 0;
    for (ObjectPtr& object : objects) {
      bytes += object->json->size();
      encoder_.event({.type = EventType::Added, .object = std::move(object)}, clock_.wall(),
                     parts_);
      if (bytes < kBytesPerWrite) continue;
      bytes = 0;
      if (!co_await flush()) co_return false;
      if (watcher->cut_off()) co_return true;  // follow() says why
    }
    co_return co_await flush();
  }
  // False: the peer is gone.
  io::Task<bool> send(std::vector<WatchedEvent> events) {
    for (const WatchedEvent& event : events) encoder_.event(event, clock_.wall(), parts_);
    events.clear();
    co_return co_await flush();
  }
  io::Task<bool> bookmark(Revision revision, bool end_of_initial_events) {
    encoder_.bookmark(revision, end_of_initial_events, parts_);
    co_return co_await flush();
  }
  // Says why and ends.
  io::Task<void> fail(StatusError error) {
    encoder_.error(error, parts_);
    if (co_await flush()) co_await finish();
  }
  io::Task<void> finish() {
    static_cast<void>(co_await exchange_->end_stream());
  }  // a lost peer needs no end

 private:
  io::Task<bool> flush() {
    if (parts_.empty()) co_return true;
    const WatchEncoder::Parts parts = std::exchange(parts_, {});
    co_return (co_await exchange_->write(parts)).has_value();
  }

  io::HttpExchange* exchange_;
  const Clock& clock_;
  WatchEncoder encoder_;
  WatchEncoder::Parts parts_;
};

// The client is to list again: a watch from where it stopped would be refused too.
StatusError left_behind() {
  return expired("the watch was too slow: the events it has not read are no longer kept");
}

struct Pace {
  Time end;
  bool bookmarks = false;
};

// Live events until the end of time, of the peer or of the watcher's patience.
io::Task<void> follow(Stream* stream, Watcher* watcher, Pace pace, const PeerState* peer) {
  Time next_bookmark =
      std::min(std::chrono::steady_clock::now() + kBookmarkPeriod, pace.end - kBookmarkBeforeEnd);
  if (!pace.bookmarks) next_bookmark = pace.end;
  while (!peer->gone && !co_await io::cancelled()) {
    if (watcher->cut_off()) co_return co_await stream->fail(left_behind());
    if (watcher->has_events()) {
      if (!co_await stream->send(watcher->take(kBytesPerWrite))) co_return;
      continue;
    }
    const Time now = std::chrono::steady_clock::now();
    if (now >= pace.end) co_return co_await stream->finish();
    if (now >= next_bookmark) {
      if (!co_await stream->bookmark(watcher->passed(), false)) co_return;
      const Time last = pace.end - kBookmarkBeforeEnd;
      next_bookmark = now < last ? std::min(now + kBookmarkPeriod, last) : pace.end;
      continue;
    }
    co_await watcher->wake().wait_until(next_bookmark);
  }
}

// Keeps an eye on the peer while following; its task ends with the stream.
io::Task<void> follow_while_connected(io::Executor executor, io::HttpExchange* exchange,
                                      Stream* stream, Watcher* watcher, Pace pace) {
  PeerState peer;
  io::TaskGroup group(executor, "watch peer");
  group.spawn(notice_peer(exchange, &peer, &watcher->wake()));
  co_await follow(stream, watcher, pace, &peer);
  co_await group.close();
}

}  // namespace

io::Task<ApiResult<void>> ResourceHandler::watch(ResourceCall call, io::HttpExchange* exchange) {
  auto view = view_of(call);
  if (!view) co_return std::move(view).error();
  auto options = parse_list_options(*call.url, call.resource->strategy, call.path.ns);
  if (!options) co_return std::move(options).error();
  if (!call.path.name.empty()) {
    options->selection.fields.push_back({.field = "metadata.name", .value = call.path.name});
  }
  const Start start = start_of(*options);
  if (!start.after && start.at_least == 0) FAIRLEAD_CO_CHECK(co_await be_current());
  const Pace pace{.end = end_of(*options, std::chrono::steady_clock::now()),
                  .bookmarks = options->allow_bookmarks};
  ObjectCache& cache = call.resource->cache;
  Stream stream(exchange, call.resource->strategy, *view, clock_);
  if (!co_await stream.open(std::string(watch_content_type(view->representation)),
                            call.resource->info().deprecation))
    co_return ApiResult<void>();

  if (start.at_least > cache.revision() &&
      !co_await cache.wait_for(start.at_least, std::chrono::steady_clock::now() + kFreshnessWait)) {
    co_await stream.fail(too_large_resource_version(start.at_least, cache.revision()));
    co_return ApiResult<void>();
  }
  // No suspension between the snapshot and the registration of the watcher: nothing is lost or seen
  // twice.
  const Revision snapshot = cache.revision();
  std::vector<ObjectPtr> initial;
  if (start.initial_events) initial = cache.list(options->selection, {}, 0).items;
  auto watcher = cache.watch(options->selection, start.after.value_or(snapshot));
  if (!watcher) {
    co_await stream.fail(std::move(watcher).error());
    co_return ApiResult<void>();
  }
  if (!co_await stream.send_initial(std::move(initial), watcher->get()))
    co_return ApiResult<void>();
  if (start.end_bookmark && !(*watcher)->cut_off() && !co_await stream.bookmark(snapshot, true))
    co_return ApiResult<void>();
  co_await follow_while_connected(cache.executor(), exchange, &stream, watcher->get(), pace);
  co_return ApiResult<void>();
}

}  // namespace fairlead::apiserver
