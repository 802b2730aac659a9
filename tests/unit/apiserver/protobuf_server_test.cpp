// A client that speaks protobuf alone, as libprotobuf reads and writes it, against the whole server
// over sockets.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "apiserver/server.hpp"
#include "io/http.hpp"
#include "io/socket.hpp"
#include "support/published_api.hpp"
#include "unit/apiserver/run_task.hpp"

namespace fairlead::apiserver {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::StartsWith;

constexpr std::string_view kProtobuf = "application/vnd.kubernetes.protobuf";
constexpr std::string_view kNodes = "/api/v1/nodes";
constexpr std::string_view kLeases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";

struct Answer {
  unsigned status = 0;
  std::string type, body;
};

class ProtobufServerTest : public testing::Test {
 protected:
  void SetUp() override {
    ApiServer::Config config;
    config.kinds.service_cidrs = {*IpPrefix::parse("10.96.0.0/16")};
    auto socket = io::listen_tcp({.address = IpAddress::loopback(IpFamily::V4)});
    ASSERT_TRUE(socket) << socket.error().message;
    config.listeners.push_back({.socket = *std::move(socket), .tls = false});
    auto made = ApiServer::create(loop_.get_executor(), std::move(config));
    ASSERT_TRUE(made) << made.error().message;
    server_ = *std::move(made);
    const auto started = run_task(loop_, server_->start());
    ASSERT_TRUE(started) << started.error().message;
    const SocketAddress to = server_->addresses()[0];
    auto client = io::HttpClient::create(
        loop_.get_executor(), {.host = to.address.to_string(), .port = to.port, .tls = {}});
    ASSERT_TRUE(client);
    client_ = *std::move(client);
  }
  void TearDown() override {
    if (server_) run_task(loop_, server_->close());
    client_.reset();
    server_.reset();
  }

  Answer call(std::string_view method, std::string target, std::string body = {},
              std::string_view accept = kProtobuf) {
    io::HttpRequest request{.method = std::string(method),
                            .target = std::move(target),
                            .headers = {{"Accept", std::string(accept)}},
                            .body = std::move(body)};
    if (!request.body.empty()) request.headers.push_back({"Content-Type", std::string(kProtobuf)});
    auto got = run_task(loop_, client_->send(std::move(request), 10s));
    EXPECT_TRUE(got) << (got ? "" : got.error().message);
    if (!got) return {};
    return {.status = got->status,
            .type = std::string(io::find_header(got->headers, "Content-Type").value_or("")),
            .body = std::move(got->body)};
  }
  // A body as clients make it.
  std::string body_of(std::string_view version, std::string_view kind,
                      std::string_view text) const {
    return enveloped(version, kind, api_.bytes(kind, text));
  }
  std::string enveloped(std::string_view version, std::string_view kind,
                        const std::string& message) const {
    return std::string("k8s\0", 4) +
           api_.bytes("Unknown", fmt::format(R"(typeMeta{{apiVersion:"{}" kind:"{}"}} raw:"{}")",
                                             version, kind, google::protobuf::CEscape(message)));
  }
  // "v1 Node: " and the message's text.
  std::string text_of(std::string_view body, std::string_view message) const {
    if (!body.starts_with(std::string_view("k8s\0", 4))) return "no envelope";
    const std::string_view unknown = body.substr(4);
    return api_.text("TypeMeta", api_.member("Unknown", unknown, "typeMeta")) + "| " +
           api_.text(message, api_.member("Unknown", unknown, "raw"));
  }
  // A watch of Nodes whose frames are read one by one.
  struct Watch {
    std::unique_ptr<io::HttpBodyStream> stream;
    std::string buffer;
  };
  Watch open_watch(std::string_view query) {
    auto opened =
        run_task(loop_, client_->open({.target = fmt::format("{}?watch=true&{}", kNodes, query),
                                       .headers = {{"Accept", std::string(kProtobuf)}}},
                                      10s));
    EXPECT_TRUE(opened);
    if (!opened) return {};
    EXPECT_EQ(io::find_header((*opened)->headers(), "Content-Type"),
              "application/vnd.kubernetes.protobuf;stream=watch");
    return {.stream = *std::move(opened), .buffer = {}};
  }
  // "ADDED " and the object's text; "end" after the last.
  std::string next(Watch& watch) {
    while (true) {
      std::string& buffer = watch.buffer;
      std::size_t length = 0;
      for (std::size_t i = 0; i < 4 && buffer.size() >= 4; ++i)
        length = length << 8 | static_cast<std::uint8_t>(buffer[i]);
      if (buffer.size() >= 4 && buffer.size() - 4 >= length) {
        const std::string event = buffer.substr(4, length);
        buffer.erase(0, 4 + length);
        const std::string object =
            api_.member("RawExtension", api_.member("WatchEvent", event, "object"), "raw");
        return api_.member("WatchEvent", event, "type") + " " + text_of(object, "Node");
      }
      auto more = run_task(loop_, watch.stream->read_some(10s));
      if (!more || !*more) return "end";
      buffer += **more;
    }
  }
  Answer create_node(std::string_view name) {
    return call("POST", std::string(kNodes),
                body_of("v1", "Node", fmt::format("metadata{{name:\"{}\"}}", name)));
  }

