// A store that holds what is no object: the server starts, says so and serves everything else. Run
// on each store (INSTANTIATE_TEST_SUITE_P in its own test file).
#pragma once

#include <gmock/gmock.h>

#include "unit/apiserver/server_fixture.hpp"
#include "unit/apiserver/store_maker.hpp"

namespace fairlead::apiserver {

class UnreadableSuite : public ServerTest, public testing::WithParamInterface<StoreMaker> {
 protected:
  static constexpr std::string_view kBroken = R"({"kind":"ConfigMap","metadata":{"na)";
  static constexpr std::string_view kConfigMaps = "/api/v1/namespaces/default/configmaps";
  static constexpr std::string_view kServices = "/api/v1/namespaces/default/services";

  void SetUp() override {
    auto made = GetParam().make(loop_);
    ASSERT_TRUE(made) << made.error().message;
    behind_ = std::move(made->behind);
    store_ = std::move(made->store);
  }
  // Past the server, whatever is there.
  void put(const std::string& key, std::string_view value) {
    StoreTransaction write;
    write.operations.push_back({.key = key, .value = std::make_shared<const std::string>(value)});
    const auto done = run_task(loop_, store_->commit(std::move(write)));
    ASSERT_TRUE(done && done->succeeded) << key;
  }
  std::string stored(const std::string& key) {
    const auto found = run_task(loop_, store_->get(key));
    return found && *found ? *(*found)->value : "";
  }
  Answer make(std::string_view collection, std::string_view name, std::string_view more = "") {
    return call("POST", std::string(collection),
                fmt::format(R"({{"metadata":{{"name":"{}"}}{}}})", name, more));
  }
  Answer merge(std::string_view target, std::string_view patch) {
    return call("PATCH", std::string(target), std::string(patch), "application/merge-patch+json");
  }
  std::string path(std::string_view collection, std::string_view name) {
    return fmt::format("{}/{}", collection, name);
  }
  std::string unreadable(std::string_view resource) {
    const auto got =
        run_task(loop_, client_->send({.target = "/metrics"}, std::chrono::seconds(5)));
    const std::string line =
        fmt::format("\napiserver_storage_unreadable_objects{{resource=\"{}\"}} ", resource);
    const std::size_t at = got ? got->body.find(line) : std::string::npos;
    return at == std::string::npos ? "none" : got->body.substr(at + line.size(), 1);
  }
  static std::string outcome(const Answer& answer) {
    return answer.status < 300 ? std::to_string(answer.status)
                               : fmt::format("{} {}", answer.status, answer.reason());
  }

  std::shared_ptr<void> behind_;
};

TEST_P(UnreadableSuite, IsToldAndEverythingElseIsServed) {
  const std::string key = "/registry/configmaps/default/broken";
  put(key, kBroken);
  put("/registry/configmaps/default/misnamed", R"({"metadata":{"name":"other"}})");
  start();
  EXPECT_EQ(unreadable("configmaps"), "2");
  EXPECT_EQ(unreadable("services"), "0");
  ASSERT_EQ(make(kConfigMaps, "whole").status, 201U);

  const Answer got = call("GET", path(kConfigMaps, "broken"));
  EXPECT_EQ(outcome(got), "500 StorageReadError");
  EXPECT_THAT(string_at(got.body, "message"), testing::HasSubstr(key));
  EXPECT_EQ(string_at(got.body, "details.name"), "broken");
  EXPECT_EQ(outcome(call("GET", path(kConfigMaps, "misnamed"))), "500 StorageReadError");
  const Answer listed = call("GET", std::string(kConfigMaps));
  EXPECT_EQ(listed.status, 200U);
  ASSERT_EQ(array_at(listed.body, "items")->size(), 1U);
  EXPECT_EQ(outcome(call("PUT", path(kConfigMaps, "broken"), R"({"metadata":{"name":"broken"}})")),
            "500 StorageReadError");
  EXPECT_EQ(outcome(merge(path(kConfigMaps, "broken"), R"({"data":{"a":"b"}})")),
            "500 StorageReadError");
  EXPECT_EQ(outcome(make(kConfigMaps, "broken")), "409 AlreadyExists");
  EXPECT_EQ(call("DELETE", std::string(kConfigMaps)).status, 200U) << "a collection";
  EXPECT_EQ(stored(key), kBroken) << "nobody has touched it";
  EXPECT_EQ(outcome(call("GET", path(kConfigMaps, "whole"))), "404 NotFound");
}

