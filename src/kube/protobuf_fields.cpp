// The messages of the kinds served, with the field numbers, names and types of Kubernetes 1.35's
// API. The grammar stands in protobuf_schema.hpp.
#include "kube/protobuf_schema.hpp"

namespace fairlead::kube {
namespace {

constexpr std::string_view kMeta = R"(
Preconditions { 1 uid s? 2 resourceVersion s? }
DeleteOptions { 1 gracePeriodSeconds l? 2 preconditions Preconditions? 3 orphanDependents b?
  4 propagationPolicy s? 5 dryRun []s 6 ignoreStoreReadErrorWithClusterBreakingPotential b? }
ListMeta { 1 selfLink s 2 resourceVersion s 3 continue s 4 remainingItemCount l? }
StatusCause { 1 reason s 2 message s 3 field s }
StatusDetails { 1 name s 2 group s 3 kind s 4 causes []StatusCause 5 retryAfterSeconds i 6 uid s }
Status { 1 metadata ListMeta 2 status s 3 message s 4 reason s 5 details StatusDetails? 6 code i }
ServerAddressByClientCIDR { 1 clientCIDR s? 2 serverAddress s? }
APIVersions { 1 versions []s 2 serverAddressByClientCIDRs []ServerAddressByClientCIDR }
GroupVersionForDiscovery { 1 groupVersion s? 2 version s? }
APIGroup { 1 name s? 2 versions []GroupVersionForDiscovery
  3 preferredVersion GroupVersionForDiscovery
  4 serverAddressByClientCIDRs []ServerAddressByClientCIDR }
APIGroupList { 1 groups []APIGroup }
APIResource { 1 name s? 2 namespaced b? 3 kind s? 4 verbs e 5 shortNames []s 6 singularName s?
  7 categories []s 8 group s 9 version s 10 storageVersionHash s }
APIResourceList { 1 groupVersion s? 2 resources []APIResource }
OwnerReference { 1 kind s? 3 name s? 4 uid s? 5 apiVersion s? 6 controller b?
  7 blockOwnerDeletion b? }
ManagedFieldsEntry { 1 manager s 2 operation s 3 apiVersion s 4 time t 6 fieldsType s 7 fieldsV1 j
  8 subresource s }
ObjectMeta { 1 name s 2 generateName s 3 namespace s 4 selfLink s 5 uid s 6 resourceVersion s
  7 generation l 8 creationTimestamp t 9 deletionTimestamp t 10 deletionGracePeriodSeconds l?
  11 labels {}s 12 annotations {}s 13 ownerReferences []OwnerReference 14 finalizers []s
  17 managedFields []ManagedFieldsEntry }
PartialObjectMetadata { 1 metadata ObjectMeta }
Condition { 1 type s? 2 status s? 3 observedGeneration l 4 lastTransitionTime t 5 reason s?
  6 message s? }
LabelSelectorRequirement { 1 key s? 2 operator s? 3 values []s }
LabelSelector { 1 matchLabels {}s 2 matchExpressions []LabelSelectorRequirement }
FieldSelectorRequirement { 1 key s? 2 operator s? 3 values []s }
)";

constexpr std::string_view kCore = R"(
ServicePort { 1 name s 2 protocol s 3 port i? 4 targetPort x 5 nodePort i 6 appProtocol s? }
ClientIPConfig { 1 timeoutSeconds i? }
SessionAffinityConfig { 1 clientIP ClientIPConfig? }
ServiceSpec { 1 ports []ServicePort 2 selector {}s 3 clusterIP s 4 type s 5 externalIPs []s
  7 sessionAffinity s 8 loadBalancerIP s 9 loadBalancerSourceRanges []s 10 externalName s
  11 externalTrafficPolicy s 12 healthCheckNodePort i 13 publishNotReadyAddresses b
  14 sessionAffinityConfig SessionAffinityConfig? 17 ipFamilyPolicy s? 18 clusterIPs []s
  19 ipFamilies []s 20 allocateLoadBalancerNodePorts b? 21 loadBalancerClass s?
  22 internalTrafficPolicy s? 23 trafficDistribution s? }
PortStatus { 1 port i? 2 protocol s? 3 error s? }
LoadBalancerIngress { 1 ip s 2 hostname s 3 ipMode s? 4 ports []PortStatus }
LoadBalancerStatus { 1 ingress []LoadBalancerIngress }
ServiceStatus { 1 loadBalancer LoadBalancerStatus 2 conditions []Condition }
Service { 1 metadata ObjectMeta 2 spec ServiceSpec 3 status ServiceStatus }
ObjectReference { 1 kind s 2 namespace s 3 name s 4 uid s 5 apiVersion s 6 resourceVersion s
  7 fieldPath s }
EndpointAddress { 1 ip s? 2 targetRef ObjectReference? 3 hostname s 4 nodeName s? }
EndpointPort { 1 name s 2 port i? 3 protocol s 4 appProtocol s? }
EndpointSubset { 1 addresses []EndpointAddress 2 notReadyAddresses []EndpointAddress
  3 ports []EndpointPort }
Endpoints { 1 metadata ObjectMeta 2 subsets []EndpointSubset }
HostPathVolumeSource { 1 path s? 2 type s? }
EmptyDirVolumeSource { 1 medium s 2 sizeLimit q }
GCEPersistentDiskVolumeSource { 1 pdName s? 2 fsType s 3 partition i 4 readOnly b }
AWSElasticBlockStoreVolumeSource { 1 volumeID s? 2 fsType s 3 partition i 4 readOnly b }
GitRepoVolumeSource { 1 repository s? 2 revision s 3 directory s }
KeyToPath { 1 key s? 2 path s? 3 mode i? }
SecretVolumeSource { 1 secretName s 2 items []KeyToPath 3 defaultMode i? 4 optional b? }
NFSVolumeSource { 1 server s? 2 path s? 3 readOnly b }
LocalObjectReference { 1 name s }
ISCSIVolumeSource { 1 targetPortal s? 2 iqn s? 3 lun i? 4 iscsiInterface s 5 fsType s 6 readOnly b
  7 portals []s 8 chapAuthDiscovery b 10 secretRef LocalObjectReference? 11 chapAuthSession b
  12 initiatorName s? }
GlusterfsVolumeSource { 1 endpoints s? 2 path s? 3 readOnly b }
PersistentVolumeClaimVolumeSource { 1 claimName s? 2 readOnly b }
RBDVolumeSource { 1 monitors []s 2 image s? 3 fsType s 4 pool s 5 user s 6 keyring s
  7 secretRef LocalObjectReference? 8 readOnly b }
FlexVolumeSource { 1 driver s? 2 fsType s 3 secretRef LocalObjectReference? 4 readOnly b
  5 options {}s }
CinderVolumeSource { 1 volumeID s? 2 fsType s 3 readOnly b 4 secretRef LocalObjectReference? }
CephFSVolumeSource { 1 monitors []s 2 path s 3 user s 4 secretFile s
  5 secretRef LocalObjectReference? 6 readOnly b }
FlockerVolumeSource { 1 datasetName s 2 datasetUUID s }
ObjectFieldSelector { 1 apiVersion s 2 fieldPath s? }
ResourceFieldSelector { 1 containerName s 2 resource s? 3 divisor q }
DownwardAPIVolumeFile { 1 path s? 2 fieldRef ObjectFieldSelector?
  3 resourceFieldRef ResourceFieldSelector? 4 mode i? }
DownwardAPIVolumeSource { 1 items []DownwardAPIVolumeFile 2 defaultMode i? }
FCVolumeSource { 1 targetWWNs []s 2 lun i? 3 fsType s 4 readOnly b 5 wwids []s }
AzureFileVolumeSource { 1 secretName s? 2 shareName s? 3 readOnly b }
ConfigMapVolumeSource { 1 - LocalObjectReference 2 items []KeyToPath 3 defaultMode i?
  4 optional b? }
VsphereVirtualDiskVolumeSource { 1 volumePath s? 2 fsType s 3 storagePolicyName s
  4 storagePolicyID s }
QuobyteVolumeSource { 1 registry s? 2 volume s? 3 readOnly b 4 user s 5 group s 6 tenant s }
AzureDiskVolumeSource { 1 diskName s? 2 diskURI s? 3 cachingMode s? 4 fsType s? 5 readOnly b?
  6 kind s? }
PhotonPersistentDiskVolumeSource { 1 pdID s? 2 fsType s }
SecretProjection { 1 - LocalObjectReference 2 items []KeyToPath 4 optional b? }
DownwardAPIProjection { 1 items []DownwardAPIVolumeFile }
ConfigMapProjection { 1 - LocalObjectReference 2 items []KeyToPath 4 optional b? }
ServiceAccountTokenProjection { 1 audience s 2 expirationSeconds l? 3 path s? }
ClusterTrustBundleProjection { 1 name s? 2 signerName s? 3 labelSelector LabelSelector? 4 path s?
  5 optional b? }
PodCertificateProjection { 1 signerName s 2 keyType s 3 maxExpirationSeconds i?
  4 credentialBundlePath s 5 keyPath s 6 certificateChainPath s 7 userAnnotations {}s }
VolumeProjection { 1 secret SecretProjection? 2 downwardAPI DownwardAPIProjection?
  3 configMap ConfigMapProjection? 4 serviceAccountToken ServiceAccountTokenProjection?
  5 clusterTrustBundle ClusterTrustBundleProjection? 6 podCertificate PodCertificateProjection? }
ProjectedVolumeSource { 1 sources []VolumeProjection 2 defaultMode i? }
PortworxVolumeSource { 1 volumeID s? 2 fsType s 3 readOnly b }
ScaleIOVolumeSource { 1 gateway s? 2 system s? 3 secretRef LocalObjectReference? 4 sslEnabled b
  5 protectionDomain s 6 storagePool s 7 storageMode s 8 volumeName s 9 fsType s 10 readOnly b }
StorageOSVolumeSource { 1 volumeName s 2 volumeNamespace s 3 fsType s 4 readOnly b
  5 secretRef LocalObjectReference? }
CSIVolumeSource { 1 driver s? 2 readOnly b? 3 fsType s? 4 volumeAttributes {}s
  5 nodePublishSecretRef LocalObjectReference? }
VolumeResourceRequirements { 1 limits {}q 2 requests {}q }
TypedLocalObjectReference { 1 apiGroup s? 2 kind s? 3 name s? }
TypedObjectReference { 1 apiGroup s? 2 kind s? 3 name s? 4 namespace s? }
PersistentVolumeClaimSpec { 1 accessModes []s 2 resources VolumeResourceRequirements
  3 volumeName s 4 selector LabelSelector? 5 storageClassName s? 6 volumeMode s?
  7 dataSource TypedLocalObjectReference? 8 dataSourceRef TypedObjectReference?
  9 volumeAttributesClassName s? }
PersistentVolumeClaimTemplate { 1 metadata ObjectMeta 2 spec PersistentVolumeClaimSpec }
EphemeralVolumeSource { 1 volumeClaimTemplate PersistentVolumeClaimTemplate? }
ImageVolumeSource { 1 reference s 2 pullPolicy s }
VolumeSource { 1 hostPath HostPathVolumeSource? 2 emptyDir EmptyDirVolumeSource?
  3 gcePersistentDisk GCEPersistentDiskVolumeSource?
  4 awsElasticBlockStore AWSElasticBlockStoreVolumeSource? 5 gitRepo GitRepoVolumeSource?
  6 secret SecretVolumeSource? 7 nfs NFSVolumeSource? 8 iscsi ISCSIVolumeSource?
  9 glusterfs GlusterfsVolumeSource? 10 persistentVolumeClaim PersistentVolumeClaimVolumeSource?
  11 rbd RBDVolumeSource? 12 flexVolume FlexVolumeSource? 13 cinder CinderVolumeSource?
  14 cephfs CephFSVolumeSource? 15 flocker FlockerVolumeSource?
  16 downwardAPI DownwardAPIVolumeSource? 17 fc FCVolumeSource?
  18 azureFile AzureFileVolumeSource? 19 configMap ConfigMapVolumeSource?
  20 vsphereVolume VsphereVirtualDiskVolumeSource? 21 quobyte QuobyteVolumeSource?
  22 azureDisk AzureDiskVolumeSource? 23 photonPersistentDisk PhotonPersistentDiskVolumeSource?
  24 portworxVolume PortworxVolumeSource? 25 scaleIO ScaleIOVolumeSource?
  26 projected ProjectedVolumeSource? 27 storageos StorageOSVolumeSource? 28 csi CSIVolumeSource?
  29 ephemeral EphemeralVolumeSource? 30 image ImageVolumeSource? }
Volume { 1 name s? 2 - VolumeSource }
ContainerPort { 1 name s 2 hostPort i 3 containerPort i? 4 protocol s 5 hostIP s }
ConfigMapEnvSource { 1 - LocalObjectReference 2 optional b? }
SecretEnvSource { 1 - LocalObjectReference 2 optional b? }
EnvFromSource { 1 prefix s 2 configMapRef ConfigMapEnvSource? 3 secretRef SecretEnvSource? }
ConfigMapKeySelector { 1 - LocalObjectReference 2 key s? 3 optional b? }
SecretKeySelector { 1 - LocalObjectReference 2 key s? 3 optional b? }
FileKeySelector { 1 volumeName s? 2 path s? 3 key s? 4 optional b? }
EnvVarSource { 1 fieldRef ObjectFieldSelector? 2 resourceFieldRef ResourceFieldSelector?
  3 configMapKeyRef ConfigMapKeySelector? 4 secretKeyRef SecretKeySelector?
  5 fileKeyRef FileKeySelector? }
EnvVar { 1 name s? 2 value s 3 valueFrom EnvVarSource? }
ResourceClaim { 1 name s? 2 request s }
ResourceRequirements { 1 limits {}q 2 requests {}q 3 claims []ResourceClaim }
ContainerResizePolicy { 1 resourceName s? 2 restartPolicy s? }
ContainerRestartRuleOnExitCodes { 1 operator s 2 values []i }
ContainerRestartRule { 1 action s 2 exitCodes ContainerRestartRuleOnExitCodes? }
VolumeMount { 1 name s? 2 readOnly b 3 mountPath s? 4 subPath s 5 mountPropagation s?
  6 subPathExpr s 7 recursiveReadOnly s? }
VolumeDevice { 1 name s? 2 devicePath s? }
ExecAction { 1 command []s }
HTTPHeader { 1 name s? 2 value s? }
HTTPGetAction { 1 path s 2 port x 3 host s 4 scheme s 5 httpHeaders []HTTPHeader }
TCPSocketAction { 1 port x 2 host s }
GRPCAction { 1 port i? 2 service s? }
ProbeHandler { 1 exec ExecAction? 2 httpGet HTTPGetAction? 3 tcpSocket TCPSocketAction?
  4 grpc GRPCAction? }
Probe { 1 - ProbeHandler 2 initialDelaySeconds i 3 timeoutSeconds i 4 periodSeconds i
  5 successThreshold i 6 failureThreshold i 7 terminationGracePeriodSeconds l? }
SleepAction { 1 seconds l? }
LifecycleHandler { 1 exec ExecAction? 2 httpGet HTTPGetAction? 3 tcpSocket TCPSocketAction?
  4 sleep SleepAction? }
Lifecycle { 1 postStart LifecycleHandler? 2 preStop LifecycleHandler? 3 stopSignal s? }
Capabilities { 1 add []s 2 drop []s }
SELinuxOptions { 1 user s 2 role s 3 type s 4 level s }
WindowsSecurityContextOptions { 1 gmsaCredentialSpecName s? 2 gmsaCredentialSpec s?
  3 runAsUserName s? 4 hostProcess b? }
SeccompProfile { 1 type s? 2 localhostProfile s? }
AppArmorProfile { 1 type s? 2 localhostProfile s? }
SecurityContext { 1 capabilities Capabilities? 2 privileged b? 3 seLinuxOptions SELinuxOptions?
  4 runAsUser l? 5 runAsNonRoot b? 6 readOnlyRootFilesystem b? 7 allowPrivilegeEscalation b?
  8 runAsGroup l? 9 procMount s? 10 windowsOptions WindowsSecurityContextOptions?
  11 seccompProfile SeccompProfile? 12 appArmorProfile AppArmorProfile? }
Container { 1 name s? 2 image s 3 command []s 4 args []s 5 workingDir s 6 ports []ContainerPort
  7 env []EnvVar 8 resources ResourceRequirements 9 volumeMounts []VolumeMount
  10 livenessProbe Probe? 11 readinessProbe Probe? 12 lifecycle Lifecycle?
  13 terminationMessagePath s 14 imagePullPolicy s 15 securityContext SecurityContext? 16 stdin b
  17 stdinOnce b 18 tty b 19 envFrom []EnvFromSource 20 terminationMessagePolicy s
  21 volumeDevices []VolumeDevice 22 startupProbe Probe? 23 resizePolicy []ContainerResizePolicy
  24 restartPolicy s? 25 restartPolicyRules []ContainerRestartRule }
EphemeralContainer { 1 - Container 2 targetContainerName s }
Sysctl { 1 name s? 2 value s? }
PodSecurityContext { 1 seLinuxOptions SELinuxOptions? 2 runAsUser l? 3 runAsNonRoot b?
  4 supplementalGroups []l 5 fsGroup l? 6 runAsGroup l? 7 sysctls []Sysctl
  8 windowsOptions WindowsSecurityContextOptions? 9 fsGroupChangePolicy s?
  10 seccompProfile SeccompProfile? 11 appArmorProfile AppArmorProfile?
  12 supplementalGroupsPolicy s? 13 seLinuxChangePolicy s? }
NodeSelectorRequirement { 1 key s? 2 operator s? 3 values []s }
NodeSelectorTerm { 1 matchExpressions []NodeSelectorRequirement
  2 matchFields []NodeSelectorRequirement }
NodeSelector { 1 nodeSelectorTerms []NodeSelectorTerm }
PreferredSchedulingTerm { 1 weight i? 2 preference NodeSelectorTerm }
NodeAffinity { 1 requiredDuringSchedulingIgnoredDuringExecution NodeSelector?
  2 preferredDuringSchedulingIgnoredDuringExecution []PreferredSchedulingTerm }
PodAffinityTerm { 1 labelSelector LabelSelector? 2 namespaces []s 3 topologyKey s?
  4 namespaceSelector LabelSelector? 5 matchLabelKeys []s 6 mismatchLabelKeys []s }
WeightedPodAffinityTerm { 1 weight i? 2 podAffinityTerm PodAffinityTerm }
PodAffinity { 1 requiredDuringSchedulingIgnoredDuringExecution []PodAffinityTerm
  2 preferredDuringSchedulingIgnoredDuringExecution []WeightedPodAffinityTerm }
PodAntiAffinity { 1 requiredDuringSchedulingIgnoredDuringExecution []PodAffinityTerm
  2 preferredDuringSchedulingIgnoredDuringExecution []WeightedPodAffinityTerm }
Affinity { 1 nodeAffinity NodeAffinity? 2 podAffinity PodAffinity?
  3 podAntiAffinity PodAntiAffinity? }
Toleration { 1 key s 2 operator s 3 value s 4 effect s 5 tolerationSeconds l? }
HostAlias { 1 ip s? 2 hostnames []s }
PodDNSConfigOption { 1 name s 2 value s? }
PodDNSConfig { 1 nameservers []s 2 searches []s 3 options []PodDNSConfigOption }
PodReadinessGate { 1 conditionType s? }
TopologySpreadConstraint { 1 maxSkew i? 2 topologyKey s? 3 whenUnsatisfiable s?
  4 labelSelector LabelSelector? 5 minDomains i? 6 nodeAffinityPolicy s? 7 nodeTaintsPolicy s?
  8 matchLabelKeys []s }
PodOS { 1 name s? }
PodSchedulingGate { 1 name s? }
PodResourceClaim { 1 name s? 3 resourceClaimName s? 4 resourceClaimTemplateName s? }
WorkloadReference { 1 name s? 2 podGroup s? 3 podGroupReplicaKey s }
PodSpec { 1 volumes []Volume 2 containers []Container 3 restartPolicy s
  4 terminationGracePeriodSeconds l? 5 activeDeadlineSeconds l? 6 dnsPolicy s 7 nodeSelector {}s
  8 serviceAccountName s 9 serviceAccount s 10 nodeName s 11 hostNetwork b 12 hostPID b
  13 hostIPC b 14 securityContext PodSecurityContext? 15 imagePullSecrets []LocalObjectReference
  16 hostname s 17 subdomain s 18 affinity Affinity? 19 schedulerName s
  20 initContainers []Container 21 automountServiceAccountToken b? 22 tolerations []Toleration
  23 hostAliases []HostAlias 24 priorityClassName s 25 priority i? 26 dnsConfig PodDNSConfig?
  27 shareProcessNamespace b? 28 readinessGates []PodReadinessGate 29 runtimeClassName s?
  30 enableServiceLinks b? 31 preemptionPolicy s? 32 overhead {}q
  33 topologySpreadConstraints []TopologySpreadConstraint
  34 ephemeralContainers []EphemeralContainer 35 setHostnameAsFQDN b? 36 os PodOS? 37 hostUsers b?
  38 schedulingGates []PodSchedulingGate 39 resourceClaims []PodResourceClaim
  40 resources ResourceRequirements? 41 hostnameOverride s? 42 workloadRef WorkloadReference? }
PodCondition { 1 type s? 2 status s? 3 lastProbeTime t 4 lastTransitionTime t 5 reason s
  6 message s 7 observedGeneration l }
HostIP { 1 ip s? }
PodIP { 1 ip s? }
ContainerStateWaiting { 1 reason s 2 message s }
ContainerStateRunning { 1 startedAt t }
ContainerStateTerminated { 1 exitCode i? 2 signal i 3 reason s 4 message s 5 startedAt t
  6 finishedAt t 7 containerID s }
ContainerState { 1 waiting ContainerStateWaiting? 2 running ContainerStateRunning?
  3 terminated ContainerStateTerminated? }
VolumeMountStatus { 1 name s? 2 mountPath s? 3 readOnly b 4 recursiveReadOnly s? }
LinuxContainerUser { 1 uid l? 2 gid l? 3 supplementalGroups []l }
ContainerUser { 1 linux LinuxContainerUser? }
ResourceHealth { 1 resourceID s? 2 health s }
ResourceStatus { 1 name s? 2 resources []ResourceHealth }
ContainerStatus { 1 name s? 2 state ContainerState 3 lastState ContainerState 4 ready b?
  5 restartCount i? 6 image s? 7 imageID s? 8 containerID s 9 started b? 10 allocatedResources {}q
  11 resources ResourceRequirements? 12 volumeMounts []VolumeMountStatus 13 user ContainerUser?
  14 allocatedResourcesStatus []ResourceStatus 15 stopSignal s? }
PodResourceClaimStatus { 1 name s? 2 resourceClaimName s? }
ContainerExtendedResourceRequest { 1 containerName s? 2 resourceName s? 3 requestName s? }
PodExtendedResourceClaimStatus { 1 requestMappings []ContainerExtendedResourceRequest
  2 resourceClaimName s? }
PodStatus { 1 phase s 2 conditions []PodCondition 3 message s 4 reason s 5 hostIP s 6 podIP s
  7 startTime t 8 containerStatuses []ContainerStatus 9 qosClass s
  10 initContainerStatuses []ContainerStatus 11 nominatedNodeName s 12 podIPs []PodIP
  13 ephemeralContainerStatuses []ContainerStatus 14 resize s
  15 resourceClaimStatuses []PodResourceClaimStatus 16 hostIPs []HostIP 17 observedGeneration l
  18 extendedResourceClaimStatus PodExtendedResourceClaimStatus? 19 allocatedResources {}q
  20 resources ResourceRequirements? }
Pod { 1 metadata ObjectMeta 2 spec PodSpec 3 status PodStatus }
Taint { 1 key s? 2 value s 3 effect s? 4 timeAdded t }
ConfigMapNodeConfigSource { 1 namespace s? 2 name s? 3 uid s 4 resourceVersion s
  5 kubeletConfigKey s? }
NodeConfigSource { 2 configMap ConfigMapNodeConfigSource? }
NodeSpec { 1 podCIDR s 2 externalID s 3 providerID s 4 unschedulable b 5 taints []Taint
  6 configSource NodeConfigSource? 7 podCIDRs []s }
NodeCondition { 1 type s? 2 status s? 3 lastHeartbeatTime t 4 lastTransitionTime t 5 reason s
  6 message s }
NodeAddress { 1 type s? 2 address s? }
DaemonEndpoint { 1 Port i? }
NodeDaemonEndpoints { 1 kubeletEndpoint DaemonEndpoint }
NodeSwapStatus { 1 capacity l? }
NodeSystemInfo { 1 machineID s? 2 systemUUID s? 3 bootID s? 4 kernelVersion s? 5 osImage s?
  6 containerRuntimeVersion s? 7 kubeletVersion s? 8 kubeProxyVersion s? 9 operatingSystem s?
  10 architecture s? 11 swap NodeSwapStatus? }
ContainerImage { 1 names []s 2 sizeBytes l }
AttachedVolume { 1 name s? 2 devicePath s? }
NodeConfigStatus { 1 assigned NodeConfigSource? 2 active NodeConfigSource?
  3 lastKnownGood NodeConfigSource? 4 error s }
NodeRuntimeHandlerFeatures { 1 recursiveReadOnlyMounts b? 2 userNamespaces b? }
NodeRuntimeHandler { 1 name s? 2 features NodeRuntimeHandlerFeatures? }
NodeFeatures { 1 supplementalGroupsPolicy b? }
NodeStatus { 1 capacity {}q 2 allocatable {}q 3 phase s 4 conditions []NodeCondition
  5 addresses []NodeAddress 6 daemonEndpoints NodeDaemonEndpoints 7 nodeInfo NodeSystemInfo
  8 images []ContainerImage 9 volumesInUse []s 10 volumesAttached []AttachedVolume
  11 config NodeConfigStatus? 12 runtimeHandlers []NodeRuntimeHandler 13 features NodeFeatures?
  14 declaredFeatures []s }
Node { 1 metadata ObjectMeta 2 spec NodeSpec 3 status NodeStatus }
NamespaceSpec { 1 finalizers []s }
NamespaceCondition { 1 type s? 2 status s? 4 lastTransitionTime t 5 reason s 6 message s }
NamespaceStatus { 1 phase s 2 conditions []NamespaceCondition }
Namespace { 1 metadata ObjectMeta 2 spec NamespaceSpec 3 status NamespaceStatus }
EventSource { 1 component s 2 host s }
EventSeries { 1 count i 2 lastObservedTime u }
Event { 1 metadata ObjectMeta 2 involvedObject ObjectReference 3 reason s 4 message s
  5 source EventSource 6 firstTimestamp t 7 lastTimestamp t 8 count i 9 type s 10 eventTime u
  11 series EventSeries? 12 action s 13 related ObjectReference? 14 reportingComponent s?
  15 reportingInstance s? }
ConfigMap { 1 metadata ObjectMeta 2 data {}s 3 binaryData {}y 4 immutable b? }
Secret { 1 metadata ObjectMeta 2 data {}y 3 type s 4 stringData {}s 5 immutable b? }
ServiceAccount { 1 metadata ObjectMeta 2 secrets []ObjectReference
  3 imagePullSecrets []LocalObjectReference 4 automountServiceAccountToken b? }
Binding { 1 metadata ObjectMeta 2 target ObjectReference }
)";

