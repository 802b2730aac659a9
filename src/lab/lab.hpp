// A whole virtual cluster in one process: network, API server, controllers, scheduler, an agent and
// a proxy process a node, and the control socket. run() is the life of the supervisor.
//
// Loop thread only. Everything it starts is below it: child processes die with it, namespaces with
// their last descriptor.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "client/informer.hpp"
#include "client/reflector.hpp"
#include "controlplane/control_plane.hpp"
#include "controlplane/proxy_process.hpp"
#include "lab/control_socket.hpp"
#include "lab/network.hpp"
#include "lab/node_agent.hpp"
#include "lab/state_dir.hpp"

namespace fairlead::lab {

struct LabConfig {
  StatePaths paths;
  unsigned nodes = 2;
  Port api_port{};                // on 127.0.0.1; 0 lets the kernel choose
  std::string proxy;              // program to run on every node; empty = none
  std::string program_directory;  // first in the PATH of pods
  std::string version;
  int verbosity = 0;
};

// "NAME" (in namespace default) or "NAMESPACE/NAME".
kube::NamespacedName pod_key(const std::string& text);

class Lab {
 public:
  static Result<std::unique_ptr<Lab>> create(io::Executor executor, LabConfig config);
  ~Lab();

  // Until stop() or "down" on the control socket. `ready` is called once everything serves; when it
  // fails, nobody waits for this lab any more and it ends.
  io::Task<Result<void>> run(std::function<Result<void>()> ready);
  void stop() { stop_.notify(); }

 private:
  Lab(io::Executor executor, LabConfig config, Layout layout, Network network);
  Result<void> make_control_plane();
  io::Task<Result<void>> start();
  io::Task<Result<void>> register_nodes();
  controlplane::ProxyProcess::Config proxy_config(const NodeLayout& node,
                                                  const io::NetNamespace& space) const;
  void start_nodes();
  io::Task<void> schedule();
  io::Task<void> bind(kube::NamespacedName pod, std::string uid, std::string node);
  io::Task<void> close();

  Result<ControlAnswer> answer(const std::string& request);
  Result<ControlAnswer> enter(const std::string& where) const;
  std::string status() const;

  struct Watches;
  io::Executor executor_;
  LabConfig config_;
  Layout layout_;
  Network network_;
  std::unique_ptr<controlplane::ControlPlane> control_plane_;
  client::Store<kube::Pod> pods_;
  client::Store<kube::Node> node_objects_;
  std::unique_ptr<Watches> watches_;
  std::vector<std::unique_ptr<NodeAgent>> agents_;
  std::vector<std::unique_ptr<controlplane::ProxyProcess>> proxies_;
  std::unique_ptr<ControlServer> control_;
  io::Event stop_, reschedule_;
  io::TaskGroup tasks_;
};

}  // namespace fairlead::lab
