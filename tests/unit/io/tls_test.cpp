#include "io/tls.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/io/http_fixture.hpp"

namespace fairlead::io {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using testing::TestServer;

KeyPair ca(const std::string& name = "test CA") {
  auto pair = make_ca(name, Clock::real(), 24h);
  check(pair.has_value(), "make a CA");
  return *std::move(pair);
}

KeyPair issue(const KeyPair& authority, const CertificateRequest& request,
              const Clock& clock = Clock::real()) {
  auto pair = sign_certificate(authority, request, clock);
  check(pair.has_value(), "sign a certificate");
  return *std::move(pair);
}

CertificateRequest server_request() {
  return {.common_name = "server",
          .dns_names = {"api.example"},
          .ip_addresses = {IpAddress::loopback(IpFamily::V4), IpAddress::loopback(IpFamily::V6)},
          .server = true,
          .validity = 1h};
}

CertificateRequest client_request() {
  return {.common_name = "jane",
          .organizations = {"admins", "system:masters"},
          .client = true,
          .validity = 1h};
}

std::string shown(const Result<std::string>& result) {
  return result ? *result : "error: " + result.error().message;
}

Task<void> whoami(HttpExchange& exchange) {
  const auto& certificate = exchange.peer().certificate;
  auto text = certificate ? fmt::format("{} [{}]", certificate->common_name,
                                        fmt::join(certificate->organizations, ","))
                          : std::string("anonymous");
  if (!exchange.peer().refused_certificate.empty())
    text += " " + exchange.peer().refused_certificate;
  static_cast<void>(
      co_await exchange.respond({.status = 200, .headers = {}, .body = std::move(text)}));
}

// One request to a server with this identity, by a client so configured.
Result<std::string> ask(const KeyPair& server_identity, const std::optional<std::string>& client_ca,
                        const TlsClient::Config& client_config) {
  test::Loop loop;
  auto server_tls = TlsServer::create(server_identity, client_ca);
  if (!server_tls) return server_tls.error();
  TestServer server(&loop, whoami, {.tls = *server_tls, .limits = {}});
  auto client_tls = TlsClient::create(client_config);
  if (!client_tls) return client_tls.error();
  const auto client = testing::client_for(&loop, server.port(), *client_tls);
  // Twice: the second request goes by a kept or resumed connection and must find the same identity.
  auto first = loop.run(client->send({.target = "/"}, 5s));
  if (!first) return make_error(ErrorCode::Internal, "hangs");
  if (!*first) return first->error();
  auto second = loop.run(client->send({.target = "/"}, 5s));
  if (!second || !*second || (*second)->body != (*first)->body) {
    return make_error(ErrorCode::Internal, "the second answer differs");
  }
  return (*first)->body;
}

TEST(Tls, VerifiesAServerByAddress) {
  const auto authority = ca();
  const auto answer = ask(issue(authority, server_request()), std::nullopt,
                          {.ca_pem = authority.certificate_pem, .server_name = "127.0.0.1"});
  EXPECT_EQ(shown(answer), "anonymous");
}

TEST(Tls, VerifiesAServerByName) {
  const auto authority = ca();
  const auto answer = ask(issue(authority, server_request()), std::nullopt,
                          {.ca_pem = authority.certificate_pem, .server_name = "api.example"});
  EXPECT_EQ(shown(answer), "anonymous");
}

TEST(Tls, ACertificateThatIsTrustedNeedsNoAuthority) {
  const auto identity = issue(ca(), server_request());
  EXPECT_EQ(shown(ask(identity, std::nullopt,
                      {.ca_pem = identity.certificate_pem, .server_name = "api.example"})),
            "anonymous");
  EXPECT_THAT(shown(ask(identity, std::nullopt,
                        {.ca_pem = identity.certificate_pem, .server_name = "other.example"})),
              HasSubstr("error"));
  EXPECT_THAT(shown(ask(identity, std::nullopt,
                        {.ca_pem = issue(ca(), server_request()).certificate_pem,
                         .server_name = "api.example"})),
              HasSubstr("error"));
}

TEST(Tls, CertificateSaysItsNames) {
  const auto authority = ca();
  EXPECT_EQ(*certificate_names(issue(authority, server_request()).certificate_pem),
            (std::vector<std::string>{"api.example", "127.0.0.1", "::1"}));
  EXPECT_EQ(*certificate_names(issue(authority, client_request()).certificate_pem),
            std::vector<std::string>());
  EXPECT_FALSE(certificate_names("nothing"));
}

TEST(Tls, ClientCertificateTellsNameAndOrganizations) {
  const auto authority = ca();
  const auto answer = ask(issue(authority, server_request()), authority.certificate_pem,
                          {.ca_pem = authority.certificate_pem,
                           .identity = issue(authority, client_request()),
                           .server_name = "127.0.0.1"});
  EXPECT_EQ(shown(answer), "jane [admins,system:masters]");
}

TEST(Tls, ClientCertificateIsOptional) {
  const auto authority = ca();
  const auto answer = ask(issue(authority, server_request()), authority.certificate_pem,
                          {.ca_pem = authority.certificate_pem, .server_name = "127.0.0.1"});
  EXPECT_EQ(shown(answer), "anonymous");
}

Task<void> peer_address(HttpExchange& exchange) {
  static_cast<void>(co_await exchange.respond(
      {.status = 200, .headers = {}, .body = exchange.peer().address.to_string()}));
}

// A server and a client that trust each other, for what is not about certificates.
struct SecurePair {
  explicit SecurePair(test::Loop* loop, HttpHandler handler, HttpLimits limits = {})
      : server(loop, std::move(handler),
               {.tls = *TlsServer::create(issue(authority, server_request()), std::nullopt),
                .limits = limits}),
        client(testing::client_for(
            loop, server.port(),
            *TlsClient::create({.ca_pem = authority.certificate_pem, .server_name = ""}))) {}
  KeyPair authority = ca();
  TestServer server;
  std::unique_ptr<HttpClient> client;
};

TEST(Tls, ConnectionsAreKeptAlive) {
  test::Loop loop;
  SecurePair pair(&loop, peer_address);
  const auto first = loop.run(pair.client->send({.target = "/"}, 5s));
  const auto second = loop.run(pair.client->send({.target = "/"}, 5s));
  ASSERT_TRUE(first && *first && second && *second);
  EXPECT_EQ((*first)->body, (*second)->body);
}

TEST(Tls, RefusalReachesAClientThatIsStillSending) {
  test::Loop loop;
  SecurePair pair(&loop, whoami, {.body_bytes = 1000});
  const auto answer = loop.run(pair.client->send(
      {.method = "POST", .target = "/", .headers = {}, .body = std::string(500'000, 'x')}, 10s));
  ASSERT_TRUE(answer.has_value());
  ASSERT_TRUE(answer->has_value()) << answer->error().message;
  EXPECT_EQ((*answer)->status, 413U);
}

Task<void> large_answer(HttpExchange& exchange) {
  static_cast<void>(co_await exchange.start_stream(200, {}));
  for (int i = 0; i < 100; ++i) {
    const std::vector parts{std::make_shared<const std::string>(1000, 'a'),
                            std::make_shared<const std::string>(99'000, 'b')};
    if (!co_await exchange.write(parts)) co_return;
  }
  static_cast<void>(co_await exchange.end_stream());
}

TEST(Tls, LargeStreamsArriveWhole) {
  test::Loop loop;
  SecurePair pair(&loop, large_answer);
  const auto answer = loop.run(pair.client->send({.target = "/"}, 10s));
  ASSERT_TRUE(answer && *answer);
  EXPECT_EQ((*answer)->body.size(), 10'000'000U);
  EXPECT_EQ(std::count((*answer)->body.begin(), (*answer)->body.end(), 'a'), 100'000);
}

TEST(Tls, HostIsVerifiedWhenNoNameIsGiven) {
  auto request = server_request();
  request.ip_addresses.clear();
  const auto authority = ca();
  const auto answer = ask(issue(authority, request), std::nullopt,
                          {.ca_pem = authority.certificate_pem, .server_name = ""});
  EXPECT_EQ(shown(answer), "error: TLS handshake: certificate refused: IP address mismatch");
}

struct RefusalCase {
  std::string name;
  std::string server_name;
  bool other_ca = false;  // the client trusts another CA
  bool expired_server = false;
  bool not_for_servers = false;  // extended key usage clientAuth only
  std::string message;
};
class ServerRefused : public ::testing::TestWithParam<RefusalCase> {};

TEST_P(ServerRefused, IsUnauthorizedAndSaysWhy) {
  const auto& row = GetParam();
  const auto authority = ca();
  auto request = server_request();
  request.server = !row.not_for_servers;
  request.client = row.not_for_servers;
  FakeClock long_ago;
  const auto identity =
      row.expired_server ? issue(authority, request, long_ago) : issue(authority, request);
  const auto answer =
      ask(identity, std::nullopt,
          {.ca_pem = row.other_ca ? ca("other").certificate_pem : authority.certificate_pem,
           .server_name = row.server_name});
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error(), make_error(ErrorCode::Unauthorized,
                                       "TLS handshake: certificate refused: {}", row.message));
}
INSTANTIATE_TEST_SUITE_P(
    Tls, ServerRefused,
    ::testing::Values(RefusalCase{.name = "WrongCa",
                                  .server_name = "127.0.0.1",
                                  .other_ca = true,
                                  .message = "unable to get local issuer certificate"},
                      RefusalCase{.name = "WrongName",
                                  .server_name = "other.example",
                                  .message = "hostname mismatch"},
                      RefusalCase{.name = "WrongAddress",
                                  .server_name = "10.0.0.1",
                                  .message = "IP address mismatch"},
                      RefusalCase{.name = "Expired",
                                  .server_name = "127.0.0.1",
                                  .expired_server = true,
                                  .message = "certificate has expired"},
                      RefusalCase{.name = "NotForServers",
                                  .server_name = "127.0.0.1",
                                  .not_for_servers = true,
                                  .message = "unsuitable certificate purpose"}),
    [](const auto& info) { return info.param.name; });

TEST(Tls, InsecureSkipVerifyAcceptsAnyServer) {
  const auto answer = ask(issue(ca(), server_request()), std::nullopt,
                          {.ca_pem = ca("other").certificate_pem,
                           .server_name = "other.example",
                           .insecure_skip_verify = true});
  EXPECT_EQ(shown(answer), "anonymous");
}

struct ClientRefusalCase {
  std::string name;
  std::string_view why;
  bool other_ca = false;
  bool expired = false;
  bool not_for_clients = false;
};
class ClientRefused : public ::testing::TestWithParam<ClientRefusalCase> {};

TEST_P(ClientRefused, LeavesThePeerWithoutACertificate) {
  const auto& row = GetParam();
  const auto authority = ca();
  auto request = client_request();
  request.client = !row.not_for_clients;
  request.server = row.not_for_clients;
  FakeClock long_ago;
  const auto signer = row.other_ca ? ca("other") : authority;
  const auto identity = row.expired ? issue(signer, request, long_ago) : issue(signer, request);
  const auto answer =
      ask(issue(authority, server_request()), authority.certificate_pem,
          {.ca_pem = authority.certificate_pem, .identity = identity, .server_name = "127.0.0.1"});
  EXPECT_EQ(shown(answer), fmt::format("anonymous {}", row.why));
}
INSTANTIATE_TEST_SUITE_P(
    Tls, ClientRefused,
    ::testing::Values(
        ClientRefusalCase{
            .name = "WrongCa", .why = "unable to get local issuer certificate", .other_ca = true},
        ClientRefusalCase{.name = "Expired", .why = "certificate has expired", .expired = true},
        ClientRefusalCase{.name = "NotForClients",
                          .why = "unsuitable certificate purpose",
                          .not_for_clients = true}),
    [](const auto& info) { return info.param.name; });

TEST(Tls, PlainHttpToATlsPortIsNotAnswered) {
  test::Loop loop;
  const auto authority = ca();
  auto tls = TlsServer::create(issue(authority, server_request()), std::nullopt);
  ASSERT_TRUE(tls.has_value());
  TestServer server(&loop, whoami, {.tls = *tls, .limits = {}});
  const auto client = testing::client_for(&loop, server.port());
  const auto answer = loop.run(client->send({.target = "/"}, 5s));
  ASSERT_TRUE(answer && !*answer);
}

TEST(Tls, BrokenIdentitiesAreNamed) {
  const auto authority = ca();
  const auto one = issue(authority, server_request());
  const auto two = issue(authority, server_request());
  const auto of = [](const KeyPair& pair) { return TlsServer::create(pair, std::nullopt); };
  const auto mixed =
      of({.certificate_pem = one.certificate_pem, .private_key_pem = two.private_key_pem});
  ASSERT_FALSE(mixed.has_value());
  EXPECT_THAT(mixed.error().message, HasSubstr("private key does not belong to the certificate"));
  const auto empty = of({.certificate_pem = "", .private_key_pem = one.private_key_pem});
  ASSERT_FALSE(empty.has_value());
  EXPECT_THAT(empty.error().message, HasSubstr("TLS server: no PEM certificate found"));
  const auto cut = of({.certificate_pem = one.certificate_pem.substr(0, 200),
                       .private_key_pem = one.private_key_pem});
  ASSERT_FALSE(cut.has_value());
  EXPECT_THAT(cut.error().message, HasSubstr("TLS server: no PEM certificate found"));
  const auto no_key = of({.certificate_pem = one.certificate_pem, .private_key_pem = "x"});
  ASSERT_FALSE(no_key.has_value());
  EXPECT_THAT(no_key.error().message, HasSubstr("private key is not an unencrypted PEM key"));
}

TEST(Certificate, RemainingValidityCountsDownAndBecomesNegative) {
  FakeClock clock;
  const auto pair = make_ca("x", clock, 2h);
  ASSERT_TRUE(pair.has_value());
  EXPECT_EQ(remaining_validity(pair->certificate_pem, clock).value_or(0s), 2h);
  clock.advance(3h);
  EXPECT_EQ(remaining_validity(pair->certificate_pem, clock).value_or(0s), -1h);
}

TEST(Certificate, NamesThatWouldSmuggleInAnotherEntryAreRefused) {
  auto request = server_request();
  request.dns_names = {"a.example,IP:10.0.0.1"};
  const auto pair = sign_certificate(ca(), request, Clock::real());
  ASSERT_FALSE(pair.has_value());
  EXPECT_EQ(pair.error(),
            make_error(ErrorCode::Invalid,
                       "certificate DNS name \"a.example,IP:10.0.0.1\" is not a host name"));
}

}  // namespace
}  // namespace fairlead::io
