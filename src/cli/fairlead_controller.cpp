// fairlead-controller: the controllers as a program of their own, with kube-controller-manager's
// flags for what both have. Any number may run; the holder of a Lease works, the others wait.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <cstdio>
#include <random>
#include <string>

#include "base/log.hpp"
#include "controllers/controllers.hpp"
#include "controllers/leader_election.hpp"

namespace fairlead {
namespace {

constexpr char kFooter[] =
    "Durations are written as 15s, 500ms or 1m30s. A process that loses the lease ends with exit "
    "code 1: its supervisor\n"
    "starts it again, as a candidate.";

struct Flags {
  std::string kubeconfig, master;
  bool leader_elect = true;
  std::string lease_duration = "15s", renew_deadline = "10s", retry_period = "2s";
  std::string lease_name = "fairlead-controller", lease_namespace = "kube-system";
  std::vector<std::string> pools;
  std::string balancer_class = controllers::kLoadBalancerClass;
  bool classless = true;
  std::string batch_period = "0s";
  double qps = 20;
  int burst = 30;
  std::string log_format = "text";
  int verbosity = 0;
};

void describe_election(CLI::App& app, Flags& flags) {
  app.add_flag("--leader-elect,!--no-leader-elect", flags.leader_elect,
               "work only while holding the lease (default: true)");
  app.add_option("--leader-elect-lease-duration", flags.lease_duration,
                 "how long others wait after the last sign of the holder")
      ->capture_default_str();
  app.add_option("--leader-elect-renew-deadline", flags.renew_deadline,
                 "how long the holder goes on without renewing")
      ->capture_default_str();
  app.add_option("--leader-elect-retry-period", flags.retry_period, "between two tries")
      ->capture_default_str();
  app.add_option("--leader-elect-resource-name", flags.lease_name, "name of the Lease")
      ->capture_default_str();
  app.add_option("--leader-elect-resource-namespace", flags.lease_namespace,
                 "namespace of the Lease")
      ->capture_default_str();
}

void describe(CLI::App& app, Flags& flags) {
  app.add_option("--kubeconfig", flags.kubeconfig,
                 "how to reach the API server (default: the pod's service account)");
  app.add_option("--master", flags.master, "URL of the API server, before the kubeconfig's");
  describe_election(app, flags);
  app.add_option("--load-balancer-pool", flags.pools,
                 "addresses for Services of type LoadBalancer: CIDRs or ranges FIRST-LAST, "
                 "separated by commas (default: none)")
      ->delimiter(',');
  app.add_option("--load-balancer-class", flags.balancer_class,
                 "the loadBalancerClass of the Services to serve")
      ->capture_default_str();
  app.add_flag("--load-balancer-classless,!--no-load-balancer-classless", flags.classless,
               "serve also Services without a loadBalancerClass (default: true)");
  app.add_option("--endpointslice-updates-batch-period", flags.batch_period,
                 "changes of Pods wait this long for company")
      ->capture_default_str();
  app.add_option("--kube-api-qps", flags.qps, "requests a second to the API server")
      ->capture_default_str();
  app.add_option("--kube-api-burst", flags.burst, "requests to the API server at once")
      ->capture_default_str();
  app.add_option("--logging-format", flags.log_format, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  app.add_option("-v,--v", flags.verbosity, "log verbosity")->capture_default_str();
}

Result<std::chrono::nanoseconds> duration_flag(std::string_view name, const std::string& text) {
  auto value = parse_duration(text);
  if (!value) return value.error().with_context(fmt::format("--{}", name));
  return value;
}

// "host_1f2e3d4c...": another start of the same host is another candidate.
std::string new_identity() {
  std::string host(256, '\0');
  if (::gethostname(host.data(), host.size() - 1) != 0) host = "unknown";
  host.resize(host.find('\0') == std::string::npos ? host.size() : host.find('\0'));
  std::random_device random;
  return fmt::format("{}_{:08x}{:08x}", host, random(), random());
}

Result<controllers::LeaseTerms> lease_terms(const Flags& flags) {
  controllers::LeaseTerms terms{
      .lease = {.namespace_ = flags.lease_namespace, .name = flags.lease_name},
      .identity = new_identity()};
  FAIRLEAD_TRY(duration, duration_flag("leader-elect-lease-duration", flags.lease_duration));
  FAIRLEAD_TRY(deadline, duration_flag("leader-elect-renew-deadline", flags.renew_deadline));
  FAIRLEAD_TRY(period, duration_flag("leader-elect-retry-period", flags.retry_period));
  terms.lease_duration = duration;
  terms.renew_deadline = deadline;
  terms.retry_period = period;
  FAIRLEAD_CHECK(controllers::validate(terms));
  return terms;
}

Result<controllers::Controllers::Config> controllers_config(const Flags& flags) {
  controllers::Controllers::Config out;
  auto pools = controllers::parse_address_ranges(flags.pools);
  if (!pools) return pools.error().with_context("--load-balancer-pool");
  out.load_balancer = {.pools = *std::move(pools),
                       .load_balancer_class = flags.balancer_class,
                       .classless = flags.classless};
  FAIRLEAD_TRY(batch, duration_flag("endpointslice-updates-batch-period", flags.batch_period));
  out.endpoint_batch_period = std::chrono::duration_cast<std::chrono::milliseconds>(batch);
  return out;
}

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

  Result<void> create_clients(const client::ClusterAccess& access, const Flags& flags) {
    FAIRLEAD_TRY(client, client::ApiClient::create(
                             executor_, {.access = access,
                                         .user_agent = "fairlead-controller",
                                         .rate_limit = client::RateLimit{.per_second = flags.qps,
                                                                         .burst = flags.burst}}));
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

Result<void> run_program(const Flags& flags) {
  FAIRLEAD_TRY(terms, lease_terms(flags));
  FAIRLEAD_TRY(config, controllers_config(flags));
  FAIRLEAD_TRY(access, client::access_for_node(flags.kubeconfig, flags.master,
                                               client::Surroundings::of_process()));
  io::asio::io_context loop(1);
  Program program(loop.get_executor(), std::move(config), std::move(terms));
  FAIRLEAD_CHECK(program.create_clients(access, flags));
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
  fairlead::Flags flags;
  CLI::App app("The controllers of Fairlead: EndpointSlices and load-balancer addresses.");
  fairlead::describe(app, flags);
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
