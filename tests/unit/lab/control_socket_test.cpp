#include "lab/control_socket.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <thread>

#include "support/folder.hpp"
#include "support/loop.hpp"
#include "support/result.hpp"

namespace fairlead::lab {
namespace {

// Serves in the loop's thread while `client` runs in another; ends when the client has.
class ControlSocket : public testing::Test {
 protected:
  std::string path() const { return folder_.path() + "/control.sock"; }

  template <class F>
  void serve_while(const ControlServer::Handler& handler, F client) {
    auto server = ControlServer::create(path());
    ASSERT_TRUE(server) << server.error().message;
    io::TaskGroup tasks(loop_.executor(), "control");
    tasks.spawn(server->serve(handler));
    io::Event done(loop_.executor());
    std::thread commands([&] {
      client();
      boost::asio::post(loop_.context(), [&done] { done.notify(); });
    });
    EXPECT_TRUE(loop_.run(wait_and_close(&done, &tasks)));
    commands.join();
  }

  static io::Task<void> wait_and_close(io::Event* done, io::TaskGroup* tasks) {
    co_await done->wait();
    co_await tasks->close();
  }

  test::TemporaryFolder folder_;
  test::Loop loop_;
};

Result<ControlAnswer> ask(const std::string& path, const std::string& request) {
  FAIRLEAD_TRY(client, ControlClient::connect(path));
  return client.ask(request);
}

TEST_F(ControlSocket, AnswersWithTextAndDescriptors) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const io::UniqueFd read_end(ends[0]);
  int written = ends[1];
  const auto handler = [&written](const std::string& request) -> Result<ControlAnswer> {
    ControlAnswer out{.text = "you said " + request, .descriptors = {}};
    out.descriptors.emplace_back(std::exchange(written, -1));
    return out;
  };
  serve_while(handler, [this] {
    const auto answer = ask(path(), "enter x");
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(answer->text, "you said enter x");
    ASSERT_EQ(answer->descriptors.size(), 1U);
    EXPECT_EQ(::write(answer->descriptors.front().get(), "hi", 2), 2);
  });
  std::array<char, 8> got{};
  ASSERT_EQ(::read(read_end.get(), got.data(), got.size()), 2);
  EXPECT_STREQ(got.data(), "hi");
}

TEST_F(ControlSocket, AnErrorOfTheHandlerComesBackAsOne) {
  const auto handler = [](const std::string&) -> Result<ControlAnswer> {
    return make_error(ErrorCode::NotFound, "no node \"x\"");
  };
  serve_while(handler, [this] {
    const auto answer = ask(path(), "enter node/x");
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().message, "no node \"x\"");
  });
}

TEST_F(ControlSocket, ALongAnswerArrivesWhole) {
  const std::string text(100'000, 'x');
  const auto handler = [&text](const std::string&) -> Result<ControlAnswer> {
    return ControlAnswer{.text = text, .descriptors = {}};
  };
  serve_while(handler, [&] {
    const auto answer = ask(path(), "status");
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(answer->text, text);
  });
}

TEST_F(ControlSocket, AClientThatSaysNothingDoesNotKeepTheOthersFromTheirAnswer) {
  const auto handler = [](const std::string&) -> Result<ControlAnswer> {
    return ControlAnswer{.text = "well", .descriptors = {}};
  };
  serve_while(handler, [this] {
    const auto silent = ControlClient::connect(path());
    ASSERT_TRUE(silent);
    const auto answer = ask(path(), "status");
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(answer->text, "well");
  });
}

TEST_F(ControlSocket, APathThatIsTooLongIsSaid) {
  const std::string path = "/" + std::string(200, 'x');
  const std::string message = fmt::format(
      "the state folder's path is too long for a socket in it: {} (107 bytes at most)", path);
  const auto server = ControlServer::create(path);
  ASSERT_FALSE(server);
  EXPECT_EQ(server.error(), (Error{.code = ErrorCode::Invalid, .message = message}));
  const auto client = ControlClient::connect(path);
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().message, message);
}

TEST_F(ControlSocket, NobodyListensIsNotFound) {
  const auto missing = ControlClient::connect(path());
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error(),
            (Error{.code = ErrorCode::NotFound,
                   .message = fmt::format("no lab is running (nothing listens on {})", path())}));
  {
    const auto dead = ControlServer::create(path());
    ASSERT_TRUE(dead);
  }
  const auto left_behind = ControlClient::connect(path());
  ASSERT_FALSE(left_behind);
  EXPECT_EQ(left_behind.error().code, ErrorCode::NotFound);
}

}  // namespace
}  // namespace fairlead::lab
