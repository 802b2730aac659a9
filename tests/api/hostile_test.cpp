// What a client may send to do harm, or by mistake: the right Status, on a connection that goes on
// where HTTP allows it; nothing is stored and nothing grows. Checks A5 and C29 of
// docs/apiserver-checks.md. Over raw sockets: no client would send most of it.
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <fstream>

#include "api/http_fixture.hpp"
#include "api/raw_connection.hpp"

namespace fairlead::api_test {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view kJson = "application/json";
constexpr std::string_view kYaml = "application/yaml";
constexpr std::string_view kProtobuf = "application/vnd.kubernetes.protobuf";
constexpr std::string_view kNoPath = "404 404 page not found\n";  // in words, as for any path
constexpr std::string_view kJsonPatch = "application/json-patch+json";

std::string times(std::size_t count, std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < count; ++i) out += text;
  return out;
}

std::string bytes(std::initializer_list<int> values) {
  std::string out;
  for (const int value : values) out += static_cast<char>(value);
  return out;
}

struct Hostile {
  std::string name;
  std::string method = "POST";
  std::string target = std::string(kServices);
  std::string type = std::string(kJson);
  std::string body;
  std::string outcome;  // "400 BadRequest"
};

std::string web(std::string_view more) { return fmt::format("{}/web{}", kServices, more); }