constexpr std::string_view kDiscovery = R"(
EndpointConditions { 1 ready b? 2 serving b? 3 terminating b? }
ForZone { 1 name s? }
ForNode { 1 name s? }
EndpointHints { 1 forZones []ForZone 2 forNodes []ForNode }
Endpoint { 1 addresses []s 2 conditions EndpointConditions 3 hostname s?
  4 targetRef ObjectReference? 5 deprecatedTopology {}s 6 nodeName s? 7 zone s?
  8 hints EndpointHints? }
EndpointPort { 1 name s? 2 protocol s? 3 port i? 4 appProtocol s? }
EndpointSlice { 1 metadata ObjectMeta 2 endpoints []Endpoint 3 ports []EndpointPort
  4 addressType s? }
)";

constexpr std::string_view kCoordination = R"(
LeaseSpec { 1 holderIdentity s? 2 leaseDurationSeconds i? 3 acquireTime u 4 renewTime u
  5 leaseTransitions i? 6 strategy s? 7 preferredHolder s? }
Lease { 1 metadata ObjectMeta 2 spec LeaseSpec }
)";

constexpr std::string_view kNetworking = R"(
ServiceCIDRSpec { 1 cidrs []s }
ServiceCIDRStatus { 1 conditions []Condition }
ServiceCIDR { 1 metadata ObjectMeta 2 spec ServiceCIDRSpec 3 status ServiceCIDRStatus }
ParentReference { 1 group s 2 resource s 3 namespace s 4 name s }
IPAddressSpec { 1 parentRef ParentReference? }
IPAddress { 1 metadata ObjectMeta 2 spec IPAddressSpec }
)";

