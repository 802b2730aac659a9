// Reflector<T>: keeps a handler in step with one resource of the API server, by list and watch.
//
// Owned by whoever owns the handler; run() is spawned into the owner's TaskGroup and ends when that
// is closed. Loop thread only. Invariants: the handler is told of every object that exists and of
// every one that went, in the order of the server's revisions; while the server is away nothing
// known is dropped; only keys are remembered here, never objects. After the first synced() the
// handler has seen the whole collection; it is called again after every relist. An object may be
// delivered again unchanged (after a relist): handlers compare.
//
// Protocol (spec/apiserver 2.1-2.6): by default the streaming list (sendInitialEvents, closed by an
// annotated bookmark); a server that refuses it or does not know it is asked in pages of 500
// instead. A broken watch resumes from the last resource version seen in an event or bookmark; 410
// relists, and so does a server that comes back behind that version (a restored backup), which
// would otherwise be silent until it gets there; failures back off with jitter. Not here: caching
// (informer.hpp), rate limits (api_client.hpp).
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.hpp"
#include "base/log.hpp"
#include "client/api_client.hpp"
#include "client/backoff.hpp"
#include "kube/codec.hpp"

namespace fairlead::client {

template <class T>
class ReflectorHandler {
 public:
  virtual ~ReflectorHandler() = default;
  virtual void upsert(T object) = 0;
  virtual void remove(const kube::NamespacedName& key) = 0;
  virtual void synced() = 0;
  virtual void absent() {}  // see ReflectorOptions::absence_pause
};

struct ReflectorOptions {
  std::string namespace_;  // empty = all
  std::string label_selector;
  std::string field_selector;
  bool streaming_list = true;
  // A server older than the streaming list ignores the question and never ends the initial events:
  // after this long without any event the list is paged instead.
  std::chrono::milliseconds streaming_patience{5'000};
  // Set for resources that older servers lack or that we may not be allowed to see: on NotFound or
  // Forbidden ask again after this long, and do not complain.
  std::optional<std::chrono::milliseconds> absence_pause;
  Backoff::Config backoff;  // its seed also picks the watch timeouts
};

// The typed half, as the protocol sees it.
class ReflectorSink {
 public:
  struct Page {
    std::string resource_version, continue_token;
  };
  struct Event {
    kube::WatchEventType type = kube::WatchEventType::Added;
    std::string resource_version;
    bool initial_events_end = false;
    Error error;
  };
  virtual ~ReflectorSink() = default;
  virtual void begin_sync() = 0;                           // the whole collection follows
  virtual Result<Page> page(std::string_view json) = 0;    // delivers its objects
  virtual Result<Page> peek(std::string_view json) = 0;    // delivers nothing
  virtual Result<Event> event(std::string_view line) = 0;  // delivers its object
  virtual void end_sync() = 0;                             // what did not come up again is gone
  virtual void absent() = 0;
};

// The protocol half: one coroutine, compiled once for all kinds.
class ReflectorLoop {
 public:
  struct Config {
    ApiClient* client = nullptr;
    ReflectorSink* sink = nullptr;
    std::string collection;  // path
    std::string resource;    // for log lines
    ReflectorOptions options;
  };
  explicit ReflectorLoop(Config config);
  io::Task<void> run();
  bool connected() const { return connected_; }

 private:
  enum class Next { Continue, BackOff, WaitForResource };

  io::Task<Next> round();
  io::Task<Next> list();
  io::Task<Result<void>> list_pages(std::string resource_version);
  io::Task<Next> stream_list();
  io::Task<Next> watch();
  io::Task<Result<bool>> server_went_back();
  struct Watching;
  io::Task<Next> follow(std::unique_ptr<Watching> watching);
  std::optional<Next> take_event(Watching* watching, std::string_view line);
  Next broken_off(const Watching& watching, const Error& error);
  Next expired();
  std::string query(
      std::initializer_list<std::pair<std::string_view, std::string>> parameters) const;
  Next failed(const Error& error);
  void succeeded();

  Config config_;
  Backoff backoff_;
  std::string resource_version_;  // of the last event, bookmark or list; empty = the whole
                                  // collection is needed
  bool streaming_;
  bool listed_once_ = false;
  bool connected_ = false;
  bool was_away_ = false;  // the server could not be reached since it last answered
  int expired_in_a_row_ = 0;
  std::optional<std::chrono::steady_clock::time_point> complained_;
};

template <class T>
class Reflector final : private ReflectorSink {
 public:
  struct Config {
    ApiClient* client = nullptr;  // both outlive the reflector
    ReflectorHandler<T>* handler = nullptr;
    ReflectorOptions options;
  };
  explicit Reflector(Config config)
      : handler_(config.handler),
        decoder_(&config.client->decoder()),
        loop_({.client = config.client,
               .sink = this,
               .collection = collection_path<T>(config.options.namespace_),
               .resource = std::string(kube::KindOf<T>::kResource),
               .options = config.options}) {}
  Reflector(const Reflector&) = delete;
  Reflector& operator=(const Reflector&) = delete;

  io::Task<void> run() { return loop_.run(); }
  bool synced() const {
    return synced_;
  }  // the handler has seen the whole collection at least once
  bool connected() const {
    return loop_.connected();
  }  // the last exchange with the server went well

 private:
  void begin_sync() override { ++generation_; }

  Result<Page> page(std::string_view json) override {
    auto list = decoder_->list<T>(json);
    if (!list) return std::move(list).error();
    for (auto& object : list->items) deliver(std::move(object));
    return Page{.resource_version = std::move(list->resource_version),
                .continue_token = std::move(list->continue_token)};
  }

  Result<Page> peek(std::string_view json) override {
    auto list = decoder_->list<T>(json);
    if (!list) return std::move(list).error();
    return Page{.resource_version = std::move(list->resource_version)};
  }

  Result<Event> event(std::string_view line) override {
    auto event = decoder_->watch_event<T>(line);
    if (!event) return std::move(event).error();
    Event out{.type = event->type,
              .resource_version = event->object.metadata.resource_version,
              .initial_events_end = event->initial_events_end,
              .error = std::move(event->error)};
    switch (event->type) {
      case kube::WatchEventType::Added:
      case kube::WatchEventType::Modified:
        deliver(std::move(event->object));
        break;
      case kube::WatchEventType::Deleted:
        forget(key_of(event->object));
        break;
      case kube::WatchEventType::Bookmark:
      case kube::WatchEventType::Error:
        break;
    }
    return out;
  }

  void end_sync() override {
    for (auto it = known_.begin(); it != known_.end();) {
      if (it->second == generation_) {
        ++it;
        continue;
      }
      const auto key = it->first;
      it = known_.erase(it);
      handler_->remove(key);
    }
    synced_ = true;
    handler_->synced();
  }
  void absent() override { handler_->absent(); }

  static kube::NamespacedName key_of(const T& object) {
    return {.namespace_ = object.metadata.namespace_, .name = object.metadata.name};
  }
  void deliver(T object) {
    known_[key_of(object)] = generation_;
    handler_->upsert(std::move(object));
  }
  void forget(const kube::NamespacedName& key) {
    if (known_.erase(key) > 0) handler_->remove(key);
  }

  ReflectorHandler<T>* handler_;
  kube::Decoder* decoder_;
  std::map<kube::NamespacedName, std::uint64_t> known_;  // the sync in which each was last seen
  std::uint64_t generation_ = 0;
  bool synced_ = false;
  ReflectorLoop loop_;
};

}  // namespace fairlead::client
