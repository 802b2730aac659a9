// What becomes of objects that are made, changed and deleted: checks C of docs/apiserver-checks.md.
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/json/serialize.hpp>

#include "api/http_fixture.hpp"

namespace fairlead::api_test {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;

class ObjectChecks : public HttpTest {};
INSTANTIATE_TEST_SUITE_P(Stores, ObjectChecks, both_stores(), name_of);

TEST_P(ObjectChecks, ACreatedServiceHasWhatTheServerAdds) {
  start();
  const Answer made = create_service("a");
  EXPECT_EQ(made.status, 201U);
  EXPECT_THAT(
      made.at("/metadata/uid"),
      ContainsRegex("^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"));
  EXPECT_THAT(made.at("/metadata/creationTimestamp"), ContainsRegex("^20..-..-..T..:..:..Z$"));
  EXPECT_THAT(made.revision(), ContainsRegex("^[1-9][0-9]*$"));
  EXPECT_EQ(made.at("/metadata/generation"), "");
  const std::string ip = made.at("/spec/clusterIP");
  EXPECT_THAT(ip, ContainsRegex("^10\\.96\\."));
  EXPECT_EQ(
      made.value_at("/spec"),
      boost::json::parse(fmt::format(
          R"({{"ports":[{{"protocol":"TCP","port":80,"targetPort":80}}],"clusterIP":"{0}",)"
          R"("clusterIPs":["{0}"],"type":"ClusterIP","sessionAffinity":"None",)"
          R"("ipFamilies":["IPv4"],"ipFamilyPolicy":"SingleStack","internalTrafficPolicy":"Cluster"}})",
          ip)));
  EXPECT_EQ(made.at("/status"), R"({"loadBalancer":{}})");
  const Answer again = create_service("a");
  EXPECT_EQ(again.outcome(), "409 AlreadyExists");
  EXPECT_EQ(again.at("/details"), R"({"name":"a","kind":"services"})");
}

TEST_P(ObjectChecks, NamesAreGeneratedAndNamespacesMustBeThere) {
  start();
  EXPECT_THAT(call("POST", kServices,
                   R"({"metadata":{"generateName":"gen-"},"spec":{"ports":[{"port":80}]}})")
                  .at("/metadata/name"),
              ContainsRegex("^gen-[bcdfghjklmnpqrstvwxz2456789]{5}$"));
  const Answer nowhere = call("POST", "/api/v1/namespaces/nope/services",
                              R"({"metadata":{"name":"a"},"spec":{"ports":[{"port":80}]}})");
  EXPECT_EQ(nowhere.outcome(), "404 NotFound");
  EXPECT_EQ(nowhere.at("/message"), "namespaces \"nope\" not found");
}

TEST_P(ObjectChecks, UnknownFieldsAreRefusedToldOrIgnoredAsAsked) {
  start();
  const auto post = [this](std::string_view name, std::string_view validation) {
    return call(
        "POST", fmt::format("{}?fieldValidation={}", kServices, validation),
        fmt::format(R"({{"metadata":{{"name":"{}"}},"spec":{{"foo":1,"ports":[{{"port":80}}]}}}})",
                    name));
  };
  const Answer strict = post("a", "Strict");
  EXPECT_EQ(strict.outcome(), "400 BadRequest");
  EXPECT_THAT(strict.at("/message"),
              HasSubstr("strict decoding error: unknown field \"spec.foo\""));
  const Answer warned = post("b", "Warn");
  EXPECT_EQ(warned.status, 201U);
  EXPECT_EQ(warned.header("Warning"), R"(299 - "unknown field \"spec.foo\"")");
  const Answer ignored = post("c", "Ignore");
  EXPECT_EQ(ignored.status, 201U);
  EXPECT_EQ(ignored.header("Warning"), "");
  EXPECT_EQ(post("d", "Bad").status, 422U);
}

TEST_P(ObjectChecks, AnUpdateMustKnowWhatItReplaces) {
  start();
  const Answer made = create_service("a");
  const std::string path = service_path("a");
  const Answer labelled = patch(path, R"({"metadata":{"labels":{"x":"y"}}})");
  EXPECT_EQ(call("PUT", path, made.text).outcome(), "409 Conflict");
  EXPECT_EQ(get(path).revision(), labelled.revision());
  boost::json::value other = labelled.body;
  other.at("metadata").as_object()["uid"] = "5d4f0a6f-0000-4000-8000-000000000000";
  EXPECT_EQ(call("PUT", path, boost::json::serialize(other)).outcome(), "409 Conflict");
  boost::json::value misnamed = labelled.body;
  misnamed.at("metadata").as_object()["name"] = "b";
  EXPECT_EQ(call("PUT", path, boost::json::serialize(misnamed)).outcome(), "400 BadRequest");
  // What changes nothing is not written and seen by nobody.
  WatchStream changes =
      watch(fmt::format("{}?watch=true&resourceVersion={}", kServices, labelled.revision()));
  const Answer same = call("PUT", path, labelled.text);
  EXPECT_EQ(same.status, 200U);
  EXPECT_EQ(same.revision(), labelled.revision());
  const Answer next_one = create_service("b");
  EXPECT_EQ(next(changes), "ADDED b " + next_one.revision());
}

TEST_P(ObjectChecks, ALeaseIsNotReplacedUnread) {
  start();
  const std::string leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
  ASSERT_EQ(
      call("POST", leases, R"({"metadata":{"name":"l"},"spec":{"holderIdentity":"one"}})").status,
      201U);
  EXPECT_EQ(
      call("PUT", leases + "/l", R"({"metadata":{"name":"l"},"spec":{"holderIdentity":"two"}})")
          .outcome(),
      "422 Invalid metadata.resourceVersion Invalid");
}

using Sent = Result<io::HttpResponse>;

io::Task<std::vector<unsigned>> codes_of_both(io::Task<Sent> one, io::Task<Sent> two) {
  using namespace boost::asio::experimental::awaitable_operators;
  const auto [first, second] = co_await (std::move(one) && std::move(two));
  std::vector<unsigned> out;
  for (const Sent* sent : {&first, &second}) out.push_back(*sent ? (*sent)->status : 0);
  co_return out;
}

TEST_P(ObjectChecks, OfTwoWritersOfOneRevisionOneWins) {
  start();
  Answer current = create_service("a");
  const std::unique_ptr<io::HttpClient> other = connect();
  for (int round = 0; round < 100; ++round) {
    boost::json::value changed = current.body;
    const auto put = [&](io::HttpClient& client, std::string_view by) {
      changed.at("metadata").as_object()["labels"] = {{"by", fmt::format("{}{}", by, round)}};
      return client.send({.method = "PUT",
                          .target = service_path("a"),
                          .headers = {{"Content-Type", "application/json"}},
                          .body = boost::json::serialize(changed)},
                         std::chrono::seconds(15));
    };
    const auto codes = loop_.run(codes_of_both(put(*client_, "one"), put(*other, "two")));
    ASSERT_TRUE(codes);
    ASSERT_THAT(*codes, testing::UnorderedElementsAre(200U, 409U)) << "round " << round;
    current = get(service_path("a"));
  }
}

TEST_P(ObjectChecks, MergePatchesRemoveAndAreRefusedByTheirFault) {
  start();
  ASSERT_EQ(create_service("a").status, 201U);
  const std::string path = service_path("a");
  const Answer labelled = patch(path, R"({"metadata":{"labels":{"x":"y"}}})");
  const Answer bare = patch(path, R"({"metadata":{"labels":{"x":null}}})");
  EXPECT_EQ(bare.at("/metadata/labels/x"), "");
  EXPECT_EQ(patch(path, R"({"metadata":{"labels":{"x":null}}})").revision(), bare.revision());
  EXPECT_EQ(patch(path, "{").outcome(), "400 BadRequest");
  EXPECT_EQ(patch(path, R"({"spec":{"ports":"x"}})").outcome(), "422 Invalid patch Invalid");
  EXPECT_EQ(
      patch(path, fmt::format(R"({{"metadata":{{"resourceVersion":"{}","labels":{{"z":"z"}}}}}})",
                              labelled.revision()))
          .outcome(),
      "409 Conflict");
  EXPECT_EQ(patch(path, R"({"metadata":{"uid":"5d4f0a6f-0000-4000-8000-000000000000"}})").outcome(),
            "422 Invalid metadata.uid Invalid");
}

TEST_P(ObjectChecks, AStrategicPatchOrdersPortsByNumber) {
  start();
  ASSERT_EQ(
      create_service("a", R"({"ports":[{"name":"a","port":80},{"name":"b","port":443}]})").status,
      201U);
  const Answer patched =
      patch(service_path("a"), R"({"spec":{"$setElementOrder/ports":[{"port":443},{"port":80}],
            "ports":[{"port":80,"name":"n"},{"port":443,"name":"b"}]}})",
            kStrategicPatch);
  EXPECT_EQ(patched.status, 200U) << patched.text;
  EXPECT_EQ(patched.at("/spec/ports/0/port") + patched.at("/spec/ports/0/name"), "443b");
  EXPECT_EQ(patched.at("/spec/ports/1/port") + patched.at("/spec/ports/1/name"), "80n");
}

