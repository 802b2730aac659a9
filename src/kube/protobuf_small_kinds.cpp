// The messages of ConfigMap, Endpoints, Lease and both Events.
#include <algorithm>
#include <iterator>
#include <utility>

#include "kube/protobuf_common.hpp"

namespace fairlead::kube {
namespace {

using T = ProtoType;

constexpr ProtoField kConfigMapFields[] = {
    {1, "metadata", T::Message, &kObjectMeta},
    {2, "data", T::StringMap},
    {3, "binaryData", T::BytesMap},
    {4, "immutable", T::Bool, nullptr, false, true},
};
constexpr ProtoMessage kConfigMap{kConfigMapFields};

constexpr ProtoField kEndpointAddressFields[] = {
    {1, "ip", T::String},
    {2, "targetRef", T::Message, &kObjectReference, false, true},
    {3, "hostname", T::String},
    {4, "nodeName", T::String, nullptr, false, true},
};
constexpr ProtoMessage kEndpointAddress{kEndpointAddressFields};

constexpr ProtoField kCoreEndpointPortFields[] = {
    {1, "name", T::String},
    {2, "port", T::Integer},
    {3, "protocol", T::String},
    {4, "appProtocol", T::String, nullptr, false, true},
};
constexpr ProtoMessage kCoreEndpointPort{kCoreEndpointPortFields};

constexpr ProtoField kEndpointSubsetFields[] = {
    {1, "addresses", T::Message, &kEndpointAddress, true},
    {2, "notReadyAddresses", T::Message, &kEndpointAddress, true},
    {3, "ports", T::Message, &kCoreEndpointPort, true},
};
constexpr ProtoMessage kEndpointSubset{kEndpointSubsetFields};

constexpr ProtoField kEndpointsFields[] = {
    {1, "metadata", T::Message, &kObjectMeta},
    {2, "subsets", T::Message, &kEndpointSubset, true},
};
constexpr ProtoMessage kEndpoints{kEndpointsFields};

constexpr ProtoField kLeaseSpecFields[] = {
    {1, "holderIdentity", T::String, nullptr, false, true},
    {2, "leaseDurationSeconds", T::Integer, nullptr, false, true},
    {3, "acquireTime", T::MicroTime, nullptr, false, true},
    {4, "renewTime", T::MicroTime, nullptr, false, true},
    {5, "leaseTransitions", T::Integer, nullptr, false, true},
    {6, "strategy", T::String, nullptr, false, true},
    {7, "preferredHolder", T::String, nullptr, false, true},
};
constexpr ProtoMessage kLeaseSpec{kLeaseSpecFields};

constexpr ProtoField kLeaseFields[] = {
    {1, "metadata", T::Message, &kObjectMeta},
    {2, "spec", T::Message, &kLeaseSpec},
};
constexpr ProtoMessage kLease{kLeaseFields};

constexpr ProtoField kEventSourceFields[] = {
    {1, "component", T::String},
    {2, "host", T::String},
};
constexpr ProtoMessage kEventSource{kEventSourceFields};

constexpr ProtoField kEventSeriesFields[] = {
    {1, "count", T::Integer},
    {2, "lastObservedTime", T::MicroTime},
};
constexpr ProtoMessage kEventSeries{kEventSeriesFields};

constexpr ProtoField kCoreEventFields[] = {
    {1, "metadata", T::Message, &kObjectMeta},
    {2, "involvedObject", T::Message, &kObjectReference},
    {3, "reason", T::String},
    {4, "message", T::String},
    {5, "source", T::Message, &kEventSource},
    {6, "firstTimestamp", T::Time},
    {7, "lastTimestamp", T::Time},
    {8, "count", T::Integer},
    {9, "type", T::String},
    {10, "eventTime", T::MicroTime},
    {11, "series", T::Message, &kEventSeries, false, true},
    {12, "action", T::String},
    {13, "related", T::Message, &kObjectReference, false, true},
    {14, "reportingComponent", T::String},
    {15, "reportingInstance", T::String},
};
constexpr ProtoMessage kCoreEvent{kCoreEventFields};

constexpr ProtoField kEventFields[] = {
    {1, "metadata", T::Message, &kObjectMeta},
    {2, "eventTime", T::MicroTime},
    {3, "series", T::Message, &kEventSeries, false, true},
    {4, "reportingController", T::String},
    {5, "reportingInstance", T::String},
    {6, "action", T::String},
    {7, "reason", T::String},
    {8, "regarding", T::Message, &kObjectReference},
    {9, "related", T::Message, &kObjectReference, false, true},
    {10, "note", T::String},
    {11, "type", T::String},
    {12, "deprecatedSource", T::Message, &kEventSource},
    {13, "deprecatedFirstTimestamp", T::Time},
    {14, "deprecatedLastTimestamp", T::Time},
    {15, "deprecatedCount", T::Integer},
};
constexpr ProtoMessage kEvent{kEventFields};

constexpr std::pair<std::string_view, const ProtoMessage*> kKinds[] = {
    {"ConfigMap", &kConfigMap},
    {"Endpoints", &kEndpoints},
    {"Lease", &kLease},
    {"Event", &kEvent},
};

}  // namespace

const ProtoMessage* small_proto_message_of(std::string_view api_version, std::string_view kind) {
  if (api_version == "v1" && kind == "Event") return &kCoreEvent;
  const auto* found =
      std::ranges::find(kKinds, kind, &std::pair<std::string_view, const ProtoMessage*>::first);
  return found == std::end(kKinds) ? nullptr : found->second;
}

}  // namespace fairlead::kube
