#include "apiserver/field_notes.hpp"

#include <span>
#include <string>

#include "base/error.hpp"
#include "base/text.hpp"

namespace fairlead::apiserver {
namespace {

struct Note {
  std::string_view path, text;
};

constexpr Note kOfEveryKind[] = {
    {"apiVersion", "Group and version of this object's shape, such as v1 or discovery.k8s.io/v1."},
    {"kind", "What this object is, in CamelCase. Cannot change."},
    {"metadata", "What every object has: its name, labels, owners and history."},
};

constexpr Note kOfMetadata[] = {
    {"annotations", "Notes of any content for people and programs. Nothing is selected by them."},
    {"creationTimestamp", "When the object was created. Set by the server."},
    {"deletionGracePeriodSeconds",
     "Seconds an object may still take to end by itself. Set with deletionTimestamp."},
    {"deletionTimestamp",
     "When the deletion was asked for, or is due. Set by the server; the object goes when its "
     "finalizers are gone and that time has come."},
    {"finalizers",
     "What has to be done before the object can go. Each is removed by who has done it."},
    {"generateName",
     "Beginning of a name that the server completes by random letters when no name is given."},
    {"generation", "Counts changes of what is wanted. Set by the server."},
    {"labels", "Names and values by which objects are selected."},
    {"managedFields",
     "Who set which fields, by server-side apply or otherwise. Kept by the server."},
    {"name", "Name of the object, unique for its kind within its namespace. Cannot change."},
    {"namespace",
     "Namespace the object is in; empty for kinds that belong to the whole cluster. Cannot "
     "change."},
    {"ownerReferences", "Objects this one depends on. It is deleted when all of them are gone."},
    {"ownerReferences.apiVersion", "Group and version of the owner."},
    {"ownerReferences.blockOwnerDeletion",
     "Whether an owner that is deleted in the foreground waits until this object is gone."},
    {"ownerReferences.controller", "Whether this owner manages the object; at most one does."},
    {"ownerReferences.kind", "Kind of the owner."},
    {"ownerReferences.name", "Name of the owner, in the same namespace or in none."},
    {"ownerReferences.uid", "UID of the owner: another object of its name is not the owner."},
    {"resourceVersion",
     "Version of the object as stored, for watches and to notice that others wrote meanwhile. Only "
     "to be compared for equality."},
    {"selfLink", "No longer set."},
    {"uid", "Tells the object from all that ever had its name. Set by the server."},
};

constexpr Note kOfReference[] = {
    {"apiVersion", "Group and version of the object."},
    {"fieldPath", "The part of the object that is meant, such as spec.containers{web}."},
    {"kind", "Kind of the object."},
    {"name", "Name of the object."},
    {"namespace", "Namespace of the object."},
    {"resourceVersion", "Version of the object that is meant."},
    {"uid", "UID of the object."},
};

constexpr Note kOfCondition[] = {
    {"", "What is known about the object at present, one entry for each aspect."},
    {"lastTransitionTime", "When status changed last."},
    {"message", "For people: what is the matter."},
    {"reason", "For programs: why, in one CamelCase word."},
    {"status", "True, False or Unknown."},
    {"type", "Which aspect."},
};

constexpr std::string_view kObserved = "metadata.generation of which this was said.";

constexpr Note kOfService[] = {
    {"",
     "A name and stable addresses for a set of Pods: what clients send to the Service reaches one "
     "of its endpoints."},
    {"spec", "What the Service is to be."},
    {"spec.allocateLoadBalancerNodePorts",
     "Whether ports of type LoadBalancer get node ports, too. False for load balancers that reach "
     "Pods directly. Default true."},
    {"spec.clusterIP",
     "Address of the Service inside the cluster. Empty: one is chosen; \"None\": headless, names "
     "lead to the endpoints themselves. The first of clusterIPs."},
    {"spec.clusterIPs",
     "Addresses inside the cluster, at most one of each IP family; the first is clusterIP."},
    {"spec.externalIPs",
     "Addresses outside of the Service ranges that nodes accept for this Service. That they reach "
     "a node is up to the administrator."},
    {"spec.externalName",
     "For type ExternalName: the DNS name that clients are referred to. No traffic is forwarded."},
    {"spec.externalTrafficPolicy",
     "Where traffic from outside (node ports, external and load-balancer addresses) goes. Cluster: "
     "any endpoint, the client's address may be hidden. Local: endpoints on the node it arrived at "
     "only, the client's address is kept."},
    {"spec.healthCheckNodePort",
     "For type LoadBalancer with externalTrafficPolicy Local: the port on which each node says "
     "over HTTP whether it has endpoints. Chosen when empty, then fixed."},
    {"spec.internalTrafficPolicy",
     "Where traffic from inside the cluster goes. Cluster: any endpoint. Local: endpoints on the "
     "client's node only, and nowhere if it has none."},
    {"spec.ipFamilies",
     "IP families of the Service, IPv4 and IPv6; the first cannot change, the second can be added "
     "and removed."},
    {"spec.ipFamilyPolicy",
     "SingleStack: one family. PreferDualStack: two where the cluster has them. RequireDualStack: "
     "two, or the Service is refused."},
    {"spec.loadBalancerClass",
     "Which load-balancer implementation is to serve this Service. Empty: the default one. Cannot "
     "change while the type is LoadBalancer."},
    {"spec.loadBalancerIP",
     "Address asked for from the load balancer. Deprecated by Kubernetes, but the only portable "
     "way."},
    {"spec.loadBalancerSourceRanges",
     "CIDRs from which load-balancer addresses may be used. Empty: from everywhere."},
    {"spec.ports", "Ports of the Service."},
    {"spec.ports.appProtocol",
     "What is spoken on the port, such as kubernetes.io/h2c, for those who look into it."},
    {"spec.ports.name", "Name of the port, unique in the Service; needed when it has several."},
    {"spec.ports.nodePort",
     "Port on every node for types NodePort and LoadBalancer. Chosen when empty."},
    {"spec.ports.port", "Port at the Service's addresses, 1-65535."},
    {"spec.ports.protocol", "TCP, UDP or SCTP. Default TCP."},
    {"spec.ports.targetPort",
     "Port of the Pods: a number, or the name of a container's port. Default: port."},
    {"spec.publishNotReadyAddresses",
     "Whether Pods count as ready endpoints before they are, for peers that have to find each "
     "other to become so."},
    {"spec.selector",
     "Labels of the Pods that are its endpoints. Without it, EndpointSlices are managed by "
     "others."},
    {"spec.sessionAffinity", "None, or ClientIP: a client's connections go to the same endpoint."},
    {"spec.sessionAffinityConfig", "Details of sessionAffinity."},
    {"spec.sessionAffinityConfig.clientIP", "Details of sessionAffinity ClientIP."},
    {"spec.sessionAffinityConfig.clientIP.timeoutSeconds",
     "Seconds after a client's last connection until it may go elsewhere, 1-86400. Default 10800, "
     "three hours."},
    {"spec.trafficDistribution",
     "Preference among endpoints: PreferSameZone (or PreferClose) or PreferSameNode. Not a "
     "promise."},
    {"spec.type",
     "ClusterIP: reached inside the cluster. NodePort: also at a port of every node. LoadBalancer: "
     "also at addresses from outside. ExternalName: an alias in DNS. Default ClusterIP."},
    {"status", "What has become of it. Written by controllers."},
    {"status.conditions.observedGeneration", kObserved},
    {"status.loadBalancer", "How the load balancer is reached."},
    {"status.loadBalancer.ingress", "Addresses of the load balancer."},
    {"status.loadBalancer.ingress.hostname", "A DNS name instead of an address."},
    {"status.loadBalancer.ingress.ip", "An address."},
    {"status.loadBalancer.ingress.ipMode",
     "VIP: packets arrive with this destination, nodes may deliver it themselves. Proxy: they "
     "arrive at a node or Pod, and nodes send them out to the load balancer."},
    {"status.loadBalancer.ingress.ports", "Whether each port is served."},
    {"status.loadBalancer.ingress.ports.error", "Why it is not."},
    {"status.loadBalancer.ingress.ports.port", "Port of the Service."},
    {"status.loadBalancer.ingress.ports.protocol", "Its protocol."},
};

constexpr Note kOfEndpointSlice[] = {
    {"",
     "Some of the endpoints of a Service, which the label kubernetes.io/service-name names. Its "
     "endpoints are those of all its slices together."},
    {"addressType", "IPv4, IPv6 or FQDN, of all addresses here. Cannot change."},
    {"endpoints", "At most 1000 endpoints."},
    {"endpoints.addresses", "Its addresses, all alike; the node proxy uses the first."},
    {"endpoints.conditions", "Whether traffic should go there."},
    {"endpoints.conditions.ready",
     "Serving and not terminating; or publishNotReadyAddresses is set. Not said: true."},
    {"endpoints.conditions.serving",
     "It answers, even while it is being terminated. Not said: as ready."},
    {"endpoints.conditions.terminating",
     "It is being terminated. Used when no other endpoint is left."},
    {"endpoints.deprecatedTopology", "Topology labels of v1beta1."},
    {"endpoints.hints",
     "For whom the endpoint is meant. Heeded only if all endpoints have such hints."},
    {"endpoints.hints.forNodes", "Nodes whose traffic should go here."},
    {"endpoints.hints.forNodes.name", "Name of the node."},
    {"endpoints.hints.forZones", "Zones whose traffic should go here."},
    {"endpoints.hints.forZones.name", "Name of the zone."},
    {"endpoints.hostname", "Name of the endpoint in DNS, a label in lower case."},
    {"endpoints.nodeName", "Node the endpoint is on."},
    {"endpoints.targetRef", "What the endpoint is, most often a Pod."},
    {"endpoints.zone", "Zone the endpoint is in."},
    {"ports", "Ports of every endpoint here; none: no port is reached."},
    {"ports.appProtocol", "What is spoken on the port."},
    {"ports.name", "Name of the Service's port that leads here; may be empty."},
    {"ports.port", "Port of the endpoints. Not said: all of them."},
    {"ports.protocol", "TCP, UDP or SCTP. Default TCP."},
};

constexpr Note kOfEndpointsAddress[] = {
    {"hostname", "Name of the endpoint in DNS."},
    {"ip", "Its address; not loopback or link-local."},
    {"nodeName", "Node it is on."},
    {"targetRef", "What it is, most often a Pod."},
};

constexpr Note kOfEndpoints[] = {
    {"",
     "The endpoints of the Service of the same name, in the way before EndpointSlices; deprecated "
     "by Kubernetes."},
    {"subsets", "Each: every address with every port."},
    {"subsets.addresses", "Endpoints that are ready."},
    {"subsets.notReadyAddresses", "Endpoints that are not."},
    {"subsets.ports", "Ports of these addresses."},
    {"subsets.ports.appProtocol", "What is spoken on the port."},
    {"subsets.ports.name", "Name of the Service's port; needed when there are several."},
    {"subsets.ports.port", "Port number, 1-65535."},
    {"subsets.ports.protocol", "TCP, UDP or SCTP. Default TCP."},
};

constexpr Note kOfIpAddress[] = {
    {"",
     "An address that is in use by a Service; its name is the address. Made and removed by the "
     "server."},
    {"spec", "Whom it belongs to. Cannot change."},
    {"spec.parentRef", "The object that uses the address."},
    {"spec.parentRef.group", "Its API group."},
    {"spec.parentRef.name", "Its name."},
    {"spec.parentRef.namespace", "Its namespace."},
    {"spec.parentRef.resource", "Its resource, such as services."},
};

constexpr Note kOfServiceCidr[] = {
    {"", "A range from which Services get their addresses, besides those of the server's flags."},
    {"spec", "The range. A second family can be added; the first cannot change."},
    {"spec.cidrs", "One CIDR, or two of different IP families."},
    {"status", "Whether the range is in use."},
    {"status.conditions.observedGeneration", kObserved},
};

constexpr Note kOfLease[] = {
    {"", "Says who leads, or that a node is alive, for some seconds at a time."},
    {"spec", "Who holds it and since when."},
    {"spec.acquireTime", "When the holder took it."},
    {"spec.holderIdentity", "Who holds it; empty: nobody."},
    {"spec.leaseDurationSeconds", "Seconds after renewTime until others may take it."},
    {"spec.leaseTransitions", "How often it went from one holder to another."},
    {"spec.preferredHolder", "Whom a coordinating election wants to hold it. Needs strategy."},
    {"spec.renewTime", "When the holder renewed it last."},
    {"spec.strategy", "How a coordinating election chooses."},
};

constexpr Note kOfConfigMap[] = {
    {"", "Configuration for Pods to read."},
    {"binaryData", "Values that are no text, in base64. No key is in data, too."},
    {"data", "Values that are text."},
    {"immutable", "True: the content cannot change any more, nor this."},
};

constexpr Note kOfNamespace[] = {
    {"", "A room of its own for the names of objects."},
    {"spec", "What keeps it."},
    {"spec.finalizers",
     "What has to be done before it can go; \"kubernetes\": that all in it is deleted."},
    {"status", "What has become of it."},
    {"status.phase", "Active, or Terminating: nothing can be created in it any more."},
};

constexpr Note kOfServiceAccount[] = {
    {"", "Who programs in Pods are to the server."},
    {"automountServiceAccountToken",
     "Whether Pods find a token of it in a file, unless they say so themselves."},
    {"imagePullSecrets", "Secrets with which images are pulled."},
    {"imagePullSecrets.name", "Name of the Secret."},
    {"secrets", "Secrets its Pods may use."},
};

constexpr Note kOfRole[] = {{"", "What may be done in a namespace."}};
constexpr Note kOfRoleBinding[] = {{"", "Gives a role to subjects in a namespace."}};
constexpr Note kOfClusterRoleBinding[] = {{"", "Gives a role to subjects everywhere."}};

constexpr Note kOfRules[] = {
    {"rules", "What is allowed; nothing is ever forbidden."},
    {"rules.apiGroups", "Groups of the resources; \"\" is that of Pods and Services, * are all."},
    {"rules.nonResourceURLs",
     "Paths such as /metrics, with * at the end for all below. Of ClusterRoles only."},
    {"rules.resourceNames", "Names of the objects; none: all."},
    {"rules.resources", "Resources such as services or services/status; * are all."},
    {"rules.verbs",
     "get, list, watch, create, update, patch, delete, deletecollection; * are all."},
};

constexpr Note kOfClusterRole[] = {
    {"", "What may be done; where, its bindings say."},
    {"aggregationRule", "Rules are those of other ClusterRoles, and are kept so."},
    {"aggregationRule.clusterRoleSelectors", "Labels of these; one that fits is enough."},
    {"aggregationRule.clusterRoleSelectors.matchExpressions",
     "Further conditions, which all hold."},
    {"aggregationRule.clusterRoleSelectors.matchExpressions.key", "Label."},
    {"aggregationRule.clusterRoleSelectors.matchExpressions.operator",
     "In, NotIn, Exists or DoesNotExist."},
    {"aggregationRule.clusterRoleSelectors.matchExpressions.values", "Values of In and NotIn."},
    {"aggregationRule.clusterRoleSelectors.matchLabels", "Labels and their values."},
};

constexpr Note kOfBinding[] = {
    {"roleRef", "The role that is given. Cannot change."},
    {"roleRef.apiGroup", "rbac.authorization.k8s.io"},
    {"roleRef.kind", "Role or ClusterRole."},
    {"roleRef.name", "Name of the role."},
    {"subjects", "To whom."},
    {"subjects.apiGroup",
     "rbac.authorization.k8s.io for users and groups, empty for ServiceAccounts."},
    {"subjects.kind", "User, Group or ServiceAccount."},
    {"subjects.name", "Name of the subject."},
    {"subjects.namespace", "Namespace of a ServiceAccount."},
};

constexpr Note kOfCoreEvent[] = {
    {"", "Something that happened to an object. Kept for an hour."},
    {"action", "What was done or tried."},
    {"count", "How often."},
    {"eventTime", "When it happened first, to the microsecond."},
    {"firstTimestamp", "When it happened first."},
    {"involvedObject", "What it happened to."},
    {"lastTimestamp", "When it happened last."},
    {"message", "For people: what happened."},
    {"reason", "For programs: why, in one CamelCase word."},
    {"related", "Another object that plays a part."},
    {"reportingComponent", "Who tells, such as kubernetes.io/kubelet."},
    {"reportingInstance", "Which of them."},
    {"series", "That it happens again and again."},
    {"series.count", "How often up to lastObservedTime."},
    {"series.lastObservedTime", "When it happened last."},
    {"source", "Who tells, in the way before reportingComponent."},
    {"source.component", "Program."},
    {"source.host", "Node."},
    {"type", "Normal or Warning."},
};

constexpr Note kOfEvent[] = {
    {"", "Something that happened to an object. Kept for an hour."},
    {"action", "What was done or tried."},
    {"deprecatedCount", "count of the Event in v1."},
    {"deprecatedFirstTimestamp", "firstTimestamp of the Event in v1."},
    {"deprecatedLastTimestamp", "lastTimestamp of the Event in v1."},
    {"deprecatedSource", "source of the Event in v1."},
    {"deprecatedSource.component", "Program."},
    {"deprecatedSource.host", "Node."},
    {"eventTime", "When it happened first, to the microsecond."},
    {"note", "For people: what happened."},
    {"reason", "For programs: why, in one CamelCase word."},
    {"regarding", "What it happened to."},
    {"related", "Another object that plays a part."},
    {"reportingController", "Who tells, such as kubernetes.io/kubelet."},
    {"reportingInstance", "Which of them."},
    {"series", "That it happens again and again."},
    {"series.count", "How often up to lastObservedTime."},
    {"series.lastObservedTime", "When it happened last."},
    {"type", "Normal or Warning."},
};

// As far as Services are concerned; nothing here runs Pods.
constexpr Note kOfPod[] = {
    {"", "Containers that run together on one node and share its Pod's addresses."},
    {"spec", "What is to run, and where."},
    {"spec.containers", "What runs."},
    {"spec.containers.image", "What it is made of."},
    {"spec.containers.name", "Name of the container, a DNS label, unique in the Pod."},
    {"spec.containers.ports", "Ports it listens on. Services may refer to them by name."},
    {"spec.containers.ports.containerPort", "Port number, 1-65535."},
    {"spec.containers.ports.hostIP", "Address of the node for hostPort."},
    {"spec.containers.ports.hostPort", "Port of the node that leads here."},
    {"spec.containers.ports.name", "Name that a Service's targetPort may give."},
    {"spec.containers.ports.protocol", "TCP, UDP or SCTP. Default TCP."},
    {"spec.containers.readinessProbe", "Tells whether Services may send traffic here."},
    {"spec.hostNetwork", "Whether it has the node's addresses instead of its own."},
    {"spec.hostname", "Name of the Pod; with subdomain also in DNS."},
    {"spec.nodeName", "Node it runs on. Given once, by a binding or here."},
    {"spec.readinessGates", "Further conditions that must be True before it is ready."},
    {"spec.serviceAccountName", "ServiceAccount it acts as. Default \"default\"."},
    {"spec.subdomain", "Headless Service in whose domain its hostname is."},
    {"spec.terminationGracePeriodSeconds", "Seconds it may take to end. Default 30."},
    {"status", "What has become of it."},
    {"status.hostIP", "First address of its node."},
    {"status.hostIPs", "Addresses of its node."},
    {"status.hostIPs.ip", "An address."},
    {"status.phase", "Pending, Running, Succeeded, Failed or Unknown."},
    {"status.podIP", "First of podIPs."},
    {"status.podIPs", "Its addresses, at most one of each IP family."},
    {"status.podIPs.ip", "An address."},
};

constexpr Note kOfNode[] = {
    {"", "A machine on which Pods run."},
    {"spec", "What it is to be."},
    {"spec.podCIDR", "First of podCIDRs."},
    {"spec.podCIDRs", "Ranges of the addresses of its Pods, at most one of each IP family."},
    {"spec.providerID", "What the cloud calls it."},
    {"spec.taints", "Keep away Pods that do not tolerate them."},
    {"spec.taints.effect", "NoSchedule, PreferNoSchedule or NoExecute."},
    {"spec.taints.key", "Name of the taint."},
    {"spec.taints.timeAdded", "When it was added."},
    {"spec.taints.value", "Value of the taint."},
    {"spec.unschedulable", "Whether no new Pods are to run on it (kubectl cordon)."},
    {"status", "What is known of it."},
    {"status.addresses", "Under which addresses and names it is reached."},
    {"status.addresses.address", "Address or name."},
    {"status.addresses.type", "InternalIP, ExternalIP, Hostname, InternalDNS or ExternalDNS."},
    {"status.allocatable", "What of its capacity Pods may use."},
    {"status.capacity", "CPUs, memory and more."},
};

struct NotesOfKind {
  std::string_view group, kind, prefix;
  std::span<const Note> notes;
};

constexpr std::string_view kRbac = "rbac.authorization.k8s.io";
constexpr NotesOfKind kNotes[] = {
    {"", "Service", "", kOfService},
    {"discovery.k8s.io", "EndpointSlice", "", kOfEndpointSlice},
    {"", "Endpoints", "", kOfEndpoints},
    {"", "Endpoints", "subsets.addresses", kOfEndpointsAddress},
    {"", "Endpoints", "subsets.notReadyAddresses", kOfEndpointsAddress},
    {"networking.k8s.io", "IPAddress", "", kOfIpAddress},
    {"networking.k8s.io", "ServiceCIDR", "", kOfServiceCidr},
    {"coordination.k8s.io", "Lease", "", kOfLease},
    {"", "ConfigMap", "", kOfConfigMap},
    {"", "Namespace", "", kOfNamespace},
    {"", "ServiceAccount", "", kOfServiceAccount},
    {kRbac, "Role", "", kOfRole},
    {kRbac, "Role", "", kOfRules},
    {kRbac, "ClusterRole", "", kOfClusterRole},
    {kRbac, "ClusterRole", "", kOfRules},
    {kRbac, "RoleBinding", "", kOfRoleBinding},
    {kRbac, "RoleBinding", "", kOfBinding},
    {kRbac, "ClusterRoleBinding", "", kOfClusterRoleBinding},
    {kRbac, "ClusterRoleBinding", "", kOfBinding},
    {"", "Event", "", kOfCoreEvent},
    {"events.k8s.io", "Event", "", kOfEvent},
    {"", "Pod", "", kOfPod},
    {"", "Node", "", kOfNode},
};

void add(boost::json::object& schema, std::string_view prefix, std::span<const Note> notes) {
  for (const Note& note : notes) {
    const bool inner = !prefix.empty() && !note.path.empty();
    boost::json::object* field =
        find_field(schema, fmt::format("{}{}{}", prefix, inner ? "." : "", note.path));
    check(field != nullptr, "a note is about a field there is");
    (*field)["description"] = boost::json::string(note.text.data(), note.text.size());
  }
}

// What is in several places of one kind, or in several kinds.
void add_shared(boost::json::object& schema) {
  add(schema, "", kOfEveryKind);
  add(schema, "metadata", kOfMetadata);
  for (const std::string_view reference :
       {"endpoints.targetRef", "involvedObject", "regarding", "related",
        "subsets.addresses.targetRef", "subsets.notReadyAddresses.targetRef", "secrets"}) {
    if (find_field(schema, reference) != nullptr) add(schema, reference, kOfReference);
  }
  if (find_field(schema, "status.conditions") != nullptr)
    add(schema, "status.conditions", kOfCondition);
}

}  // namespace

boost::json::object* find_field(boost::json::object& schema, std::string_view path) {
  boost::json::object* at = &schema;
  if (path.empty()) return at;
  for (const std::string_view name : split(path, '.')) {
    if (auto* items = at->if_contains("items")) at = &items->get_object();
    auto* properties = at->if_contains("properties");
    auto* field = properties == nullptr ? nullptr : properties->get_object().if_contains(name);
    if (field == nullptr) return nullptr;
    at = &field->get_object();
  }
  return at;
}

void describe_fields(boost::json::object& schema, std::string_view group, std::string_view kind) {
  add_shared(schema);
  for (const NotesOfKind& notes : kNotes) {
    if (notes.group == group && notes.kind == kind) add(schema, notes.prefix, notes.notes);
  }
}

}  // namespace fairlead::apiserver
