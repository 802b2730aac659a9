// The whole server over real sockets on loopback, with a client on the same loop.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json/parse.hpp>
#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "apiserver/server.hpp"
#include "io/socket.hpp"
#include "unit/apiserver/run_task.hpp"

namespace fairlead::apiserver {

inline constexpr std::string_view kNodes = "/api/v1/nodes";

struct Answer {
  unsigned status = 0;
  Document body;
  io::HttpHeaders headers;
  std::string_view reason() const { return string_at(body, "reason"); }
  std::string_view revision() const { return string_at(body, "metadata.resourceVersion"); }
};

class ServerTest : public testing::Test {
 protected:
  void TearDown() override {
    if (server_) run_task(loop_, server_->close());
    client_.reset();
    server_.reset();
    if (store_) run_task(loop_, store_->close());
    if (!folder_.empty()) std::filesystem::remove_all(folder_);
  }

  void start(std::string data_directory = {}) {
    ApiServer::Config config;
    config.store = store_.get();
    config.data_directory = std::move(data_directory);
    config.audit = audit_;
    config.limits = limits_;
    config.admission = admission_;
    config.authorization = authorization_;
    config.advertise = advertise_;
    config.kinds.service_cidrs = {*IpPrefix::parse("10.96.0.0/16")};
    config.tokens = {
        {.token = "alices-token", .user = {.name = "alice", .groups = {"system:authenticated"}}}};
    for (const bool tls : {false, true}) {
      auto socket = io::listen_tcp({.address = IpAddress::loopback(IpFamily::V4)});
      ASSERT_TRUE(socket) << socket.error().message;
      config.listeners.push_back({.socket = *std::move(socket), .tls = tls});
    }
    auto made = ApiServer::create(loop_.get_executor(), std::move(config));
    ASSERT_TRUE(made) << made.error().message;
    server_ = *std::move(made);
    const auto started = run_task(loop_, server_->start());
    ASSERT_TRUE(started) << started.error().message;
    client_ = connect(server_->addresses()[0], std::nullopt);
  }
  std::unique_ptr<io::HttpClient> connect(SocketAddress to, std::optional<io::TlsClient> tls) {
    auto made = io::HttpClient::create(
        loop_.get_executor(),
        {.host = to.address.to_string(), .port = to.port, .tls = std::move(tls)});
    EXPECT_TRUE(made);
    return *std::move(made);
  }
  void restart(const std::string& data_directory) {
    run_task(loop_, server_->close());
    client_.reset();
    server_.reset();
    start(data_directory);
  }
  std::string temporary_folder() {
    folder_ = testing::TempDir() + "fairlead-server-XXXXXX";
    EXPECT_NE(mkdtemp(folder_.data()), nullptr);
    return folder_;
  }

  Answer send(io::HttpClient& client, io::HttpRequest request) {
    auto got = run_task(loop_, client.send(std::move(request), std::chrono::seconds(10)));
    EXPECT_TRUE(got) << (got ? "" : got.error().message);
    if (!got) return {};
    Answer out{.status = got->status, .body = {}, .headers = got->headers};
    boost::json::error_code failed;
    boost::json::value value = boost::json::parse(got->body, failed);
    if (!failed && value.is_object()) out.body = value.get_object();
    return out;
  }
  Answer call(std::string method, std::string target, std::string body = {},
              std::string type = "application/json") {
    io::HttpRequest request{
        .method = std::move(method), .target = std::move(target), .body = std::move(body)};
    if (!request.body.empty()) request.headers.push_back({"Content-Type", std::move(type)});
    return send(*client_, std::move(request));
  }
  Answer create_node(std::string_view name, std::string_view label = "x") {
    return call(
        "POST", std::string(kNodes),
        fmt::format(R"({{"metadata":{{"name":"{}","labels":{{"app":"{}"}}}}}})", name, label));
  }
  Answer label_node(std::string_view name, std::string_view label) {
    return call("PATCH", fmt::format("{}/{}", kNodes, name),
                fmt::format(R"({{"metadata":{{"labels":{{"app":"{}"}}}}}})", label),
                "application/merge-patch+json");
  }

  // A watch whose lines are read one by one.
  struct Watch {
    std::unique_ptr<io::HttpBodyStream> stream;
    std::string buffer;
  };
  Watch watch(std::string_view query, std::string accept = "application/json",
              std::string_view collection = kNodes) {
    auto opened =
        run_task(loop_, client_->open({.target = fmt::format("{}?watch=true&{}", collection, query),
                                       .headers = {{"Accept", std::move(accept)}}},
                                      std::chrono::seconds(10)));
    EXPECT_TRUE(opened);
    if (!opened) return {};
    EXPECT_EQ((*opened)->status(), 200U);
    return {.stream = *std::move(opened), .buffer = {}};
  }
  // nullopt at the clean end of the stream.
  std::optional<Document> next(Watch& from) {
    while (true) {
      if (const std::size_t end = from.buffer.find('\n'); end != std::string::npos) {
        Document event = boost::json::parse(from.buffer.substr(0, end)).as_object();
        from.buffer.erase(0, end + 1);
        return event;
      }
      auto more = run_task(loop_, from.stream->read_some(std::chrono::seconds(8)));
      EXPECT_TRUE(more) << (more ? "" : more.error().message);
      if (!more || !*more) return std::nullopt;
      from.buffer += **more;
    }
  }
  // "ADDED n1" or "BOOKMARK".
  std::string next_text(Watch& from) {
    const auto event = next(from);
    if (!event) return "end";
    return fmt::format("{} {}", string_at(*event, "type"),
                       string_at(*event, "object.metadata.name"));
  }

  io::asio::io_context loop_;
  std::optional<ApiServer::Config::AuditConfig> audit_;
  RequestLimitsConfig limits_;
  AdmissionPlugins admission_;
  std::optional<SocketAddress> advertise_;
  AuthorizationMode authorization_ = AuthorizationMode::Rbac;
  std::unique_ptr<Store> store_;  // of the test's own, if it sets one before start()
  std::unique_ptr<ApiServer> server_;
  std::unique_ptr<io::HttpClient> client_;
  std::string folder_;
};

}  // namespace fairlead::apiserver
