#include "apiserver/schema.hpp"

#include <boost/json/array.hpp>
#include <map>
#include <optional>

#include "apiserver/review_kinds.hpp"
#include "base/clock.hpp"
#include "base/text.hpp"

namespace fairlead::apiserver {
namespace {

using boost::json::value;

constexpr std::string_view kCondition =
    "{type:s status:s observedGeneration:i lastTransitionTime:t reason:s message:s}";
constexpr std::string_view kNamespaceCondition =
    "{type:s status:s lastTransitionTime:t reason:s message:s}";
constexpr std::string_view kNodeCondition =
    "{type:s status:s lastHeartbeatTime:t lastTransitionTime:t reason:s message:s}";
constexpr std::string_view kPodCondition =
    "{type:s status:s observedGeneration:i lastTransitionTime:t lastProbeTime:t reason:s "
    "message:s}";
constexpr std::string_view kObjectReference =
    "!{kind:s namespace:s name:s uid:s apiVersion:s resourceVersion:s fieldPath:s}";
constexpr std::string_view kProbe =
    "{exec:{command:[]s} httpGet:{path:s port:x host:s scheme:s httpHeaders:[]{name:s value:s}} "
    "tcpSocket:{port:x host:s} "
    "grpc:any initialDelaySeconds:i timeoutSeconds:i periodSeconds:i successThreshold:i "
    "failureThreshold:i "
    "terminationGracePeriodSeconds:i}";
constexpr std::string_view kMetadata =
    "{name:s generateName:s namespace:s selfLink:s uid:s resourceVersion:s generation:i "
    "creationTimestamp:t "
    "deletionTimestamp:t deletionGracePeriodSeconds:i labels:m annotations:m "
    "ownerReferences:[uid]!{apiVersion:s kind:s name:s uid:s controller:b blockOwnerDeletion:b} "
    "finalizers:[=]s "
    "managedFields:[]any}";

std::string container_fields() {
  return "name:s image:s command:[]s args:[]s workingDir:s "
         "ports:[containerPort,protocol=TCP]{name:s hostPort:i containerPort:i protocol:s "
         "hostIP:s} "
         "env:[name]{name:s value:s "
         "valueFrom:any} envFrom:[]any "
         "resources:any volumeMounts:[mountPath]any volumeDevices:[devicePath]any lifecycle:any "
         "terminationMessagePath:s terminationMessagePolicy:s "
         "imagePullPolicy:s securityContext:any stdin:b stdinOnce:b tty:b resizePolicy:[]any "
         "restartPolicy:s restartPolicyRules:[]any "
         "livenessProbe:" +
         std::string(kProbe) + " readinessProbe:" + std::string(kProbe) +
         " startupProbe:" + std::string(kProbe);
}

std::string service_body() {
  return "spec:{ports:[port,protocol=TCP]{name:s protocol:s port:i targetPort:x nodePort:i "
         "appProtocol:s} "
         "selector:!m clusterIP:s clusterIPs:[]s "
         "type:s externalIPs:[]s sessionAffinity:s "
         "sessionAffinityConfig:{clientIP:{timeoutSeconds:i}} loadBalancerIP:s "
         "loadBalancerSourceRanges:[]s externalName:s externalTrafficPolicy:s "
         "internalTrafficPolicy:s healthCheckNodePort:i "
         "publishNotReadyAddresses:b ipFamilyPolicy:s ipFamilies:[]s "
         "allocateLoadBalancerNodePorts:b loadBalancerClass:s "
         "trafficDistribution:s} "
         "status:{loadBalancer:{ingress:[]{ip:s hostname:s ipMode:s ports:[]{port:i protocol:s "
         "error:s}}} conditions:[type]" +
         std::string(kCondition) + "}";
}

std::string endpoint_slice_body() {
  return "addressType:s endpoints:[]{addresses:[=]s conditions:{ready:b serving:b terminating:b} "
         "hostname:s targetRef:" +
         std::string(kObjectReference) +
         " deprecatedTopology:m nodeName:s zone:s hints:{forZones:[]{name:s} forNodes:[]{name:s}}} "
         "ports:[]{name:s protocol:s port:i appProtocol:s}";
}

std::string pod_body() {
  const std::string container = "{" + container_fields() + "}";
  return "spec:{volumes:[name]any containers:[name]" + container + " initContainers:[name]" +
         container +
         " ephemeralContainers:[name]any restartPolicy:s terminationGracePeriodSeconds:i "
         "activeDeadlineSeconds:i dnsPolicy:s "
         "nodeSelector:!m serviceAccountName:s serviceAccount:s automountServiceAccountToken:b "
         "nodeName:s hostNetwork:b hostPID:b "
         "hostIPC:b shareProcessNamespace:b securityContext:any imagePullSecrets:[name]any "
         "hostname:s "
         "subdomain:s affinity:any "
         "schedulerName:s tolerations:[]any hostAliases:[ip]any priorityClassName:s priority:i "
         "dnsConfig:any readinessGates:[]any "
         "runtimeClassName:s enableServiceLinks:b preemptionPolicy:s overhead:any "
         "topologySpreadConstraints:[topologyKey,whenUnsatisfiable]any "
         "setHostnameAsFQDN:b os:any hostUsers:b schedulingGates:[name]any "
         "resourceClaims:[name]any "
         "resources:any hostnameOverride:s workloadRef:any} "
         "status:{phase:s conditions:[type]" +
         std::string(kPodCondition) +
         " message:s reason:s nominatedNodeName:s hostIP:s hostIPs:[]{ip:s} podIP:s "
         "podIPs:[ip]{ip:s} startTime:t qosClass:s "
         "containerStatuses:[]any initContainerStatuses:[]any ephemeralContainerStatuses:[]any "
         "resize:s "
         "resourceClaimStatuses:[name]any observedGeneration:i allocatedResources:any "
         "resources:any extendedResourceClaimStatus:any}";
}

std::string node_body() {
  return "spec:{podCIDR:s podCIDRs:[=]s providerID:s externalID:s unschedulable:b "
         "taints:[]{key:s value:s effect:s timeAdded:t} configSource:any} "
         "status:{capacity:any allocatable:any phase:s conditions:[type]" +
         std::string(kNodeCondition) +
         " addresses:[type]{type:s address:s} daemonEndpoints:any nodeInfo:any images:[]any "
         "volumesInUse:[]s volumesAttached:[]any "
         "config:any runtimeHandlers:[]any features:any declaredFeatures:[]s}";
}

constexpr std::string_view kEventSeries = "{count:i lastObservedTime:u}";

std::string core_event_body() {
  const std::string reference(kObjectReference);
  return "involvedObject:" + reference +
         " reason:s message:s source:{component:s host:s} firstTimestamp:t lastTimestamp:t count:i "
         "type:s eventTime:u series:" +
         std::string(kEventSeries) + " action:s related:" + reference +
         " reportingComponent:s reportingInstance:s";
}

std::string event_body() {
  const std::string reference(kObjectReference);
  return "eventTime:u series:" + std::string(kEventSeries) +
         " reportingController:s reportingInstance:s action:s reason:s regarding:" + reference +
         " related:" + reference +
         " note:s type:s deprecatedSource:{component:s host:s} deprecatedFirstTimestamp:t "
         "deprecatedLastTimestamp:t deprecatedCount:i";
}

using Schemas = std::map<std::pair<std::string, std::string>, Schema>;  // by group and kind

Schemas make_schemas() {
  const std::string address =
      "{ip:s hostname:s nodeName:s targetRef:" + std::string(kObjectReference) + "}";
  const std::string rules =
      "[]{verbs:[]s apiGroups:[]s resources:[]s resourceNames:[]s nonResourceURLs:[]s}";
  const std::string binding =
      "subjects:[]{kind:s apiGroup:s name:s namespace:s} roleRef:{apiGroup:s kind:s name:s}";
  std::map<std::pair<std::string, std::string>, std::string> bodies = {
      {{"", "Service"}, service_body()},
      {{"discovery.k8s.io", "EndpointSlice"}, endpoint_slice_body()},
      {{"", "Pod"}, pod_body()},
      {{"", "Node"}, node_body()},
      {{"", "Namespace"},
       "spec:{finalizers:[]s} status:{phase:s conditions:[type]" +
           std::string(kNamespaceCondition) + "}"},
      {{"", "Event"}, core_event_body()},
      {{"events.k8s.io", "Event"}, event_body()},
      {{"networking.k8s.io", "IPAddress"},
       "spec:{parentRef:{group:s resource:s namespace:s name:s}}"},
      {{"networking.k8s.io", "ServiceCIDR"},
       "spec:{cidrs:[]s} status:{conditions:[type]" + std::string(kCondition) + "}"},
      {{"", "Endpoints"},
       "subsets:[]{addresses:[]" + address + " notReadyAddresses:[]" + address +
           " ports:[]{name:s port:i protocol:s appProtocol:s}}"},
      {{"coordination.k8s.io", "Lease"},
       "spec:{holderIdentity:s leaseDurationSeconds:i acquireTime:u renewTime:u "
       "leaseTransitions:i strategy:s preferredHolder:s}"},
      {{"", "ConfigMap"}, "data:m binaryData:m immutable:b"},
      {{"", "ServiceAccount"},
       "secrets:[name]" + std::string(kObjectReference) +
           " imagePullSecrets:[]{name:s} automountServiceAccountToken:b"},
      {{"rbac.authorization.k8s.io", "Role"}, "rules:" + rules},
      {{"rbac.authorization.k8s.io", "ClusterRole"},
       "rules:" + rules +
           " aggregationRule:{clusterRoleSelectors:[]{matchLabels:m "
           "matchExpressions:[]{key:s operator:s values:[]s}}}"},
      {{"rbac.authorization.k8s.io", "RoleBinding"}, binding},
      {{"rbac.authorization.k8s.io", "ClusterRoleBinding"}, binding},
      {{"authentication.k8s.io", "TokenRequest"},
       "spec:{audiences:[]s expirationSeconds:i boundObjectRef:{kind:s apiVersion:s name:s uid:s}} "
       "status:{token:s expirationTimestamp:t}"},
  };
  for (const ReviewKind& review : review_kinds())
    bodies.emplace(std::pair(review.info.group, review.info.kind), review.schema);
  Schemas out;
  for (const auto& [kind, body] : bodies) {
    out.emplace(kind, Schema::parse("{kind:s apiVersion:s metadata:" + std::string(kMetadata) +
                                    " " + body + "}"));
  }
  return out;
}

constexpr std::pair<std::string_view, Schema::Type> kScalars[] = {
    {"any", Schema::Type::Any},     {"s", Schema::Type::String},
    {"i", Schema::Type::Integer},   {"b", Schema::Type::Boolean},
    {"t", Schema::Type::Time},      {"q", Schema::Type::Quantity},
    {"u", Schema::Type::MicroTime}, {"x", Schema::Type::IntOrString},
    {"m", Schema::Type::StringMap},
};

std::string_view expected_text(Schema::Type type) {
  switch (type) {
    case Schema::Type::Any:
      return "anything";
    case Schema::Type::String:
      return "a string";
    case Schema::Type::Integer:
      return "an integer";
    case Schema::Type::Boolean:
      return "true or false";
    case Schema::Type::Time:
      return "an RFC 3339 time";
    case Schema::Type::MicroTime:
      return "an RFC 3339 time with six digits after the second";
    case Schema::Type::Quantity:
      return "a quantity";
    case Schema::Type::IntOrString:
      return "an integer or a string";
    case Schema::Type::StringMap:
      return "a map of strings";
    case Schema::Type::List:
      return "a list";
    case Schema::Type::Object:
      return "an object";
  }
  return "";
}

bool is_integer(const value& v) { return v.is_int64() || v.is_uint64(); }

bool is_string_map(const value& v) {
  const auto* object = v.if_object();
  if (object == nullptr) return false;
  return std::all_of(object->begin(), object->end(),
                     [](const auto& member) { return member.value().is_string(); });
}

bool is_time(const value& v) {
  return v.is_string() && parse_rfc3339({v.get_string().data(), v.get_string().size()}).has_value();
}

// Go clients refuse any other number of digits.
bool is_micro_time(const value& v) {
  if (!is_time(v)) return false;
  const std::string_view text = v.get_string();
  const auto point = text.find('.');
  if (point == std::string_view::npos) return false;
  const auto end = text.find_first_not_of("0123456789", point + 1);
  return end != std::string_view::npos && end - point - 1 == 6;
}

bool has_type(const value& v, Schema::Type type) {
  switch (type) {
    case Schema::Type::Any:
      return true;
    case Schema::Type::String:
      return v.is_string();
    case Schema::Type::Integer:
      return is_integer(v);
    case Schema::Type::Boolean:
      return v.is_bool();
    case Schema::Type::Time:
      return is_time(v);
    case Schema::Type::MicroTime:
      return is_micro_time(v);
    case Schema::Type::Quantity:
      return v.is_string() || v.is_number();
    case Schema::Type::IntOrString:
      return v.is_string() || is_integer(v);
    case Schema::Type::StringMap:
      return is_string_map(v);
    case Schema::Type::List:
      return v.is_array();
    case Schema::Type::Object:
      return v.is_object();
  }
  return false;
}

}  // namespace

// Recursive descent over `rest`; each call takes one type off its front.
struct Schema::Parser {
  std::string_view rest;

