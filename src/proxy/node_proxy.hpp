// The node proxy, whole: watches the API server, keeps the kernel in step, answers probes. The
// program fairlead-proxy is a thin main around it; `fairlead up` runs one beside its API server.
//
// Resource on one Asio loop, plus one worker thread for the kernel. create() does the blocking
// set-up (opens the mode) and changes nothing in the kernel; start() begins; close() ends
// everything and leaves all rules in place. on_fatal is called at most once, on the loop, for what
// no retry can mend (no permission, a bind address with bindAddressHardFail, a changed
// configuration file).
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "client/kubeconfig.hpp"
#include "io/task.hpp"
#include "proxy/config.hpp"
#include "proxy/plan/mode.hpp"
#include "proxy/sync.hpp"

namespace fairlead::proxy {

using ModeFactory = std::function<Result<std::unique_ptr<plan::Mode>>()>;

// The mode of a valid configuration in the calling thread's network namespace; "auto" must have
// been resolved.
enum class Purpose : std::uint8_t {
  Program,
  Verify,  // nothing but verify() is called: making it leaves the node as it is
};
Result<std::unique_ptr<plan::Mode>> make_mode(const Config& config,
                                              Purpose purpose = Purpose::Program);

// A lack of permission, with how a service gets it.
Error with_advice(Error error);

class NodeProxy {
 public:
  struct Options {
    Config config;  // valid
    client::ClusterAccess access;
    std::string node_name;
    std::string config_file;  // watched; empty = none
    ModeFactory mode;         // empty = make_mode(config)
    std::function<void(const Error&)> on_fatal;
    std::function<void()> on_succeeded;  // another process serves in our place: once, on the loop
    const Clock* clock = &Clock::real();
  };
  static Result<std::unique_ptr<NodeProxy>> create(io::Executor executor, Options options);
  ~NodeProxy();
  NodeProxy(const NodeProxy&) = delete;
  NodeProxy& operator=(const NodeProxy&) = delete;

  void start();
  io::Task<void> close();

  // The plan as compiled, which the kernel has or is about to have.
  const plan::Plan& plan() const;
  SyncHealth health() const;
  // Everything known of the cluster has been programmed at least once.
  bool first_sync_done() const;

  class Impl;

 private:
  explicit NodeProxy(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fairlead::proxy
