// Certificates and keys of the operator's own, given by files: what kubectl sees of them, what
// several servers share by them, and what is said of wrong ones.
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <chrono>

#include "api/api_fixture.hpp"
#include "base/ip.hpp"
#include "io/http.hpp"
#include "io/tls.hpp"
#include "support/loop.hpp"

namespace fairlead::api_test {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;

class CredentialsTest : public KubectlTest {
 protected:
  void SetUp() override {
    KubectlTest::SetUp();
    if (IsSkipped()) return;
    const auto made = io::make_ca("company", Clock::real(), 24h);
    ASSERT_TRUE(made);
    company_ = *made;
  }
  io::KeyPair issue(const io::CertificateRequest& request) {
    auto made = io::sign_certificate(company_, request, Clock::real());
    EXPECT_TRUE(made);
    return made ? *std::move(made) : io::KeyPair{};
  }
  void restart(std::vector<std::string> flags) {
    server_->stop(SIGTERM);
    const auto store = store_->flags();
    flags.insert(flags.end(), store.begin(), store.end());
    server_.emplace(folder_, std::move(flags));
  }
  std::string server_url() {
    return ok({"config", "view", "--raw", "-o", "jsonpath={.clusters[0].cluster.server}"});
  }
  // Without any credentials, for which kubectl would ask.
  std::string answer(const std::string& path) {
    const std::string url = server_url();
    const auto port = parse_port(url.substr(url.rfind(':') + 1));
    const auto tls = io::TlsClient::create({.insecure_skip_verify = true});
    if (!port || !tls) return "no server";
    test::Loop loop;
    const auto client =
        io::HttpClient::create(loop.executor(), {.host = "127.0.0.1", .port = *port, .tls = *tls});
    if (!client) return client.error().message;
    const auto got = loop.run((*client)->send({.target = path}, 10s));
    return got && *got ? fmt::format("{} {}", (*got)->status, (*got)->body) : "no answer";
  }
  // What a call with other credentials than the kubeconfig's is answered.
  io::Output with_config(const std::string& user, std::vector<std::string> call) {
    const std::string config = folder_.write(
        "other.kubeconfig",
        fmt::format("apiVersion: v1\nkind: Config\nclusters:\n- name: c\n  cluster: {{server: {}, "
                    "insecure-skip-tls-verify: true}}\nusers:\n- name: u\n  user: {}\ncontexts:\n"
                    "- name: c\n  context: {{cluster: c, user: u}}\ncurrent-context: c\n",
                    server_url(), user));
    call.insert(call.begin(), {"--kubeconfig", config});
    return kubectl(std::move(call));
  }

