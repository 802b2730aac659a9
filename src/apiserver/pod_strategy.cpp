// The Pod kind, as far as Service networking needs it (spec 4.9): defaults, essential rules,
// graceful deletion, binding.
#include <algorithm>
#include <boost/json/array.hpp>
#include <set>

#include "apiserver/kind_strategy.hpp"
#include "apiserver/metadata.hpp"
#include "base/ip.hpp"
#include "base/text.hpp"

namespace fairlead::apiserver {
namespace {

void set_default(Document& object, std::string_view name, boost::json::value fallback) {
  if (!object.contains(name)) object[name] = std::move(fallback);
}

template <class Each>
void each_object(Document& object, std::string_view list, const Each& each) {
  auto* held = object.if_contains(list);
  auto* items = held == nullptr ? nullptr : held->if_array();
  for (std::size_t i = 0; items != nullptr && i < items->size(); ++i) {
    if (auto* item = (*items)[i].if_object()) each(*item);
  }
}

// Always for a moving tag, so that a restart sees a new image.
std::string_view pull_policy_for(std::string_view image) {
  const auto colon = image.rfind(':');
  const auto slash = image.rfind('/');
  const bool tagged =
      colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash);
  const bool pinned =
      image.find('@') != std::string_view::npos || (tagged && image.substr(colon + 1) != "latest");
  return pinned ? "IfNotPresent" : "Always";
}

void default_container(Document& container, bool host_network) {
  set_default(container, "terminationMessagePath", "/dev/termination-log");
  set_default(container, "terminationMessagePolicy", "File");
  set_default(container, "imagePullPolicy",
              text_value(pull_policy_for(string_at(container, "image"))));
  set_default(container, "resources", Document{});
  each_object(container, "ports", [&](Document& port) {
    set_default(port, "protocol", "TCP");
    if (host_network && port.contains("containerPort"))
      set_default(port, "hostPort", port.at("containerPort"));
  });
  if (auto* probe = container.if_contains("readinessProbe");
      probe != nullptr && probe->is_object()) {
    Document& p = probe->get_object();
    set_default(p, "timeoutSeconds", 1);
    set_default(p, "periodSeconds", 10);
    set_default(p, "successThreshold", 1);
    set_default(p, "failureThreshold", 3);
    if (auto* http = p.if_contains("httpGet"); http != nullptr && http->is_object()) {
      set_default(http->get_object(), "path", "/");
      set_default(http->get_object(), "scheme", "HTTP");
    }
  }
}

FieldErrors validate_container_ports(const Document& container, const std::string& field) {
  FieldErrors errors;
  std::set<std::string> names;
  const auto ports = objects_at(container, "ports");
  for (std::size_t i = 0; i < ports.size(); ++i) {
    const std::string path = fmt::format("{}.ports[{}]", field, i);
    const std::int64_t number = int_at(*ports[i], "containerPort").value_or(0);
    if (number < 1 || number > 65535)
      errors.push_back(
          invalid(path + ".containerPort", number, "must be between 1 and 65535, inclusive"));
    const std::string protocol(string_at(*ports[i], "protocol"));
    if (!parse_protocol(protocol))
      errors.push_back(not_supported(path + ".protocol", protocol, {"SCTP", "TCP", "UDP"}));
    const std::string name(string_at(*ports[i], "name"));
    if (name.size() > 15)
      errors.push_back(invalid(path + ".name", name, "must be no more than 15 characters"));
    if (!name.empty() && !names.insert(name).second)
      errors.push_back(duplicate(path + ".name", name));
  }
  return errors;
}

FieldErrors validate_probe(const Document& container, const std::string& field) {
  const auto* probe = object_at(container, "readinessProbe");
  if (probe == nullptr) return {};
  std::size_t handlers = 0;
  for (const std::string_view handler : {"exec", "httpGet", "tcpSocket", "grpc"})
    handlers += probe->contains(handler) ? 1 : 0;
  if (handlers == 0) return {required(field + ".readinessProbe", "must specify a handler type")};
  if (handlers > 1)
    return {forbidden(field + ".readinessProbe", "may not specify more than 1 handler type")};
  return {};
}

FieldErrors validate_containers(const Document& pod, std::string_view list,
                                std::set<std::string>& names) {
  FieldErrors errors;
  const auto containers = objects_at(pod, fmt::format("spec.{}", list));
  for (std::size_t i = 0; i < containers.size(); ++i) {
    const std::string field = fmt::format("spec.{}[{}]", list, i);
    const std::string name(string_at(*containers[i], "name"));
    if (name.empty()) {
      errors.push_back(required(field + ".name"));
    } else if (!is_dns1123_label(name)) {
      errors.push_back(invalid(field + ".name", name, std::string(kLabelForm)));
    } else if (!names.insert(name).second) {
      errors.push_back(duplicate(field + ".name", name));
    }
    if (string_at(*containers[i], "image").empty()) errors.push_back(required(field + ".image"));
    append(errors, validate_container_ports(*containers[i], field));
    append(errors, validate_probe(*containers[i], field));
  }
  return errors;
}

// What may change in a spec: images, more tolerations, deadlines; a node may be set once.
Document frozen_part(const Document& pod) {
  const Document* spec = object_at(pod, "spec");
  Document out = spec == nullptr ? Document{} : *spec;
  for (const std::string_view name :
       {"tolerations", "activeDeadlineSeconds", "terminationGracePeriodSeconds"})
    out.erase(name);
  for (const std::string_view list : {"containers", "initContainers"}) {
    each_object(out, list, [](Document& container) {
      container.erase("image"), container.erase("imagePullPolicy");
    });
  }
  return out;
}

std::string ready_cell(const Document& pod) {
  const auto statuses = objects_at(pod, "status.containerStatuses");
  const auto ready = std::ranges::count_if(
      statuses, [](const Document* s) { return bool_at(*s, "ready").value_or(false); });
  return fmt::format("{}/{}", ready, objects_at(pod, "spec.containers").size());
}

std::string status_cell(const Document& pod) {
  const std::string phase(string_at(pod, "status.phase"));
  const bool ended = phase == "Succeeded" || phase == "Failed";
  if (!string_at(pod, "metadata.deletionTimestamp").empty() && !ended) return "Terminating";
  std::string text(string_at(pod, "status.reason"));
  for (const Document* status : objects_at(pod, "status.containerStatuses")) {
    for (const std::string_view state : {"state.waiting.reason", "state.terminated.reason"}) {
      if (const std::string_view reason = string_at(*status, state); !reason.empty()) text = reason;
    }
  }
  return text.empty() ? phase : text;
}

std::int64_t restarts(const Document& pod) {
  std::int64_t sum = 0;
  for (const Document* status : objects_at(pod, "status.containerStatuses"))
    sum += int_at(*status, "restartCount").value_or(0);
  return sum;
}

std::string or_none(std::string_view text) { return text.empty() ? "<none>" : std::string(text); }

class PodStrategy final : public KindStrategy {
 public:
  PodStrategy()
      : KindStrategy(
            {.version = "v1",
             .resource = "pods",
             .singular = "pod",
             .kind = "Pod",
             .short_names = {"po"},
             .categories = {"all"},
             .subresources =
                 {{.name = "binding", .verbs = {"create"}, .kind = "Binding", .version = "v1"},
                  status_subresource()},
             .storage_prefix = "/registry/pods/"},
            {{.name = "Name", .format = "name"},
             {.name = "Ready"},
             {.name = "Status"},
             {.name = "Restarts"},
             {.name = "Age"},
             {.name = "IP", .priority = 1},
             {.name = "Node", .priority = 1},
             {.name = "Nominated Node", .priority = 1},
             {.name = "Readiness Gates", .priority = 1}}) {}

