#include "apiserver/object_writer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "apiserver/store/sqlite_store.hpp"
#include "unit/apiserver/run_task.hpp"
#include "unit/apiserver/test_kinds.hpp"

namespace fairlead::apiserver {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ObjectWriterTest : public testing::Test {
 protected:
  void SetUp() override {
    store_ = *open_sqlite_store(loop_.get_executor(), {.path = ":memory:"});
    registry_ = std::make_unique<Registry>(loop_.get_executor(), *store_, test_strategies());
    ASSERT_TRUE(run_task(loop_, registry_->load()));
    writer_ = std::make_unique<ObjectWriter>(*registry_);
    widgets_ = registry_->find("test.io", "v1", "widgets");
    ASSERT_NE(widgets_, nullptr);
    ASSERT_TRUE(create(registry_->namespaces(), "", R"({"metadata":{"name":"default"}})"));
  }
  void TearDown() override {
    if (store_) run_task(loop_, store_->close());
    registry_.reset();
  }

  static Document parse(std::string_view json) { return boost::json::parse(json).as_object(); }
  WriteRequest request(std::string ns, std::string name = {}) const {
    WriteRequest out;
    out.context = {
        .now = clock_.wall(), .dry_run = false, .user = "tester", .field_manager = "test"};
    out.ns = std::move(ns);
    out.name = std::move(name);
    return out;
  }
  ApiResult<Written> create(Resource& resource, const std::string& ns, std::string_view json) {
    return run_task(loop_, writer_->create(resource, request(ns), parse(json)));
  }
  ApiResult<Written> create(std::string_view json) { return create(*widgets_, "default", json); }
  ApiResult<Written> put(const std::string& name, std::string_view json) {
    return run_task(
        loop_, writer_->update(*widgets_, request("default", name),
                               [document = parse(json)](const Document&) -> ApiResult<Document> {
                                 return document;
                               }));
  }
  ApiResult<Written> remove(const std::string& name, DeleteOptions options = {}) {
    return run_task(loop_, writer_->remove(*widgets_, request("default", name), options));
  }
  ObjectPtr stored(const std::string& name) {
    return widgets_->cache.find(widgets_->key("default", name));
  }
  std::vector<std::string> reserved() {
    std::vector<std::string> out;
    registry_->for_each_key(kNumbers, [&out](std::string_view key) {
      out.emplace_back(key.substr(kNumbers.size()));
      return true;
    });
    return out;
  }

  io::asio::io_context loop_;
  FakeClock clock_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Registry> registry_;
  std::unique_ptr<ObjectWriter> writer_;
  Resource* widgets_ = nullptr;
};

TEST_F(ObjectWriterTest, CreateFillsInWhatTheServerOwns) {
  const auto made =
      create(R"({"metadata":{"name":"a","uid":"mine","generation":7},"status":{"x":1}})");
  ASSERT_TRUE(made) << made.error().message;
  const Document& object = made->object;
  EXPECT_EQ(string_at(object, "kind"), "Widget");
  EXPECT_EQ(string_at(object, "apiVersion"), "test.io/v1");
  EXPECT_EQ(string_at(object, "metadata.namespace"), "default");
  EXPECT_EQ(string_at(object, "metadata.uid").size(), 36U);
  EXPECT_EQ(string_at(object, "metadata.creationTimestamp"), format_rfc3339(clock_.wall()));
  EXPECT_EQ(int_at(object, "metadata.generation"), 1);
  EXPECT_EQ(string_at(object, "spec.colour"), "grey");
  EXPECT_EQ(object.if_contains("status"), nullptr);
  ASSERT_NE(stored("a"), nullptr);
  EXPECT_EQ(stored("a")->revision, made->revision);
}

TEST_F(ObjectWriterTest, AReservationIsMadeWithTheObjectAndGoesWithIt) {
  ASSERT_TRUE(create(R"({"metadata":{"name":"a"}})"));
  ASSERT_TRUE(create(R"({"metadata":{"name":"b"}})"));
  EXPECT_THAT(reserved(), ElementsAre("1", "2"));
  const auto removed = remove("a");
  ASSERT_TRUE(removed);
  EXPECT_TRUE(removed->removed);
  EXPECT_EQ(stored("a"), nullptr);
  EXPECT_THAT(reserved(), ElementsAre("2"));
}

TEST_F(ObjectWriterTest, AFailedCreateReservesNothing) {
  const auto refused = create(R"({"metadata":{"name":"a"},"spec":{"colour":"ugly"}})");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, 422U);
  EXPECT_EQ(refused.error().message,
            "Widget.test.io \"a\" is invalid: spec.colour: Invalid value: \"ugly\": must please");
  EXPECT_THAT(reserved(), IsEmpty());
}

