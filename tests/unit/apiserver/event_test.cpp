// Events: one stored object under two names, the stricter rules of the newer one, and how long
// they last.
#include "apiserver/event_expiry.hpp"
#include "unit/apiserver/kinds_fixture.hpp"

namespace fairlead::apiserver {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::string_view kNew = "events.events.k8s.io";
constexpr std::string_view kEvent = R"({"metadata":{"name":"x"},
  "eventTime":"2026-01-01T00:00:00.000000Z","reportingController":"kube-proxy",
  "reportingInstance":"kube-proxy-n1","action":"Listen","reason":"Failed","note":"port taken",
  "type":"Warning","regarding":{"kind":"Service","namespace":"default","name":"lb"}})";

class Events : public KindsTest {
 protected:
  // As a client reads it, without metadata.
  Document seen(std::string_view resource, const std::string& name) {
    Resource& held = find(resource);
    const ObjectPtr object = held.cache.find(held.key("default", name));
    if (object == nullptr) return {};
    Document out = object->document();
    out.erase("metadata");
    return out;
  }
};

TEST_F(Events, WhatIsWrittenInOneFormIsReadInTheOther) {
  ASSERT_TRUE(create(kNew, kEvent));
  EXPECT_EQ(seen("events", "x"), parse_document(R"({"kind":"Event","apiVersion":"v1",
    "eventTime":"2026-01-01T00:00:00.000000Z","reportingComponent":"kube-proxy",
    "reportingInstance":"kube-proxy-n1","action":"Listen","reason":"Failed","message":"port taken",
    "type":"Warning","involvedObject":{"kind":"Service","namespace":"default","name":"lb"}})"));
  ASSERT_TRUE(create("events", R"({"metadata":{"name":"y"},"reason":"Old","message":"m",
    "type":"Normal","count":2,"source":{"component":"c","host":"h"},
    "firstTimestamp":"2026-01-01T00:00:00Z","lastTimestamp":"2026-01-01T00:01:00Z",
    "involvedObject":{"kind":"Node","name":"n"}})"));
  EXPECT_EQ(seen(kNew, "y"), parse_document(R"({"kind":"Event","apiVersion":"events.k8s.io/v1",
    "reason":"Old","note":"m","type":"Normal","deprecatedCount":2,
    "deprecatedSource":{"component":"c","host":"h"},
    "deprecatedFirstTimestamp":"2026-01-01T00:00:00Z",
    "deprecatedLastTimestamp":"2026-01-01T00:01:00Z","regarding":{"kind":"Node","name":"n"}})"));
  ASSERT_TRUE(remove("events", "x"));
  EXPECT_EQ(seen(kNew, "x"), Document{}) << "there is one object, not two";
}

TEST_F(Events, AnUpdateInEitherFormReachesTheOther) {
  ASSERT_TRUE(create(kNew, kEvent));
  ASSERT_TRUE(patch(kNew, "x",
                    R"({"series":{"count":3,"lastObservedTime":"2026-01-01T00:05:00.000001Z"}})"));
  EXPECT_EQ(int_at(seen("events", "x"), "series.count"), 3);
  ASSERT_TRUE(patch("events", "x", R"({"message":"changed"})"));
  EXPECT_EQ(string_at(seen(kNew, "x"), "note"), "changed");
  EXPECT_EQ(string_at(seen(kNew, "x"), "series.lastObservedTime"), "2026-01-01T00:05:00.000001Z");
}

TEST_F(Events, TheNewerFormHasItsRules) {
  struct Case {
    std::string_view name, change;  // on a good one
    std::vector<std::string> causes;
  };
  const std::string long_text(1025, 'a');
  const std::string too_long =
      fmt::format(R"({{"note":"{}","action":"{}"}})", long_text, long_text);
  const Case cases[] = {
      {"good", "{}", {}},
      {"no time", R"({"eventTime":null})", {"FieldValueRequired eventTime"}},
      {"nobody reports",
       R"({"reportingController":null,"reportingInstance":null})",
       {"FieldValueRequired reportingComponent", "FieldValueRequired reportingInstance"}},
      {"reporter is no name",
       R"({"reportingController":"a b"})",
       {"FieldValueInvalid reportingComponent"}},
      {"no action, no reason",
       R"({"action":null,"reason":null})",
       {"FieldValueRequired action", "FieldValueRequired reason"}},
      {"long", too_long, {"FieldValueInvalid action", "FieldValueInvalid message"}},
      {"type", R"({"type":"Odd"})", {"FieldValueInvalid type"}},
      {"other namespace",
       R"({"regarding":{"namespace":"other"}})",
       {"FieldValueInvalid involvedObject.namespace"}},
      {"series of one",
       R"({"series":{"count":1}})",
       {"FieldValueInvalid series.count", "FieldValueRequired series.lastObservedTime"}},
      {"fields of the old form",
       R"({"deprecatedFirstTimestamp":"2026-01-01T00:00:00Z","deprecatedCount":1,
           "deprecatedLastTimestamp":"2026-01-01T00:00:00Z","deprecatedSource":{"host":"h"}})",
       {"FieldValueInvalid firstTimestamp", "FieldValueInvalid lastTimestamp",
        "FieldValueInvalid count", "FieldValueInvalid source"}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const auto body = apply_merge_patch(parse_document(kEvent), boost::json::parse(c.change));
    ASSERT_TRUE(body);
    const auto made = create(kNew, *body);
    EXPECT_EQ(refusals(made), c.causes) << (made ? "" : made.error().message);
    if (made) EXPECT_TRUE(remove(kNew, "x"));
  }
}