TEST_P(UnreadableSuite, IsDeletedByName) {
  const std::string key = "/registry/configmaps/default/broken";
  put(key, kBroken);
  start();
  const std::string target = path(kConfigMaps, "broken");
  EXPECT_EQ(outcome(call("DELETE", target, R"({"preconditions":{"uid":"x"}})")), "409 Conflict");
  EXPECT_EQ(outcome(call("DELETE", target, R"({"preconditions":{"resourceVersion":"1"}})")),
            "409 Conflict");
  EXPECT_EQ(call("DELETE", target + "?dryRun=All").status, 200U);
  EXPECT_EQ(stored(key), kBroken);
  const Answer deleted = call("DELETE", target);
  EXPECT_EQ(deleted.status, 200U);
  EXPECT_EQ(string_at(deleted.body, "status"), "Success");
  EXPECT_EQ(stored(key), "");
  EXPECT_EQ(outcome(call("GET", target)), "404 NotFound");
  EXPECT_EQ(unreadable("configmaps"), "0");
  EXPECT_EQ(outcome(make(kConfigMaps, "broken")), "201");
}

TEST_P(UnreadableSuite, IsGoneForWatchesUntilItIsMended) {
  start();
  ASSERT_EQ(create_node("n1").status, 201U);
  const std::string whole = stored("/registry/minions/n1");
  ASSERT_NE(whole, "");
  Watch watching = watch("", "application/json");
  EXPECT_EQ(next_text(watching), "ADDED n1");
  put("/registry/minions/n1", kBroken);
  EXPECT_EQ(next_text(watching), "DELETED n1");
  EXPECT_EQ(outcome(call("GET", path(kNodes, "n1"))), "500 StorageReadError");
  put("/registry/minions/n1", whole);
  EXPECT_EQ(next_text(watching), "ADDED n1");
  EXPECT_EQ(call("GET", path(kNodes, "n1")).status, 200U);
  EXPECT_EQ(unreadable("nodes"), "0");
}

TEST_P(UnreadableSuite, GivesBackWhatWasReservedForIt) {
  start();
  constexpr std::string_view kSpec =
      R"(,"spec":{"type":"NodePort","clusterIP":"10.96.7.7","ports":[{"port":80,"nodePort":30077}]})";
  ASSERT_EQ(outcome(make(kServices, "broken", kSpec)), "201");
  ASSERT_EQ(make(kServices, "whole", R"(,"spec":{"ports":[{"port":80}]})").status, 201U);
  put("/registry/services/specs/default/broken", kBroken);
  EXPECT_EQ(outcome(make(kServices, "next", kSpec)), "422 Invalid") << "it still has both";
  EXPECT_EQ(call("DELETE", path(kServices, "broken")).status, 200U);
  EXPECT_EQ(outcome(make(kServices, "next", kSpec)), "201");
  const Answer whole = call("GET", path(kServices, "whole"));
  EXPECT_EQ(call("GET", fmt::format("/apis/networking.k8s.io/v1/ipaddresses/{}",
                                    string_at(whole.body, "spec.clusterIP")))
                .status,
            200U)
      << "what others have stays theirs";
}

TEST_P(UnreadableSuite, KeepsItsNamespaceFromGoing) {
  start();
  ASSERT_EQ(make("/api/v1/namespaces", "doomed").status, 201U);
  ASSERT_EQ(make("/api/v1/namespaces/doomed/configmaps", "whole").status, 201U);
  put("/registry/configmaps/doomed/broken", kBroken);
  EXPECT_EQ(call("DELETE", "/api/v1/namespaces/doomed").status, 200U);
  std::string message;
  ASSERT_TRUE(run_until(loop_, [&] {
    const Answer ns = call("GET", "/api/v1/namespaces/doomed");
    for (const Document* condition : objects_at(ns.body, "status.conditions"))
      message = string_at(*condition, "message");
    return !message.empty();
  }));
  EXPECT_THAT(message, testing::HasSubstr("configmaps/broken"));
  EXPECT_EQ(call("GET", "/api/v1/namespaces/doomed/configmaps/whole").status, 404U);
  EXPECT_EQ(stored("/registry/configmaps/doomed/broken"), kBroken);
  EXPECT_EQ(call("DELETE", "/api/v1/namespaces/doomed/configmaps/broken").status, 200U);
  EXPECT_TRUE(
      run_until(loop_, [&] { return call("GET", "/api/v1/namespaces/doomed").status == 404; }));
}