TEST_P(ObjectChecks, AppliersOwnWhatTheyApply) {
  start();
  const std::string path = service_path("a");
  const auto apply = [&](std::string_view query, std::string_view spec) {
    return patch(
        fmt::format("{}?{}", path, query),
        fmt::format(R"({{"apiVersion":"v1","kind":"Service","metadata":{{"name":"a"}},"spec":{}}})",
                    spec),
        kApplyPatch);
  };
  EXPECT_EQ(apply("fieldManager=one", R"({"sessionAffinity":"None","ports":[{"port":80}]})").status,
            201U);
  const Answer conflict = apply("fieldManager=two", R"({"sessionAffinity":"ClientIP"})");
  EXPECT_EQ(conflict.outcome(), "409 Conflict .spec.sessionAffinity FieldManagerConflict");
  EXPECT_EQ(apply("fieldManager=two&force=true", R"({"sessionAffinity":"ClientIP"})").status, 200U);
  EXPECT_EQ(apply("force=true", "{}").status, 422U);
  EXPECT_EQ(patch(path + "?force=true", "{}").status, 422U);
  // Ports are told apart by number and protocol.
  const Answer both_ports = apply("fieldManager=one&force=true", R"({"ports":[
      {"name":"t","port":53,"protocol":"TCP"},{"name":"u","port":53,"protocol":"UDP"}]})");
  EXPECT_EQ(both_ports.body.at("spec").at("ports").as_array().size(), 2U) << both_ports.text;
  const Answer one_port =
      apply("fieldManager=one", R"({"ports":[{"name":"u","port":53,"protocol":"UDP"}]})");
  EXPECT_EQ(one_port.value_at("/spec/ports"),
            boost::json::parse(R"([{"name":"u","protocol":"UDP","port":53,"targetPort":53}])"));
}

