// A fairlead-apiserver asked over HTTP, on each store: for what no kubectl sends, and for answers
// read as they are, before a client makes sense of them. Who asks over plain HTTP on loopback is
// an administrator.
#pragma once

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include "api/api_fixture.hpp"
#include "io/http.hpp"
#include "support/loop.hpp"

namespace fairlead::api_test {

inline constexpr std::string_view kServices = "/api/v1/namespaces/default/services";
inline constexpr std::string_view kSlices =
    "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
inline constexpr std::string_view kMergePatch = "application/merge-patch+json";
inline constexpr std::string_view kStrategicPatch = "application/strategic-merge-patch+json";
inline constexpr std::string_view kApplyPatch = "application/apply-patch+yaml";

struct Answer {
  unsigned status = 0;  // 0: none
  boost::json::value body;
  io::HttpHeaders headers;
  std::string text;

  // What is at this JSON pointer: a string as it is, anything else as JSON; "" when nothing.
  std::string at(std::string_view pointer) const;
  // The same as a value, for members may come in any order; null when nothing.
  boost::json::value value_at(std::string_view pointer) const;
  std::string revision() const { return at("/metadata/resourceVersion"); }
  std::string header(std::string_view name) const;
  // "201"; of a Failure "422 Invalid spec.ports Required, spec.type NotSupported", with the causes
  // in order.
  std::string outcome() const;
};

// Header fields that matter; empty = left out.
struct Headers {
  std::string type = "application/json";  // of the body, if there is one
  std::string accept = {};
  std::string if_none_match = {};
  std::string user_agent = {};
};

// One JSON watch, read event by event.
struct WatchStream {
  std::unique_ptr<io::HttpBodyStream> stream;
  std::string buffer;
};

class HttpTest : public testing::TestWithParam<StoreUnderTest> {
 protected:
  void SetUp() override;
  void TearDown() override { client_.reset(); }

  // A server on the objects of the one before, and at its ports.
  void start(std::vector<std::string> flags = {});
  std::unique_ptr<io::HttpClient> connect() const { return connect_to(http_port_); }
  std::unique_ptr<io::HttpClient> connect_to(std::uint16_t port) const;

  Answer call(std::string_view method, std::string_view target, std::string_view body = {},
              Headers headers = {});
  Answer get(std::string_view target, std::string accept = {}) {
    return call("GET", target, {}, {.accept = std::move(accept)});
  }
  Answer patch(std::string_view target, std::string_view body,
               std::string_view type = kMergePatch) {
    return call("PATCH", target, body, {.type = std::string(type)});
  }
  // A Service in default with this spec, given as JSON.
  Answer create_service(std::string_view name,
                        std::string_view spec = R"({"ports":[{"port":80}]})");
  std::string service_path(std::string_view name) const {
    return fmt::format("{}/{}", kServices, name);
  }

  WatchStream watch(std::string_view target);
  // "ADDED a 17", "BOOKMARK  17"; of an ERROR its code; "end" at the clean end of the stream.
  std::string next(WatchStream& from);
  boost::json::value next_event(WatchStream& from);  // null at the end

  Folder folder_;
  std::optional<StoreOfTest> store_;
  std::optional<ServerProcess> server_;
  std::uint16_t http_port_ = 0, secure_port_ = 0;
  mutable test::Loop loop_;
  std::unique_ptr<io::HttpClient> client_;
};

std::string name_of(const testing::TestParamInfo<StoreUnderTest>& param);
inline auto both_stores() { return testing::Values(StoreUnderTest::Sqlite, StoreUnderTest::Etcd); }

}  // namespace fairlead::api_test