  io::KeyPair company_;
};
INSTANTIATE_TEST_SUITE_P(Kubectl, CredentialsTest, testing::ValuesIn(kubectls_under_test()),
                         [](const auto& param) { return param.param.name; });

TEST_P(CredentialsTest, CertificatesOfTheOperatorsOwnAreShownAndAccepted) {
  // Not for the address it is served on: clients are told by which name to know it.
  const io::KeyPair server = issue({.common_name = "s",
                                    .organizations = {},
                                    .dns_names = {"api.company.example"},
                                    .ip_addresses = {},
                                    .server = true});
  const io::KeyPair client = issue({.common_name = "jane",
                                    .organizations = {"system:masters"},
                                    .dns_names = {},
                                    .ip_addresses = {},
                                    .client = true});
  restart({"--client-ca-file", folder_.write("ca.pem", company_.certificate_pem), "--tls-cert-file",
           folder_.write("server.pem", server.certificate_pem), "--tls-private-key-file",
           folder_.write("server.key", server.private_key_pem)});
  EXPECT_THAT(ok({"config", "view"}), HasSubstr("tls-server-name: api.company.example"));
  EXPECT_THAT(ok({"get", "namespaces", "-o", "name"}), HasSubstr("namespace/default"));

  const std::string jane = fmt::format("{{client-certificate: {}, client-key: {}}}",
                                       folder_.write("jane.pem", client.certificate_pem),
                                       folder_.write("jane.key", client.private_key_pem));
  const io::Output created = with_config(jane, {"create", "configmap", "made"});
  EXPECT_TRUE(created.status.ok()) << created.err;

  const auto stranger = io::make_ca("stranger", Clock::real(), 24h);
  ASSERT_TRUE(stranger);
  company_ = *stranger;
  const io::KeyPair unknown = issue({.common_name = "jane",
                                     .organizations = {"system:masters"},
                                     .dns_names = {},
                                     .ip_addresses = {},
                                     .client = true});
  const io::Output refusal =
      with_config(fmt::format("{{client-certificate: {}, client-key: {}}}",
                              folder_.write("unknown.pem", unknown.certificate_pem),
                              folder_.write("unknown.key", unknown.private_key_pem)),
                  {"get", "--raw", "/readyz"});
  EXPECT_THAT(refusal.err, HasSubstr("Unauthorized"));
}

TEST_P(CredentialsTest, ACertificateSaysWhoOneIsUntilItHasExpired) {
  restart({"--client-ca-file", folder_.write("ca.pem", company_.certificate_pem)});
  const auto whoami = [this](const io::KeyPair& shown) {
    return with_config(fmt::format("{{client-certificate: {}, client-key: {}}}",
                                   folder_.write("alice.pem", shown.certificate_pem),
                                   folder_.write("alice.key", shown.private_key_pem)),
                       is_current() ? std::vector<std::string>{"auth", "whoami", "-o", "json"}
                                    : std::vector<std::string>{"auth", "can-i", "--list"});
  };
  const io::CertificateRequest alice{.common_name = "alice",
                                     .organizations = {"dev"},
                                     .dns_names = {},
                                     .ip_addresses = {},
                                     .client = true};
  const io::Output good = whoami(issue(alice));
  EXPECT_TRUE(good.status.ok()) << good.err;
  if (is_current()) {
    const auto info = boost::json::parse(good.out).at_pointer("/status/userInfo");
    EXPECT_EQ(info.at("username"), "alice");
    EXPECT_EQ(info.at("groups"), boost::json::parse(R"(["dev","system:authenticated"])"));
  }
  FakeClock then;
  then.set_wall(Clock::real().wall() - alice.validity - 1h);
  const auto expired = io::sign_certificate(company_, alice, then);
  ASSERT_TRUE(expired) << expired.error().message;
  const io::Output refused = whoami(*expired);
  EXPECT_FALSE(refused.status.ok());
  EXPECT_THAT(refused.err, HasSubstr("Unauthorized"));
}

TEST_P(CredentialsTest, WithoutCredentialsOnlyHealthIsTold) {
  EXPECT_EQ(answer("/readyz"), "200 ok");
  EXPECT_THAT(answer("/version"), HasSubstr("Unauthorized"));
  restart({"--anonymous-auth=true"});
  EXPECT_THAT(answer("/version"), HasSubstr("gitVersion"));
  EXPECT_THAT(answer("/api"), AllOf(HasSubstr("403 "), HasSubstr("system:anonymous")));
}

TEST_P(CredentialsTest, ATokenOfAnotherServersKeyIsAcceptedWhenTheKeyIsGiven) {
  constexpr std::string_view kRequest =
      R"({"kind":"TokenRequest","apiVersion":"authentication.k8s.io/v1","spec":{}})";
  std::string made =
      ok({"create", "--raw", "/api/v1/namespaces/default/serviceaccounts/default/token", "-f", "-"},
         kRequest);
  constexpr std::string_view kBefore = "\"token\":\"";
  made.erase(0, made.find(kBefore) + kBefore.size());
  const std::string token = fmt::format("{{token: {}}}", made.substr(0, made.find('"')));
  const auto lists_apis = [&] { return with_config(token, {"get", "--raw", "/api"}).status.ok(); };
  EXPECT_TRUE(lists_apis());
  const std::string old_key = folder_.write("old.key", folder_.read("data/sa.key"));
  // As a server beside it has: a signing key of its own.
  const auto other = io::make_ca("only its key", Clock::real(), 24h);
  ASSERT_TRUE(other);
  const std::string new_key = folder_.write("new.key", other->private_key_pem);
  restart({"--service-account-signing-key-file", new_key});
  EXPECT_FALSE(lists_apis());
  restart({"--service-account-signing-key-file", new_key, "--service-account-key-file", old_key});
  EXPECT_TRUE(lists_apis());
}

TEST_P(CredentialsTest, WrongFilesAreNamedWithTheirFlagAndWhatIsWrong) {
  if (GetParam().name != "current") return;  // no kubectl and no store in it
  const io::KeyPair server = issue({.common_name = "s",
                                    .organizations = {},
                                    .dns_names = {"x"},
                                    .ip_addresses = {},
                                    .server = true});
  const std::string certificate = folder_.write("server.pem", server.certificate_pem);
  const std::string key = folder_.write("server.key", server.private_key_pem);
  const std::string other_key = folder_.write("other.key", company_.private_key_pem);
  const std::string text = folder_.write("text", "hello\n");
  const auto said = [this](std::vector<std::string> flags) {
    io::Command command;
    command.argv = {server_program(), "--data-dir", folder_.path() + "/unused", "--secure-port",
                    "0"};
    command.argv.insert(command.argv.end(), flags.begin(), flags.end());
    const auto output = io::run_blocking(command, {}, 10s);
    EXPECT_TRUE(output && !output->status.ok());
    return output ? output->err : "";
  };
  const auto names = [](std::string_view flag, const std::string& file, std::string_view why) {
    return AllOf(HasSubstr(flag), HasSubstr(file), HasSubstr(why));
  };
  EXPECT_THAT(said({"--client-ca-file", text}),
              names("--client-ca-file", text, "no PEM certificate found"));
  EXPECT_THAT(said({"--client-ca-file", "/nowhere"}),
              names("--client-ca-file", "/nowhere", "No such file"));
  EXPECT_THAT(said({"--tls-cert-file", text, "--tls-private-key-file", key}),
              names("--tls-cert-file", text, "no PEM certificate found"));
  EXPECT_THAT(said({"--tls-cert-file", certificate, "--tls-private-key-file", other_key}),
              names("--tls-private-key-file", other_key, "does not belong to the certificate"));
  EXPECT_THAT(said({"--tls-cert-file", certificate}),
              HasSubstr("--tls-cert-file requires --tls-private-key-file"));
  EXPECT_THAT(said({"--service-account-signing-key-file", certificate}),
              names("--service-account-signing-key-file", certificate, "private key"));
  EXPECT_THAT(said({"--service-account-key-file", text}),
              names("--service-account-key-file", text, "key"));
  EXPECT_THAT(said({"--token-auth-file", text}), names("--token-auth-file", text, "line 1"));
}

}  // namespace
}  // namespace fairlead::api_test