  std::string_view take(std::size_t bytes) {
    const std::string_view out = rest.substr(0, bytes);
    rest.remove_prefix(out.size());
    return out;
  }

  Schema type() {
    const bool atomic = rest.starts_with('!');
    if (atomic) take(1);
    Schema out = rest.starts_with('[') ? list() : rest.starts_with('{') ? object() : scalar();
    out.atomic_ = out.atomic_ || atomic;
    return out;
  }

  Schema list() {
    Schema out;
    out.type_ = Type::List;
    const auto end = rest.find(']');
    check(end != std::string_view::npos, "a schema's list names its keys");
    const std::string_view keys = take(end + 1).substr(1, end - 1);
    out.atomic_ = keys.empty();
    if (!keys.empty() && keys != "=") {
      for (const std::string_view key : split(keys, ',')) {
        const auto equals = std::min(key.find('='), key.size());
        out.keys_.push_back(
            {.name = std::string(key.substr(0, equals)),
             .fallback = std::string(key.substr(std::min(equals + 1, key.size())))});
      }
    }
    out.fields_.emplace_back("", type());
    return out;
  }

  Schema object() {
    Schema out;
    out.type_ = Type::Object;
    take(1);
    while (!rest.starts_with('}')) {
      const auto colon = rest.find(':');
      check(colon != std::string_view::npos, "a schema's field has a type");
      std::string name(take(colon));
      take(1);
      out.fields_.emplace_back(std::move(name), type());
      if (rest.starts_with(' ')) take(1);
    }
    take(1);
    return out;
  }

