#include "api/http_fixture.hpp"

#include <boost/json/serialize.hpp>

namespace fairlead::api_test {

using namespace std::chrono_literals;

namespace {

std::string text_at(const boost::json::value& from, std::string_view pointer) {
  boost::system::error_code missing;
  const auto* found = from.find_pointer({pointer.data(), pointer.size()}, missing);
  if (found == nullptr) return {};
  return found->is_string() ? std::string(found->get_string()) : boost::json::serialize(*found);
}

}  // namespace

std::string Answer::at(std::string_view pointer) const { return text_at(body, pointer); }

boost::json::value Answer::value_at(std::string_view pointer) const {
  boost::system::error_code missing;
  const auto* found = body.find_pointer({pointer.data(), pointer.size()}, missing);
  return found == nullptr ? nullptr : *found;
}

std::string Answer::header(std::string_view name) const {
  return std::string(io::find_header(headers, name).value_or(""));
}

std::string Answer::outcome() const {
  std::string out = std::to_string(status);
  if (at("/kind") != "Status" || at("/status") != "Failure") return out;
  out += " " + at("/reason");
  for (int i = 0; !at(fmt::format("/details/causes/{}", i)).empty(); ++i) {
    std::string reason = at(fmt::format("/details/causes/{}/reason", i));
    constexpr std::string_view kPrefix = "FieldValue";
    if (reason.starts_with(kPrefix)) reason.erase(0, kPrefix.size());
    out += fmt::format("{} {} {}", i == 0 ? "" : ",",
                       at(fmt::format("/details/causes/{}/field", i)), reason);
  }
  return out;
}

void HttpTest::SetUp() {
  store_.emplace(GetParam());
  if (!store_->missing().empty()) GTEST_SKIP() << "SKIPPED: " << store_->missing();
}

void HttpTest::start(std::vector<std::string> flags) {
  client_.reset();
  if (http_port_ == 0) {
    http_port_ = etcd_test::free_port();
    secure_port_ = etcd_test::free_port();
  }
  const std::vector<std::string> store = store_->flags();
  flags.insert(flags.end(), store.begin(), store.end());
  flags.insert(flags.end(), {"--http-port", std::to_string(http_port_), "--secure-port",
                             std::to_string(secure_port_)});
  server_.emplace(folder_, std::move(flags));
  client_ = connect();
}

std::unique_ptr<io::HttpClient> HttpTest::connect_to(std::uint16_t port) const {
  auto made = io::HttpClient::create(
      loop_.executor(), {.host = "127.0.0.1", .port = Port{port}, .tls = std::nullopt});
  check(made.has_value(), "a client needs nothing");
  return *std::move(made);
}

Answer HttpTest::call(std::string_view method, std::string_view target, std::string_view body,
                      Headers headers) {
  io::HttpRequest request{
      .method = std::string(method), .target = std::string(target), .body = std::string(body)};
  const auto add = [&request](const char* name, const std::string& value) {
    if (!value.empty()) request.headers.push_back({name, value});
  };
  if (!body.empty()) add("Content-Type", headers.type);
  add("Accept", headers.accept);
  add("If-None-Match", headers.if_none_match);
  add("User-Agent", headers.user_agent);
  auto got = loop_.run(client_->send(std::move(request), 15s));
  if (!got || !*got) {
    ADD_FAILURE() << method << " " << target << ": " << (got ? got->error().message : "hangs")
                  << "\n"
                  << server_->log();
    return {};
  }
  Answer out{.status = (*got)->status, .headers = (*got)->headers, .text = (*got)->body};
  boost::system::error_code failed;
  out.body = boost::json::parse(out.text, failed);
  return out;
}

Answer HttpTest::create_service(std::string_view name, std::string_view spec) {
  return call("POST", kServices,
              fmt::format(R"({{"metadata":{{"name":"{}"}},"spec":{}}})", name, spec));
}

WatchStream HttpTest::watch(std::string_view target) {
  auto opened = loop_.run(client_->open({.target = std::string(target)}, 10s));
  if (!opened || !*opened) {
    ADD_FAILURE() << target << ": " << (opened ? opened->error().message : "hangs");
    return {};
  }
  EXPECT_EQ((**opened)->status(), 200U) << target;
  return {.stream = std::move(**opened), .buffer = {}};
}

boost::json::value HttpTest::next_event(WatchStream& from) {
  while (true) {
    if (const std::size_t end = from.buffer.find('\n'); end != std::string::npos) {
      boost::json::value event = boost::json::parse(from.buffer.substr(0, end));
      from.buffer.erase(0, end + 1);
      return event;
    }
    auto more = loop_.run(from.stream->read_some(15s));
    EXPECT_TRUE(more && *more) << (more ? more->error().message : "hangs");
    if (!more || !*more || !**more) return nullptr;
    from.buffer += ***more;
  }
}

std::string HttpTest::next(WatchStream& from) {
  const boost::json::value event = next_event(from);
  if (event.is_null()) return "end";
  const std::string type = text_at(event, "/type");
  if (type == "ERROR") return type + " " + text_at(event, "/object/code");
  return fmt::format("{} {} {}", type, text_at(event, "/object/metadata/name"),
                     text_at(event, "/object/metadata/resourceVersion"));
}

std::string name_of(const testing::TestParamInfo<StoreUnderTest>& param) {
  return param.param == StoreUnderTest::Sqlite ? "sqlite" : "etcd";
}

}  // namespace fairlead::api_test