constexpr std::string_view kEvents = R"(
EventSeries { 1 count i? 2 lastObservedTime u }
Event { 1 metadata ObjectMeta 2 eventTime u 3 series EventSeries? 4 reportingController s
  5 reportingInstance s 6 action s 7 reason s 8 regarding ObjectReference
  9 related ObjectReference? 10 note s 11 type s 12 deprecatedSource EventSource
  13 deprecatedFirstTimestamp t 14 deprecatedLastTimestamp t 15 deprecatedCount i }
)";

constexpr std::string_view kPolicy = R"(
Eviction { 1 metadata ObjectMeta 2 deleteOptions DeleteOptions? }
)";

constexpr std::string_view kRbac = R"(
PolicyRule { 1 verbs []s 2 apiGroups []s 3 resources []s 4 resourceNames []s
  5 nonResourceURLs []s }
Role { 1 metadata ObjectMeta 2 rules []PolicyRule }
Subject { 1 kind s? 2 apiGroup s 3 name s? 4 namespace s }
RoleRef { 1 apiGroup s? 2 kind s? 3 name s? }
RoleBinding { 1 metadata ObjectMeta 2 subjects []Subject 3 roleRef RoleRef }
AggregationRule { 1 clusterRoleSelectors []LabelSelector }
ClusterRole { 1 metadata ObjectMeta 2 rules []PolicyRule 3 aggregationRule AggregationRule? }
ClusterRoleBinding { 1 metadata ObjectMeta 2 subjects []Subject 3 roleRef RoleRef }
)";

