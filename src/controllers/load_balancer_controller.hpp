// Gives Services of type LoadBalancer their addresses: the shell around LoadBalancerAddresses.
// Writes status.loadBalancer.ingress through the status subresource, and Events about what it did
// or could not do. Announcing an address to the network is not done here: the nodes answer for
// whatever address reaches them.
//
// Loop thread only; owned by Controllers (controllers.hpp), which feeds the store. Invariants: the
// addresses that the statuses name are noted before the first new one is given away; a status is
// written over the version it was decided from, never over a newer one. Two of these at a time may
// give one address away twice (a lease holder that does not know yet that it is none); whichever
// goes on finds that in the statuses, and the younger Service gets another.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "client/api_client.hpp"
#include "client/event_recorder.hpp"
#include "client/informer.hpp"
#include "controllers/load_balancer_addresses.hpp"
#include "controllers/work_queue.hpp"
#include "io/task.hpp"

namespace fairlead::controllers {

struct LoadBalancerPolicy {
  std::vector<AddressRange> pools;  // none = the controller does not run
  std::string load_balancer_class = kLoadBalancerClass;
  bool classless = true;  // also Services that name no class
};

class LoadBalancerController {
 public:
  struct Config {
    client::ApiClient* client = nullptr;
    client::EventRecorder* events = nullptr;
    const Clock* clock = nullptr;
    client::Store<kube::Service>* services = nullptr;
    LoadBalancerPolicy policy;
  };
  // Subscribes to the store.
  LoadBalancerController(io::Executor executor, Config config);
  LoadBalancerController(const LoadBalancerController&) = delete;
  LoadBalancerController& operator=(const LoadBalancerController&) = delete;

  // Spawned by the owner; works once the store has synced, until cancelled.
  io::Task<void> run();

 private:
  bool serves(const kube::Service& service) const;
  void adopt_all();
  void mark(const kube::NamespacedName& service);
  void mark_waiting();
  io::Task<Result<void>> sync(kube::NamespacedName key);
  io::Task<Result<void>> write(kube::Service service, std::vector<IpAddress> addresses);
  void give_up(const kube::NamespacedName& key);
  LoadBalancerAddresses::Answer decide(const kube::Service& service);
  void tell(const kube::Service& service, client::Event::Type type, std::string reason,
            std::string note) const;

  Config config_;
  LoadBalancerAddresses addresses_;
  io::Event wake_;
  WorkQueue queue_;
  std::set<kube::NamespacedName> waiting_;  // were refused something
};

// The merge patch of services/NAME/status; pure.
std::string ingress_patch(const kube::Service& service, const std::vector<IpAddress>& addresses);

}  // namespace fairlead::controllers
