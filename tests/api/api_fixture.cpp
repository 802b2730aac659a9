#include "api/api_fixture.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>

namespace fairlead::api_test {

using namespace std::chrono_literals;

namespace {

std::string from_environment(const char* name, const std::string& otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : otherwise;
}

}  // namespace

std::vector<KubectlUnderTest> kubectls_under_test() {
  const std::string tools = std::string(FAIRLEAD_SOURCE_DIR) + "/.cache/tools/";
  const std::string current = from_environment("FAIRLEAD_KUBECTL", tools + "kubectl");
  const std::string old = from_environment("FAIRLEAD_KUBECTL_OLD", tools + "kubectl-1.20");
  return {{.name = "current", .path = current},
          {.name = "v1_20", .path = old, .is_current = false},
          {.name = "etcd", .path = current, .store = StoreUnderTest::Etcd},
          {.name = "v1_20_etcd", .path = old, .store = StoreUnderTest::Etcd, .is_current = false}};
}

Folder::Folder() : path_(testing::TempDir() + "fairlead-api-XXXXXX") {
  check(mkdtemp(path_.data()) != nullptr, "a temporary folder can be made");
}

Folder::~Folder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string Folder::write(const std::string& name, std::string_view content, unsigned mode) const {
  const std::string path = path_ + "/" + name;
  std::ofstream(path) << content;
  check(chmod(path.c_str(), mode) == 0, "a file of ours can be changed");
  return path;
}

std::string Folder::read(const std::string& name) const {
  std::ifstream file(path_ + "/" + name);
  std::stringstream out;
  out << file.rdbuf();
  return out.str();
}

bool eventually(const Folder& folder, const std::function<bool()>& holds) {
  const io::UniqueFd changes(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  check(inotify_add_watch(changes.get(), folder.path().c_str(),
                          IN_MODIFY | IN_CREATE | IN_MOVED_TO) >= 0,
        "a folder of ours can be watched");
  const auto deadline = std::chrono::steady_clock::now() + 30s;
  while (!holds()) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    pollfd waiting{.fd = changes.get(), .events = POLLIN, .revents = 0};
    if (left <= 0ms || poll(&waiting, 1, static_cast<int>(left.count())) == 0) return holds();
    std::array<char, 4096> events;
    while (read(changes.get(), events.data(), events.size()) > 0) {
    }
  }
  return true;
}

std::string server_program() {
  return std::string(FAIRLEAD_BINARY_DIR) + "/src/cli/fairlead-apiserver";
}

ServerProcess::ServerProcess(const Folder& folder, std::vector<std::string> flags)
    : folder_(folder) {
  std::error_code ignored;
  std::filesystem::remove(kubeconfig(), ignored);
  const std::string log_path = folder.path() + "/server.log";
  const io::UniqueFd log_file(
      ::open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  io::Command command;
  command.argv = {server_program(), "--data-dir",         folder.path() + "/data",
                  "--bind-address", "127.0.0.1",          "--advertise-address",
                  "192.0.2.1",      "--write-kubeconfig", kubeconfig()};
  if (std::ranges::find(flags, "--secure-port") == flags.end())
    command.argv.insert(command.argv.end(), {"--secure-port", "0"});
  command.argv.insert(command.argv.end(), flags.begin(), flags.end());
  command.stdout_fd = log_file.get();
  command.stderr_fd = log_file.get();
  auto child = io::Child::spawn(command);
  EXPECT_TRUE(child) << (child ? "" : child.error().message);
  if (!child) return;
  child_ = *std::move(child);
  EXPECT_TRUE(eventually(folder, [this] { return std::filesystem::exists(kubeconfig()); }))
      << log();
}

std::string ServerProcess::kubeconfig() const { return folder_.path() + "/kubeconfig"; }

std::string ServerProcess::log() const { return folder_.read("server.log"); }

io::ExitStatus ServerProcess::stop(int signal) {
  EXPECT_TRUE(child_->signal(signal));
  auto status = child_->wait_blocking();
  child_.reset();
  EXPECT_TRUE(status);
  return status ? *status : io::ExitStatus{};
}

StoreOfTest::StoreOfTest(StoreUnderTest which, std::vector<std::string> etcd_flags) {
  if (which == StoreUnderTest::Sqlite) return;
  if (etcd_test::etcd_program().empty()) {
    missing_ = "no etcd; run ./dev setup, or set FAIRLEAD_ETCD";
    return;
  }
  etcd_.emplace(1, etcd_test::ServerTls{}, std::move(etcd_flags));
  EXPECT_TRUE(etcd_->start()) << etcd_->log();
}

std::vector<std::string> StoreOfTest::flags() const {
  if (!etcd_) return {};
  return {"--etcd-servers", etcd_->endpoint(0)};
}

void KubectlTest::SetUp() {
  if (access(GetParam().path.c_str(), X_OK) != 0) {
    GTEST_SKIP() << "SKIPPED: no kubectl at " << GetParam().path
                 << "; run ./dev setup, or set FAIRLEAD_KUBECTL and "
                 << "FAIRLEAD_KUBECTL_OLD";
  }
  store_.emplace(GetParam().store);
  if (!store_->missing().empty()) GTEST_SKIP() << "SKIPPED: " << store_->missing();
  start_server();
}

void KubectlTest::start_server() { server_.emplace(folder_, store_->flags()); }

io::Command KubectlTest::command(std::vector<std::string> arguments) const {
  io::Command out;
  out.argv = {GetParam().path};
  out.argv.insert(out.argv.end(), arguments.begin(), arguments.end());
  out.env = {{"HOME", folder_.path()},
             {"KUBECONFIG", server_->kubeconfig()},
             {"KUBE_EDITOR", folder_.path() + "/editor"}};
  return out;
}

io::Output KubectlTest::kubectl(std::vector<std::string> arguments, std::string_view input) {
  auto output = io::run_blocking(command(std::move(arguments)), input, 60s);
  EXPECT_TRUE(output) << (output ? "" : output.error().message);
  return output ? *output : io::Output{};
}

namespace {
std::string joined(const std::vector<std::string>& arguments) {
  std::string out = "kubectl";
  for (const std::string& argument : arguments) out += " " + argument;
  return out;
}
}  // namespace

std::string KubectlTest::ok(std::vector<std::string> arguments, std::string_view input) {
  const std::string line = joined(arguments);
  const io::Output output = kubectl(std::move(arguments), input);
  EXPECT_TRUE(output.status.ok()) << line << ": " << output.status.to_string() << "\n"
                                  << output.out << output.err;
  return output.out;
}

std::string KubectlTest::refused(std::vector<std::string> arguments, std::string_view input) {
  const std::string line = joined(arguments);
  const io::Output output = kubectl(std::move(arguments), input);
  EXPECT_EQ(output.status.code, 1) << line << ": " << output.status.to_string() << "\n"
                                   << output.out << output.err;
  return output.err;
}

io::Child KubectlTest::start_kubectl(std::vector<std::string> arguments, const std::string& file) {
  const std::string path = folder_.path() + "/" + file;
  const io::UniqueFd out(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  io::Command started = command(std::move(arguments));
  started.stdout_fd = out.get();
  started.stderr_fd = out.get();
  auto child = io::Child::spawn(started);
  check(child.has_value(), "kubectl starts");
  return *std::move(child);
}

}  // namespace fairlead::api_test