  Schema scalar() {
    Schema out;
    const std::string_view word = take(rest.find_first_of(" }"));
    const auto* found =
        std::ranges::find(kScalars, word, &std::pair<std::string_view, Type>::first);
    check(found != std::end(kScalars), "a schema names a known type");
    out.type_ = found->second;
    return out;
  }
};

Schema Schema::parse(std::string_view text) {
  Parser parser{.rest = text};
  Schema schema = parser.type();
  check(parser.rest.empty(), "a schema ends where its text ends");
  return schema;
}

const Schema* Schema::field(std::string_view name) const {
  const auto found = std::ranges::find(fields_, name, &std::pair<std::string, Schema>::first);
  return found == fields_.end() ? nullptr : &found->second;
}

struct Schema::Walk {
  std::vector<std::string> unknown;
  std::optional<StatusError> error;

  void object(const Schema& schema, Document& document, const std::string& path) {
    std::vector<std::string> dropped;
    for (auto& member : document) {
      const std::string name(member.key());
      if (member.value().is_null()) {
        dropped.push_back(name);
        continue;
      }
      const std::string inner = path.empty() ? name : path + "." + name;
      const Schema* field = schema.field(name);
      if (field == nullptr) {
        unknown.push_back(inner);
        dropped.push_back(name);
        continue;
      }
      visit(*field, member.value(), inner);
      if (error) return;
    }
    for (const std::string& name : dropped) document.erase(name);
  }

