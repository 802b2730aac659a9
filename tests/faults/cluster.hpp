// An API server and the node proxy as child processes on one Machine, and what a test does to
// them. The API server is reached as its administrator.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/api_client.hpp"
#include "faults/machine.hpp"
#include "io/http.hpp"
#include "support/loop.hpp"

namespace fairlead::faults {

inline constexpr char kNode[] = "node-a";

class ClusterTest : public ::testing::Test {
 protected:
  void SetUp() override;  // skips, loudly, where no network namespace can be made

  const Machine& machine() const { return *machine_; }

  // The API server, always at the same address; its data survive it unless forgotten.
  void start_api();
  void stop_api(int signal = SIGTERM);
  void forget_api_data();  // the next start makes an empty cluster with the same certificates

  // With -v=4, so that each thing it does is a line; `flags` come behind.
  Program start_proxy(std::vector<std::string> flags = {}) const;
  std::vector<std::string> proxy_command(std::vector<std::string> flags = {}) const;

  // REST as administrator. Each must succeed.
  std::string create(const std::string& collection, const std::string& json);
  void replace(const std::string& path, const std::string& json);
  void remove(const std::string& path);
  Result<std::string> get(const std::string& path);
  client::ApiClient& api();

  // A Service called `name` in default with one TCP port 80, and its only slice.
  void create_service(const std::string& name, const std::string& cluster_ip);
  void put_endpoints(const std::string& service, const std::vector<std::string>& addresses);
  void create_node();

  // GET http://127.0.0.1:port/path.
  Result<io::HttpResponse> ask(std::uint16_t port, const std::string& path);

  test::Loop loop_;

 private:
  std::unique_ptr<Machine> machine_;
  std::optional<Program> api_server_;
  std::unique_ptr<client::ApiClient> api_;
  std::map<std::string, bool> has_slice_;
};

// The endpoints that the kernel sends the TCP port 80 of `cluster_ip` to, in order.
std::vector<std::string> backends(const std::string& cluster_ip);
// Whether the table of ours is there.
bool has_table();

}  // namespace fairlead::faults