TEST_F(ObjectWriterTest, DryRunValidatesButWritesNothing) {
  const Revision before = store_->current_revision();
  WriteRequest dry = request("default");
  dry.context.dry_run = true;
  const auto made =
      run_task(loop_, writer_->create(*widgets_, dry, parse(R"({"metadata":{"name":"a"}})")));
  ASSERT_TRUE(made);
  EXPECT_EQ(made->revision, 0U);
  EXPECT_EQ(stored("a"), nullptr);
  EXPECT_EQ(store_->current_revision(), before);
}

TEST_F(ObjectWriterTest, RefusalsNameTheirReason) {
  ASSERT_TRUE(create(R"({"metadata":{"name":"a"}})"));
  struct Case {
    std::string_view name, ns, body;
    unsigned code;
    std::string_view text;
  };
  const Case cases[] = {
      {"exists", "default", R"({"metadata":{"name":"a"}})", 409,
       "widgets.test.io \"a\" already exists"},
      {"no name", "default", R"({})", 422,
       "metadata.name: Required value: name or generateName is required"},
      {"bad name", "default", R"({"metadata":{"name":"A/b"}})", 422,
       "metadata.name: Invalid value: \"A/b\""},
      {"namespace missing", "nope", R"({"metadata":{"name":"b"}})", 404,
       "namespaces \"nope\" not found"},
      {"other namespace in body", "default", R"({"metadata":{"name":"b","namespace":"x"}})", 400,
       "does not match"},
      {"resourceVersion", "default", R"({"metadata":{"name":"b","resourceVersion":"3"}})", 400,
       "resourceVersion"},
      {"wrong kind", "default", R"({"kind":"Gadget","metadata":{"name":"b"}})", 400,
       "cannot be handled as a Widget"},
      {"wrong type", "default", R"({"metadata":{"name":"b"},"spec":7})", 400,
       "spec: must be an object"},
      {"label value", "default", R"({"metadata":{"name":"b","labels":{"k":"a b"}}})", 422,
       "metadata.labels"},
      {"label type", "default", R"({"metadata":{"name":"b","labels":{"k":1}}})", 400,
       "metadata.labels[k]"},
  };
  for (const Case& c : cases) {
    const auto refused = create(*widgets_, std::string(c.ns), c.body);
    ASSERT_FALSE(refused) << c.name;
    EXPECT_EQ(refused.error().code, c.code) << c.name;
    EXPECT_THAT(refused.error().message, HasSubstr(c.text)) << c.name;
  }
}

TEST_F(ObjectWriterTest, UnknownFieldsAreRefusedWarnedOrIgnored) {
  const Document body = parse(R"({"metadata":{"name":"a"},"surprise":1})");
  WriteRequest strict = request("default");
  strict.field_validation = FieldValidation::Strict;
  const auto refused = run_task(loop_, writer_->create(*widgets_, strict, body));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "strict decoding error: unknown field \"surprise\"");
  WriteRequest ignore = request("default");
  ignore.field_validation = FieldValidation::Ignore;
  ignore.context.dry_run = true;
  const auto ignored = run_task(loop_, writer_->create(*widgets_, ignore, body));
  ASSERT_TRUE(ignored);
  EXPECT_THAT(ignored->warnings, IsEmpty());
  const auto warned = run_task(loop_, writer_->create(*widgets_, request("default"), body));
  ASSERT_TRUE(warned);
  EXPECT_THAT(warned->warnings, ElementsAre("unknown field \"surprise\""));
  EXPECT_FALSE(warned->object.contains("surprise"));
}

TEST_F(ObjectWriterTest, GenerateNameMakesNames) {
  const auto made = create(R"({"metadata":{"generateName":"w-"}})");
  ASSERT_TRUE(made);
  EXPECT_THAT(std::string(string_at(made->object, "metadata.name")),
              testing::MatchesRegex("w-[bcdfghjklmnpqrstvwxz2456789]{5}"));
}

TEST_F(ObjectWriterTest, UpdateKeepsWhatTheServerOwnsAndBumpsTheGeneration) {
  const auto made = create(R"({"metadata":{"name":"a"}})");
  ASSERT_TRUE(made);
  const auto updated =
      put("a", R"({"metadata":{"name":"a","labels":{"k":"v"}},"spec":{"colour":"red"}})");
  ASSERT_TRUE(updated) << updated.error().message;
  EXPECT_EQ(string_at(updated->object, "metadata.uid"), string_at(made->object, "metadata.uid"));
  EXPECT_EQ(int_at(updated->object, "metadata.generation"), 2);
  EXPECT_EQ(int_at(updated->object, "spec.number"), 1);
  EXPECT_GT(updated->revision, made->revision);
}

