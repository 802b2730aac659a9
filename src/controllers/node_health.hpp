// Which nodes have fallen silent: their Lease in kube-node-lease is not renewed any more. Pure;
// time comes in with every call. The controller (node_health_controller.hpp) asks the API server
// again and tells the cluster.
//
// A heartbeat counts when we hear of it, by our clock, never by comparing clocks. A node without a
// Lease is none of ours: nobody promised that it beats. While nobody at all is heard, for three
// quarters of the grace period (heartbeats stop one after the other), nobody is silent: it is the
// server or we who are cut off, and after that every node gets its full time again. Hence the last
// node of a cluster, or its only one, is never called silent.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "kube/objects.hpp"

namespace fairlead::controllers {

inline constexpr char kNodeLeases[] = "kube-node-lease";  // the namespace

class NodeHealth {
 public:
  explicit NodeHealth(std::chrono::nanoseconds grace_period) : grace_period_(grace_period) {}

  // The Lease of this node's name as it is now; whether that is a sign of life.
  bool heard(const kube::Lease& lease, MonoTime now);
  void forget(const std::string& node);

  // To be called now and then; answers those silent for the grace period, by name.
  std::vector<std::string> look(MonoTime now);
  // As of the last look.
  bool nobody_is_heard() const { return nobody_is_heard_; }
  bool is_silent(const std::string& node, MonoTime now) const;

 private:
  struct Beat {
    WallTime renewed;
    MonoTime heard;
  };
  std::chrono::nanoseconds grace_period_;
  std::map<std::string, Beat> beats_;
  bool nobody_is_heard_ = false;
};

// The patches of statuses (application/strategic-merge-patch+json). Of a node that is silent: what
// it said of itself is unknown; holds for the version given only; nullopt: it says so already.
std::optional<std::string> unknown_patch(const kube::Node& node, WallTime now);
// Of a Pod of such a node, that is ready.
std::string not_ready_patch(const kube::Pod& pod, WallTime now);

}  // namespace fairlead::controllers