std::vector<Hostile> hostile_json() {
  const std::string name = R"({"metadata":{"name":"bad"},)";
  return {
      {.name = "nothing", .body = "", .outcome = "400 BadRequest"},
      {.name = "no object", .body = "[1,2]", .outcome = "400 BadRequest"},
      {.name = "null", .body = "null", .outcome = "400 BadRequest"},
      {.name = "truncated",
       .body = name + R"("spec":{"ports":[{"por)",
       .outcome = "400 BadRequest"},
      {.name = "trailing", .body = name + R"("spec":{}} x)", .outcome = "400 BadRequest"},
      {.name = "two objects", .body = name + R"("a":1}{})", .outcome = "400 BadRequest"},
      {.name = "NUL",
       .body = name + std::string(R"("s":")") + '\0' + R"("})",
       .outcome = "400 BadRequest"},
      {.name = "not UTF-8",
       .body = name + "\"spec\":{\"externalName\":\"\xff\xfe\"}}",
       .outcome = "400 BadRequest"},
      {.name = "deep lists", .body = times(100'000, "["), .outcome = "400 BadRequest"},
      {.name = "deep objects", .body = times(100'000, R"({"a":)"), .outcome = "400 BadRequest"},
      {.name = "a number beyond all",
       .body = name + R"("spec":{"healthCheckNodePort":1e999}})",
       .outcome = "400 BadRequest"},
      {.name = "a port beyond int32",
       .body = name + R"("spec":{"ports":[{"port":99999999999}]}})",
       .outcome = "400 BadRequest"},
      {.name = "a fraction",
       .body = name + R"("spec":{"ports":[{"port":80.5}]}})",
       .outcome = "400 BadRequest"},
      {.name = "wrong types", .body = R"({"metadata":{"name":7}})", .outcome = "400 BadRequest"},
      {.name = "metadata is a list", .body = R"({"metadata":[]})", .outcome = "400 BadRequest"},
      {.name = "another kind",
       .body = R"({"kind":"Pod","apiVersion":"v1","metadata":{"name":"x"}})",
       .outcome = "400 BadRequest"},
      {.name = "a name that is a path",
       .body = R"({"metadata":{"name":"../../x"}})",
       .outcome = "422 Invalid"},
      {.name = "a name with NUL",
       .body = R"({"metadata":{"name":"a\u0000b"}})",
       .outcome = "422 Invalid"},
      {.name = "a very long name",
       .body = fmt::format(R"({{"metadata":{{"name":"{}"}}}})", times(100'000, "x")),
       .outcome = "422 Invalid"},
      {.name = "annotations beyond their limit",
       .body = fmt::format(R"({{"metadata":{{"name":"bad","annotations":{{"a":"{}"}}}},)"
                           R"("spec":{{"ports":[{{"port":80}}]}}}})",
                           times(300'000, "x")),
       .outcome = "422 Invalid"},
      {.name = "duplicate fields",
       .target = fmt::format("{}?fieldValidation=Strict", kServices),
       .body = name + R"("spec":{"ports":[{"port":80,"port":81}]}})",
       .outcome = "400 BadRequest"},
      {.name = "unknown fields",
       .target = fmt::format("{}?fieldValidation=Strict", kServices),
       .body = name + R"("spec":{"ports":[{"port":80}],"evil":1}})",
       .outcome = "400 BadRequest"},
      {.name = "more than a ConfigMap holds",
       .target = "/api/v1/namespaces/default/configmaps",
       .body = fmt::format(R"({{"metadata":{{"name":"bad"}},"data":{{"k":"{}"}}}})",
                           times(2'000'000, "x")),
       .outcome = "422 Invalid"},
      {.name = "a body over the limit",
       .body = times(3'145'729, " "),
       .outcome = "413 RequestEntityTooLarge"},
  };
}

std::vector<Hostile> hostile_encodings() {
  const std::string bomb =
      "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
      "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
      "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n"
      "g: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nmetadata: {name: bad}\n";
  const std::string magic("k8s\0", 4);
  // A length that is more than there is, a varint without end, a field of a wrong wire type.
  return {
      {.name = "YAML bomb", .type = std::string(kYaml), .body = bomb, .outcome = "400 BadRequest"},
      {.name = "deep YAML",
       .type = std::string(kYaml),
       .body = times(100'000, "["),
       .outcome = "400 BadRequest"},
      {.name = "deep YAML in blocks",
       .type = std::string(kYaml),
       .body = times(100'000, "- "),
       .outcome = "400 BadRequest"},
      {.name = "broken YAML",
       .type = std::string(kYaml),
       .body = "a: [b\nc: }",
       .outcome = "400 BadRequest"},
      {.name = "an alias of itself",
       .type = std::string(kYaml),
       .body = "a: &a [*a]\n",
       .outcome = "400 BadRequest"},
      {.name = "two documents",
       .type = std::string(kYaml),
       .body = "a: 1\n---\nb: 2\n",
       .outcome = "400 BadRequest"},
      {.name = "protobuf without its magic",
       .type = std::string(kProtobuf),
       .body = "nope",
       .outcome = "400 BadRequest"},
      {.name = "the magic alone",
       .type = std::string(kProtobuf),
       .body = magic,
       .outcome = "422 Invalid"},
      {.name = "a length that lies",
       .type = std::string(kProtobuf),
       .body = magic + bytes({0x0a, 0xff, 0xff, 0xff, 0xff, 0x07, 1}),
       .outcome = "400 BadRequest"},
      {.name = "a varint without end",
       .type = std::string(kProtobuf),
       .body = magic + times(64, "\xff"),
       .outcome = "400 BadRequest"},
      {.name = "groups",
       .type = std::string(kProtobuf),
       .body = magic + times(10'000, "\x0b"),
       .outcome = "400 BadRequest"},
      {.name = "a name of any bytes",
       .type = std::string(kProtobuf),
       .body = magic + bytes({0x12, 0x06, 0x0a, 0x04, 0x0a, 0x02, 0x0a, 0x09}),
       .outcome = "422 Invalid"},
      {.name = "JSON called protobuf",
       .type = std::string(kProtobuf),
       .body = "{}",
       .outcome = "400 BadRequest"},
      {.name = "protobuf called JSON",
       .body = magic + bytes({0x0a, 0x00}),
       .outcome = "400 BadRequest"},
      {.name = "CBOR",
       .type = "application/cbor",
       .body = "\xa0",
       .outcome = "415 UnsupportedMediaType"},
      {.name = "a form",
       .type = "application/x-www-form-urlencoded",
       .body = "a=b",
       .outcome = "415 UnsupportedMediaType"},
      {.name = "no type at all", .type = "/", .body = "{}", .outcome = "415 UnsupportedMediaType"},
      {.name = "a type of many bytes",
       .type = times(10'000, "x"),
       .body = "{}",
       .outcome = "415 UnsupportedMediaType"},
  };
}

std::vector<Hostile> hostile_patches() {
  const auto patch = [](std::string name, std::string_view type, std::string body,
                        std::string outcome) {
    return Hostile{.name = std::move(name),
                   .method = "PATCH",
                   .target = web(""),
                   .type = std::string(type),
                   .body = std::move(body),
                   .outcome = std::move(outcome)};
  };
  return {
      patch("a patch that is no JSON", kMergePatch, "{", "400 BadRequest"),
      patch("a patch that is a number", kMergePatch, "7", "400 BadRequest"),
      patch("no list of operations", kJsonPatch, "{}", "400 BadRequest"),
      patch("too many operations", kJsonPatch,
            "[" + times(10'000, R"({"op":"test","path":"/kind","value":"Service"},)") +
                R"({"op":"remove","path":"/spec/selector"}])",
            "413 RequestEntityTooLarge"),
      patch("copies of copies", kJsonPatch,
            "[" + times(60, R"({"op":"copy","from":"/metadata","path":"/metadata/annotations"},)") +
                R"({"op":"remove","path":"/nowhere"}])",
            "422 Invalid"),
      patch("a pointer that is none", kJsonPatch, R"([{"op":"add","path":"x","value":1}])",
            "422 Invalid"),
      patch("an index beyond the list", kJsonPatch,
            R"([{"op":"add","path":"/spec/ports/99999999999999999999","value":{}}])",
            "422 Invalid"),
      patch("a deep patch", kMergePatch, times(100'000, R"({"a":)"), "400 BadRequest"),
      patch("directives that are none", kStrategicPatch, R"({"$patch":"explode"})",
            "400 BadRequest"),
      patch("another name", kMergePatch, R"({"metadata":{"name":"other"}})", "400 BadRequest"),
      patch("another uid", kMergePatch, R"({"metadata":{"uid":"x"}})", "422 Invalid"),
      patch("a stale version", kMergePatch,
            R"({"metadata":{"resourceVersion":"1","labels":{"a":"b"}}})", "409 Conflict"),
      patch("an unknown kind of patch", "application/evil-patch+json", "{}",
            "415 UnsupportedMediaType"),
      {.name = "an alias of itself is applied",
       .method = "PATCH",
       .target = web("?fieldManager=m"),
       .type = std::string(kApplyPatch),
       .body = "a: &a [*a]",
       .outcome = "400 BadRequest"},
  };
}

std::vector<Hostile> hostile_queries() {
  const auto get = [](std::string query, std::string outcome) {
    return Hostile{.name = query.substr(0, 60),
                   .method = "GET",
                   .target = fmt::format("{}?{}", kServices, query),
                   .type = {},
                   .body = {},
                   .outcome = std::move(outcome)};
  };
  std::vector<Hostile> out = {
      get("labelSelector=a+in+b", "400 BadRequest"),
      get("labelSelector=" + times(1'000, "("), "400 BadRequest"),
      get("labelSelector=%00", "400 BadRequest"),
      get("labelSelector=a%3d" + times(1'000, "b"), "400 BadRequest"),
      get("fieldSelector=spec.nope%3dx", "400 BadRequest"),
      get("fieldSelector=%3d%3d%3d", "400 BadRequest"),
      get("limit=x", "400 BadRequest"),
      get("limit=99999999999999999999999", "400 BadRequest"),
      get("continue=garbage", "400 BadRequest"),
      get("continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6LTEsInN0YXJ0IjoiLi4vLi4vIn0",
          "400 BadRequest"),
      get("resourceVersion=x", "400 BadRequest"),
      get("resourceVersion=18446744073709551616", "400 BadRequest"),
      get("watch=true&timeoutSeconds=x", "400 BadRequest"),
      get("watch=true&resourceVersionMatch=Sometimes", "422 Invalid"),
      {.name = "a stale version",
       .method = "PUT",
       .target = web(""),
       .body =
           R"({"metadata":{"name":"web","resourceVersion":"1"},"spec":{"ports":[{"port":80}]}})",
       .outcome = "409 Conflict"},
      {.name = "a version that is none",
       .method = "PUT",
       .target = web(""),
       .body =
           R"({"metadata":{"name":"web","resourceVersion":"x"},"spec":{"ports":[{"port":80}]}})",
       .outcome = "422 Invalid"},
      {.name = "a dry run of what",
       .method = "DELETE",
       .target = web("?dryRun=some"),
       .outcome = "422 Invalid"},
      {.name = "a grace that is none",
       .method = "DELETE",
       .target = web("?gracePeriodSeconds=x"),
       .outcome = "400 BadRequest"},
      {.name = "options that are none",
       .method = "DELETE",
       .target = web(""),
       .body = "[",
       .outcome = "400 BadRequest"},
      {.name = "an escape that is none",
       .method = "GET",
       .target = web("%zz"),
       .outcome = std::string(kNoPath)},
      {.name = "a path out of it",
       .method = "GET",
       .target = web("/..%2f..%2fx"),
       .outcome = std::string(kNoPath)},
      {.name = "an unknown method",
       .method = "BREW",
       .target = web(""),
       .outcome = "405 MethodNotAllowed"},
  };
  return out;
}

class HostileInput : public HttpTest {
 protected:
  // Started anew on what it has made: what a server does at its first start is done.
  void start_settled(std::vector<std::string> flags = {}) {
    start(flags);
    ASSERT_EQ(create_service("web").status, 201U);
    server_->stop(SIGTERM);
    start(std::move(flags));
  }
  // Everything that clients make, each with its version.
  std::string state() {
    std::string out;
    for (const char* path :
         {"/api/v1/services", "/api/v1/configmaps", "/api/v1/namespaces", "/api/v1/pods",
          "/api/v1/nodes", "/api/v1/events", "/api/v1/serviceaccounts", "/api/v1/endpoints",
          "/apis/discovery.k8s.io/v1/endpointslices", "/apis/networking.k8s.io/v1/ipaddresses",
          "/apis/networking.k8s.io/v1/servicecidrs", "/apis/coordination.k8s.io/v1/leases"}) {
      const Answer all = get(path);
      EXPECT_EQ(all.status, 200U) << path;
      for (const auto& item : all.body.at("items").as_array()) {
        const auto& metadata = item.at("metadata").as_object();
        out += fmt::format("{} {}@{}\n", path, std::string_view(metadata.at("name").as_string()),
                           std::string_view(metadata.at("resourceVersion").as_string()));
      }
    }
    return out;
  }
  std::size_t resident_kilobytes() const {
    std::ifstream status(fmt::format("/proc/{}/status", server_->pid()));
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("VmRSS:")) return std::stoul(line.substr(6));
    }
    return 0;
  }
  // "400 BadRequest" of a Status in JSON whose code is the answer's.
  static std::string outcome(const RawConnection::Reply& reply) {
    boost::system::error_code failed;
    const auto body = boost::json::parse(reply.body, failed);
    if (failed || !body.is_object()) return fmt::format("{} {}", reply.status, reply.body);
    const Answer answer{.status = reply.status, .body = body, .headers = {}, .text = {}};
    EXPECT_EQ(answer.at("/kind"), "Status");
    EXPECT_EQ(answer.at("/code"), std::to_string(reply.status));
    EXPECT_NE(answer.at("/message"), "");
    return fmt::format("{} {}", reply.status, answer.at("/reason"));
  }
  // All on one connection, with something good after each.
  void expect_refused(const std::vector<Hostile>& rows) {
    RawConnection connection(http_port_);
    for (const Hostile& row : rows) {
      ASSERT_TRUE(connection.send(http_request(row.method, row.target, row.type, row.body)))
          << row.name;
      const auto refused = connection.reply();
      ASSERT_TRUE(refused) << row.name << " ended the connection";
      EXPECT_EQ(outcome(*refused), row.outcome) << row.name << ": " << refused->body.substr(0, 300);
      ASSERT_TRUE(connection.send(http_request("GET", web(""))));
      const auto good = connection.reply();
      ASSERT_TRUE(good) << "the connection ended after: " << row.name;
      EXPECT_EQ(good->status, 200U) << row.name;
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Stores, HostileInput, both_stores(), name_of);

TEST_P(HostileInput, IsRefusedAndTheConnectionGoesOn) {
  start_settled();
  const std::string before = state();
  expect_refused(hostile_json());
  expect_refused(hostile_encodings());
  expect_refused(hostile_patches());
  expect_refused(hostile_queries());
  EXPECT_EQ(state(), before) << "something was stored";
  EXPECT_NE(before.find("services web@"), std::string::npos);
}

// Where a request ends cannot be known any more, or would take too long to wait for.
TEST_P(HostileInput, ThatIsNoHttpEndsItsConnectionAlone) {
  start_settled();
  const std::string before = state();
  struct Row {
    std::string name, sent;
    unsigned status;  // 0: none
  };
  const std::string post = fmt::format("POST {} HTTP/1.1\r\nHost: x\r\n", kServices);
  for (const Row& row : {
           Row{"no HTTP", "hello\r\n\r\n", 400},
           Row{"TLS on the plain port", bytes({0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}), 400},
           Row{"a version nobody knows", "GET / HTTP/9.9\r\nHost: x\r\n\r\n", 400},
           Row{"no host", "GET /version HTTP/1.1\r\n\r\n", 400},
           Row{"NUL in a header", std::string("GET / HTTP/1.1\r\nHost: x\0y\r\n\r\n", 28), 400},
           Row{"a header without end", "GET / HTTP/1.1\r\nA: " + times(2'000'000, "x"), 431},
           Row{"headers without end", "GET / HTTP/1.1\r\n" + times(100'000, "A: x\r\n"), 431},
           Row{"a target without end", "GET /" + times(2'000'000, "x"), 431},
           Row{"two lengths", post + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400},
           Row{"a length and chunks",
               post + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", 400},
           Row{"a negative length", post + "Content-Length: -1\r\n\r\n", 400},
           Row{"a length beyond all", post + "Content-Length: 99999999999999999999\r\n\r\n", 400},
           Row{"a body of gigabytes", post + "Content-Length: 5000000000\r\n\r\n{", 413},
           Row{"a chunk of gigabytes", post + "Transfer-Encoding: chunked\r\n\r\n12a05f200\r\n{",
               413},
           Row{"chunks without end",
               post + "Transfer-Encoding: chunked\r\n\r\n" +
                   times(5'000, "400\r\n" + times(1024, " ") + "\r\n"),
               413},
           Row{"a chunk that is none", post + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
       }) {
    RawConnection connection(http_port_);
    connection.send(row.sent);  // it may be refused before all is sent
    const auto reply = connection.reply();
    EXPECT_EQ(reply ? reply->status : 0, row.status) << row.name;
    EXPECT_TRUE(connection.ends()) << row.name;
  }
  EXPECT_EQ(state(), before);
}

TEST_P(HostileInput, ThousandfoldLeavesNothingBehind) {
  start_settled();
  const std::string before = state();
  std::vector<Hostile> rows;
  for (const auto& more :
       {hostile_json(), hostile_encodings(), hostile_patches(), hostile_queries()}) {
    for (const Hostile& row : more) {
      if (row.body.size() < 4096) rows.push_back(row);
    }
  }
  std::size_t asked = 0;
  const auto flood = [&](std::size_t rounds) {
    RawConnection connection(http_port_);
    for (std::size_t i = 0; i < rounds; ++i) {
      for (const Hostile& row : rows) {
        ASSERT_TRUE(connection.send(http_request(row.method, row.target, row.type, row.body)));
        const auto reply = connection.reply();
        ASSERT_TRUE(reply) << row.name;
        EXPECT_GE(reply->status, 400U) << row.name;
        ++asked;
      }
    }
  };
  flood(20);
  const std::size_t warm = resident_kilobytes();
  ASSERT_GT(warm, 0U);
  flood(60);
  EXPECT_GE(asked, 4'000U);
  // A leak of a kilobyte a request would be visible; some pages come and go.
  EXPECT_LE(resident_kilobytes(), warm + 2'048) << asked << " requests";
  EXPECT_EQ(state(), before);
}

// ---- A5

std::vector<RawConnection> connections(std::size_t count, std::uint16_t port) {
  std::vector<RawConnection> out;
  for (std::size_t i = 0; i < count; ++i) out.emplace_back(port);
  return out;
}

void drop_closed(std::vector<RawConnection>& some) {
  std::erase_if(some, [](const RawConnection& connection) {
    std::array<char, 512> bytes;
    const ssize_t got = ::recv(connection.fd(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    return got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
  });
}

// Until something happens on one of them, or a second has passed.
void wait_a_second(std::initializer_list<const std::vector<RawConnection>*> all) {
  std::vector<pollfd> waiting;
  for (const auto* some : all) {
    for (const RawConnection& connection : *some)
      waiting.push_back({.fd = connection.fd(), .events = POLLIN, .revents = 0});
  }
  if (!waiting.empty()) ::poll(waiting.data(), waiting.size(), 1000);
}

TEST_P(HostileInput, SendersOfAByteASecondAreClosedAndOthersServed) {
  start_settled({"--request-read-timeout=3s"});
  const std::string before = state();
  // In the head, in the body, and in a handshake of TLS.
  const std::string head = "GET /version HTTP/1.1\r\nHost: x\r\nX-Slow: " + times(1'000, "x");
  std::vector<RawConnection> slow = connections(200, http_port_);
  std::vector<RawConnection> slow_bodies = connections(20, http_port_);
  std::vector<RawConnection> slow_hands = connections(20, secure_port_);
  for (RawConnection& connection : slow_bodies) {
    connection.send(
        fmt::format("POST {} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                    "Content-Length: 100000\r\n\r\n{{",
                    kServices));
  }
  const auto give_up = std::chrono::steady_clock::now() + 60s;
  std::size_t sent = 0, served = 0;
  while (!slow.empty() || !slow_bodies.empty() || !slow_hands.empty()) {
    ASSERT_LT(std::chrono::steady_clock::now(), give_up)
        << slow.size() << ", " << slow_bodies.size() << ", " << slow_hands.size() << " are left";
    for (RawConnection& connection : slow) connection.send(head.substr(sent % head.size(), 1));
    for (RawConnection& connection : slow_bodies) connection.send(" ");
    for (RawConnection& connection : slow_hands) connection.send("\x16");
    ++sent;
    ASSERT_EQ(get(web("")).status, 200U) << "another client";
    ++served;
    wait_a_second({&slow, &slow_bodies, &slow_hands});
    for (auto* some : {&slow, &slow_bodies, &slow_hands}) drop_closed(*some);
  }
  EXPECT_GE(served, 2U) << "they were closed for being slow, not at once";
  EXPECT_EQ(state(), before);
}

}  // namespace
}  // namespace fairlead::api_test