  void visit(const Schema& schema, value& v, const std::string& path) {
    if (!has_type(v, schema.type())) {
      error = bad_request(fmt::format("{}: expected {}", path, expected_text(schema.type())));
    } else if (schema.type() == Type::Object) {
      object(schema, v.get_object(), path);
    } else if (schema.type() == Type::List) {
      std::size_t i = 0;
      for (value& item : v.get_array()) {
        visit(schema.items(), item, fmt::format("{}[{}]", path, i++));
        if (error) return;
      }
    }
  }
};

ApiResult<std::vector<std::string>> Schema::conform(Document& document) const {
  Walk walk;
  walk.object(*this, document, "");
  if (walk.error) return *walk.error;
  return std::move(walk.unknown);
}

namespace {

boost::json::object list_to_openapi(const Schema& list) {
  boost::json::object items = list.items().to_openapi();
  boost::json::array names;
  for (const Schema::Key& key : list.keys()) {
    names.push_back(text_value(key.name));
    auto* properties = items.if_contains("properties");
    if (key.fallback.empty() || properties == nullptr) continue;
    properties->get_object()[key.name].get_object()["default"] = text_value(key.fallback);
  }
  boost::json::object out{{"type", "array"}, {"items", std::move(items)}};
  out["x-kubernetes-list-type"] = list.atomic() ? "atomic" : list.is_set() ? "set" : "map";
  if (!names.empty()) out["x-kubernetes-list-map-keys"] = std::move(names);
  return out;
}

}  // namespace

boost::json::object Schema::to_openapi() const {
  boost::json::object out = shape_to_openapi();
  if (atomic_ && type_ != Type::List) out["x-kubernetes-map-type"] = "atomic";
  return out;
}

boost::json::object Schema::shape_to_openapi() const {
  switch (type_) {
    case Type::Any:
      return {{"x-kubernetes-preserve-unknown-fields", true}};
    case Type::String:
      return {{"type", "string"}};
    case Type::Integer:
      return {{"type", "integer"}, {"format", "int64"}};
    case Type::Boolean:
      return {{"type", "boolean"}};
    case Type::Time:
    case Type::MicroTime:
      return {{"type", "string"}, {"format", "date-time"}};
    case Type::Quantity:
      return {{"type", "string"}};
    case Type::IntOrString:
      return {
          {"type", "string"}, {"format", "int-or-string"}, {"x-kubernetes-int-or-string", true}};
    case Type::StringMap:
      return {{"type", "object"},
              {"additionalProperties", boost::json::object{{"type", "string"}}}};
    case Type::List:
      return list_to_openapi(*this);
    case Type::Object:
      break;
  }
  boost::json::object properties;
  for (const auto& [name, schema] : fields_) properties[name] = schema.to_openapi();
  return {{"type", "object"}, {"properties", std::move(properties)}};
}

const Schema* schema_of_kind(std::string_view group, std::string_view kind) {
  static const Schemas schemas = make_schemas();
  const auto found = schemas.find({std::string(group), std::string(kind)});
  return found == schemas.end() ? nullptr : &found->second;
}

}  // namespace fairlead::apiserver
