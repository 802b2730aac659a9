// The JavaScript client, @kubernetes/client-node: its typed clients, and its informer while the
// server is killed and while what it had seen is compacted. Programs in tests/api/client-node.
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "api/http_fixture.hpp"
#include "support/process.hpp"

namespace fairlead::api_test {
namespace {

// Where ./dev setup has put the package: FAIRLEAD_CLIENT_NODE, else .cache/tools of the source
// tree.
std::string package_folder() {
  const char* given = std::getenv("FAIRLEAD_CLIENT_NODE");
  return given != nullptr && *given != '\0'
             ? given
             : std::string(FAIRLEAD_SOURCE_DIR) + "/.cache/tools/client-node";
}

class ClientNodeTest : public HttpTest {
 protected:
  void SetUp() override {
    if (access((package_folder() + "/node_modules/@kubernetes/client-node").c_str(), R_OK) != 0) {
      GTEST_SKIP() << "SKIPPED: no @kubernetes/client-node in " << package_folder()
                   << "; run ./dev setup, or set FAIRLEAD_CLIENT_NODE";
    }
    if (!io::run_blocking({.argv = {"node", "--version"}}, "", std::chrono::seconds(20)))
      GTEST_SKIP() << "SKIPPED: no node; run ./dev setup";
    HttpTest::SetUp();
  }
  io::Command node(std::string_view program) const {
    io::Command out;
    out.argv = {"node", fmt::format("{}/tests/api/client-node/{}", FAIRLEAD_SOURCE_DIR, program)};
    out.env = {{"HOME", folder_.path()},
               {"KUBECONFIG", server_->kubeconfig()},
               {"FAIRLEAD_CLIENT_NODE", package_folder()}};
    return out;
  }
  // Started when it returns, with one Service listed; whatever it says goes to informer.out.
  std::optional<io::Child> start_informer() {
    auto out = test::spawn_logging(node("informer.mjs"), folder_.path() + "/informer.out");
    EXPECT_TRUE(out && hears("add kubernetes \n")) << said();
    return out;
  }
  std::string said() const { return folder_.read("informer.out"); }
  bool hears(std::string_view line) {
    return eventually(folder_, [&] { return said().find(line) != std::string::npos; });
  }
  void create(std::string_view name) { EXPECT_EQ(create_service(name).status, 201U); }
};
INSTANTIATE_TEST_SUITE_P(Stores, ClientNodeTest, both_stores(), name_of);

TEST_P(ClientNodeTest, TypedObjectsAreMadeReadChangedAndDeleted) {
  start();
  const auto output = io::run_blocking(node("objects.mjs"), "", std::chrono::seconds(60));
  ASSERT_TRUE(output) << output.error().message;
  EXPECT_TRUE(output->status.ok()) << output->out << output->err;
}

TEST_P(ClientNodeTest, AnInformerFollowsAServerThatWasKilled) {
  start();
  auto informer = start_informer();
  ASSERT_TRUE(informer);
  create("web");
  EXPECT_TRUE(hears("add web \n")) << said();
  patch(service_path("web"), R"({"metadata":{"labels":{"step":"one"}}})");
  EXPECT_TRUE(hears("update web one\n")) << said();
  server_->stop(SIGKILL);
  ASSERT_TRUE(hears("error ")) << said();
  // It goes on where it was: nothing is listed again, nothing is missed.
  start();
  patch(service_path("web"), R"({"metadata":{"labels":{"step":"two"}}})");
  ASSERT_EQ(call("DELETE", service_path("web")).status, 200U);
  create("late");
  ASSERT_TRUE(informer->signal(SIGUSR2));
  ASSERT_TRUE(hears("add late \n")) << said();
  EXPECT_EQ(said().substr(said().find("update web two")),
            "update web two\ndelete web two\nadd late \n");
  EXPECT_EQ(said().find("list 2"), std::string::npos) << said();
  ASSERT_TRUE(informer->signal(SIGTERM));
  EXPECT_TRUE(informer->wait_blocking());
}

class ClientNodeOnEtcd : public ClientNodeTest {};
INSTANTIATE_TEST_SUITE_P(Stores, ClientNodeOnEtcd, testing::Values(StoreUnderTest::Etcd), name_of);

TEST_P(ClientNodeOnEtcd, AnInformerListsAnewWhatWasCompacted) {
  start();
  create("gone");
  auto informer = start_informer();
  ASSERT_TRUE(informer);
  ASSERT_TRUE(hears("add gone \n")) << said();
  server_->stop(SIGKILL);
  ASSERT_TRUE(hears("error ")) << said();
  start();
  ASSERT_EQ(call("DELETE", service_path("gone")).status, 200U);
  create("late");
  const std::string now = get(kServices).revision();
  // etcd forgets, and the server with it: what the informer knows is too old.
  server_->stop(SIGKILL);
  client_ = connect_to(store_->etcd_port());
  ASSERT_EQ(call("POST", "/v3/kv/compaction", fmt::format(R"({{"revision":"{}"}})", now)).status,
            200U);
  start();
  ASSERT_TRUE(informer->signal(SIGUSR2));
  ASSERT_TRUE(hears("add late \n")) << said();
  EXPECT_NE(said().find("list 2\ndelete gone \nadd late \n"), std::string::npos) << said();
  ASSERT_TRUE(informer->signal(SIGTERM));
  EXPECT_TRUE(informer->wait_blocking());
}

}  // namespace
}  // namespace fairlead::api_test
