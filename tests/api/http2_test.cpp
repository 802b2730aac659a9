// What clients find below HTTP: HTTP/2 where they know it, many requests on one connection, and
// packed answers. Asked with curl, which says what it got, and with kubectl, which says what it
// saw.
#include <chrono>

#include "api/http_fixture.hpp"

namespace fairlead::api_test {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::Each;
using testing::HasSubstr;
using testing::SizeIs;

class TransportTest : public HttpTest {
 protected:
  // Lets `token` in as an administrator.
  void start_with_token(std::vector<std::string> flags = {}) {
    flags.insert(flags.end(), {"--token-auth-file",
                               folder_.write("tokens", "secret,tester,1,\"system:masters\"\n")});
    start(std::move(flags));
  }
  // What curl says of each of these targets, asked for at the same time on as few connections as it
  // can: "protocol status connections-made".
  std::vector<std::string> curl(std::vector<std::string> flags,
                                const std::vector<std::string>& targets) {
    io::Command command;
    command.argv = {"curl",
                    "--silent",
                    "--cacert",
                    folder_.path() + "/data/ca.crt",
                    "--header",
                    "Authorization: Bearer secret",
                    "--max-time",
                    "20",
                    "--parallel",
                    "--write-out",
                    "\n=%{http_version} %{http_code} %{num_connects}\n"};
    command.argv.insert(command.argv.end(), flags.begin(), flags.end());
    for (const std::string& target : targets)
      command.argv.push_back(fmt::format("https://127.0.0.1:{}{}", secure_port_, target));
    const auto ran = io::run_blocking(std::move(command), "", 30s);
    EXPECT_TRUE(ran && ran->status.ok()) << (ran ? ran->err : ran.error().message);
    std::vector<std::string> said;
    std::istringstream lines(ran ? ran->out : "");
    for (std::string line; std::getline(lines, line);)
      if (line.starts_with('=')) said.push_back(line.substr(1));
    return said;
  }
  // The frames the current kubectl received by HTTP/2 in one call.
  std::string kubectl_frames() {
    std::string kubectl;
    for (const KubectlUnderTest& known : kubectls_under_test())
      if (known.is_current) kubectl = known.path;
    io::Command command;
    command.argv = {kubectl, "--kubeconfig", server_->kubeconfig(), "get", "namespaces",
                    "-o",    "name"};
    command.env = {{"HOME", folder_.path()}, {"GODEBUG", "http2debug=2"}};
    const auto ran = io::run_blocking(std::move(command), "", 30s);
    EXPECT_TRUE(ran && ran->status.ok()) << (ran ? ran->err : ran.error().message);
    std::string received;
    std::istringstream lines(ran ? ran->err : "");
    for (std::string line; std::getline(lines, line);)
      if (line.find("Transport received") != std::string::npos) received += line + "\n";
    return received;
  }
};
INSTANTIATE_TEST_SUITE_P(Stores, TransportTest, both_stores(), name_of);

TEST_P(TransportTest, ClientsGetTheHttpTheyKnow) {
  start_with_token();
  EXPECT_THAT(curl({"--http2"}, {"/version"}), testing::ElementsAre("2 200 1"));
  EXPECT_THAT(curl({"--http1.1"}, {"/version"}), testing::ElementsAre("1.1 200 1"));
}

TEST_P(TransportTest, ManyWatchesShareAConnection) {
  start_with_token();
  std::vector<std::string> watches;
  for (int i = 0; i < 40; ++i)
    watches.push_back(fmt::format("{}?watch=true&timeoutSeconds=1&x={}", kServices, i));
  // The first makes the connection; the others find it.
  std::vector<std::string> said = curl({"--http2"}, watches);
  ASSERT_THAT(said, SizeIs(40));
  std::ranges::sort(said);
  EXPECT_EQ(said.back(), "2 200 1");
  said.pop_back();
  EXPECT_THAT(said, Each(std::string("2 200 0")));
}

TEST_P(TransportTest, KubectlSpeaksHttp2) {
  start_with_token();
  EXPECT_THAT(kubectl_frames(),
              AllOf(HasSubstr("received SETTINGS"), HasSubstr("MAX_CONCURRENT_STREAMS=100"),
                    HasSubstr("received DATA")));
}

TEST_P(TransportTest, Http2CanBeLeftOut) {
  start_with_token({"--disable-http2-serving"});
  EXPECT_THAT(curl({"--http2"}, {"/version"}), testing::ElementsAre("1.1 200 1"));
  EXPECT_THAT(kubectl_frames(), testing::IsEmpty());
}

TEST_P(TransportTest, LargeAnswersArePackedForWhoUnpacksThem) {
  start_with_token();
  const std::string annotation(100'000, 'a');
  for (const char* name : {"a", "b"}) {
    const Answer made = call(
        "POST", "/api/v1/namespaces/default/configmaps",
        fmt::format(R"({{"metadata":{{"name":"{}"}},"data":{{"x":"{}"}}}})", name, annotation));
    ASSERT_EQ(made.status, 201U) << made.text;
  }
  const auto list = [this](const char* encoding) {
    io::HttpRequest request{.target = "/api/v1/configmaps"};
    if (*encoding != '\0') request.headers.push_back({"Accept-Encoding", encoding});
    return **loop_.run(client_->send(std::move(request), 15s));
  };
  const io::HttpResponse plain = list("");
  EXPECT_FALSE(io::find_header(plain.headers, "Content-Encoding"));
  EXPECT_EQ(io::find_header(plain.headers, "Vary"), "Accept-Encoding");
  const io::HttpResponse packed = list("gzip");
  EXPECT_EQ(io::find_header(packed.headers, "Content-Encoding"), "gzip");
  EXPECT_LT(packed.body.size(), plain.body.size() / 10);
  const std::string file = folder_.write("list.gz", packed.body);
  const auto unpacked = io::run_blocking({.argv = {"gzip", "-dc", file}}, "", 30s);
  ASSERT_TRUE(unpacked && unpacked->status.ok());
  EXPECT_EQ(unpacked->out, plain.body);
  EXPECT_FALSE(io::find_header(list("gzip;q=0").headers, "Content-Encoding"));
}

TEST_P(TransportTest, SmallAnswersAndWatchesAreNotPacked) {
  start_with_token();
  for (const char* target : {"/version", "/api/v1/namespaces?watch=true&timeoutSeconds=1"}) {
    io::HttpRequest request{.target = target, .headers = {{"Accept-Encoding", "gzip"}}};
    const auto answer = loop_.run(client_->send(std::move(request), 15s));
    ASSERT_TRUE(answer && *answer);
    EXPECT_FALSE(io::find_header((*answer)->headers, "Content-Encoding")) << target;
  }
}

}  // namespace
}  // namespace fairlead::api_test
