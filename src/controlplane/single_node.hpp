// A cluster of one machine, this one: API server and controllers in this process, the node proxy as
// its child. What `fairlead up` runs. Loop thread only.
//
// The proxy programs the network namespace we are in. When run() ends in order its rules are
// removed again (the Services behind them stay in the store); after kill -9 they stay, and the next
// start takes them over.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "controlplane/control_plane.hpp"
#include "controlplane/node_object.hpp"
#include "controlplane/proxy_process.hpp"

namespace fairlead::controlplane {

struct SingleNodeConfig {
  apiserver::ApiServer::Config server;  // the first listener is the one the kubeconfig names
  std::string kubeconfig;               // path to write
  std::string proxy_kubeconfig;         // the same for the proxy, when there is one
  NodeFacts node;
  controllers::LoadBalancerPolicy load_balancer;
  std::string proxy;  // program; empty = this machine's kernel is left alone
  std::vector<std::string> proxy_flags;
};

class SingleNode {
 public:
  static Result<std::unique_ptr<SingleNode>> create(io::Executor executor, SingleNodeConfig config);

  // Until stop(). `ready` is called once everything serves.
  io::Task<Result<void>> run(std::function<void()> ready);
  void stop() { stop_.notify(); }
  std::string url() const;

 private:
  SingleNode(const io::Executor& executor, SingleNodeConfig config);
  io::Task<Result<void>> start();
  io::Task<void> close();
  void remove_rules() const;

  SingleNodeConfig config_;
  std::unique_ptr<ControlPlane> control_plane_;
  std::unique_ptr<ProxyProcess> proxy_;
  io::Event stop_;
  io::TaskGroup tasks_;
};

}  // namespace fairlead::controlplane