constexpr std::string_view kAuthentication = R"(
BoundObjectReference { 1 kind s 2 apiVersion s 3 name s 4 uid s }
TokenRequestSpec { 1 audiences []s 3 boundObjectRef BoundObjectReference? 4 expirationSeconds l? }
TokenRequestStatus { 1 token s? 2 expirationTimestamp t }
TokenRequest { 1 metadata ObjectMeta 2 spec TokenRequestSpec 3 status TokenRequestStatus }
TokenReviewSpec { 1 token s 2 audiences []s }
UserInfo { 1 username s 2 uid s 3 groups []s 4 extra {}e }
TokenReviewStatus { 1 authenticated b 2 user UserInfo 3 error s 4 audiences []s }
TokenReview { 1 metadata ObjectMeta 2 spec TokenReviewSpec 3 status TokenReviewStatus }
SelfSubjectReviewStatus { 1 userInfo UserInfo }
SelfSubjectReview { 1 metadata ObjectMeta 2 status SelfSubjectReviewStatus }
)";

constexpr std::string_view kAuthorization = R"(
FieldSelectorAttributes { 1 rawSelector s 2 requirements []FieldSelectorRequirement }
LabelSelectorAttributes { 1 rawSelector s 2 requirements []LabelSelectorRequirement }
ResourceAttributes { 1 namespace s 2 verb s 3 group s 4 version s 5 resource s 6 subresource s
  7 name s 8 fieldSelector FieldSelectorAttributes? 9 labelSelector LabelSelectorAttributes? }
