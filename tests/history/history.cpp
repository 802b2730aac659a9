#include "history/history.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace fairlead::history {
namespace {

using Kind = Violation::Kind;
using Timeline = std::map<Revision, Event>;
using Objects = std::map<std::string, State>;

std::string_view name_of(Change change) {
  switch (change) {
    case Change::Added:
      return "ADDED";
    case Change::Modified:
      return "MODIFIED";
    case Change::Deleted:
      return "DELETED";
  }
  return "?";
}

std::string describe(const State& state) {
  return fmt::format("{} \"{}\" at {} holding [{}]", state.object, state.mark, state.revision,
                     fmt::join(state.claims, " "));
}

std::string describe(const Event& event) {
  return fmt::format("{} {}", name_of(event.change), describe(event.state));
}

class Checker {
 public:
  explicit Checker(const History& history) : history_(history) {}

  std::vector<Violation> run() {
    build_timeline();
    for (const Watch& watch : history_.watches) check_watch(watch);
    check_writes();
    check_deletes();
    check_order();
    walk_states();
    check_staleness();
    return std::move(found_);
  }

 private:
  template <class... Args>
  void complain(Kind kind, fmt::format_string<Args...> text, Args&&... args) {
    found_.push_back({.kind = kind, .text = fmt::format(text, std::forward<Args>(args)...)});
  }

  void build_timeline() {
    for (const Watch& watch : history_.watches) {
      for (const Stretch& stretch : watch.stretches) {
        for (const Event& event : stretch.events) {
          const auto [known, is_new] = timeline_.emplace(event.state.revision, event);
          if (is_new || known->second == event) continue;
          complain(Kind::Contradiction, "{} was told: {}; another watcher: {}", watch.name,
                   describe(event), describe(known->second));
        }
      }
    }
  }

  void check_watch(const Watch& watch) {
    Revision passed = 0;
    for (const Stretch& stretch : watch.stretches) {
      if (stretch.list) {
        if (stretch.list->revision < passed) {
          complain(Kind::StaleList, "{} had passed {} and listed at {}", watch.name, passed,
                   stretch.list->revision);
        }
        passed = stretch.list->revision;
      }
      for (const Event& event : stretch.events) passed = check_next(watch, passed, event);
    }
    check_none_between(watch, passed, history_.end + 1);
  }

  // The event told when everything up to `passed` had been; answers what has been passed then.
  Revision check_next(const Watch& watch, Revision passed, const Event& event) {
    const Revision revision = event.state.revision;
    if (revision == passed) {
      complain(Kind::Doubled, "{} was told twice: {}", watch.name, describe(event));
    } else if (revision < passed) {
      complain(Kind::OutOfOrder, "{} had passed {} and was told: {}", watch.name, passed,
               describe(event));
    } else {
      check_none_between(watch, passed, revision);
    }
    return std::max(passed, revision);
  }

  void check_none_between(const Watch& watch, Revision after, Revision before) {
    for (auto it = timeline_.upper_bound(after); it != timeline_.end() && it->first < before;
         ++it) {
      complain(Kind::Missed, "{} went from {} to {} without: {}", watch.name, after, before,
               describe(it->second));
    }
  }

  // Creates and updates are known by their marks.
  void check_writes() {
    std::map<std::string, std::vector<Revision>> made;
    for (const auto& [revision, event] : timeline_) {
      if (event.change != Change::Deleted) made[event.state.mark].push_back(revision);
    }
    std::set<std::string> asked;
    for (const Write& write : history_.writes) {
      if (write.act == Act::Delete) continue;
      asked.insert(write.mark);
      const auto events = made.find(write.mark);
      check_write(write, events == made.end() ? std::vector<Revision>() : events->second);
    }
    for (const auto& [mark, revisions] : made) {
      if (asked.contains(mark)) continue;
      complain(Kind::Unasked, "nobody wrote: {}", describe(timeline_.at(revisions.front())));
    }
  }

  void check_write(const Write& write, const std::vector<Revision>& made) {
    if (made.size() > 1) {
      complain(Kind::Unasked, "one write of {} \"{}\" made events at {}", write.object, write.mark,
               fmt::join(made, ", "));
    }
    if (write.fate == Fate::Refused && !made.empty()) {
      complain(Kind::Unasked, "was refused, and yet: {}", describe(timeline_.at(made.front())));
    }
    if (write.fate == Fate::Acknowledged && std::ranges::find(made, write.revision) == made.end()) {
      complain(Kind::LostWrite, "{} \"{}\" was acknowledged at {}, events were at [{}]",
               write.object, write.mark, write.revision, fmt::join(made, ", "));
    }
  }

  // Deletions have no mark: they are counted, object by object.
  void check_deletes() {
    struct Count {
      std::size_t acknowledged = 0, unknown = 0, seen = 0;
    };
    std::map<std::string, Count> counts;
    for (const Write& write : history_.writes) {
      if (write.act != Act::Delete) continue;
      Count& count = counts[write.object];
      if (write.fate == Fate::Acknowledged) ++count.acknowledged;
      if (write.fate == Fate::Unknown) ++count.unknown;
    }
    for (const auto& [revision, event] : timeline_) {
      if (event.change == Change::Deleted) ++counts[event.state.object].seen;
    }
    for (const auto& [object, count] : counts) {
      if (count.seen < count.acknowledged) {
        complain(Kind::LostWrite, "{}: {} deletions were acknowledged, {} happened", object,
                 count.acknowledged, count.seen);
      } else if (count.seen > count.acknowledged + count.unknown) {
        complain(Kind::Unasked, "{}: {} deletions happened, {} were acknowledged and {} may have",
                 object, count.seen, count.acknowledged, count.unknown);
      }
    }
  }

