// The EndpointSlices of each Service as one controller sees them, and which of its own writes have
// not come back through the watch yet: over a view older than these it must not decide anew.
//
// Loop thread only. Reads the store; is told of its news by the controller, which subscribes.
#pragma once

#include <chrono>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "client/informer.hpp"
#include "kube/objects.hpp"

namespace fairlead::controllers {

class ServiceSlices {
 public:
  // How long a write is waited for: after an outage it may never come back as it was answered.
  static constexpr std::chrono::seconds kPatience{5};

  // Both outlive this.
  ServiceSlices(const client::Store<kube::EndpointSlice>& store, const Clock& clock)
      : store_(store), clock_(clock) {}

  // News of one slice; nullptr before = it is new, nullptr after = it is gone, or none of this
  // controller's any more. The Services it belonged or belongs to by its label.
  std::vector<kube::NamespacedName> changed(const kube::EndpointSlice* before,
                                            const kube::EndpointSlice* after);
  // By name, ascending.
  std::vector<const kube::EndpointSlice*> of(const kube::NamespacedName& service) const;

  // What the server answered to a write of one of the Service's slices.
  void written(const kube::NamespacedName& service, const kube::EndpointSlice& answer);
  void removed(const kube::NamespacedName& service, const std::string& slice);
  bool waits_for_own_writes(const kube::NamespacedName& service);

 private:
  struct Outstanding {
    std::uint64_t revision = 0;  // 0 = a deletion
    MonoTime patience;
  };
  // Of a slice that does not matter to this Service any more.
  void forget_writes(const kube::NamespacedName& service, const std::string& slice);
  bool came_back(const kube::NamespacedName& slice, const Outstanding& write) const;

  const client::Store<kube::EndpointSlice>& store_;
  const Clock& clock_;
  std::map<kube::NamespacedName, std::set<std::string>> names_;  // by service
  std::map<kube::NamespacedName, std::map<std::string, Outstanding>>
      outstanding_;  // by service, then slice
};

}  // namespace fairlead::controllers
