#include "client/kubeconfig.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/text.hpp"

namespace fairlead::client {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

std::string base64(std::string_view text) {
  return base64_encode({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

// A folder of its own, removed with its files.
class KubeconfigTest : public ::testing::Test {
 protected:
  KubeconfigTest() {
    std::string name = fs::temp_directory_path() / "fairlead-kubeconfig-XXXXXX";
    folder_ = ::mkdtemp(name.data());
  }
  ~KubeconfigTest() override { fs::remove_all(folder_); }

  std::string write(const std::string& name, std::string_view content) const {
    const auto path = folder_ / name;
    std::ofstream(path) << content;
    return path;
  }

  fs::path folder_;
};

constexpr std::string_view kHead =
    "apiVersion: v1\nkind: Config\ncurrent-context: here\n"
    "contexts: [{name: here, context: {cluster: c, user: u, namespace: web}}]\n";

std::string config(std::string_view cluster, std::string_view user) {
  return fmt::format("{}clusters: [{{name: c, cluster: {}}}]\nusers: [{{name: u, user: {}}}]\n",
                     kHead, cluster, user);
}

TEST_F(KubeconfigTest, ReadsClusterUserAndContext) {
  write("ca.pem", "CA TEXT");
  write("client.key", "KEY TEXT");
  const auto path = write(
      "config",
      config("{server: 'https://h:6443/p', certificate-authority: ca.pem, tls-server-name: api}",
             fmt::format("{{client-certificate-data: {}, client-key: client.key, token: t, "
                         "tokenFile: tok, as: jane, "
                         "as-groups: [g1, g2]}}",
                         base64("CERT TEXT"))));
  const auto access = load_kubeconfig(path);
  ASSERT_TRUE(access.has_value()) << access.error().message;
  EXPECT_EQ(access->server, "https://h:6443/p");
  EXPECT_EQ(access->ca_pem, "CA TEXT");
  EXPECT_EQ(access->tls_server_name, "api");
  EXPECT_FALSE(access->insecure_skip_tls_verify);
  ASSERT_TRUE(access->identity.has_value());
  EXPECT_EQ(access->identity->certificate_pem, "CERT TEXT");
  EXPECT_EQ(access->identity->private_key_pem, "KEY TEXT");
  EXPECT_EQ(access->token, "t");
  EXPECT_EQ(access->token_file, (folder_ / "tok").string());
  EXPECT_EQ(access->impersonate_user, "jane");
  EXPECT_EQ(access->impersonate_groups, (std::vector<std::string>{"g1", "g2"}));
  EXPECT_EQ(access->namespace_, "web");
}

TEST_F(KubeconfigTest, ReadsJson) {
  const auto path =
      write("config", R"({"current-context":"x","contexts":[{"name":"x","context":{"cluster":"c"}}],
    "clusters":[{"name":"c","cluster":{"server":"http://h","insecure-skip-tls-verify":true}}]})");
  const auto access = load_kubeconfig(path);
  ASSERT_TRUE(access.has_value()) << access.error().message;
  EXPECT_EQ(access->server, "http://h");
  EXPECT_TRUE(access->insecure_skip_tls_verify);
}

struct BadCase {
  std::string name, text, message;  // the message follows "kubeconfig PATH: "
};
class BadKubeconfig : public KubeconfigTest, public ::testing::WithParamInterface<BadCase> {};

TEST_P(BadKubeconfig, IsRefusedByFieldAndValue) {
  const auto path = write("config", GetParam().text);
  const auto access = load_kubeconfig(path);
  ASSERT_FALSE(access.has_value());
  EXPECT_EQ(access.error().message, fmt::format("kubeconfig {}: {}", path, GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Kubeconfig, BadKubeconfig,
    ::testing::Values(
        BadCase{"NotYaml", "a: [1,\nb: }", "line 2: illegal flow end"},
        BadCase{"NotAMap", "- a", "is not a YAML map"},
        BadCase{"OtherKind", "kind: Pod", "kubeconfig: kind: \"Pod\" is not Config"},
        BadCase{"Empty", "", "current-context: is missing"},
        BadCase{"ContextMissing", "current-context: x",
                "current-context: \"x\" is not defined in contexts"},
        BadCase{"ClustersNotAList", "clusters: x", "clusters: is not a list"},
        BadCase{"ClusterNotDefined",
                "current-context: x\ncontexts: [{name: x, context: {cluster: gone}}]",
                "contexts \"x\": cluster: \"gone\" is not defined"},
        BadCase{"UserNotDefined",
                std::string(kHead) + "clusters: [{name: c, cluster: {server: h}}]",
                "contexts \"here\": user: \"u\" is not defined"},
        BadCase{"NoServer", config("{}", "{}"), "clusters \"c\": server: is missing"},
        BadCase{"ServerIsAList", config("{server: [a]}", "{}"),
                "clusters \"c\": server: is not a string"},
        BadCase{"CaNotBase64", config("{server: h, certificate-authority-data: '%%'}", "{}"),
                "clusters \"c\": certificate-authority-data: is not base64"},
        BadCase{
            "CaFileMissing", config("{server: h, certificate-authority: /nowhere/ca}", "{}"),
            "clusters \"c\": certificate-authority: read /nowhere/ca: No such file or directory"},
        BadCase{"Proxy", config("{server: h, proxy-url: 'http://p'}", "{}"),
                "clusters \"c\": proxy-url: connecting through a proxy is not supported"},
        BadCase{"InsecureIsNotABoolean",
                config("{server: h, insecure-skip-tls-verify: maybe}", "{}"),
                "clusters \"c\": insecure-skip-tls-verify: \"maybe\" is neither true nor false"},
        BadCase{
            "InsecureWithCa",
            config("{server: h, insecure-skip-tls-verify: true, certificate-authority-data: YQ==}",
                   "{}"),
            "clusters \"c\": insecure-skip-tls-verify: may not be true while a "
            "certificate-authority is given"},
        BadCase{"Exec", config("{server: h}", "{exec: {command: aws}}"),
                "users \"u\": exec: credential plugins are not supported; use a token or a client "
                "certificate"},
        BadCase{"AuthProvider", config("{server: h}", "{auth-provider: {name: gcp}}"),
                "users \"u\": auth-provider: auth providers are not supported; use a token or a "
                "client certificate"},
        BadCase{"CertificateWithoutKey", config("{server: h}", "{client-certificate-data: YQ==}"),
                "users \"u\": client-key: is missing beside its other half"}),
    [](const auto& info) { return info.param.name; });

TEST_F(KubeconfigTest, MissingFileIsNamed) {
  const auto access = load_kubeconfig("/nowhere/config");
  ASSERT_FALSE(access.has_value());
  EXPECT_EQ(access.error().message, "kubeconfig: read /nowhere/config: No such file or directory");
}

TEST_F(KubeconfigTest, UserTakesTheFirstDefinitionOfSeveralFiles) {
  const auto first = write(
      "one", "current-context: here\nclusters: [{name: c, cluster: {server: 'http://first'}}]");
  const auto second = write("two", config("{server: 'http://second'}", "{token: t2}"));
  const Surroundings surroundings{.kubeconfig = first + ":/nowhere/three:" + second,
                                  .home = "/nowhere"};
  const auto access = access_for_user("", surroundings);
  ASSERT_TRUE(access.has_value()) << access.error().message;
  EXPECT_EQ(access->server, "http://first");
  EXPECT_EQ(access->token, "t2");
}

TEST_F(KubeconfigTest, UserFallsBackToTheHomeFolder) {
  fs::create_directory(folder_ / ".kube");
  write(".kube/config", config("{server: 'http://home'}", "{}"));
  const auto access = access_for_user("", {.home = folder_});
  ASSERT_TRUE(access.has_value()) << access.error().message;
  EXPECT_EQ(access->server, "http://home");
}

TEST_F(KubeconfigTest, MasterReplacesTheServerAndKeepsTheCredentials) {
  const auto path = write("config", config("{server: 'http://file'}", "{token: t}"));
  const auto access = access_for_node(path, "https://10.0.0.1:6443", {});
  ASSERT_TRUE(access.has_value()) << access.error().message;
  EXPECT_EQ(access->server, "https://10.0.0.1:6443");
  EXPECT_EQ(access->token, "t");
}

TEST_F(KubeconfigTest, MasterAloneUsesNoCredentials) {
  write("token", "secret");
  const auto access = access_for_node(
      "", "http://m",
      {.service_host = "10.96.0.1", .service_port = "443", .service_account = folder_});
  ASSERT_TRUE(access.has_value());
  EXPECT_EQ(access->server, "http://m");
  EXPECT_EQ(access->token_file, "");
}

TEST_F(KubeconfigTest, InClusterTakesTokenAndCa) {
  const auto token = write("token", "secret\n");
  write("ca.crt", "CA");
  const auto access = access_for_node(
      "", "", {.service_host = "fd00::1", .service_port = "443", .service_account = folder_});
  ASSERT_TRUE(access.has_value()) << access.error().message;
  EXPECT_EQ(access->server, "https://[fd00::1]:443");
  EXPECT_EQ(access->token_file, token);
  EXPECT_EQ(access->ca_pem, "CA");
}

TEST_F(KubeconfigTest, InClusterWithoutCaTrustsTheSystem) {
  write("token", "secret");
  const auto access =
      in_cluster_access({.service_host = "h", .service_port = "1", .service_account = folder_});
  ASSERT_TRUE(access.has_value());
  EXPECT_EQ(access->ca_pem, std::nullopt);
}

TEST_F(KubeconfigTest, InClusterWithoutTokenIsAnError) {
  const auto access =
      in_cluster_access({.service_host = "h", .service_port = "1", .service_account = folder_});
  ASSERT_FALSE(access.has_value());
  EXPECT_THAT(access.error().message, HasSubstr("/token: No such file or directory"));
}

TEST_F(KubeconfigTest, OutsideOfAClusterSaysWhatIsMissing) {
  const auto access = access_for_node("", "", {});
  ASSERT_FALSE(access.has_value());
  EXPECT_THAT(access.error().message, HasSubstr("KUBERNETES_SERVICE_HOST is \"\""));
}

TEST_F(KubeconfigTest, WhatIsWrittenIsReadBackAndPrivate) {
  ClusterAccess access;
  access.server = "https://127.0.0.1:6443";
  access.ca_pem = "CA\n";
  access.tls_server_name = "a name with: signs # \"and\" 'quotes'";
  access.identity = io::KeyPair{.certificate_pem = "CERT", .private_key_pem = "KEY"};
  access.token = "0123";  // a string, not a number
  access.impersonate_user = "true";
  access.impersonate_groups = {"null", "1"};
  access.namespace_ = "on";
  const auto path = (folder_ / "deep" / "er" / "config").string();
  ASSERT_TRUE(write_kubeconfig(path, access, "fairlead").has_value());
  ASSERT_TRUE(write_kubeconfig(path, access, "fairlead").has_value());  // over an existing one

  struct stat info{};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
  EXPECT_EQ(
      std::distance(fs::directory_iterator(fs::path(path).parent_path()), fs::directory_iterator()),
      1);
  const auto read = load_kubeconfig(path);
  ASSERT_TRUE(read.has_value()) << read.error().message;
  EXPECT_EQ(read->server, access.server);
  EXPECT_EQ(read->ca_pem, access.ca_pem);
  EXPECT_EQ(read->tls_server_name, access.tls_server_name);
  EXPECT_EQ(read->identity->certificate_pem, "CERT");
  EXPECT_EQ(read->identity->private_key_pem, "KEY");
  EXPECT_EQ(read->token, access.token);
  EXPECT_EQ(read->impersonate_user, access.impersonate_user);
  EXPECT_EQ(read->impersonate_groups, access.impersonate_groups);
  EXPECT_EQ(read->namespace_, access.namespace_);
}

}  // namespace
}  // namespace fairlead::client