  // Nothing acknowledged before a write began has a higher revision than that write.
  void check_order() {
    std::vector<const Write*> by_end, by_begin;
    for (const Write& write : history_.writes) {
      if (write.fate != Fate::Acknowledged || write.act == Act::Delete) continue;
      by_end.push_back(&write);
      by_begin.push_back(&write);
    }
    std::ranges::sort(by_end, {}, &Write::ended);
    std::ranges::sort(by_begin, {}, &Write::begun);
    const Write* highest = nullptr;
    auto ended = by_end.begin();
    for (const Write* write : by_begin) {
      for (; ended != by_end.end() && (*ended)->ended < write->begun; ++ended) {
        if (highest == nullptr || (*ended)->revision > highest->revision) highest = *ended;
      }
      if (highest == nullptr || highest->revision < write->revision) continue;
      complain(Kind::Disordered, "{} \"{}\" got {}, begun after {} \"{}\" had got {}",
               write->object, write->mark, write->revision, highest->object, highest->mark,
               highest->revision);
    }
  }

  // The state after each event, from the oldest list on, beside all that was listed.
  void walk_states() {
    std::vector<const Listing*> lists;
    for (const Listing& list : history_.listings) lists.push_back(&list);
    for (const Watch& watch : history_.watches) {
      for (const Stretch& stretch : watch.stretches) {
        if (stretch.list) lists.push_back(&*stretch.list);
      }
    }
    if (lists.empty()) return;
    std::ranges::sort(lists, {}, &Listing::revision);
    Objects state = lists.front()->objects;
    auto event = timeline_.upper_bound(lists.front()->revision);
    for (const Listing* list : lists) {
      for (; event != timeline_.end() && event->first <= list->revision; ++event) {
        apply(&state, event->second);
      }
      compare(*list, state);
    }
    for (; event != timeline_.end(); ++event) apply(&state, event->second);
    check_in_use(state);
  }

  void apply(Objects* state, const Event& event) {
    const std::string& object = event.state.object;
    const bool there = state->contains(object);
    if (there == (event.change == Change::Added)) {
      complain(Kind::Contradiction, "{} while it {}", describe(event),
               there ? "exists" : "does not exist");
    }
    state->erase(object);
    if (event.change == Change::Deleted) return;
    for (const auto& [name, other] : *state) {
      for (const std::string& claim : other.claims) {
        if (!event.state.claims.contains(claim)) continue;
        complain(Kind::HeldTwice, "{}: {}, and {}", claim, describe(event), describe(other));
      }
    }
    state->emplace(object, event.state);
  }

  void compare(const Listing& list, const Objects& state) {
    if (list.objects == state) return;
    for (const auto& [name, listed] : list.objects) {
      const auto here = state.find(name);
      if (here != state.end() && here->second == listed) continue;
      complain(Kind::WrongList, "a list at {} has {}; watchers: {}", list.revision,
               describe(listed), here == state.end() ? "nothing" : describe(here->second));
    }
    for (const auto& [name, here] : state) {
      if (!list.objects.contains(name))
        complain(Kind::WrongList, "a list at {} lacks {}", list.revision, describe(here));
    }
  }

  void check_in_use(const Objects& state) {
    if (!history_.in_use) return;
    std::set<std::string> held;
    for (const auto& [name, object] : state) {
      for (const std::string& claim : object.claims) {
        if (claim.find('/') == std::string::npos) held.insert(claim);
      }
    }
    for (const std::string& address : *history_.in_use) {
      if (!held.contains(address)) complain(Kind::Leaked, "{} is in use by no Service", address);
    }
    for (const std::string& address : held) {
      if (!history_.in_use->contains(address))
        complain(Kind::Leaked, "{} is held and not recorded as in use", address);
    }
  }

  void check_staleness() {
    for (const Listing& list : history_.listings) {
      for (const Write& write : history_.writes) {
        if (write.fate != Fate::Acknowledged || write.ended >= list.begun) continue;
        if (write.revision <= list.revision) continue;
        complain(Kind::StaleList, "a list at {} began after {} \"{}\" had got {}", list.revision,
                 write.object, write.mark, write.revision);
      }
    }
  }

  const History& history_;
  Timeline timeline_;
  std::vector<Violation> found_;
};

}  // namespace

std::string_view to_string(Violation::Kind kind) {
  switch (kind) {
    case Kind::LostWrite:
      return "lost write";
    case Kind::Unasked:
      return "nobody asked for this";
    case Kind::Disordered:
      return "disordered";
    case Kind::Missed:
      return "missed";
    case Kind::Doubled:
      return "doubled";
    case Kind::OutOfOrder:
      return "out of order";
    case Kind::Contradiction:
      return "contradiction";
    case Kind::WrongList:
      return "wrong list";
    case Kind::StaleList:
      return "stale list";
    case Kind::HeldTwice:
      return "held twice";
    case Kind::Leaked:
      return "leaked";
  }
  return "?";
}

std::vector<Violation> violations(const History& history) { return Checker(history).run(); }

}  // namespace fairlead::history