TEST_P(UnreadableSuite, NamespaceTakesNothingInAndGoesWhenItIsEmpty) {
  start();
  ASSERT_EQ(make("/api/v1/namespaces", "dim").status, 201U);
  ASSERT_TRUE(run_until(loop_, [&] {
    return call("GET", "/api/v1/namespaces/dim/serviceaccounts/default").status == 200;
  }));
  put("/registry/namespaces/dim", kBroken);
  EXPECT_EQ(outcome(make("/api/v1/namespaces/dim/configmaps", "a")), "500 StorageReadError");
  EXPECT_EQ(outcome(make("/api/v1/namespaces", "dim")), "409 AlreadyExists");
  EXPECT_EQ(outcome(call("DELETE", "/api/v1/namespaces/dim")), "409 Conflict");
  EXPECT_EQ(call("DELETE", "/api/v1/namespaces/dim/serviceaccounts/default").status, 200U);
  EXPECT_EQ(outcome(call("DELETE", "/api/v1/namespaces/dim")), "200");
  EXPECT_EQ(outcome(make("/api/v1/namespaces", "dim")), "201");
}

// The collector takes an owner it does not find for gone.
TEST_P(UnreadableSuite, OwnerKeepsItsDependents) {
  start();
  const Answer owner = make(kConfigMaps, "owner");
  ASSERT_EQ(owner.status, 201U);
  ASSERT_EQ(
      call("POST", std::string(kConfigMaps),
           fmt::format(R"({{"metadata":{{"name":"owned","ownerReferences":[{{"apiVersion":"v1",)"
                       R"("kind":"ConfigMap","name":"owner","uid":"{}"}}]}}}})",
                       string_at(owner.body, "metadata.uid")))
          .status,
      201U);
  put("/registry/configmaps/default/owner", kBroken);
  restart("");
  // The collector has looked when it has done what came after.
  ASSERT_EQ(call("POST", std::string(kConfigMaps),
                 R"({"metadata":{"name":"orphan","ownerReferences":[{"apiVersion":"v1",)"
                 R"("kind":"ConfigMap","name":"nobody","uid":"u"}]}})")
                .status,
            201U);
  EXPECT_TRUE(
      run_until(loop_, [&] { return call("GET", path(kConfigMaps, "orphan")).status == 404; }));
  EXPECT_EQ(call("GET", path(kConfigMaps, "owned")).status, 200U);
  EXPECT_EQ(call("DELETE", path(kConfigMaps, "owner")).status, 200U);
  EXPECT_TRUE(
      run_until(loop_, [&] { return call("GET", path(kConfigMaps, "owned")).status == 404; }));
}

// What the server itself looks after is no reason not to start either.
TEST_P(UnreadableSuite, ObjectsOfTheServersOwnStayAsTheyAre) {
  const std::vector<std::string> keys = {"/registry/namespaces/default",
                                         "/registry/clusterroles/cluster-admin",
                                         "/registry/clusterrolebindings/cluster-admin",
                                         "/registry/servicecidrs/kubernetes",
                                         "/registry/services/specs/kube-system/kubernetes",
                                         "/registry/services/specs/default/kubernetes",
                                         "/registry/services/endpoints/default/kubernetes",
                                         "/registry/endpointslices/default/kubernetes",
                                         "/registry/serviceaccounts/default/default",
                                         "/registry/ranges/servicenodeports/30000"};
  for (const std::string& key : keys) put(key, kBroken);
  advertise_ = *SocketAddress::parse("192.0.2.1:6443");
  start();
  EXPECT_EQ(make("/api/v1/namespaces", "fine").status, 201U);
  EXPECT_EQ(
      make("/api/v1/namespaces/fine/services", "web", R"(,"spec":{"ports":[{"port":80}]})").status,
      201U);
  for (const std::string& key : keys) EXPECT_EQ(stored(key), kBroken) << key;
}

}  // namespace fairlead::apiserver