  void apply_defaults(Document& document) const override {
    Document& spec = ensure_object(document, "spec");
    set_default(spec, "restartPolicy", "Always");
    set_default(spec, "dnsPolicy", "ClusterFirst");
    set_default(spec, "schedulerName", "default-scheduler");
    set_default(spec, "terminationGracePeriodSeconds", 30);
    set_default(spec, "enableServiceLinks", true);
    set_default(spec, "securityContext", Document{});
    const bool host_network = bool_at(spec, "hostNetwork").value_or(false);
    for (const std::string_view list : {"containers", "initContainers"}) {
      each_object(spec, list,
                  [&](Document& container) { default_container(container, host_network); });
    }
  }
  void prepare_create(const RequestContext&, Document& document) const override {
    document["status"] = Document{{"phase", "Pending"}, {"qosClass", "BestEffort"}};
  }
  FieldErrors validate_create(const RequestContext&, const Document& pod) const override {
    FieldErrors errors;
    std::set<std::string> names;
    if (objects_at(pod, "spec.containers").empty()) errors.push_back(required("spec.containers"));
    append(errors, validate_containers(pod, "initContainers", names));
    append(errors, validate_containers(pod, "containers", names));
    const std::string policy(string_at(pod, "spec.restartPolicy"));
    if (policy != "Always" && policy != "OnFailure" && policy != "Never") {
      errors.push_back(
          not_supported("spec.restartPolicy", policy, {"Always", "Never", "OnFailure"}));
    }
    return errors;
  }
  FieldErrors validate_update(const RequestContext& context, const Document& old,
                              const Document& pod) const override {
    FieldErrors errors = validate_create(context, pod);
    Document before = frozen_part(old), now = frozen_part(pod);
    if (!before.contains("nodeName")) now.erase("nodeName");
    if (before != now) {
      errors.push_back(forbidden(
          "spec",
          "pod updates may not change fields other than "
          "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`"
          "spec.tolerations` (only additions to existing tolerations)"));
    }
    return errors;
  }
  ApiResult<void> create_subresource(const RequestContext&, std::string_view subresource,
                                     const Document& body, Document& pod) const override {
    if (subresource != "binding") return method_not_allowed();
    const std::string node(string_at(body, "target.name"));
    const std::string_view name = string_at(pod, "metadata.name");
    if (node.empty())
      return invalid_status({.resource = "Binding"}, name, {required("target.name")});
    if (const std::string_view bound = string_at(pod, "spec.nodeName"); !bound.empty()) {
      return conflict(info().qualified_resource(), name,
                      fmt::format("pod {} is already assigned to node \"{}\"", name, bound));
    }
    ensure_object(pod, "spec")["nodeName"] = text_value(node);
    return {};
  }
  bool has_generation() const override { return true; }
  bool bumps_generation(const Document& old, const Document& document) const override {
    return old.at("spec") != document.at("spec");
  }
  ApiResult<DeletionRule> deletion_rule(const Document& pod,
                                        const DeleteOptions& options) const override {
    std::int64_t grace = options.grace_period_seconds.value_or(
        int_at(pod, "spec.terminationGracePeriodSeconds").value_or(30));
    const std::string_view phase = string_at(pod, "status.phase");
    if (string_at(pod, "spec.nodeName").empty() || phase == "Succeeded" || phase == "Failed")
      grace = 0;
    if (grace < 0) grace = 1;
    if (grace == 0) return DeletionRule{};
    return DeletionRule{.how = DeletionRule::How::Graceful, .grace_seconds = grace};
  }
  bool delete_returns_object() const override { return true; }
  std::vector<std::pair<std::string, std::string>> selectable_fields(
      const Document& pod) const override {
    const auto field = [&](std::string_view path) {
      return std::pair(std::string(path), std::string(string_at(pod, path)));
    };
    return {
        field("spec.nodeName"),           field("spec.restartPolicy"), field("spec.schedulerName"),
        field("spec.serviceAccountName"), field("status.phase"),       field("status.podIP"),
        field("status.nominatedNodeName")};
  }
  boost::json::array table_cells(const Document& pod, WallTime now) const override {
    return {text_value(string_at(pod, "metadata.name")),
            text_value(ready_cell(pod)),
            text_value(status_cell(pod)),
            text_value(fmt::format("{}", restarts(pod))),
            text_value(age_text(pod, now)),
            text_value(or_none(string_at(pod, "status.podIP"))),
            text_value(or_none(string_at(pod, "spec.nodeName"))),
            text_value(or_none(string_at(pod, "status.nominatedNodeName"))),
            text_value("<none>")};
  }
};

}  // namespace

std::unique_ptr<const Strategy> make_pod_strategy() { return std::make_unique<PodStrategy>(); }

}  // namespace fairlead::apiserver