TEST_F(ObjectWriterTest, AnUpdateThatChangesNothingIsNotWritten) {
  const auto made = create(R"({"metadata":{"name":"a"},"spec":{"colour":"red"}})");
  ASSERT_TRUE(made);
  const Revision before = store_->current_revision();
  const auto same = put("a", R"({"spec":{"colour":"red"},"metadata":{"name":"a"}})");
  ASSERT_TRUE(same) << same.error().message;
  EXPECT_EQ(same->revision, made->revision);
  EXPECT_EQ(store_->current_revision(), before);
}

TEST_F(ObjectWriterTest, StaleResourceVersionAndForeignUidConflict) {
  ASSERT_TRUE(create(R"({"metadata":{"name":"a"}})"));
  const auto stale = put("a", R"({"metadata":{"name":"a","resourceVersion":"1"}})");
  ASSERT_FALSE(stale);
  EXPECT_EQ(stale.error().code, 409U);
  EXPECT_EQ(stale.error().reason, "Conflict");
  EXPECT_THAT(stale.error().message, HasSubstr("the object has been modified"));
  const auto foreign = put("a", R"({"metadata":{"name":"a","uid":"other"}})");
  ASSERT_FALSE(foreign);
  EXPECT_EQ(foreign.error().code, 409U);
  const auto renamed = put("a", R"({"metadata":{"name":"b"}})");
  ASSERT_FALSE(renamed);
  EXPECT_EQ(renamed.error().code, 400U);
}

TEST_F(ObjectWriterTest, OfTwoWritersWithTheSameRevisionOneWins) {
  const auto made = create(R"({"metadata":{"name":"a"}})");
  ASSERT_TRUE(made);
  std::vector<unsigned> codes;
  for (const char* colour : {"red", "blue"}) {
    Document body = parse(R"({"metadata":{"name":"a"}})");
    ensure_object(body, "metadata")["resourceVersion"] = std::to_string(made->revision);
    ensure_object(body, "spec")["colour"] = colour;
    io::asio::co_spawn(
        loop_,
        writer_->update(*widgets_, request("default", "a"),
                        [body](const Document&) -> ApiResult<Document> { return body; }),
        [&codes](const std::exception_ptr&, ApiResult<Written> result) {
          codes.push_back(result ? 200 : result.error().code);
        });
  }
  loop_.restart();
  loop_.run();
  EXPECT_THAT(codes, testing::UnorderedElementsAre(200U, 409U));
}

TEST_F(ObjectWriterTest, PatchesThatRaceBothLand) {
  ASSERT_TRUE(create(R"({"metadata":{"name":"a"}})"));
  int landed = 0;
  for (const char* label : {"x", "y", "z"}) {
    WriteRequest patch = request("default", "a");
    patch.is_patch = true;
    io::asio::co_spawn(loop_,
                       writer_->update(*widgets_, patch,
                                       [label](const Document& current) -> ApiResult<Document> {
                                         Document next = current;
                                         ensure_object(ensure_object(next, "metadata"),
                                                       "labels")[label] = "1";
                                         return next;
                                       }),
                       [&landed](const std::exception_ptr&, const ApiResult<Written>& result) {
                         landed += result ? 1 : 0;
                       });
  }
  loop_.restart();
  loop_.run();
  EXPECT_EQ(landed, 3);
  EXPECT_THAT(stored("a")->labels, ElementsAre(testing::Pair("x", "1"), testing::Pair("y", "1"),
                                               testing::Pair("z", "1")));
}

TEST_F(ObjectWriterTest, ReservationsOfConcurrentCreatesAreUnique) {
  int made = 0;
  int exhausted = 0;
  for (int i = 0; i < 5; ++i) {
    io::asio::co_spawn(loop_,
                       writer_->create(*widgets_, request("default"),
                                       parse(fmt::format(R"({{"metadata":{{"name":"w{}"}}}})", i))),
                       [&](const std::exception_ptr&, const ApiResult<Written>& result) {
                         made += result ? 1 : 0;
                         exhausted += !result && result.error().code == 500 ? 1 : 0;
                       });
  }
  loop_.restart();
  loop_.run();
  EXPECT_EQ(made, 3);
  EXPECT_EQ(exhausted, 2);
  EXPECT_THAT(reserved(), ElementsAre("1", "2", "3"));
}

