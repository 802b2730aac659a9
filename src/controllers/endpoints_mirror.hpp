// From user-made Endpoints of a Service without selector to the EndpointSlices that say the same to
// those who read nothing else. Pure; the controller (endpoints_mirror_controller.hpp) owns queues
// and API calls.
//
// Rules: those of Kubernetes' EndpointSliceMirroring controller. Only slices that carry its name as
// manager are touched; Endpoints that a controller made are not mirrored, for their Service has
// slices already. A slice holds a whole subset, of one family.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "controllers/endpointslice_reconcile.hpp"

namespace fairlead::controllers {

inline constexpr char kMirroringManager[] = "endpointslicemirroring-controller.k8s.io";
inline constexpr std::size_t kMaxMirroredAddresses = 1000;  // of a subset, unless configured

struct MirrorInput {
  const kube::Service* service = nullptr;              // null = there is none
  const kube::Endpoints* endpoints = nullptr;          // of the same name; null = there are none
  std::span<const kube::EndpointSlice* const> slices;  // labelled with the service's name
  std::size_t max_addresses = kMaxMirroredAddresses;
};

struct MirrorFinding {
  std::string reason, note;  // of a Warning about the Endpoints
  bool operator==(const MirrorFinding&) const = default;
};
struct MirrorOutcome {
  EndpointSliceWrites writes;
  std::vector<MirrorFinding> findings;
};

MirrorOutcome mirror_endpoints(const MirrorInput& input);

// Whether a slice is one of the mirror's.
bool is_mirrored(const kube::EndpointSlice& slice);

}  // namespace fairlead::controllers
