// Which requests the audit policy wants, how the file behaves, and what is in its lines.
#include <gmock/gmock.h>

#include <boost/json/serialize.hpp>
#include <fstream>
#include <sstream>

#include "apiserver/audit_log.hpp"
#include "apiserver/audit_policy.hpp"
#include "support/folder.hpp"
#include "unit/apiserver/server_fixture.hpp"

namespace fairlead::apiserver {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

std::string content_of(const std::string& path) {
  std::ifstream file(path);
  std::stringstream out;
  out << file.rdbuf();
  return out.str();
}

std::vector<std::string> lines_of(const std::string& path) {
  std::vector<std::string> out;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) out.push_back(line);
  return out;
}

// ---- policy

constexpr AuditStages kNone{}, kAll{.received = true, .started = true, .complete = true};

std::string policy_text(std::string_view rules, std::string_view more = "") {
  return fmt::format("apiVersion: audit.k8s.io/v1\nkind: Policy\n{}\nrules:\n{}", more, rules);
}

TEST(AuditPolicy, TheFirstRuleThatMatchesDecides) {
  const auto parsed = AuditPolicy::parse(policy_text(R"(
- {level: None, users: [proxy], verbs: [watch]}
- {level: None, userGroups: [quiet]}
- {level: None, nonResourceURLs: [/healthz*, /version]}
- {level: None, resources: [{group: "", resources: [pods/status, "*/token", nodes/*]}]}
- level: None
  namespaces: [kube-system, ""]
  resources: [{group: coordination.k8s.io}, {group: "", resources: [configmaps], resourceNames: [a]}]
- {level: Metadata, omitStages: [RequestReceived], resources: [{group: "", resources: [services]}]}
- {level: Metadata, verbs: [get, create]}
)"));
  ASSERT_TRUE(parsed) << parsed.error().message;
  const User alice{.name = "alice"}, proxy{.name = "proxy"},
      quiet{.name = "q", .groups = {"quiet"}};
  struct Row {
    std::string_view name;
    User user;
    Attributes asked;
    AuditStages stages;
  };
  for (const Row& row : {
           Row{"user and verb", proxy, {.verb = "watch", .resource = "services"}, kNone},
           Row{"other verb", proxy, {.verb = "get", .resource = "pods"}, kAll},
           Row{"group", quiet, {.verb = "get", .resource = "pods"}, kNone},
           Row{"path", alice, {.verb = "get", .path = "/version"}, kNone},
           Row{"path below", alice, {.verb = "get", .path = "/healthz/x"}, kNone},
           Row{"other path", alice, {.verb = "get", .path = "/versions"}, kAll},
           Row{"subresource",
               alice,
               {.verb = "get", .resource = "pods", .subresource = "status"},
               kNone},
           Row{"not the whole", alice, {.verb = "get", .resource = "pods"}, kAll},
           Row{"any token",
               alice,
               {.verb = "create", .resource = "x", .subresource = "token"},
               kNone},
           Row{"any of a node", alice, {.verb = "get", .resource = "nodes"}, kNone},
           Row{"a group's all",
               alice,
               {.verb = "get",
                .group = "coordination.k8s.io",
                .resource = "leases",
                .ns = "kube-system"},
               kNone},
           Row{"elsewhere",
               alice,
               {.verb = "get", .group = "coordination.k8s.io", .resource = "leases", .ns = "x"},
               kAll},
           Row{"a name",
               alice,
               {.verb = "get", .resource = "configmaps", .ns = "kube-system", .name = "a"},
               kNone},
           Row{"another name",
               alice,
               {.verb = "get", .resource = "configmaps", .ns = "kube-system", .name = "b"},
               kAll},
           Row{"stages",
               alice,
               {.verb = "delete", .resource = "services"},
               {.started = true, .complete = true}},
           Row{"no rule", alice, {.verb = "delete", .resource = "pods"}, kNone},
       }) {
    EXPECT_EQ(parsed->decide(row.user, row.asked).stages, row.stages) << row.name;
  }
}

TEST(AuditPolicy, WithoutAFileEveryRequestIsWrittenOnce) {
  EXPECT_EQ(AuditPolicy().decide({.name = "x"}, {.verb = "get", .path = "/x"}),
            (AuditDecision{.level = AuditLevel::Metadata,
                           .stages = {.started = true, .complete = true}}));
}

TEST(AuditPolicy, RulesSayHowMuchIsWritten) {
  const auto parsed = AuditPolicy::parse(
      policy_text("- {level: Request, users: [a], omitManagedFields: false}\n"
                  "- {level: RequestResponse, users: [b], omitStages: [RequestReceived]}\n"
                  "- {level: None}",
                  "omitStages: [Panic]\nomitManagedFields: true"));
  ASSERT_TRUE(parsed) << parsed.error().message;
  const Attributes asked{.verb = "get", .resource = "pods"};
  EXPECT_EQ(parsed->decide({.name = "a"}, asked),
            (AuditDecision{.level = AuditLevel::Request, .stages = kAll}));
  EXPECT_EQ(parsed->decide({.name = "b"}, asked),
            (AuditDecision{.level = AuditLevel::RequestResponse,
                           .stages = {.started = true, .complete = true},
                           .omit_managed_fields = true}));
  EXPECT_EQ(parsed->decide({.name = "c"}, asked), AuditDecision());
}

TEST(AuditPolicy, FaultsAreNamed) {
  struct Row {
    std::string text, said;
  };
  for (const Row& row : {
           Row{policy_text("- {level: Metdata}"), "rules[0].level: \"Metdata\" is none of"},
           Row{policy_text("- {level: None, user: [x]}"), "rules[0].user: unknown field"},
           Row{policy_text("- {level: None, users: x}"), "rules[0].users: expected a list"},
           Row{policy_text("- {level: None}", "omitStages: [Done]"), "omitStages: \"Done\""},
           Row{policy_text("- {level: None, nonResourceURLs: [/x], namespaces: [ns]}"),
               "rules[0]: a rule is about resources or about nonResourceURLs"},
           Row{policy_text("- {level: None, resources: [{group: g, resourceNames: [web]}]}"),
               "rules[0].resources: resourceNames without resources"},
           Row{"kind: Policy\napiVersion: audit.k8s.io/v1\n", "rules: there is none"},
           Row{"kind: Policy\napiVersion: v1\nrules: []\n", "it is Policy of v1"},
           Row{"[1]", "object"},
           Row{"", "0 documents instead of one"},
       }) {
    const auto parsed = AuditPolicy::parse(row.text);
    ASSERT_FALSE(parsed) << row.said;
    EXPECT_THAT(parsed.error().message, HasSubstr(row.said));
  }
}

// ---- file

TEST(AuditLog, GivesWayToANewFileAndKeepsTheLastOnes) {
  const test::TemporaryFolder folder;
  FakeClock clock;
  std::ofstream(folder.path() + "/audit-notes.log") << "ours";
  const std::string path = folder.path() + "/audit.log";
  auto log = AuditLog::open({.path = path, .max_bytes = 20, .max_backups = 2}, clock);
  ASSERT_TRUE(log) << log.error().message;
  for (const char* line : {"first", "second", "third", "fourth line", "fifth line", "sixth line"}) {
    log->write(line);
    clock.advance(1s);
  }
  EXPECT_THAT(lines_of(path), ElementsAre("sixth line"));
  std::vector<std::string> others;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
    if (entry.path() != path) others.push_back(entry.path().filename());
  std::ranges::sort(others);
  ASSERT_THAT(others, SizeIs(3));
  EXPECT_EQ(content_of(folder.path() + "/" + others[0]), "fourth line\n");
  EXPECT_EQ(content_of(folder.path() + "/" + others[1]), "fifth line\n");
  EXPECT_EQ(others[2], "audit-notes.log");
  EXPECT_EQ(log->lost(), 0U);
}

TEST(AuditLog, GoesOnWhereItEnded) {
  const test::TemporaryFolder folder;
  const std::string path = folder.path() + "/audit.log";
  for (const char* line : {"one", "two"}) {
    auto log = AuditLog::open({.path = path}, Clock::real());
    ASSERT_TRUE(log);
    log->write(line);
  }
  EXPECT_THAT(lines_of(path), ElementsAre("one", "two"));
}

TEST(AuditLog, AFullDiskIsCountedAndToldOnceAMinute) {
  FakeClock clock;
  auto log = AuditLog::open({.path = "/dev/full", .max_bytes = 10}, clock);
  ASSERT_TRUE(log) << log.error().message;
  testing::internal::CaptureStderr();
  for (int i = 0; i < 3; ++i) log->write("a line of more than ten bytes");
  clock.advance(1min);
  log->write("another one");
  EXPECT_EQ(log->lost(), 4U);
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_THAT(said, AllOf(HasSubstr("lost=\"1\""), HasSubstr("lost=\"3\" lostSinceStart=\"4\""),
                          HasSubstr("No space left on device")));
}

TEST(AuditLog, AFileThatCannotBeMadeIsSaid) {
  const auto log = AuditLog::open({.path = "/nowhere/audit.log"}, Clock::real());
  ASSERT_FALSE(log);
  EXPECT_THAT(log.error().message, HasSubstr("open /nowhere/audit.log: No such file"));
}

// ---- lines

class AuditTest : public ServerTest {
 protected:
  void audit(std::string_view policy = "") {
    audit_ = {.policy = {}, .log = {.path = path()}};
    if (policy.empty()) return;
    const auto parsed = AuditPolicy::parse(policy_text(policy));
    ASSERT_TRUE(parsed) << parsed.error().message;
    audit_->policy = *parsed;
  }
  std::string path() const { return files_.path() + "/audit.log"; }
  // Without what differs from run to run.
  std::vector<Document> events() {
    std::vector<Document> out;
    for (const std::string& line : lines_of(path())) {
      out.push_back(boost::json::parse(line).as_object());
      EXPECT_EQ(string_at(out.back(), "requestReceivedTimestamp").size(), 27U);
      EXPECT_EQ(string_at(out.back(), "stageTimestamp").size(), 27U);
      out.back().erase("requestReceivedTimestamp");
      out.back().erase("stageTimestamp");
    }
    return out;
  }
  // "create nodes n1 201", of every line.
  std::vector<std::string> told() {
    std::vector<std::string> out;
    for (const Document& event : events()) {
      out.push_back(fmt::format("{} {} {} {} {}", string_at(event, "stage"),
                                string_at(event, "verb"), string_at(event, "objectRef.resource"),
                                string_at(event, "objectRef.name"),
                                int_at(event, "responseStatus.code").value_or(0)));
    }
    return out;
  }

 private:
  test::TemporaryFolder files_;
};

TEST_F(AuditTest, AnEventSaysWhoDidWhatAndWhatCameOfIt) {
  audit();
  start();
  const Answer made = send(*client_, {.method = "POST",
                                      .target = "/api/v1/nodes?dryRun=All",
                                      .headers = {{"User-Agent", "test\xff"},
                                                  {"Impersonate-User", "bob"},
                                                  {"Impersonate-Group", "system:masters"}},
                                      .body = R"({"metadata":{"name":"n1"}})"});
  ASSERT_EQ(made.status, 201U);
  const auto written = events();
  ASSERT_THAT(written, SizeIs(1)) << "the answer comes after the line";
  EXPECT_EQ(boost::json::value(written[0]),
            boost::json::parse(fmt::format(
                R"({{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata",
      "auditID":"{}","stage":"ResponseComplete","requestURI":"/api/v1/nodes?dryRun=All",
      "verb":"create","user":{{"username":"system:unsecured",
                             "groups":["system:masters","system:authenticated"]}},
      "impersonatedUser":{{"username":"bob","groups":["system:masters","system:authenticated"]}},
      "sourceIPs":["127.0.0.1"],"userAgent":"test?",
      "objectRef":{{"resource":"nodes","name":"n1","apiVersion":"v1"}},
      "responseStatus":{{"metadata":{{}},"code":201}},
      "annotations":{{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":""}}}})",
                *io::find_header(made.headers, "Audit-Id"))));
}

TEST_F(AuditTest, RefusalsAreWrittenTooAndNoTokenIs) {
  audit();
  start();
  const auto bearer = [](std::string_view token) {
    return io::HttpHeaders{{"Authorization", fmt::format("Bearer {}", token)}};
  };
  EXPECT_EQ(send(*client_, {.target = "/api/v1/nodes/n1", .headers = bearer("guessed")}).status,
            401U);
  EXPECT_EQ(
      send(*client_, {.target = "/api/v1/nodes/n1", .headers = bearer("alices-token")}).status,
      403U);
  EXPECT_EQ(send(*client_, {.target = "/nowhere"}).status, 404U);
  EXPECT_EQ(call("PUT", "/api/v1/nodes").status, 405U);
  EXPECT_EQ(call("GET", "/api/v1/nodes/..").status, 400U);
  const Answer issued =
      call("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", R"({"spec":{}})");
  const std::string token(string_at(issued.body, "status.token"));
  ASSERT_GT(token.size(), 100U);
  EXPECT_EQ(call("POST", "/apis/authentication.k8s.io/v1/tokenreviews",
                 fmt::format(R"({{"spec":{{"token":"{}"}}}})", token))
                .status,
            201U);
  EXPECT_THAT(told(), ElementsAre("ResponseComplete get nodes n1 401",
                                  "ResponseComplete get nodes n1 403", "ResponseComplete get   404",
                                  "ResponseComplete put nodes  405", "ResponseComplete get   400",
                                  "ResponseComplete create serviceaccounts default 201",
                                  "ResponseComplete create tokenreviews  201"));
  EXPECT_THAT(content_of(path()), AllOf(Not(HasSubstr("guessed")), Not(HasSubstr("alices-token")),
                                        Not(HasSubstr(token.substr(0, 20)))));
  EXPECT_THAT(content_of(path()), HasSubstr(R"("authorization.k8s.io/decision":"forbid")"));
}

TEST_F(AuditTest, AWatchIsWrittenWhenItStartsAndWhenItEnds) {
  audit("- {level: None, verbs: [create]}\n- {level: Metadata}");
  start();
  create_node("n1");
  {
    Watch watching = watch("timeoutSeconds=1");
    EXPECT_TRUE(io::find_header(watching.stream->headers(), "Audit-Id"));
    EXPECT_EQ(next_text(watching), "ADDED n1");
    EXPECT_THAT(told(),
                ElementsAre("RequestReceived watch nodes  0", "ResponseStarted watch nodes  200"));
    EXPECT_EQ(next_text(watching), "end");
  }
  run_task(loop_, server_->close());
  EXPECT_THAT(told(),
              ElementsAre("RequestReceived watch nodes  0", "ResponseStarted watch nodes  200",
                          "ResponseComplete watch nodes  200"));
}

// ---- bodies

class AuditBodiesTest : public AuditTest {
 protected:
  void start_with(std::string_view rules) {
    audit(rules);
    start();
  }
  // The last line's; null when it has none.
  boost::json::value body(std::string_view member) {
    const auto all = events();
    if (all.empty()) return nullptr;
    const auto* found = all.back().if_contains(member);
    return found == nullptr ? boost::json::value(nullptr) : *found;
  }
  std::string level() { return std::string(string_at(events().back(), "level")); }
  std::string truncated() {
    const Document last = events().back();
    const Document* annotations = object_at(last, "annotations");
    const auto* found = annotations->if_contains("audit.k8s.io/truncated");
    return found == nullptr ? "" : std::string(found->as_string());
  }
};

constexpr std::string_view kConfigMaps = "/api/v1/namespaces/default/configmaps";

TEST_F(AuditBodiesTest, WhatIsSentIsWrittenAsItWasSent) {
  start_with("- {level: Request}");
  const auto text = R"({"metadata":{"name":"a"},"data":{"k":"v"}})";
  EXPECT_EQ(call("POST", std::string(kConfigMaps), text).status, 201U);
  EXPECT_EQ(level(), "Request");
  EXPECT_EQ(body("requestObject"), boost::json::parse(text));
  EXPECT_EQ(body("responseObject"), nullptr);
  EXPECT_EQ(call("PATCH", std::string(kConfigMaps) + "/a", R"([{"op":"remove","path":"/data/k"}])",
                 "application/json-patch+json")
                .status,
            200U);
  EXPECT_EQ(body("requestObject"), boost::json::parse(R"([{"op":"remove","path":"/data/k"}])"));
  EXPECT_EQ(call("PATCH", std::string(kConfigMaps) + "/a?fieldManager=m",
                 "apiVersion: v1\nkind: ConfigMap\ndata: {x: z}\n", "application/apply-patch+yaml")
                .status,
            200U);
  EXPECT_EQ(body("requestObject"),
            boost::json::parse(R"({"apiVersion":"v1","kind":"ConfigMap","data":{"x":"z"}})"));
  EXPECT_EQ(call("DELETE", std::string(kConfigMaps) + "/a", R"({"gracePeriodSeconds":0})").status,
            200U);
  EXPECT_EQ(body("requestObject"), boost::json::parse(R"({"gracePeriodSeconds":0})"));
  EXPECT_EQ(call("POST", std::string(kConfigMaps), "{\"metadata\":").status, 400U);
  EXPECT_EQ(body("requestObject"), nullptr) << "what cannot be read is left out";
}

TEST_F(AuditBodiesTest, WhatIsAnsweredIsWrittenInEveryEncoding) {
  start_with("- {level: RequestResponse, omitManagedFields: true}");
  const Answer made =
      call("POST", std::string(kConfigMaps), R"({"metadata":{"name":"a"},"data":{"k":"v"}})");
  ASSERT_EQ(made.status, 201U);
  ASSERT_NE(array_at(made.body, "metadata.managedFields"), nullptr);
  Document expected = made.body;
  expected["metadata"].as_object().erase("managedFields");
  EXPECT_EQ(body("responseObject"), boost::json::value(expected));
  const auto name_in = [this](std::string_view accept, std::string_view target,
                              std::string_view pointer) {
    send(*client_, {.target = std::string(target), .headers = {{"Accept", std::string(accept)}}});
    const auto answered = body("responseObject");
    boost::system::error_code missing;
    const auto* found = answered.find_pointer({pointer.data(), pointer.size()}, missing);
    EXPECT_THAT(boost::json::serialize(answered), Not(HasSubstr("managedFields")));
    return found == nullptr ? boost::json::serialize(answered) : std::string(found->as_string());
  };
  const std::string one = std::string(kConfigMaps) + "/a";
  const std::string selected = std::string(kConfigMaps) + "?fieldSelector=metadata.name=a";
  const std::string protobuf = "application/vnd.kubernetes.protobuf";
  const std::string table = "application/json;as=Table;v=v1;g=meta.k8s.io";
  EXPECT_EQ(name_in(protobuf, one, "/metadata/name"), "a");
  EXPECT_EQ(name_in(protobuf, selected, "/items/0/metadata/name"), "a");
  EXPECT_EQ(name_in("application/json", selected, "/items/0/metadata/name"), "a");
  EXPECT_EQ(name_in(table, selected, "/rows/0/object/metadata/name"), "a");
  EXPECT_EQ(name_in("application/json", one + "x", "/reason"), "NotFound");
}

TEST_F(AuditBodiesTest, SecretsAreLeftOutWhateverThePolicySays) {
  start_with("- {level: RequestResponse}");
  const Answer issued = call("POST", "/api/v1/namespaces/default/serviceaccounts/default/token",
                             R"({"spec":{"audiences":["told"]}})");
  ASSERT_EQ(issued.status, 201U);
  EXPECT_EQ(level(), "Metadata");
  EXPECT_EQ(
      call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", R"({"spec":{"token":"hunter2"}})")
          .status,
      201U);
  EXPECT_EQ(level(), "Metadata");
  call("POST", "/api/v1/namespaces/default/secrets",
       R"({"metadata":{"name":"a"},"data":{"k":"aHVudGVyMg=="}})");
  EXPECT_EQ(level(), "Metadata");
  EXPECT_THAT(content_of(path()),
              AllOf(Not(HasSubstr("requestObject")), Not(HasSubstr("responseObject")),
                    Not(HasSubstr("hunter2")), Not(HasSubstr("aHVudGVyMg")), Not(HasSubstr("told")),
                    Not(HasSubstr(string_at(issued.body, "status.token").substr(0, 20)))));
}

TEST_F(AuditBodiesTest, OfWhoIsNotLetInAndOfWatchesNothingIsKept) {
  start_with("- {level: RequestResponse}");
  for (const char* token : {"guessed", "alices-token"}) {
    send(*client_, {.method = "POST",
                    .target = std::string(kConfigMaps),
                    .headers = {{"Authorization", fmt::format("Bearer {}", token)}},
                    .body = R"({"metadata":{"name":"flood"}})"});
    EXPECT_EQ(body("requestObject"), nullptr) << token;
    EXPECT_EQ(body("responseObject"), nullptr) << token;
  }
  create_node("n1");
  Watch watching = watch("timeoutSeconds=1");
  EXPECT_EQ(next_text(watching), "ADDED n1");
  EXPECT_EQ(next_text(watching), "end");
  run_task(loop_, server_->close());
  EXPECT_EQ(body("responseObject"), nullptr);
  EXPECT_THAT(content_of(path()), Not(HasSubstr("flood")));
}

TEST_F(AuditBodiesTest, ALongBodyIsLeftOutAndThatIsSaid) {
  audit("- {level: RequestResponse}");
  audit_->longest_event = 4096;
  start();
  const auto config_map = [](std::string_view name, std::size_t bytes) {
    return fmt::format(R"({{"metadata":{{"name":"{}"}},"data":{{"k":"{}"}}}})", name,
                       std::string(bytes, 'v'));
  };
  EXPECT_EQ(call("POST", std::string(kConfigMaps), config_map("a", 100)).status, 201U);
  EXPECT_EQ(truncated(), "");
  EXPECT_NE(body("responseObject"), nullptr);
  EXPECT_EQ(call("POST", std::string(kConfigMaps), config_map("b", 2000)).status, 201U);
  EXPECT_EQ(truncated(), "true") << "both together are too long";
  EXPECT_NE(body("requestObject"), nullptr);
  EXPECT_EQ(body("responseObject"), nullptr);
  EXPECT_EQ(call("POST", std::string(kConfigMaps), config_map("c", 5000)).status, 201U);
  EXPECT_EQ(truncated(), "true");
  EXPECT_EQ(body("requestObject"), nullptr);
  EXPECT_EQ(body("responseObject"), nullptr);
  for (const std::string& line : lines_of(path())) EXPECT_LE(line.size(), 4096U);
}

TEST_F(AuditTest, AFullDiskStopsNoRequest) {
  audit_ = {.policy = {}, .log = {.path = "/dev/full"}};
  start();
  EXPECT_EQ(create_node("n1").status, 201U);
  EXPECT_EQ(call("GET", "/api/v1/nodes/n1").status, 200U);
}

}  // namespace
}  // namespace fairlead::apiserver