TEST_F(ObjectWriterTest, StatusUpdateLeavesTheSpecAlone) {
  ASSERT_TRUE(create(R"({"metadata":{"name":"a"},"spec":{"colour":"red"}})"));
  WriteRequest status = request("default", "a");
  status.subresource = "status";
  const auto updated = run_task(
      loop_, writer_->update(*widgets_, status, [](const Document&) -> ApiResult<Document> {
        return parse(
            R"({"metadata":{"name":"a"},"spec":{"colour":"blue"},"status":{"shiny":true}})");
      }));
  ASSERT_TRUE(updated) << updated.error().message;
  EXPECT_EQ(string_at(updated->object, "spec.colour"), "red");
  EXPECT_EQ(bool_at(updated->object, "status.shiny"), true);
  EXPECT_EQ(int_at(updated->object, "metadata.generation"), 1);
}

TEST_F(ObjectWriterTest, PutCreatesWhereTheKindAllowsIt) {
  const auto made = put("new", R"({"metadata":{"name":"new"}})");
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_TRUE(made->created);
  WriteRequest missing = request("", "none");
  const auto refused = run_task(
      loop_, writer_->update(registry_->namespaces(), missing,
                             [](const Document&) -> ApiResult<Document> { return Document{}; }));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, 404U);
}

TEST_F(ObjectWriterTest, DeletePreconditionsAreChecked) {
  ASSERT_TRUE(create(R"({"metadata":{"name":"a"}})"));
  const auto refused = remove("a", {.uid = "other"});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, 409U);
  EXPECT_EQ(remove("a", {.resource_version = "1"}).error().code, 409U);
  EXPECT_EQ(remove("none").error().code, 404U);
  EXPECT_TRUE(remove("a"));
}

TEST_F(ObjectWriterTest, FinalizersHoldADeletedObjectUntilTheLastIsGone) {
  ASSERT_TRUE(create(R"({"metadata":{"name":"a","finalizers":["x.io/one"]}})"));
  const auto marked = remove("a");
  ASSERT_TRUE(marked);
  EXPECT_FALSE(marked->removed);
  EXPECT_EQ(int_at(marked->object, "metadata.deletionGracePeriodSeconds"), 0);
  const auto again = remove("a");
  ASSERT_TRUE(again);
  EXPECT_EQ(again->revision, marked->revision);
  const auto more = put("a", R"({"metadata":{"name":"a","finalizers":["x.io/one","x.io/two"]}})");
  ASSERT_FALSE(more);
  EXPECT_THAT(more.error().message, HasSubstr("metadata.finalizers: Forbidden"));
  ASSERT_TRUE(put("a", R"({"metadata":{"name":"a"}})"));
  EXPECT_EQ(stored("a"), nullptr);
  EXPECT_THAT(reserved(), IsEmpty());
}

TEST_F(ObjectWriterTest, GracefulDeletionIsMarkedShortenedAndEndedByZero) {
  ASSERT_TRUE(create(R"({"metadata":{"name":"a"},"spec":{"shelf":"s1"}})"));
  const auto marked = remove("a");
  ASSERT_TRUE(marked);
  EXPECT_EQ(int_at(marked->object, "metadata.deletionGracePeriodSeconds"), 30);
  EXPECT_EQ(int_at(marked->object, "metadata.generation"), 2);
  const auto first = parse_rfc3339(string_at(marked->object, "metadata.deletionTimestamp"));
  ASSERT_TRUE(first);
  const auto longer = remove("a", {.grace_period_seconds = 60});
  ASSERT_TRUE(longer);
  EXPECT_EQ(longer->revision, marked->revision);
  const auto shorter = remove("a", {.grace_period_seconds = 10});
  ASSERT_TRUE(shorter);
  const auto second = parse_rfc3339(string_at(shorter->object, "metadata.deletionTimestamp"));
  ASSERT_TRUE(second);
  EXPECT_EQ(*first - *second, std::chrono::seconds(20));
  const auto gone = remove("a", {.grace_period_seconds = 0});
  ASSERT_TRUE(gone);
  EXPECT_TRUE(gone->removed);
}

TEST_F(ObjectWriterTest, NothingIsCreatedInATerminatingNamespace) {
  ASSERT_TRUE(create(registry_->namespaces(), "",
                     R"({"metadata":{"name":"old"},"spec":{"finalizers":["kubernetes"]}})"));
  const auto marked =
      run_task(loop_, writer_->remove(registry_->namespaces(), request("", "old"), {}));
  ASSERT_TRUE(marked);
  EXPECT_EQ(string_at(marked->object, "status.phase"), "Terminating");
  const auto refused = create(*widgets_, "old", R"({"metadata":{"name":"a"}})");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, 403U);
  ASSERT_EQ(refused.error().causes.size(), 1U);
  EXPECT_EQ(refused.error().causes[0].reason, "NamespaceTerminating");
}

}  // namespace
}  // namespace fairlead::apiserver
