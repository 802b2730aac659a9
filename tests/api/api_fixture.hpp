// A fairlead-apiserver of the test's own on loopback, on SQLite or on an etcd of its own, and real
// kubectls pointed at it. Everything lives in one temporary folder: data directory, kubeconfig,
// kubectl's HOME.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "etcd/etcd_cluster.hpp"
#include "io/process.hpp"

namespace fairlead::api_test {

enum class StoreUnderTest { Sqlite, Etcd };

// Where the kubectls are: FAIRLEAD_KUBECTL and FAIRLEAD_KUBECTL_OLD, else .cache/tools of the
// source tree. Each on each store.
struct KubectlUnderTest {
  std::string name;
  std::string path;
  StoreUnderTest store = StoreUnderTest::Sqlite;
  bool is_current = true;  // has subcommands that the old one lacks
};
std::vector<KubectlUnderTest> kubectls_under_test();
inline void PrintTo(const KubectlUnderTest& kubectl, std::ostream* out) { *out << kubectl.name; }

class Folder {
 public:
  Folder();
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const std::string& path() const { return path_; }
  std::string write(const std::string& name, std::string_view content, unsigned mode = 0600) const;
  std::string read(const std::string& name) const;  // "" when missing

 private:
  std::string path_;
};

// The program itself, as a child process.
class ServerProcess {
 public:
  // Starts and waits until it has written its kubeconfig (which it does when it serves).
  explicit ServerProcess(const Folder& folder, std::vector<std::string> flags = {});
  io::ExitStatus stop(int signal);  // and waits for its end
  std::string kubeconfig() const;
  std::string log() const;
  pid_t pid() const { return child_->pid(); }

 private:
  const Folder& folder_;
  std::optional<io::Child> child_;
};
std::string server_program();

// Waits until `holds`, looking again whenever a file in the folder changes; false after thirty
// seconds.
bool eventually(const Folder& folder, const std::function<bool()>& holds);

// What a server keeps its objects in, longer than the process lives.
class StoreOfTest {
 public:
  // `etcd_flags` are for etcd, if that is the store.
  explicit StoreOfTest(StoreUnderTest which, std::vector<std::string> etcd_flags = {});
  // Why there is none; "" when all is well.
  const std::string& missing() const { return missing_; }
  // What tells the server of it.
  std::vector<std::string> flags() const;
  std::uint16_t etcd_port() const { return etcd_->port(0); }
  etcd_test::EtcdCluster& etcd() { return *etcd_; }

 private:
  std::optional<etcd_test::EtcdCluster> etcd_;
  std::string missing_;
};

class KubectlTest : public testing::TestWithParam<KubectlUnderTest> {
 protected:
  void SetUp() override;
  bool is_current() const { return GetParam().is_current; }
  void start_server();  // on the objects of the one before

  io::Output kubectl(std::vector<std::string> arguments, std::string_view input = {});
  // Must succeed; what it printed.
  std::string ok(std::vector<std::string> arguments, std::string_view input = {});
  // Must fail; what it said on stderr.
  std::string refused(std::vector<std::string> arguments, std::string_view input = {});
  // Started, not waited for; its output goes to `file` in the folder.
  io::Child start_kubectl(std::vector<std::string> arguments, const std::string& file);

  Folder folder_;
  std::optional<StoreOfTest> store_;
  std::optional<ServerProcess> server_;

 private:
  io::Command command(std::vector<std::string> arguments) const;
};

}  // namespace fairlead::api_test
