// What clients of an API server did and were told during a run, as plain values, and what must be
// true of it whatever happened to the server meanwhile. Pure; the load that fills a History is in
// load.hpp.
//
// The truth is put together from what all watchers saw (the timeline: one event a revision). What
// is checked, and called by Violation::Kind:
//  - LostWrite: an acknowledged create or update is on the timeline, at the revision that was
//    answered; an object was DELETED at least as often as that was acknowledged.
//  - Unasked: each event comes from one write, and from none that was refused; one write makes at
//    most one event.
//  - Disordered: of two creates or updates, the one that began after the other had been
//    acknowledged has the higher revision.
//  - Missed, Doubled, OutOfOrder: each watcher saw every event of the timeline once and in order,
//    from where its first list ended, however often it had to come back.
//  - Contradiction: two observers were told different things about one revision, or an event does
//    not fit the state before it (ADDED of what exists, MODIFIED or DELETED of what does not).
//  - WrongList: a list holds the timeline's state at its revision; nothing older, nothing half.
//  - StaleList: a list begun after a write had been acknowledged is not older than that write.
//  - HeldTwice: at no revision do two live objects hold the same cluster IP or node port.
//  - Leaked: what is recorded as in use at the end is exactly what the live objects hold.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <ostream>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace fairlead::history {

using Revision = std::uint64_t;
using Moment = std::uint64_t;  // a counter of the observer: earlier is smaller, never equal

enum class Act { Create, Update, Delete };
enum class Fate { Acknowledged, Refused, Unknown };

struct Write {
  std::string object;
  Act act = Act::Create;
  std::string mark;  // what was written, different for each write; empty for Delete
  Fate fate = Fate::Unknown;
  Revision revision = 0;  // as answered to an acknowledged Create or Update
  Moment begun = 0, ended = 0;
};

// One object at one revision.
struct State {
  std::string object;
  std::string mark;
  Revision revision = 0;
  std::set<std::string> claims;  // "10.0.0.1", "TCP/30001": what nobody else may hold
  bool operator==(const State&) const = default;
};

enum class Change { Added, Modified, Deleted };

struct Event {
  Change change = Change::Added;
  State state;  // a DELETED carries the last content, at the revision of the deletion
  bool operator==(const Event&) const = default;
};

struct Listing {
  Moment begun = 0;
  Revision revision = 0;
  std::map<std::string, State> objects;
};

// What one watcher was told, connection after connection. A stretch begins with a list, or where
// the stretch before it ended.
struct Stretch {
  std::optional<Listing> list;
  std::vector<Event> events;
};
struct Watch {
  std::string name;
  std::vector<Stretch> stretches;
};

struct History {
  std::vector<Write> writes;
  std::vector<Watch> watches;
  std::vector<Listing> listings;
  std::optional<std::set<std::string>> in_use;  // cluster IPs recorded at the end
  Revision end = 0;  // every watcher stayed until it had been told of this revision
};

struct Violation {
  enum class Kind {
    LostWrite,
    Unasked,
    Disordered,
    Missed,
    Doubled,
    OutOfOrder,
    Contradiction,
    WrongList,
    StaleList,
    HeldTwice,
    Leaked
  };
  Kind kind = Kind::LostWrite;
  std::string text;
};
std::string_view to_string(Violation::Kind kind);
// NOLINTNEXTLINE(readability-identifier-naming): GoogleTest asks for this name
inline void PrintTo(const Violation& value, std::ostream* out) {
  *out << to_string(value.kind) << ": " << value.text;
}

std::vector<Violation> violations(const History& history);

}  // namespace fairlead::history
