#include "history/servers.hpp"

#include <fmt/format.h>

#include <boost/asio/co_spawn.hpp>
#include <csignal>
#include <fstream>
#include <iterator>

#include "etcd/etcd_cluster.hpp"
#include "support/process.hpp"

namespace fairlead::history {

ApiProcess::ApiProcess(std::string folder, std::vector<std::string> flags,
                       std::map<std::string, std::string> environment)
    : folder_(std::move(folder)),
      flags_(std::move(flags)),
      environment_(std::move(environment)),
      port_(etcd_test::free_port()) {}

bool ApiProcess::start() {
  io::Command command;
  command.argv = {std::string(FAIRLEAD_BINARY_DIR) + "/src/cli/fairlead-apiserver",
                  "--data-dir",
                  folder_,
                  "--bind-address",
                  "127.0.0.1",
                  "--secure-port",
                  "0",
                  "--http-port",
                  std::to_string(port_)};
  command.argv.insert(command.argv.end(), flags_.begin(), flags_.end());
  command.env = environment_;
  auto child = test::spawn_logging(std::move(command), folder_ + ".log");
  if (!child) return false;
  child_ = *std::move(child);
  return true;
}

void ApiProcess::kill() {
  EXPECT_TRUE(child_->signal(SIGKILL));
  EXPECT_TRUE(child_->wait_blocking());
  child_.reset();
}

std::string ApiProcess::log() const {
  std::ifstream file(folder_ + ".log");
  return {std::istreambuf_iterator<char>(file), {}};
}

void ServerFaults::TearDown() {
  if (!HasFailure()) return;
  for (const auto& server : servers_) fmt::print(stderr, "---- a server\n{}\n", server->log());
}

ApiProcess& ServerFaults::add_server(std::vector<std::string> flags,
                                     std::map<std::string, std::string> environment) {
  flags.insert(flags.end(), {"--service-cluster-ip-range", "10.0.0.0/26,fd00:10::/122",
                             "--service-node-port-range", "30000-30063"});
  servers_.push_back(
      std::make_unique<ApiProcess>(fmt::format("{}/server{}", folder_.path(), servers_.size()),
                                   std::move(flags), std::move(environment)));
  EXPECT_TRUE(servers_.back()->start());
  return *servers_.back();
}

void ServerFaults::run(io::Task<void> task) {
  bool done = false;
  boost::asio::co_spawn(context_, std::move(task), [&done](const std::exception_ptr& thrown) {
    EXPECT_FALSE(thrown);
    done = true;
  });
  while (!done && context_.run_one() > 0) {
  }
}

io::Task<bool> ServerFaults::all_ready() {
  for (const auto& server : servers_) {
    if (!co_await answers(executor(), server->port(), "/readyz", kPatience)) co_return false;
  }
  co_return true;
}

LoadConfig ServerFaults::load_config() const {
  LoadConfig out{.dual_stack = true};
  for (const auto& server : servers_) out.servers.push_back(server->port());
  return out;
}

io::Task<void> ServerFaults::judge(Load* load) {
  // A server ends each watch after a second or two, if nothing else did.
  EXPECT_TRUE(co_await load->watches_resumed(1, kPatience)) << "no watch was taken up again";
  auto history = co_await load->finish();
  EXPECT_TRUE(history) << (history ? "" : history.error().message);
  if (!history) co_return;
  const Counts& counts = load->counts();
  fmt::print(stderr,
             "{} writes acknowledged, {} refused, {} unknown; {} watches resumed, {} relisted\n",
             counts.acknowledged, counts.refused, counts.unknown, counts.resumed, counts.relisted);
  EXPECT_EQ(counts.relisted, 0U) << "the past was forgotten";
  EXPECT_THAT(violations(*history), testing::IsEmpty());
}

}  // namespace fairlead::history