TEST_P(ObjectChecks, StatusIsChangedAloneAndOnlyOfLoadBalancers) {
  start();
  ASSERT_EQ(create_service("a").status, 201U);
  ASSERT_EQ(create_service("lb", R"({"type":"LoadBalancer","ports":[{"port":80}]})").status, 201U);
  constexpr std::string_view kIngress =
      R"({"spec":{"sessionAffinity":"ClientIP"},"status":{"loadBalancer":{"ingress":[{"ip":"1.2.3.4"}]}}})";
  EXPECT_EQ(patch(service_path("a") + "/status", kIngress).outcome(),
            "422 Invalid status.loadBalancer.ingress Forbidden");
  const Answer given = patch(service_path("lb") + "/status", kIngress);
  EXPECT_EQ(given.at("/status/loadBalancer/ingress"), R"([{"ip":"1.2.3.4","ipMode":"VIP"}])");
  EXPECT_EQ(given.at("/spec/sessionAffinity"), "None");
}

TEST_P(ObjectChecks, WhatADeleteAnswersDependsOnTheKind) {
  start();
  ASSERT_EQ(create_service("a").status, 201U);
  const Answer slice =
      call("POST", kSlices, R"({"metadata":{"name":"s"},"addressType":"IPv4","endpoints":[]})");
  ASSERT_EQ(slice.status, 201U) << slice.text;
  const std::string path = service_path("a");
  EXPECT_EQ(call("DELETE", path, R"({"preconditions":{"uid":"other"}})").outcome(), "409 Conflict");
  EXPECT_EQ(call("DELETE", path, R"({"dryRun":["foo"]})").status, 422U);
  EXPECT_EQ(call("DELETE", path, R"({"propagationPolicy":"Foo"})").status, 422U);
  EXPECT_EQ(call("DELETE", path + "?gracePeriodSeconds=x").outcome(), "400 BadRequest");
  const Answer service = call("DELETE", path);
  EXPECT_EQ(service.outcome() + service.at("/kind"), "200Service");
  const Answer gone = call("DELETE", fmt::format("{}/s", kSlices));
  EXPECT_EQ(gone.at("/kind") + gone.at("/status"), "StatusSuccess");
  EXPECT_EQ(gone.at("/details/uid"), slice.at("/metadata/uid"));
}

