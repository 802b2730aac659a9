// The checker itself: a right history passes, and each kind of wrong one is called by its name.
#include "history/history.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

namespace fairlead::history {
namespace {

using Kind = Violation::Kind;
using testing::IsEmpty;

State state(const std::string& object, const std::string& mark, Revision revision,
            std::set<std::string> claims) {
  return {.object = object, .mark = mark, .revision = revision, .claims = std::move(claims)};
}

// Two objects, five writes, one watcher who came back once and one who began late.
History right_history() {
  const Event a1{.state = state("a", "a1", 11, {"10.0.0.2", "TCP/30001"})};
  const Event b1{.state = state("b", "b1", 12, {"10.0.0.3"})};
  const Event a2{.change = Change::Modified,
                 .state = state("a", "a2", 14, {"10.0.0.2", "TCP/30001"})};
  const Event a_gone{.change = Change::Deleted,
                     .state = state("a", "a2", 15, {"10.0.0.2", "TCP/30001"})};
  const Event b2{.change = Change::Modified, .state = state("b", "b2", 16, {"10.0.0.3"})};
  History out;
  out.writes = {{.object = "a",
                 .act = Act::Create,
                 .mark = "a1",
                 .fate = Fate::Acknowledged,
                 .revision = 11,
                 .begun = 1,
                 .ended = 2},
                {.object = "b",
                 .act = Act::Create,
                 .mark = "b1",
                 .fate = Fate::Acknowledged,
                 .revision = 12,
                 .begun = 3,
                 .ended = 6},
                {.object = "a",
                 .act = Act::Update,
                 .mark = "a2",
                 .fate = Fate::Unknown,
                 .begun = 4,
                 .ended = 5},
                {.object = "a",
                 .act = Act::Update,
                 .mark = "a3",
                 .fate = Fate::Refused,
                 .begun = 7,
                 .ended = 8},
                {.object = "a",
                 .act = Act::Delete,
                 .mark = {},
                 .fate = Fate::Acknowledged,
                 .begun = 9,
                 .ended = 10},
                {.object = "b",
                 .act = Act::Update,
                 .mark = "b2",
                 .fate = Fate::Acknowledged,
                 .revision = 16,
                 .begun = 11,
                 .ended = 12}};
  out.watches = {
      {.name = "early",
       .stretches = {{.list = Listing{.revision = 10, .objects = {}}, .events = {a1, b1}},
                     {.list = {}, .events = {a2, a_gone, b2}}}},
      {.name = "late",
       .stretches = {
           {.list = Listing{.revision = 12, .objects = {{"a", a1.state}, {"b", b1.state}}},
            .events = {a2, a_gone, b2}}}}};
  out.listings = {{.begun = 13, .revision = 16, .objects = {{"b", b2.state}}}};
  out.in_use = {"10.0.0.3"};
  out.end = 16;
  return out;
}

TEST(History, OfAServerThatKeepsItsWordHasNoViolations) {
  EXPECT_THAT(violations(right_history()), IsEmpty());
}

struct Wrong {
  std::string name;
  std::vector<Kind> kinds;  // in the order of the checks
  std::function<void(History&)> seed;
};
// NOLINTNEXTLINE(readability-identifier-naming): GoogleTest asks for this name
void PrintTo(const Wrong& value, std::ostream* out) { *out << value.name; }

std::vector<Event>& events(History& h, std::size_t watch, std::size_t stretch) {
  return h.watches[watch].stretches[stretch].events;
}

void for_each_event_at(History& h, Revision revision, const std::function<void(Event&)>& change) {
  for (Watch& watch : h.watches) {
    for (Stretch& stretch : watch.stretches) {
      for (Event& event : stretch.events) {
        if (event.state.revision == revision) change(event);
      }
    }
  }
}

void forget_event_at(History& h, Revision revision) {
  for (Watch& watch : h.watches) {
    for (Stretch& stretch : watch.stretches)
      std::erase_if(stretch.events, [&](const Event& e) { return e.state.revision == revision; });
  }
}

const std::vector<Wrong>& wrong_histories() {
  static const std::vector<Wrong> rows = {
      {.name = "AnAcknowledgedUpdateIsGone",
       .kinds = {Kind::LostWrite},
       .seed =
           [](History& h) {
             forget_event_at(h, 16);
             h.listings.clear();
           }},
      {.name = "AnAcknowledgedWriteIsAtAnotherRevision",
       .kinds = {Kind::LostWrite},
       .seed = [](History& h) { h.writes[1].revision = 13; }},
      {.name = "AnAcknowledgedDeletionDidNotHappen",
       .kinds = {Kind::LostWrite, Kind::WrongList, Kind::Leaked},
       .seed = [](History& h) { forget_event_at(h, 15); }},
      {.name = "ARefusedWriteHappened",
       .kinds = {Kind::Unasked},
       .seed = [](History& h) { h.writes[2].fate = Fate::Refused; }},
      {.name = "AWriteOfNobodyHappened",
       .kinds = {Kind::Unasked},
       .seed = [](History& h) { h.writes.erase(h.writes.begin() + 2); }},
      {.name = "ADeletionOfNobodyHappened",
       .kinds = {Kind::Unasked},
       .seed = [](History& h) { h.writes.erase(h.writes.begin() + 4); }},
      {.name = "OneWriteHappenedTwice",
       .kinds = {Kind::Unasked},
       .seed =
           [](History& h) {
             for (auto* to : {&events(h, 0, 1), &events(h, 1, 0)}) {
               Event again = to->back();
               again.state.revision = 17;
               to->push_back(again);
             }
             h.end = 17;
           }},
      {.name = "ALaterWriteGotALowerRevision",
       .kinds = {Kind::Disordered},
       .seed = [](History& h) { h.writes[1].begun = 13, h.writes[1].ended = 14; }},
      {.name = "AnEventIsMissingAfterComingBack",
       .kinds = {Kind::Missed},
       .seed = [](History& h) { events(h, 0, 1).erase(events(h, 0, 1).begin()); }},
      {.name = "AnEventIsMissingAtTheEnd",
       .kinds = {Kind::Missed},
       .seed = [](History& h) { events(h, 1, 0).pop_back(); }},
      {.name = "AnEventIsToldAgainAfterComingBack",
       .kinds = {Kind::Doubled},
       .seed =
           [](History& h) { events(h, 0, 1).insert(events(h, 0, 1).begin(), events(h, 0, 0)[1]); }},
      {.name = "EventsAreSwapped",
       .kinds = {Kind::Missed, Kind::OutOfOrder},
       .seed = [](History& h) { std::swap(events(h, 0, 1)[0], events(h, 0, 1)[1]); }},
      {.name = "WatchersAreToldDifferentThings",
       .kinds = {Kind::Contradiction},
       .seed = [](History& h) { events(h, 1, 0)[0].state.claims = {"10.0.0.9"}; }},
      {.name = "AnObjectIsAddedTwice",
       .kinds = {Kind::Contradiction},
       .seed =
           [](History& h) {
             for_each_event_at(h, 14, [](Event& e) { e.change = Change::Added; });
           }},
      {.name = "WhatDoesNotExistIsModified",
       .kinds = {Kind::Contradiction},
       .seed =
           [](History& h) {
             for_each_event_at(h, 11, [](Event& e) { e.change = Change::Modified; });
           }},
      {.name = "AListIsOfAnotherState",
       .kinds = {Kind::WrongList},
       .seed = [](History& h) { h.listings[0].objects.at("b").mark = "b1"; }},
      {.name = "AListLacksAnObject",
       .kinds = {Kind::WrongList},
       .seed = [](History& h) { h.listings[0].objects.clear(); }},
      {.name = "AListIsOlderThanWhatWasAcknowledged",
       .kinds = {Kind::StaleList},
       .seed =
           [](History& h) {
             h.listings[0] = {
                 .begun = 13, .revision = 12, .objects = h.watches[1].stretches[0].list->objects};
           }},
      {.name = "TwoHoldOneAddress",
       .kinds = {Kind::HeldTwice},
       .seed =
           [](History& h) {
             for_each_event_at(h, 11, [](Event& e) { e.state.claims = {"10.0.0.3"}; });
             for_each_event_at(h, 14, [](Event& e) { e.state.claims = {"10.0.0.4"}; });
             for_each_event_at(h, 15, [](Event& e) { e.state.claims = {"10.0.0.4"}; });
             h.watches.pop_back();
           }},
      {.name = "AnAddressIsNotGivenBack",
       .kinds = {Kind::Leaked},
       .seed = [](History& h) { h.in_use->insert("10.0.0.2"); }},
      {.name = "AnAddressIsNotRecorded",
       .kinds = {Kind::Leaked},
       .seed = [](History& h) { h.in_use->clear(); }},
  };
  return rows;
}

class WrongHistory : public testing::TestWithParam<Wrong> {};

TEST_P(WrongHistory, IsCalledByItsName) {
  History h = right_history();
  GetParam().seed(h);
  std::vector<Kind> kinds;
  for (const Violation& found : violations(h)) {
    if (kinds.empty() || kinds.back() != found.kind) kinds.push_back(found.kind);
  }
  EXPECT_EQ(kinds, GetParam().kinds) << testing::PrintToString(violations(h));
}

INSTANTIATE_TEST_SUITE_P(History, WrongHistory, testing::ValuesIn(wrong_histories()),
                         [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace fairlead::history