TEST_F(Events, OfTheNewerFormOnlyTheSeriesChanges) {
  ASSERT_TRUE(create(kNew, kEvent));
  EXPECT_THAT(refusals(patch(kNew, "x", R"({"note":"other","type":"Normal"})")),
              ElementsAre("FieldValueInvalid message", "FieldValueInvalid type"));
  EXPECT_THAT(
      refusals(patch(kNew, "x", R"({"series":{"count":1}})")),
      ElementsAre("FieldValueInvalid series.count", "FieldValueRequired series.lastObservedTime"));
}

TEST_F(Events, TheOldFormTakesNamesThatAreNoSubdomains) {
  EXPECT_TRUE(create("events", R"({"metadata":{"name":"My_Node.17"}})"));
  EXPECT_THAT(refusals(create("events", R"({"metadata":{"name":"a/b"}})")),
              ElementsAre("FieldValueInvalid metadata.name"));
  EXPECT_THAT(refusals(create(kNew, R"({"metadata":{"name":"My_Node.17"}})")),
              ElementsAre("FieldValueInvalid metadata.name"));
}

TEST_F(Events, EachFormIsSelectedByItsOwnFields) {
  const Document stored = parse_document(R"({"reason":"r","type":"Normal","source":{},
    "reportingComponent":"rc","involvedObject":{"kind":"k","namespace":"ns","name":"n","uid":"u",
    "apiVersion":"v","resourceVersion":"1","fieldPath":"f"}})");
  Document shown = stored;
  strategy(kNew).from_stored(shown);
  using Fields = std::vector<std::pair<std::string, std::string>>;
  const auto expected = [](std::string_view object, std::string_view reporter) {
    Fields out;
    for (const auto& [name, value] : Fields{{"kind", "k"},
                                            {"namespace", "ns"},
                                            {"name", "n"},
                                            {"uid", "u"},
                                            {"apiVersion", "v"},
                                            {"resourceVersion", "1"},
                                            {"fieldPath", "f"}}) {
      out.emplace_back(fmt::format("{}.{}", object, name), value);
    }
    out.emplace_back("reason", "r");
    out.emplace_back(reporter, "rc");
    out.emplace_back("type", "Normal");
    return out;
  };
  EXPECT_EQ(strategy(kNew).selectable_fields(shown), expected("regarding", "reportingController"));
  Fields core = expected("involvedObject", "reportingComponent");
  core.emplace_back("source", "rc");
  EXPECT_EQ(strategy("events").selectable_fields(stored), core);
}

// As the server does it, with an hour to live.
class EventExpiryTest : public Events {
 protected:
  void make_expiry() {
    registry_->on_change({});
    expiry_.emplace(*registry_, clock_, 1h);
    expiry_->load();
    registry_->on_change([this](const Resource& resource, const StoreEvent& event) {
      expiry_->wrote(resource, event);
    });
  }
  std::vector<std::string> left_after(std::chrono::nanoseconds time) {
    clock_.advance(time);
    EXPECT_TRUE(run_task(loop_, expiry_->sweep()));
    return names_of("events");
  }
  std::optional<EventExpiry> expiry_;
};

TEST_F(EventExpiryTest, AnEventGoesAnHourAfterItsLastWrite) {
  make_expiry();
  ASSERT_TRUE(create(kNew, kEvent));
  ASSERT_TRUE(create("events", R"({"metadata":{"name":"y"}})"));
  EXPECT_THAT(left_after(59min), ElementsAre("default/x", "default/y"));
  ASSERT_TRUE(patch("events", "y", R"({"count":2})"));
  EXPECT_THAT(left_after(1min), ElementsAre("default/y"));
  EXPECT_THAT(left_after(58min), ElementsAre("default/y"));
  EXPECT_THAT(left_after(1min), IsEmpty());
  ASSERT_TRUE(create("events", R"({"metadata":{"name":"y"}})"));
  ASSERT_TRUE(remove("events", "y"));
  ASSERT_TRUE(create("services", R"({"metadata":{"name":"s"},"spec":{"ports":[{"port":1}]}})"));
  EXPECT_THAT(left_after(2h), IsEmpty());
  EXPECT_THAT(names_of("services"), ElementsAre("default/s"));
}

TEST_F(EventExpiryTest, ASetClockNeitherEndsNorLengthensALife) {
  make_expiry();
  ASSERT_TRUE(create("events", R"({"metadata":{"name":"forth"}})"));
  clock_.set_wall(clock_.wall() + 24h);
  EXPECT_THAT(left_after(30min), ElementsAre("default/forth"));
  ASSERT_TRUE(create("events", R"({"metadata":{"name":"back"}})"));
  clock_.set_wall(clock_.wall() - 48h);
  EXPECT_THAT(left_after(30min), ElementsAre("default/back"));
  EXPECT_THAT(left_after(30min), IsEmpty());
}

TEST_F(EventExpiryTest, ARestartGivesNoSecondLife) {
  ASSERT_TRUE(create("events", R"({"metadata":{"name":"old"}})"));
  clock_.advance(40min);
  ASSERT_TRUE(create("events", R"({"metadata":{"name":"new"}})"));
  ASSERT_TRUE(create("events", R"({"metadata":{"name":"early"},
    "lastTimestamp":"2099-01-01T00:00:00Z"})"));
  make_expiry();
  EXPECT_THAT(left_after(19min), ElementsAre("default/early", "default/new", "default/old"));
  EXPECT_THAT(left_after(1min), ElementsAre("default/early", "default/new"));
  EXPECT_THAT(left_after(40min), IsEmpty()) << "also what says it comes from the future";
}

}  // namespace
}  // namespace fairlead::apiserver
