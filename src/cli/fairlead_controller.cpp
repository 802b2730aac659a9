// fairlead-controller: the controllers as a program of their own, with kube-controller-manager's
// flags for what both have. Any number may run; the holder of a Lease works, the others wait.
#include <CLI/CLI.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <cstdio>
#include <random>
#include <string>

#include "base/log.hpp"
#include "cli/controller_flags.hpp"

namespace fairlead {
namespace {

constexpr char kFooter[] =
    "Durations are written as 15s, 500ms or 1m30s. A process that loses the lease ends with exit "
    "code 1: its supervisor\n"
    "starts it again, as a candidate.";

using cli::ControllerFlags;

// Everything the process owns while its loop runs.
class Program {
 public:
  Program(io::Executor executor, controllers::Controllers::Config config,
          controllers::LeaseTerms terms)
      : executor_(executor),
        config_(std::move(config)),
        terms_(std::move(terms)),
        ended_(executor),
        tasks_(executor, "leader election") {}

  Result<void> create_clients(const client::ClusterAccess& access, client::RateLimit limit) {
    FAIRLEAD_TRY(client, client::ApiClient::create(executor_, {.access = access,
                                                               .user_agent = "fairlead-controller",
                                                               .rate_limit = limit}));
    client_ = std::move(client);
    // A client of its own: renewing never waits for the controllers' turn.
    FAIRLEAD_TRY(lease_client,
                 client::ApiClient::create(executor_, {.access = access,
                                                       .user_agent = "fairlead-controller/lease",
                                                       .timeout = terms_.renew_deadline / 2}));
    lease_client_ = std::move(lease_client);
    config_.client = client_.get();
    config_.instance = terms_.identity;
    return {};
  }

  // Until stop(), or until the lease is lost.
  io::Task<Result<void>> run(bool elect) {
    if (!elect) {
      start_controllers();
      co_await ended_.wait();
      co_await close_controllers();
      co_return Result<void>{};
    }
    election_.emplace(
        executor_,
        controllers::LeaderElection::Config{
            .client = lease_client_.get(), .terms = terms_, .seed = std::random_device()()});
    tasks_.spawn(election_->run());
    tasks_.spawn(lead());
    co_await ended_.wait();
    co_await close_controllers();
    co_await tasks_.close();
    if (stopping_) co_await election_->release();
    if (stopping_) co_return Result<void>{};
    co_return make_error(ErrorCode::Unavailable, "the lease {} is lost", terms_.lease.to_string());
  }
  void stop() {
    stopping_ = true;
    ended_.notify();
  }
  void drop_clients() {
    client_.reset();
    lease_client_.reset();
  }

 private:
  io::Task<void> lead() {
    if (!co_await election_->until_elected()) co_return;
    log::info("Leading", {{"identity", terms_.identity}});
    start_controllers();
    co_await election_->until_lost();
    ended_.notify();
  }
  void start_controllers() {
    controllers_ = std::make_unique<controllers::Controllers>(executor_, config_);
    controllers_->start();
  }
  io::Task<void> close_controllers() {
    if (controllers_) co_await controllers_->close();
    controllers_.reset();
  }

  io::Executor executor_;
  controllers::Controllers::Config config_;
  controllers::LeaseTerms terms_;
  std::unique_ptr<client::ApiClient> client_, lease_client_;
  std::optional<controllers::LeaderElection> election_;
  std::unique_ptr<controllers::Controllers> controllers_;
  bool stopping_ = false;
  io::Event ended_;
  io::TaskGroup tasks_;
};

Result<void> run_program(const ControllerFlags& flags) {
  FAIRLEAD_TRY(terms, cli::lease_terms(flags));
  FAIRLEAD_TRY(config, cli::controllers_config(flags));
  FAIRLEAD_TRY(limit, cli::rate_limit(flags));
  FAIRLEAD_TRY(access, client::access_for_node(flags.kubeconfig, flags.master,
                                               client::Surroundings::of_process()));
  io::asio::io_context loop(1);
  Program program(loop.get_executor(), std::move(config), std::move(terms));
  FAIRLEAD_CHECK(program.create_clients(access, limit));
  io::asio::signal_set signals(loop, SIGINT, SIGTERM);
  signals.async_wait([&program](const boost::system::error_code& ec, int) {
    if (!ec) program.stop();
  });
  Result<void> outcome;
  io::asio::co_spawn(loop, program.run(flags.leader_elect),
                     [&](const std::exception_ptr& thrown, Result<void> result) {
                       check(!thrown, "our code does not throw");
                       outcome = std::move(result);
                       program.drop_clients();
                       signals.cancel();
                     });
  loop.run();
  return outcome;
}

}  // namespace
}  // namespace fairlead

int main(int argc, char** argv) {
  fairlead::ControllerFlags flags;
  CLI::App app(
      "The controllers of Fairlead: EndpointSlices, load-balancer addresses, Pods and nodes that "
      "are "
      "gone.");
  fairlead::cli::describe(app, flags);
  app.footer(fairlead::kFooter);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& wrong) {
    fmt::print(stderr, "fairlead-controller: {}\n", wrong.what());
    return 2;
  }
  fairlead::log::configure({.format = flags.log_format == "json" ? fairlead::log::Format::Json
                                                                 : fairlead::log::Format::Text,
                            .verbosity = flags.verbosity});
  if (const auto done = fairlead::run_program(flags); !done) {
    fmt::print(stderr, "fairlead-controller: {}\n", done.error());
    return 1;
  }
  return 0;
}
