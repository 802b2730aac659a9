#include "controlplane/node_object.hpp"

#include <sys/utsname.h>

#include "kube/json_writer.hpp"

namespace fairlead::controlplane {
namespace {

using kube::JsonWriter;

void write_address(JsonWriter& w, std::string_view type, std::string_view address) {
  w.begin_object();
  w.member("type", type);
  w.member("address", address);
  w.end_object();
}

void write_node_info(JsonWriter& w, const NodeFacts& facts) {
  utsname system{};
  ::uname(&system);
  w.key("nodeInfo");
  w.begin_object();
  for (const char* unknown : {"machineID", "systemUUID", "bootID"}) w.member(unknown, "");
  w.member("kernelVersion", system.release);
  w.member("osImage", "");
  w.member("containerRuntimeVersion", "processes://1");
  w.member("kubeletVersion", facts.version);
  w.member("kubeProxyVersion", facts.version);
  w.member("operatingSystem", "linux");
  w.member("architecture", system.machine);
  w.end_object();
}

}  // namespace

std::string node_status_patch(const NodeFacts& facts, WallTime now) {
  JsonWriter w;
  w.begin_object();
  w.key("status");
  w.begin_object();
  w.key("addresses");
  w.begin_list();
  for (const IpAddress& address : facts.addresses)
    write_address(w, "InternalIP", address.to_string());
  write_address(w, "Hostname", facts.name);
  w.end_list();
  w.key("conditions");
  w.begin_list();
  w.begin_object();
  w.member("type", "Ready");
  w.member("status", "True");
  w.member("reason", "AgentReady");
  w.member("message", "the node's agent is running");
  w.member("lastHeartbeatTime", format_rfc3339(now));
  w.member("lastTransitionTime", format_rfc3339(now));
  w.end_object();
  w.end_list();
  write_node_info(w, facts);
  w.end_object();
  w.end_object();
  return w.take();
}

io::Task<Result<void>> register_node(client::ApiClient* client, NodeFacts facts, WallTime now) {
  kube::Node node;
  node.metadata.name = facts.name;
  node.metadata.labels = facts.labels;
  node.metadata.labels[kube::label::kHostname] = facts.name;
  node.metadata.labels["kubernetes.io/os"] = "linux";
  for (const IpPrefix& cidr : facts.pod_cidrs) node.pod_cidrs.push_back(cidr.to_string());
  const auto made = co_await client->create_object(node);
  if (!made && made.error().code != ErrorCode::AlreadyExists)
    co_return made.error().with_context(fmt::format("register node {}", facts.name));
  const auto path = client::object_path<kube::Node>({.namespace_ = {}, .name = facts.name});
  const auto told = co_await client->patch(path + "/status", "application/merge-patch+json",
                                           node_status_patch(facts, now));
  if (!told)
    co_return told.error().with_context(fmt::format("say that node {} is ready", facts.name));
  co_return Result<void>();
}

}  // namespace fairlead::controlplane