NonResourceAttributes { 1 path s 2 verb s }
SubjectAccessReviewSpec { 1 resourceAttributes ResourceAttributes?
  2 nonResourceAttributes NonResourceAttributes? 3 user s 4 groups []s 5 extra {}e 6 uid s }
SubjectAccessReviewStatus { 1 allowed b? 2 reason s 3 evaluationError s 4 denied b }
SubjectAccessReview { 1 metadata ObjectMeta 2 spec SubjectAccessReviewSpec
  3 status SubjectAccessReviewStatus }
LocalSubjectAccessReview { 1 metadata ObjectMeta 2 spec SubjectAccessReviewSpec
  3 status SubjectAccessReviewStatus }
SelfSubjectAccessReviewSpec { 1 resourceAttributes ResourceAttributes?
  2 nonResourceAttributes NonResourceAttributes? }
SelfSubjectAccessReview { 1 metadata ObjectMeta 2 spec SelfSubjectAccessReviewSpec
  3 status SubjectAccessReviewStatus }
SelfSubjectRulesReviewSpec { 1 namespace s }
ResourceRule { 1 verbs []s 2 apiGroups []s 3 resources []s 4 resourceNames []s }
NonResourceRule { 1 verbs []s 2 nonResourceURLs []s }
SubjectRulesReviewStatus { 1 resourceRules []ResourceRule 2 nonResourceRules []NonResourceRule
  3 incomplete b? 4 evaluationError s }
SelfSubjectRulesReview { 1 metadata ObjectMeta 2 spec SelfSubjectRulesReviewSpec
  3 status SubjectRulesReviewStatus }
)";

constexpr ProtoSource kSources[] = {
    {"meta.k8s.io/v1", kMeta},
    {"v1", kCore},
    {"discovery.k8s.io/v1", kDiscovery},
    {"coordination.k8s.io/v1", kCoordination},
    {"networking.k8s.io/v1", kNetworking},
    {"events.k8s.io/v1", kEvents},
    {"policy/v1", kPolicy},
    {"rbac.authorization.k8s.io/v1", kRbac},
    {"authentication.k8s.io/v1", kAuthentication},
    {"authorization.k8s.io/v1", kAuthorization},
};

}  // namespace

std::span<const ProtoSource> proto_sources() { return kSources; }

}  // namespace fairlead::kube
