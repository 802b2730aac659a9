// fairlead-apiserver processes as the tests of this folder run them, and the fixture that puts a
// Load on them and judges what it saw. Everything is on the test's thread: one loop, driven by
// run().
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "history/load.hpp"
#include "io/process.hpp"
#include "support/folder.hpp"

namespace fairlead::history {

inline constexpr std::chrono::seconds kPatience{20};

class ApiProcess {
 public:
  // `environment` is added to ours.
  ApiProcess(std::string folder, std::vector<std::string> flags,
             std::map<std::string, std::string> environment);
  bool start();
  void kill();
  std::uint16_t port() const { return port_; }  // plain HTTP on 127.0.0.1
  std::string log() const;

 private:
  std::string folder_;
  std::vector<std::string> flags_;
  std::map<std::string, std::string> environment_;
  std::uint16_t port_;
  std::optional<io::Child> child_;
};

class ServerFaults : public testing::Test {
 protected:
  void TearDown() override;  // prints the logs when a test has failed

  // Few addresses and ports, so that what is given back is soon given out again.
  ApiProcess& add_server(std::vector<std::string> flags,
                         std::map<std::string, std::string> environment = {});
  // Drives the loop until the task has ended.
  void run(io::Task<void> task);
  io::Task<bool> all_ready();
  LoadConfig load_config() const;
  // Ends the load; nothing that was promised may be broken.
  io::Task<void> judge(Load* load);
  io::Executor executor() { return context_.get_executor(); }

  test::TemporaryFolder folder_;
  boost::asio::io_context context_{1};
  std::vector<std::unique_ptr<ApiProcess>> servers_;
};

}  // namespace fairlead::history
