// What the server tells Prometheus, after requests of every kind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/apiserver/server_fixture.hpp"

namespace fairlead::apiserver {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class ApiMetricsTest : public ServerTest {
 protected:
  void SetUp() override { start(); }

  std::string scrape() {
    const auto got =
        run_task(loop_, client_->send({.target = "/metrics"}, std::chrono::seconds(10)));
    EXPECT_TRUE(got) << (got ? "" : got.error().message);
    if (!got) return {};
    EXPECT_EQ(got->status, 200U);
    EXPECT_EQ(io::find_header(got->headers, "Content-Type"),
              "text/plain; version=0.0.4; charset=utf-8");
    return got->body;
  }
  // Of requests on the core group, v1.
  static std::string labels(std::string_view resource, std::string_view scope,
                            std::string_view verb, std::string_view subresource = "") {
    return fmt::format(
        R"(dry_run="",group="",resource="{}",scope="{}",subresource="{}",verb="{}",version="v1")",
        resource, scope, subresource, verb);
  }
  static std::string counted(unsigned code, std::string_view labels, int count) {
    return fmt::format("apiserver_request_total{{code=\"{}\",component=\"apiserver\",{}}} {}\n",
                       code, labels, count);
  }
};

TEST_F(ApiMetricsTest, RequestsAreCountedByWhatTheyAskAndHowTheyEnd) {
  create_node("n1");
  create_node("n2");
  create_node("n1");
  call("GET", "/api/v1/nodes/none");
  call("GET", "/api/v1/pods");
  call("GET", "/api/v1/namespaces/default/pods");
  call("PATCH", "/api/v1/nodes/n1/status", R"({"status":{}})", "application/merge-patch+json");
  call("PATCH", "/api/v1/nodes/n1?fieldManager=m&force=true",
       R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"n1"}})",
       "application/apply-patch+yaml");
  EXPECT_THAT(scrape(),
              AllOf(HasSubstr(counted(201, labels("nodes", "resource", "POST"), 2)),
                    HasSubstr(counted(409, labels("nodes", "resource", "POST"), 1)),
                    HasSubstr(counted(404, labels("nodes", "resource", "GET"), 1)),
                    HasSubstr(counted(200, labels("pods", "cluster", "LIST"), 1)),
                    HasSubstr(counted(200, labels("pods", "namespace", "LIST"), 1)),
                    HasSubstr(counted(200, labels("nodes", "resource", "PATCH", "status"), 1)),
                    HasSubstr(counted(200, labels("nodes", "resource", "APPLY"), 1))));
}

TEST_F(ApiMetricsTest, TimeIsMeasuredOfEachButWatches) {
  create_node("n1");
  {
    Watch ended = watch("timeoutSeconds=1");
    while (next(ended)) {
    }
  }
  const std::string text = scrape();
  EXPECT_THAT(text,
              HasSubstr(fmt::format(
                  "apiserver_request_duration_seconds_count{{component=\"apiserver\",{}}} 1\n",
                  labels("nodes", "resource", "POST"))));
  EXPECT_THAT(text, HasSubstr(counted(200, labels("nodes", "cluster", "WATCH"), 1)));
  EXPECT_THAT(text, Not(HasSubstr(fmt::format(
                        "apiserver_request_duration_seconds_count{{component=\"apiserver\",{}}}",
                        labels("nodes", "cluster", "WATCH")))));
}

TEST_F(ApiMetricsTest, NamesThatClientsMakeUpAreNotRepeated) {
  call("GET", "/api/v1/madeup1");
  call("GET", "/apis/madeup2.example/v1/things");
  call("GET", "/madeup3");
  call("GET", "/api/v1/nodes/n1/madeup4");
  call("MADEUP5", "/api/v1/nodes");
  const std::string text = scrape();
  EXPECT_THAT(text, Not(HasSubstr("madeup")));
  EXPECT_THAT(text, HasSubstr(R"(verb="other")"));
}

TEST_F(ApiMetricsTest, WatchesAndObjectsAreThoseOfTheMoment) {
  Watch open = watch("");
  create_node("n1");
  create_node("n2");
  EXPECT_EQ(next_text(open), "ADDED n1");
  EXPECT_EQ(next_text(open), "ADDED n2");
  EXPECT_THAT(
      scrape(),
      AllOf(
          HasSubstr(fmt::format("apiserver_longrunning_requests{{component=\"apiserver\",{}}} 1\n",
                                labels("nodes", "", "WATCH"))),
          HasSubstr(
              "apiserver_watch_events_total{group=\"\",resource=\"nodes\",version=\"v1\"} 2\n"),
          HasSubstr("apiserver_resource_objects{group=\"\",resource=\"nodes\"} 2\n"),
          HasSubstr("apiserver_storage_objects{resource=\"servicecidrs.networking.k8s.io\"} 1\n"),
          HasSubstr("apiserver_current_inflight_requests{request_kind=\"mutating\"} 0\n"),
          HasSubstr("process_resident_memory_bytes "), HasSubstr("kubernetes_build_info{")));
}

}  // namespace
}  // namespace fairlead::apiserver
