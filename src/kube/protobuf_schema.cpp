#include "kube/protobuf_schema.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "kube/protobuf_common.hpp"

namespace fairlead::kube {
namespace {

using T = ProtoType;

constexpr ProtoField kLocalNameFields[] = {
    {1, "name", T::String},
};
constexpr ProtoMessage kLocalName{kLocalNameFields};

constexpr ProtoField kConditionFields[] = {
    {1, "type", T::String},
    {2, "status", T::String},
    {3, "observedGeneration", T::Integer},
    {4, "lastTransitionTime", T::Time},
    {5, "reason", T::String},
    {6, "message", T::String},
};
constexpr ProtoMessage kCondition{kConditionFields};

constexpr ProtoField kServicePortFields[] = {
    {1, "name", T::String},      {2, "protocol", T::String},
    {3, "port", T::Integer},     {4, "targetPort", T::IntOrString},
    {5, "nodePort", T::Integer}, {6, "appProtocol", T::String, nullptr, false, true},
};
constexpr ProtoMessage kServicePort{kServicePortFields};

constexpr ProtoField kClientIPConfigFields[] = {
    {1, "timeoutSeconds", T::Integer, nullptr, false, true},
};
constexpr ProtoMessage kClientIPConfig{kClientIPConfigFields};

constexpr ProtoField kSessionAffinityConfigFields[] = {
    {1, "clientIP", T::Message, &kClientIPConfig, false, true},
};
constexpr ProtoMessage kSessionAffinityConfig{kSessionAffinityConfigFields};

constexpr ProtoField kServiceSpecFields[] = {
    {1, "ports", T::Message, &kServicePort, true},
    {2, "selector", T::StringMap},
    {3, "clusterIP", T::String},
    {4, "type", T::String},
    {5, "externalIPs", T::String, nullptr, true},
    {7, "sessionAffinity", T::String},
    {8, "loadBalancerIP", T::String},
    {9, "loadBalancerSourceRanges", T::String, nullptr, true},
    {10, "externalName", T::String},
    {11, "externalTrafficPolicy", T::String},
    {12, "healthCheckNodePort", T::Integer},
    {13, "publishNotReadyAddresses", T::Bool},
    {14, "sessionAffinityConfig", T::Message, &kSessionAffinityConfig, false, true},
    {17, "ipFamilyPolicy", T::String, nullptr, false, true},
    {18, "clusterIPs", T::String, nullptr, true},
    {19, "ipFamilies", T::String, nullptr, true},
    {20, "allocateLoadBalancerNodePorts", T::Bool, nullptr, false, true},
    {21, "loadBalancerClass", T::String, nullptr, false, true},
    {22, "internalTrafficPolicy", T::String, nullptr, false, true},
    {23, "trafficDistribution", T::String, nullptr, false, true},
};
constexpr ProtoMessage kServiceSpec{kServiceSpecFields};

constexpr ProtoField kPortStatusFields[] = {
    {1, "port", T::Integer},
    {2, "protocol", T::String},
    {3, "error", T::String, nullptr, false, true},
};
constexpr ProtoMessage kPortStatus{kPortStatusFields};

constexpr ProtoField kLoadBalancerIngressFields[] = {
    {1, "ip", T::String},
    {2, "hostname", T::String},
    {3, "ipMode", T::String, nullptr, false, true},
    {4, "ports", T::Message, &kPortStatus, true},
};
constexpr ProtoMessage kLoadBalancerIngress{kLoadBalancerIngressFields};

constexpr ProtoField kLoadBalancerStatusFields[] = {
    {1, "ingress", T::Message, &kLoadBalancerIngress, true},
};
constexpr ProtoMessage kLoadBalancerStatus{kLoadBalancerStatusFields};

constexpr ProtoField kServiceStatusFields[] = {
    {1, "loadBalancer", T::Message, &kLoadBalancerStatus},
    {2, "conditions", T::Message, &kCondition, true},
};
constexpr ProtoMessage kServiceStatus{kServiceStatusFields};

constexpr ProtoField kServiceFields[] = {
    {1, "metadata", T::Message, &kObjectMeta},
    {2, "spec", T::Message, &kServiceSpec},
    {3, "status", T::Message, &kServiceStatus},
};
constexpr ProtoMessage kService{kServiceFields};

constexpr ProtoField kEndpointConditionsFields[] = {
    {1, "ready", T::Bool, nullptr, false, true},
    {2, "serving", T::Bool, nullptr, false, true},
    {3, "terminating", T::Bool, nullptr, false, true},
};
constexpr ProtoMessage kEndpointConditions{kEndpointConditionsFields};

constexpr ProtoField kEndpointHintsFields[] = {
    {1, "forZones", T::Message, &kLocalName, true},
    {2, "forNodes", T::Message, &kLocalName, true},
};
constexpr ProtoMessage kEndpointHints{kEndpointHintsFields};

constexpr ProtoField kEndpointFields[] = {
    {1, "addresses", T::String, nullptr, true},
    {2, "conditions", T::Message, &kEndpointConditions},
    {3, "hostname", T::String, nullptr, false, true},
    {4, "targetRef", T::Message, &kObjectReference, false, true},
    {5, "deprecatedTopology", T::StringMap},
    {6, "nodeName", T::String, nullptr, false, true},
    {7, "zone", T::String, nullptr, false, true},
    {8, "hints", T::Message, &kEndpointHints, false, true},
};
constexpr ProtoMessage kEndpoint{kEndpointFields};

constexpr ProtoField kEndpointPortFields[] = {
    {1, "name", T::String, nullptr, false, true},
    {2, "protocol", T::String, nullptr, false, true},
    {3, "port", T::Integer, nullptr, false, true},
    {4, "appProtocol", T::String, nullptr, false, true},
};
constexpr ProtoMessage kEndpointPort{kEndpointPortFields};

constexpr ProtoField kEndpointSliceFields[] = {
    {1, "metadata", T::Message, &kObjectMeta},
    {2, "endpoints", T::Message, &kEndpoint, true},
    {3, "ports", T::Message, &kEndpointPort, true},
    {4, "addressType", T::String},
};
constexpr ProtoMessage kEndpointSlice{kEndpointSliceFields};

constexpr ProtoField kNamespaceConditionFields[] = {
    {1, "type", T::String},   {2, "status", T::String},  {4, "lastTransitionTime", T::Time},
    {5, "reason", T::String}, {6, "message", T::String},
};
constexpr ProtoMessage kNamespaceCondition{kNamespaceConditionFields};

constexpr ProtoField kNamespaceSpecFields[] = {
    {1, "finalizers", T::String, nullptr, true},
};
constexpr ProtoMessage kNamespaceSpec{kNamespaceSpecFields};

constexpr ProtoField kNamespaceStatusFields[] = {
    {1, "phase", T::String},
    {2, "conditions", T::Message, &kNamespaceCondition, true},
};
constexpr ProtoMessage kNamespaceStatus{kNamespaceStatusFields};

constexpr ProtoField kNamespaceFields[] = {
    {1, "metadata", T::Message, &kObjectMeta},
    {2, "spec", T::Message, &kNamespaceSpec},
    {3, "status", T::Message, &kNamespaceStatus},
};
constexpr ProtoMessage kNamespace{kNamespaceFields};

constexpr ProtoField kTaintFields[] = {
    {1, "key", T::String},
    {2, "value", T::String},
    {3, "effect", T::String},
    {4, "timeAdded", T::Time},
};
constexpr ProtoMessage kTaint{kTaintFields};

constexpr ProtoField kNodeSpecFields[] = {
    {1, "podCIDR", T::String},
    {2, "externalID", T::String},
    {3, "providerID", T::String},
    {4, "unschedulable", T::Bool},
    {5, "taints", T::Message, &kTaint, true},
    {6, "configSource", T::Refused},
    {7, "podCIDRs", T::String, nullptr, true},
};
constexpr ProtoMessage kNodeSpec{kNodeSpecFields};

constexpr ProtoField kNodeConditionFields[] = {
    {1, "type", T::String},
    {2, "status", T::String},
    {3, "lastHeartbeatTime", T::Time},
    {4, "lastTransitionTime", T::Time},
    {5, "reason", T::String},
    {6, "message", T::String},
};
constexpr ProtoMessage kNodeCondition{kNodeConditionFields};

constexpr ProtoField kNodeAddressFields[] = {
    {1, "type", T::String},
    {2, "address", T::String},
};
constexpr ProtoMessage kNodeAddress{kNodeAddressFields};

constexpr ProtoField kDaemonEndpointFields[] = {
    {1, "Port", T::Integer},
};
constexpr ProtoMessage kDaemonEndpoint{kDaemonEndpointFields};

constexpr ProtoField kNodeDaemonEndpointsFields[] = {
    {1, "kubeletEndpoint", T::Message, &kDaemonEndpoint},
};
constexpr ProtoMessage kNodeDaemonEndpoints{kNodeDaemonEndpointsFields};

constexpr ProtoField kNodeSystemInfoFields[] = {
    {1, "machineID", T::String},       {2, "systemUUID", T::String},
    {3, "bootID", T::String},          {4, "kernelVersion", T::String},
    {5, "osImage", T::String},         {6, "containerRuntimeVersion", T::String},
    {7, "kubeletVersion", T::String},  {8, "kubeProxyVersion", T::String},
    {9, "operatingSystem", T::String}, {10, "architecture", T::String},
    {11, "swap", T::Skipped},
};
constexpr ProtoMessage kNodeSystemInfo{kNodeSystemInfoFields};

constexpr ProtoField kContainerImageFields[] = {
    {1, "names", T::String, nullptr, true},
    {2, "sizeBytes", T::Integer},
};
constexpr ProtoMessage kContainerImage{kContainerImageFields};

constexpr ProtoField kNodeStatusFields[] = {
    {1, "capacity", T::QuantityMap},
    {2, "allocatable", T::QuantityMap},
    {3, "phase", T::String},
    {4, "conditions", T::Message, &kNodeCondition, true},
    {5, "addresses", T::Message, &kNodeAddress, true},
    {6, "daemonEndpoints", T::Message, &kNodeDaemonEndpoints},
    {7, "nodeInfo", T::Message, &kNodeSystemInfo},
    {8, "images", T::Message, &kContainerImage, true},
    {9, "volumesInUse", T::String, nullptr, true},
    {10, "volumesAttached", T::Skipped},
    {11, "config", T::Skipped},
    {12, "runtimeHandlers", T::Skipped},
    {13, "features", T::Skipped},
    {14, "declaredFeatures", T::String, nullptr, true},
};
constexpr ProtoMessage kNodeStatus{kNodeStatusFields};

constexpr ProtoField kNodeFields[] = {
    {1, "metadata", T::Message, &kObjectMeta},
    {2, "spec", T::Message, &kNodeSpec},
    {3, "status", T::Message, &kNodeStatus},
};
constexpr ProtoMessage kNode{kNodeFields};

constexpr ProtoField kContainerPortFields[] = {
    {1, "name", T::String},     {2, "hostPort", T::Integer}, {3, "containerPort", T::Integer},
    {4, "protocol", T::String}, {5, "hostIP", T::String},
};
constexpr ProtoMessage kContainerPort{kContainerPortFields};

constexpr ProtoField kEnvVarFields[] = {
    {1, "name", T::String},
    {2, "value", T::String},
    {3, "valueFrom", T::Refused},
};
constexpr ProtoMessage kEnvVar{kEnvVarFields};

constexpr ProtoField kVolumeMountFields[] = {
    {1, "name", T::String},
    {2, "readOnly", T::Bool},
    {3, "mountPath", T::String},
    {4, "subPath", T::String},
    {5, "mountPropagation", T::String, nullptr, false, true},
    {6, "subPathExpr", T::String},
    {7, "recursiveReadOnly", T::String, nullptr, false, true},
};
constexpr ProtoMessage kVolumeMount{kVolumeMountFields};

constexpr ProtoField kResourceRequirementsFields[] = {
    {1, "limits", T::QuantityMap},
    {2, "requests", T::QuantityMap},
    {3, "claims", T::Refused},
};
constexpr ProtoMessage kResourceRequirements{kResourceRequirementsFields};

constexpr ProtoField kContainerFields[] = {
    {1, "name", T::String},
    {2, "image", T::String},
    {3, "command", T::String, nullptr, true},
    {4, "args", T::String, nullptr, true},
    {5, "workingDir", T::String},
    {6, "ports", T::Message, &kContainerPort, true},
    {7, "env", T::Message, &kEnvVar, true},
    {8, "resources", T::Message, &kResourceRequirements},
    {9, "volumeMounts", T::Message, &kVolumeMount, true},
    {10, "livenessProbe", T::Refused},
    {11, "readinessProbe", T::Refused},
    {12, "lifecycle", T::Refused},
    {13, "terminationMessagePath", T::String},
    {14, "imagePullPolicy", T::String},
    {15, "securityContext", T::Refused},
    {16, "stdin", T::Bool},
    {17, "stdinOnce", T::Bool},
    {18, "tty", T::Bool},
    {19, "envFrom", T::Refused},
    {20, "terminationMessagePolicy", T::String},
    {21, "volumeDevices", T::Refused},
    {22, "startupProbe", T::Refused},
    {23, "resizePolicy", T::Refused},
    {24, "restartPolicy", T::String, nullptr, false, true},
    {25, "restartPolicyRules", T::Refused},
};
constexpr ProtoMessage kContainer{kContainerFields};

constexpr ProtoField kTolerationFields[] = {
    {1, "key", T::String},
    {2, "operator", T::String},
    {3, "value", T::String},
    {4, "effect", T::String},
    {5, "tolerationSeconds", T::Integer, nullptr, false, true},
};
constexpr ProtoMessage kToleration{kTolerationFields};

constexpr ProtoField kHostAliasFields[] = {
    {1, "ip", T::String},
    {2, "hostnames", T::String, nullptr, true},
};
constexpr ProtoMessage kHostAlias{kHostAliasFields};

constexpr ProtoField kPodReadinessGateFields[] = {
    {1, "conditionType", T::String},
};
constexpr ProtoMessage kPodReadinessGate{kPodReadinessGateFields};

constexpr ProtoField kPodSpecFields[] = {
    {1, "volumes", T::Refused},
    {2, "containers", T::Message, &kContainer, true},
    {3, "restartPolicy", T::String},
    {4, "terminationGracePeriodSeconds", T::Integer, nullptr, false, true},
    {5, "activeDeadlineSeconds", T::Integer, nullptr, false, true},
    {6, "dnsPolicy", T::String},
    {7, "nodeSelector", T::StringMap},
    {8, "serviceAccountName", T::String},
    {9, "serviceAccount", T::String},
    {10, "nodeName", T::String},
    {11, "hostNetwork", T::Bool},
    {12, "hostPID", T::Bool},
    {13, "hostIPC", T::Bool},
    {14, "securityContext", T::Skipped},
    {15, "imagePullSecrets", T::Message, &kLocalName, true},
    {16, "hostname", T::String},
    {17, "subdomain", T::String},
    {18, "affinity", T::Refused},
    {19, "schedulerName", T::String},
    {20, "initContainers", T::Message, &kContainer, true},
    {21, "automountServiceAccountToken", T::Bool, nullptr, false, true},
    {22, "tolerations", T::Message, &kToleration, true},
    {23, "hostAliases", T::Message, &kHostAlias, true},
    {24, "priorityClassName", T::String},
    {25, "priority", T::Integer, nullptr, false, true},
    {26, "dnsConfig", T::Refused},
    {27, "shareProcessNamespace", T::Bool, nullptr, false, true},
    {28, "readinessGates", T::Message, &kPodReadinessGate, true},
    {29, "runtimeClassName", T::String, nullptr, false, true},
    {30, "enableServiceLinks", T::Bool, nullptr, false, true},
    {31, "preemptionPolicy", T::String, nullptr, false, true},
    {32, "overhead", T::QuantityMap},
    {33, "topologySpreadConstraints", T::Refused},
    {34, "ephemeralContainers", T::Refused},
    {35, "setHostnameAsFQDN", T::Bool, nullptr, false, true},
    {36, "os", T::Refused},
    {37, "hostUsers", T::Bool, nullptr, false, true},
    {38, "schedulingGates", T::Message, &kLocalName, true},
    {39, "resourceClaims", T::Refused},
    {40, "resources", T::Refused},
    {41, "hostnameOverride", T::String, nullptr, false, true},
};
constexpr ProtoMessage kPodSpec{kPodSpecFields};

constexpr ProtoField kPodConditionFields[] = {
    {1, "type", T::String},
    {2, "status", T::String},
    {3, "lastProbeTime", T::Time},
    {4, "lastTransitionTime", T::Time},
    {5, "reason", T::String},
    {6, "message", T::String},
    {7, "observedGeneration", T::Integer},
};
constexpr ProtoMessage kPodCondition{kPodConditionFields};

constexpr ProtoField kPodIPFields[] = {
    {1, "ip", T::String},
};
constexpr ProtoMessage kPodIP{kPodIPFields};

constexpr ProtoField kContainerStateWaitingFields[] = {
    {1, "reason", T::String},
    {2, "message", T::String},
};
constexpr ProtoMessage kContainerStateWaiting{kContainerStateWaitingFields};

constexpr ProtoField kContainerStateRunningFields[] = {
    {1, "startedAt", T::Time},
};
constexpr ProtoMessage kContainerStateRunning{kContainerStateRunningFields};

constexpr ProtoField kContainerStateTerminatedFields[] = {
    {1, "exitCode", T::Integer},   {2, "signal", T::Integer}, {3, "reason", T::String},
    {4, "message", T::String},     {5, "startedAt", T::Time}, {6, "finishedAt", T::Time},
    {7, "containerID", T::String},
};
constexpr ProtoMessage kContainerStateTerminated{kContainerStateTerminatedFields};

constexpr ProtoField kContainerStateFields[] = {
    {1, "waiting", T::Message, &kContainerStateWaiting, false, true},
    {2, "running", T::Message, &kContainerStateRunning, false, true},
    {3, "terminated", T::Message, &kContainerStateTerminated, false, true},
};
constexpr ProtoMessage kContainerState{kContainerStateFields};

constexpr ProtoField kContainerStatusFields[] = {
    {1, "name", T::String},
    {2, "state", T::Message, &kContainerState},
    {3, "lastState", T::Message, &kContainerState},
    {4, "ready", T::Bool, nullptr, false, true},
    {5, "restartCount", T::Integer, nullptr, false, true},
    {6, "image", T::String},
    {7, "imageID", T::String},
    {8, "containerID", T::String},
    {9, "started", T::Bool, nullptr, false, true},
};
constexpr ProtoMessage kContainerStatus{kContainerStatusFields};

constexpr ProtoField kPodStatusFields[] = {
    {1, "phase", T::String},
    {2, "conditions", T::Message, &kPodCondition, true},
    {3, "message", T::String},
    {4, "reason", T::String},
    {5, "hostIP", T::String},
    {6, "podIP", T::String},
    {7, "startTime", T::Time},
    {8, "containerStatuses", T::Message, &kContainerStatus, true},
    {9, "qosClass", T::String},
    {10, "initContainerStatuses", T::Message, &kContainerStatus, true},
    {11, "nominatedNodeName", T::String},
    {12, "podIPs", T::Message, &kPodIP, true},
    {13, "ephemeralContainerStatuses", T::Skipped},
    {14, "resize", T::Skipped},
    {15, "resourceClaimStatuses", T::Skipped},
    {16, "hostIPs", T::Message, &kPodIP, true},
    {17, "observedGeneration", T::Integer},
};
constexpr ProtoMessage kPodStatus{kPodStatusFields};

constexpr ProtoField kPodFields[] = {
    {1, "metadata", T::Message, &kObjectMeta},
    {2, "spec", T::Message, &kPodSpec},
    {3, "status", T::Message, &kPodStatus},
};
constexpr ProtoMessage kPod{kPodFields};

constexpr ProtoField kPreconditionsFields[] = {
    {1, "uid", T::String, nullptr, false, true},
    {2, "resourceVersion", T::String, nullptr, false, true},
};
constexpr ProtoMessage kPreconditions{kPreconditionsFields};

constexpr ProtoField kDeleteOptionsFields[] = {
    {1, "gracePeriodSeconds", T::Integer, nullptr, false, true},
    {2, "preconditions", T::Message, &kPreconditions, false, true},
    {3, "orphanDependents", T::Bool, nullptr, false, true},
    {4, "propagationPolicy", T::String, nullptr, false, true},
    {5, "dryRun", T::String, nullptr, true},
    {6, "ignoreStoreReadErrorWithClusterBreakingPotential", T::Skipped},
};
constexpr ProtoMessage kDeleteOptions{kDeleteOptionsFields};

constexpr ProtoField kBindingFields[] = {
    {1, "metadata", T::Message, &kObjectMeta},
    {2, "target", T::Message, &kObjectReference},
};
constexpr ProtoMessage kBinding{kBindingFields};

constexpr ProtoField kIPAddressParentFields[] = {
    {1, "group", T::String},
    {2, "resource", T::String},
    {3, "namespace", T::String},
    {4, "name", T::String},
};
constexpr ProtoMessage kIPAddressParent{kIPAddressParentFields};

constexpr ProtoField kIPAddressSpecFields[] = {
    {1, "parentRef", T::Message, &kIPAddressParent, false, true},
};
constexpr ProtoMessage kIPAddressSpec{kIPAddressSpecFields};

constexpr ProtoField kIPAddressFields[] = {
    {1, "metadata", T::Message, &kObjectMeta},
    {2, "spec", T::Message, &kIPAddressSpec},
};
constexpr ProtoMessage kIPAddress{kIPAddressFields};

constexpr ProtoField kServiceCIDRSpecFields[] = {
    {1, "cidrs", T::String, nullptr, true},
};
constexpr ProtoMessage kServiceCIDRSpec{kServiceCIDRSpecFields};

constexpr ProtoField kServiceCIDRStatusFields[] = {
    {1, "conditions", T::Message, &kCondition, true},
};
constexpr ProtoMessage kServiceCIDRStatus{kServiceCIDRStatusFields};

constexpr ProtoField kServiceCIDRFields[] = {
    {1, "metadata", T::Message, &kObjectMeta},
    {2, "spec", T::Message, &kServiceCIDRSpec},
    {3, "status", T::Message, &kServiceCIDRStatus},
};
constexpr ProtoMessage kServiceCIDR{kServiceCIDRFields};

constexpr std::pair<std::string_view, const ProtoMessage*> kKinds[] = {
    {"Service", &kService},
    {"EndpointSlice", &kEndpointSlice},
    {"Namespace", &kNamespace},
    {"Node", &kNode},
    {"Pod", &kPod},
    {"DeleteOptions", &kDeleteOptions},
    {"Binding", &kBinding},
    {"IPAddress", &kIPAddress},
    {"ServiceCIDR", &kServiceCIDR},
};

}  // namespace

const ProtoMessage* proto_message_of(std::string_view api_version, std::string_view kind) {
  const auto* found =
      std::ranges::find(kKinds, kind, &std::pair<std::string_view, const ProtoMessage*>::first);
  return found == std::end(kKinds) ? small_proto_message_of(api_version, kind) : found->second;
}

}  // namespace fairlead::kube
