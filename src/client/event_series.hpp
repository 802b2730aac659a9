// Events as values, and what becomes of repeated ones: the first is created, its repetitions are
// counted and told of at most once a minute (series of events.k8s.io/v1). Pure; time is handed in.
//
// Invariants: at most `capacity` events are remembered, whatever happens on the node; what is new
// beyond that is counted as dropped. next() hands out one request at a time, oldest first.
#pragma once

#include <chrono>
#include <deque>
#include <optional>
#include <string>

#include "base/clock.hpp"

namespace fairlead::client {

struct ObjectReference {
  std::string api_version = "v1";
  std::string kind;
  std::string namespace_;  // empty: its events go to "default"
  std::string name;
  std::string uid;
  auto operator<=>(const ObjectReference&) const = default;
};

struct Event {
  enum class Type : std::uint8_t { Normal, Warning };
  Type type = Type::Normal;
  std::string reason;  // UpperCamelCase, for machines
  std::string action;
  ObjectReference regarding;
  std::string note;  // for people; cut at 1024 bytes
  auto operator<=>(const Event&) const = default;
};

struct Reporter {
  std::string controller;  // "kube-proxy"
  std::string instance;    // "kube-proxy-node1"
};

// events.k8s.io/v1 as JSON.
std::string to_json(const Event& event, const Reporter& reporter, const std::string& name,
                    WallTime when);

class EventSeries {
 public:
  struct Config {
    Reporter reporter;
    std::size_t capacity = 64;
    std::chrono::seconds interval{60};  // between two words about the same event
    std::chrono::minutes memory{6};     // a repetition after that is a new event
    int attempts = 12;                  // then an event is given up
  };
  explicit EventSeries(Config config) : config_(std::move(config)) {}

  void record(const Event& event, MonoTime now, WallTime wall);

  struct Request {
    bool create = true;  // POST to path, else PATCH (application/merge-patch+json)
    std::string path, body;
    bool operator==(const Request&) const = default;
  };
  // The request to send now, whose fate must be told before the next is asked for.
  std::optional<Request> next(MonoTime now);
  std::optional<MonoTime> next_due() const;

  void sent(MonoTime now);
  void refused();                  // it will not do better another time
  void lost(MonoTime not_before);  // try again then
  void vanished(MonoTime now);     // the event to be updated is not there any more

  bool idle() const;  // nothing that is still to be created
  std::uint64_t dropped() const { return dropped_; }

 private:
  struct Entry {
    Event event;
    std::string name;
    WallTime first{}, last{};
    MonoTime last_seen{};
    std::uint64_t count = 1;
    std::uint64_t told = 0;  // of those, the server knows
    MonoTime due{};          // not before
    int failures = 0;
    bool abandoned = false;  // kept to count its repetitions, never sent
  };
  static bool waits(const Entry& entry) { return !entry.abandoned && entry.told < entry.count; }
  Entry* soonest();
  void forget(MonoTime now);
  std::string collection(const Event& event) const;

  Config config_;
  std::deque<Entry> entries_;
  Entry* under_way_ = nullptr;
  std::uint64_t dropped_ = 0;
};

}  // namespace fairlead::client