  io::asio::io_context loop_;
  test::PublishedApi api_;
  std::unique_ptr<ApiServer> server_;
  std::unique_ptr<io::HttpClient> client_;
};

TEST_F(ProtobufServerTest, AnObjectIsWrittenReadChangedAndDeleted) {
  const Answer created =
      call("POST", std::string(kLeases),
           body_of("coordination.k8s.io/v1", "Lease",
                   R"(metadata{name:"l" creationTimestamp{}} spec{holderIdentity:"a"
                      renewTime{seconds:1700000000 nanos:5000}})"));
  EXPECT_EQ(created.status, 201U) << created.body;
  EXPECT_EQ(created.type, kProtobuf);
  const std::string text = text_of(created.body, "Lease");
  EXPECT_THAT(text,
              HasSubstr(R"(apiVersion: "coordination.k8s.io/v1" kind: "Lease" | metadata {)"));
  EXPECT_THAT(text, HasSubstr("renewTime { seconds: 1700000000 nanos: 5000 }"));

  const std::string path = fmt::format("{}/l", kLeases);
  EXPECT_EQ(text_of(call("GET", path).body, "Lease"), text);
  const std::string json = call("GET", path, {}, "application/json").body;
  EXPECT_THAT(json, HasSubstr(R"("renewTime":"2023-11-14T22:13:20.000005Z")"));

  // Sent back as it came: nothing changes, not even the revision.
  EXPECT_EQ(text_of(call("PUT", path, created.body).body, "Lease"), text);
  const Answer wrong_precondition =
      call("DELETE", path, body_of("v1", "DeleteOptions", R"(preconditions{uid:"other"})"));
  EXPECT_EQ(wrong_precondition.status, 409U);
  EXPECT_THAT(text_of(wrong_precondition.body, "Status"), HasSubstr(R"(reason: "Conflict")"));
  const Answer deleted = call("DELETE", path, body_of("", "DeleteOptions", ""));
  EXPECT_EQ(deleted.status, 200U);
  EXPECT_THAT(text_of(deleted.body, "Status"),
              HasSubstr(R"(kind: "Status" | metadata { } status: "Success" details { name: "l")"));
  EXPECT_EQ(call("GET", path).status, 404U);
}

TEST_F(ProtobufServerTest, ListsAreWholeOrOfMetadata) {
  create_node("a");
  create_node("b");
  const Answer whole = call("GET", fmt::format("{}?limit=1", kNodes));
  EXPECT_EQ(whole.type, kProtobuf);
  EXPECT_THAT(text_of(whole.body, "NodeList"),
              MatchesRegex("apiVersion: \"v1\" kind: \"NodeList\" \\| metadata \\{ "
                           "resourceVersion: \"[0-9]+\" continue: \"[^\"]+\" "
                           "remainingItemCount: 1 \\} items \\{ metadata \\{ name: \"a\" .*"));
  const Answer metadata = call("GET", std::string(kNodes), {},
                               "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;"
                               "g=meta.k8s.io;v=v1,application/json");
  EXPECT_THAT(text_of(metadata.body, "PartialObjectMetadataList"),
              MatchesRegex("apiVersion: \"meta.k8s.io/v1\" kind: \"PartialObjectMetadataList\" \\| "
                           "metadata \\{ resourceVersion: \"[0-9]+\" \\} "
                           "items \\{ metadata \\{ name: \"a\" .*\\} "
                           "items \\{ metadata \\{ name: \"b\" .*"));
  const Answer table = call("GET", std::string(kNodes), {},
                            "application/json;as=Table;v=v1;g=meta.k8s.io,"
                            "application/vnd.kubernetes.protobuf");
  EXPECT_EQ(table.type, "application/json");
  EXPECT_THAT(table.body, HasSubstr(R"("kind":"Table")"));
}

TEST_F(ProtobufServerTest, AWatchIsFramesThatEndTheirInitialEventsAndGoOn) {
  create_node("a");
  Watch watch = open_watch(
      "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true");
  EXPECT_THAT(next(watch),
              MatchesRegex(R"(ADDED apiVersion: "v1" kind: "Node" \| metadata . name: "a".*)"));
  EXPECT_THAT(next(watch), MatchesRegex(R"(BOOKMARK apiVersion: "v1" kind: "Node" \| metadata . )"
                                        R"(resourceVersion: "[0-9]+" annotations . )"
                                        R"(key: "k8s.io/initial-events-end" value: "true" . . )"));
  create_node("b");
  EXPECT_THAT(next(watch),
              MatchesRegex(R"(ADDED apiVersion: "v1" kind: "Node" \| metadata . name: "b".*)"));
  call("DELETE", fmt::format("{}/b", kNodes));
  EXPECT_THAT(next(watch),
              MatchesRegex(R"(DELETED apiVersion: "v1" kind: "Node" \| metadata . name: "b".*)"));
}

// What is deleted for a watch is the state before, at the revision of the change: not the bytes
// that the state before had been read by.
TEST_F(ProtobufServerTest, AnObjectThatASelectorLosesIsDeletedAtTheRevisionOfTheChange) {
  const auto node = [this](std::string_view label) {
    return body_of("v1", "Node",
                   fmt::format(R"(metadata{{name:"a" labels{{key:"app" value:"{}"}}}})", label));
  };
  call("POST", std::string(kNodes), node("x"));
  Watch watch = open_watch("labelSelector=app%3Dx");
  EXPECT_THAT(next(watch), StartsWith("ADDED "));  // its bytes are kept from here on
  const std::string changed =
      text_of(call("PUT", fmt::format("{}/a", kNodes), node("y")).body, "Node");
  const std::string deleted = next(watch);
  EXPECT_THAT(deleted, AllOf(StartsWith("DELETED "), HasSubstr(R"(key: "app" value: "x")")));
  const auto revision_in = [](const std::string& text) {
    const std::size_t at = text.find("resourceVersion: ");
    return text.substr(at, text.find(' ', at + 17) - at);
  };
  EXPECT_EQ(revision_in(deleted), revision_in(changed));
}

TEST_F(ProtobufServerTest, BodiesThatAreNoneAreRefusedAndStoreNothing) {
  const std::string good = body_of("v1", "Node", R"(metadata{name:"a"})");
  struct Case {
    std::string_view name;
    std::string body;
  };
  const std::string huge_length = std::string("k8s\0\x0a\xff\xff\xff\xff\x0f", 10);
  const Case cases[] = {
      {"truncated", good.substr(0, good.size() - 3)},
      {"no magic", good.substr(4)},
      {"a length beyond the end", huge_length},
      {"another kind", body_of("v1", "ConfigMap", R"(metadata{name:"a"})")},
      {"a kind that is not known", enveloped("v1", "Gadget", "")},
      {"a number for the metadata", enveloped("v1", "Node", "\x08\x01")},
      {"a field of number 0", enveloped("v1", "Node", std::string("\0\0", 2))},
      {"a group that ends before it began", enveloped("v1", "Node", "\x0c")},
      {"a name that is not UTF-8", enveloped("v1", "Node", "\x0a\x03\x0a\x01\xff")},
  };
  for (const Case& c : cases) {
    const Answer refused = call("POST", std::string(kNodes), c.body);
    EXPECT_EQ(refused.status, 400U) << c.name;
    EXPECT_EQ(refused.type, kProtobuf) << c.name;
    EXPECT_THAT(text_of(refused.body, "Status"), HasSubstr(R"(reason: "BadRequest" code: 400)"))
        << c.name;
  }
  EXPECT_THAT(call("GET", std::string(kNodes), {}, "application/json").body,
              HasSubstr(R"("items":[])"));
  EXPECT_EQ(create_node("a").status, 201U);
}

TEST_F(ProtobufServerTest, WhatIsAskedForInNothingElseThanATableOfProtobufIsNotAcceptable) {
  const Answer refused = call("GET", std::string(kNodes), {},
                              "application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1");
  EXPECT_EQ(refused.status, 406U);
  EXPECT_THAT(refused.body, HasSubstr(R"("reason":"NotAcceptable")"));
}

}  // namespace
}  // namespace fairlead::apiserver
