// What runs on node1 of a rig: the objects seen so far, the plan compiled from them, and the mode
// that programs it. Stands for the proxy without its API client and its timers. Owner: one test.
// Thread rule: the test's thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "packets/probe.hpp"
#include "packets/rig.hpp"
#include "packets/scenario.hpp"
#include "proxy/config.hpp"
#include "proxy/node_context.hpp"
#include "proxy/plan/compile.hpp"
#include "proxy/plan/explain.hpp"
#include "proxy/plan/mode.hpp"

namespace fairlead::packets {

// How a step's changes are brought to the kernel.
enum class Programming {
  Deltas,    // the first step in full, later ones as the difference
  Restarts,  // every step in full, by a mode that knows nothing of the one before
};
std::string_view to_string(Programming programming);

class Cluster {
 public:
  struct Options {
    // As in KubeProxyConfiguration, or "iptables-legacy", "iptables-nft", and "iptables-large" with
    // the rules of large clusters.
    std::string mode;
    std::string config;
    std::vector<IpPrefix> service_cidrs;
    Programming programming = Programming::Deltas;
  };
  static Result<std::unique_ptr<Cluster>> create(const Rig& rig, Options options);

  Result<void> apply(const std::string& object_json);
  Result<void> remove(const ObjectRef& object);
  // Compiles what changed and programs it.
  Result<void> sync();

  plan::Mode& mode() { return *mode_; }
  const plan::Plan& plan() const { return compiler_->plan(); }
  Result<void> program_in_full();

  // What the plan does to a packet from `from` as it reaches node1.
  plan::Explanation explain(const Host& from, Protocol protocol, const IpAddress& source,
                            const SocketAddress& to) const;
  // Userspace mode speaks to endpoints itself, whoever asked; or, if told so, as the client, but
  // not where both are behind one interface of the node.
  bool asks_for_itself(const Send& send, const Host& backend) const;

 private:
  Cluster(const Rig& rig, Options options) : rig_(rig), options_(std::move(options)) {}
  Result<plan::NodeContext> node_context() const;
  Result<void> make_mode();

  const Rig& rig_;
  Options options_;
  proxy::Config config_;
  proxy::HostFacts facts_;
  model::Model model_;
  std::unique_ptr<plan::Compiler> compiler_;
  std::unique_ptr<plan::Mode> mode_;
};

}  // namespace fairlead::packets
