// Which Pods nobody will ever end: those of nodes that are gone, ended ones above a threshold,
// deleted ones that no node ever had, deleted ones of a node that is out of service. Pure; the
// controller (pod_garbage_controller.hpp) asks, deletes and tries again.
//
// Rules: those of kube-controller-manager's pod garbage collector. A Pod that waits for its
// finalizers only is not looked at again.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "kube/objects.hpp"

namespace fairlead::controllers {

struct PodGarbagePolicy {
  std::size_t terminated_threshold = 12'500;  // 0 = ended Pods are kept
  // How long a node must be missing before the API server is asked for it.
  std::chrono::nanoseconds missing_node_period = std::chrono::seconds{40};
};

struct DoomedPod {
  enum class Why : std::uint8_t { Ended, NeverScheduled, OutOfService, NodeGone };
  kube::NamespacedName pod;
  std::string uid;
  bool ended = false;  // its phase is Succeeded or Failed already
  Why why = Why::Ended;
  bool operator==(const DoomedPod&) const = default;
};
std::string_view to_string(DoomedPod::Why why);

using PodMap = std::map<kube::NamespacedName, kube::Pod>;
using NodeMap = std::map<kube::NamespacedName, kube::Node>;

// All but those of missing nodes. Ended ones: evicted ones first, then the oldest.
std::vector<DoomedPod> doomed_pods(const PodMap& pods, const NodeMap& nodes,
                                   const PodGarbagePolicy& policy);
std::vector<DoomedPod> pods_of_gone_node(const PodMap& pods, const std::string& node);

// The nodes that Pods name and that are not there.
class MissingNodes {
 public:
  void look(const PodMap& pods, const NodeMap& nodes, MonoTime now);
  // Those missing for this long, by name.
  std::vector<std::string> missing_for(std::chrono::nanoseconds period, MonoTime now) const;
  // It is there, though we have not been told yet.
  void found(const std::string& node, MonoTime now);
  // Since when one has been missing that has been so for longest.
  std::optional<MonoTime> first_missed() const;

 private:
  std::map<std::string, MonoTime> since_;
};

// The patch of a Pod's status that says it has failed (application/strategic-merge-patch+json), and
// the body of the DELETE that waits for nobody. Both hold for this very Pod only.
std::string failed_patch(const DoomedPod& pod, WallTime now);
std::string forced_delete(const DoomedPod& pod);

}  // namespace fairlead::controllers
