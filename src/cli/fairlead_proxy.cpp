// fairlead-proxy: the node proxy with kube-proxy's command line. Everything it does is in proxy/;
// here are the order of start-up (spec/kube-proxy 1.1), signals and the exit code.
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "base/log.hpp"
#include "client/api_client.hpp"
#include "proxy/config_file.hpp"
#include "proxy/flags.hpp"
#include "proxy/host_setup.hpp"
#include "proxy/leftovers.hpp"
#include "proxy/mode_choice.hpp"
#include "proxy/node_context.hpp"
#include "proxy/node_proxy.hpp"

namespace fairlead::proxy {
namespace {

// All that is wrong, on one line each; nothing has been changed yet.
Result<void> check_config(const Config& config) {
  const auto findings = validate(config);
  if (findings.empty()) {
    FAIRLEAD_CHECK(effective_mode(config));
    if (config.master.empty()) return {};
    const auto url = client::parse_server_url(config.master);
    if (!url) return url.error().with_context("flag --master");
    return {};
  }
  std::string all;
  for (const std::string& finding : findings) all += (all.empty() ? "" : "; ") + finding;
  return make_error(ErrorCode::Invalid, "{}", all);
}

void configure_log(const Config& config) {
  log::configure({.format = config.logging.format == "json" ? log::Format::Json : log::Format::Text,
                  .verbosity = config.logging.verbosity});
}

void set_up_host(const Config& config) {
  for (const std::string& problem : apply_oom_score(config.oom_score_adj)) {
    log::warning("OOM score is left as it is", {{"err", problem}});
  }
  for (const std::string& problem : apply_conntrack_sysctls(config.conntrack)) {
    log::warning("A conntrack setting is left as it is", {{"err", problem}});
  }
  for (const std::string& problem : apply_route_localnet(config)) {
    log::warning("Node ports will not answer on localhost", {{"err", problem}});
  }
}

// Whatever the configuration says: of all modes, and of kube-proxy's.
Result<void> cleanup() {
  const Leftovers all = remove_leftovers("", "");
  for (const std::string& name : all.removed) log::info("Removed", {{"from", name}});
  if (all.failures.empty()) {
    log::info(all.removed.empty() ? "There is nothing to remove" : "Removed all rules");
    return {};
  }
  std::string text;
  for (const Error& failure : all.failures) text += (text.empty() ? "" : "; ") + failure.message;
  return make_error(all.failures.front().code, "{}", text);
}

// From here on the configuration names the mode that runs.
Result<void> settle_mode(Config& config) {
  auto choice = choose_mode(config);
  if (!choice) return with_advice(choice.error());
  if (config.mode == "auto") {
    log::info("Chose the proxy mode", {{"mode", choice->name}, {"because", choice->reason}});
  }
  config.mode = choice->name;
  return {};
}

// The loop's whole life: until a signal, or until something fatal happened.
class Run {
 public:
  Result<void> operator()(const Invocation& invocation, std::string node) {
    const Config& config = invocation.config;
    FAIRLEAD_TRY(access, client::access_for_node(config.client_connection.kubeconfig, config.master,
                                                 client::Surroundings::of_process()));
    FAIRLEAD_TRY(proxy, NodeProxy::create(loop_.get_executor(),
                                          {.config = config,
                                           .access = std::move(access),
                                           .node_name = std::move(node),
                                           .config_file = invocation.config_file,
                                           .on_fatal = [this](const Error& error) { fail(error); },
                                           .on_succeeded = [this] { yield_to_successor(); }}));
    proxy_ = std::move(proxy);
    // Nothing of this machine is changed before all that was asked for is known to be in order.
    set_up_host(config);
    if (invocation.init_only) return {};
    signals_.async_wait([this](const boost::system::error_code& ec, int number) {
      if (!ec) stop(number);
    });
    proxy_->start();
    loop_.run();
    signals_.clear();  // the mode may have connections that get their time to end
    if (failure_) return *failure_;
    return {};
  }

 private:
  void stop(int signal) {
    if (succeeded_) return;  // nothing else is left to do
    log::info("Ending; all rules stay in place", {{"signal", signal}});
    close();
  }
  // A container's first process waits to be told to end: started again, it would take over in turn.
  void yield_to_successor() {
    const bool waits = getpid() == 1;
    log::info("Another process has taken over",
              {{"ending", waits ? "when told to" : "when the last connection has ended"}});
    succeeded_ = true;
    io::asio::post(loop_, [this, waits] {
      io::asio::co_spawn(loop_, proxy_->close(), [this, waits](const std::exception_ptr&) {
        if (!waits) signals_.cancel();
      });
    });
  }
  void fail(const Error& error) {
    failure_ = error;
    signals_.cancel();
    // From inside one of the proxy's own tasks: it can only be closed once that has returned.
    io::asio::post(loop_, [this] { close(); });
  }
  // What is under way ends in order; a second signal does not wait for it.
  void close() {
    signals_.async_wait([](const boost::system::error_code& ec, int) {
      if (!ec) std::_Exit(1);
    });
    io::asio::co_spawn(loop_, proxy_->close(),
                       [this](const std::exception_ptr&) { signals_.cancel(); });
  }

  io::asio::io_context loop_{1};
  io::asio::signal_set signals_{loop_, SIGINT, SIGTERM};
  std::unique_ptr<NodeProxy> proxy_;
  std::optional<Error> failure_;
  bool succeeded_ = false;  // by another process
};

Result<void> run_program(const std::vector<std::string>& arguments) {
  FAIRLEAD_TRY(parsed, parse_command_line(arguments));
  if (parsed.printout) {
    std::fputs(parsed.printout->text.c_str(), stdout);
    return {};
  }
  Invocation& invocation = parsed.invocation;
  FAIRLEAD_CHECK(check_config(invocation.config));
  configure_log(invocation.config);
  for (const std::string& note : invocation.notes) log::warning(note);
  if (!invocation.write_config_to.empty()) {
    return write_config_file(invocation.write_config_to, invocation.config);
  }
  if (invocation.cleanup) return cleanup();
  log::verbose(1, "Configuration", {{"effective", to_json(invocation.config)}});
  FAIRLEAD_CHECK(settle_mode(invocation.config));
  FAIRLEAD_TRY(host, host_name());
  FAIRLEAD_TRY(node, node_name(invocation.config, host));
  return Run()(invocation, std::move(node));
}

}  // namespace
}  // namespace fairlead::proxy

int main(int argc, char** argv) {
  const auto result = fairlead::proxy::run_program({argv + 1, argv + argc});
  if (result) return 0;
  fairlead::log::error(result.error().message);
  return 1;
}