TEST_P(ObjectChecks, ACollectionIsDeletedBySelectorAndGivesBackWhatItHad) {
  start();
  for (const char* name : {"a", "b"}) {
    ASSERT_EQ(
        call(
            "POST", kServices,
            fmt::format(
                R"({{"metadata":{{"name":"{0}","labels":{{"app":"x"}}}},"spec":{{"type":"NodePort","clusterIP":"10.96.0.{1}","ports":[{{"port":80,"nodePort":3000{1}}}]}}}})",
                name, *name - 'a' + 1 + 1))
            .status,
        201U);
  }
  ASSERT_EQ(create_service("other").status, 201U);
  const Answer deleted = call("DELETE", fmt::format("{}?labelSelector=app%3Dx", kServices));
  EXPECT_EQ(deleted.at("/kind"), "ServiceList");
  EXPECT_EQ(deleted.at("/items/0/metadata/name") + deleted.at("/items/1/metadata/name"), "ab");
  EXPECT_EQ(get(service_path("other")).status, 200U);
  const Answer again = create_service(
      "c", R"({"type":"NodePort","clusterIP":"10.96.0.2","ports":[{"port":80,"nodePort":30002}]})");
  EXPECT_EQ(again.status, 201U) << again.text;
}

TEST_P(ObjectChecks, APodOnANodeIsGivenTimeToEnd) {
  start();
  const std::string pods = "/api/v1/namespaces/default/pods";
  const auto create = [&](std::string_view name, std::string_view more) {
    return call(
               "POST", pods,
               fmt::format(
                   R"({{"metadata":{{"name":"{}"}},"spec":{{{}"containers":[{{"name":"c","image":"i"}}]}}}})",
                   name, more))
        .status;
  };
  ASSERT_EQ(create("placed", R"("nodeName":"n1",)"), 201U);
  ASSERT_EQ(create("free", ""), 201U);
  const Answer ending = call("DELETE", pods + "/placed");
  EXPECT_EQ(ending.at("/metadata/deletionGracePeriodSeconds"), "30");
  EXPECT_EQ(ending.at("/metadata/generation"), "2");
  EXPECT_THAT(ending.at("/metadata/deletionTimestamp"), ContainsRegex("^20..-..-..T"));
  EXPECT_EQ(get(pods + "/placed").status, 200U);
  EXPECT_EQ(call("DELETE", pods + "/free").status, 200U);
  EXPECT_EQ(get(pods + "/free").outcome(), "404 NotFound");
}

}  // namespace
}  // namespace fairlead::api_test
