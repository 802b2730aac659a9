// NodeProxy's inputs: what the reflectors tell of the cluster, and what follows for this node.
#include <algorithm>

#include "base/log.hpp"
#include "proxy/node_proxy_impl.hpp"

namespace fairlead::proxy {
namespace {

constexpr char kTriggerTime[] = "endpoints.kubernetes.io/last-change-trigger-time";
// How long the first sync waits for the Node object and the ServiceCIDRs: with them, zone, node IPs
// and ranges are right from the first packet, and nothing has to be programmed twice.
constexpr std::chrono::seconds kNodePatience{5};

}  // namespace

void NodeProxy::Impl::put(const kube::Service& object) {
  const kube::NamespacedName name{.namespace_ = object.metadata.namespace_,
                                  .name = object.metadata.name};
  if (object.health_check_node_port != 0) {
    health_checked_uids_.insert_or_assign(name, object.metadata.uid);
  } else {
    health_checked_uids_.erase(name);
  }
  model_.put(object);
  model_changed();
}

void NodeProxy::Impl::put(const kube::EndpointSlice& object) {
  const auto before = model_.counts().slice_changes;
  model_.put(object);
  const auto trigger = object.metadata.annotations.find(kTriggerTime);
  if (before != model_.counts().slice_changes && trigger != object.metadata.annotations.end()) {
    const auto when = parse_rfc3339(trigger->second);
    if (when && *when > started_) syncer_.triggered(*when);
  }
  model_changed();
}

void NodeProxy::Impl::put(const kube::Node& object) {
  if (object.metadata.name != host_.node_name) return;
  node_uid_ = object.metadata.uid;
  node_gone_ = false;
  const model::Node before = model_.node();
  model_.put(object);
  if (before == model_.node() && node_settled_) return;
  if (local_mode(options_.config) == LocalMode::NodeCidr) {
    const auto& now = model_.node().pod_cidrs;
    if (!pod_cidrs_.empty() && now != pod_cidrs_) {
      return fatal(make_error(ErrorCode::Unavailable,
                              "the node's podCIDRs changed; restart to use the new ones"));
    }
    pod_cidrs_ = now;
  }
  node_changed();
  if (!model_.node().addresses.empty()) surroundings_changed_.notify();
}

void NodeProxy::Impl::put(const kube::ServiceCidr& object) {
  service_ranges_[object.metadata.name] = object.cidrs;
  if (node_settled_) node_changed();
}

void NodeProxy::Impl::removed(const kube::NamespacedName& key, const kube::Service&) {
  health_checked_uids_.erase(key);
  model_.remove_service(key);
  model_changed();
}
void NodeProxy::Impl::removed(const kube::NamespacedName& key, const kube::EndpointSlice&) {
  model_.remove_slice(key);
  model_changed();
}
void NodeProxy::Impl::removed(const kube::NamespacedName& key, const kube::Node&) {
  if (key.name != host_.node_name) return;
  // Its IPs and zone stay in force: a deleted Node object does not move this machine. But nobody
  // should send it more traffic.
  node_gone_ = true;
  log::warning("The Node object is gone; going on with what it said", {{"node", key.name}});
}

void NodeProxy::Impl::removed(const kube::NamespacedName& key, const kube::ServiceCidr&) {
  service_ranges_.erase(key.name);
  if (node_settled_) node_changed();
}

void NodeProxy::Impl::synced(const kube::Service&) {
  services_listed_ = true;
  open_gates();
}
void NodeProxy::Impl::synced(const kube::EndpointSlice&) {
  slices_listed_ = true;
  open_gates();
}
void NodeProxy::Impl::synced(const kube::Node&) {
  if (!model_.node().known)
    surroundings_changed_.notify();  // it does not exist; nothing to wait for
}

void NodeProxy::Impl::synced(const kube::ServiceCidr&) {
  ranges_settled_ = true;
  if (node_settled_) node_changed();
  surroundings_changed_.notify();
}

void NodeProxy::Impl::open_gates() {
  if (!node_settled_) return;
  if (services_listed_) syncer_.services_synced();
  if (slices_listed_) syncer_.slices_synced();
  model_changed();
}

void NodeProxy::Impl::model_changed() {
  syncer_.changed();
  wake_.notify();
}

void NodeProxy::Impl::node_changed() {
  if (auto addresses = interface_addresses()) host_.interface_addresses = *std::move(addresses);
  auto settings = node_settings(options_.config, host_, model_.node());
  if (!settings) return fatal(settings.error());
  if (node_settled_) {
    for (const std::string& warning : settings->warnings) {
      if (std::ranges::find(warned_, warning) != warned_.end()) continue;
      warned_.push_back(warning);
      log::warning(warning);
    }
  }
  for (auto& [family, node] : settings->context.families)
    node.service_cidrs = service_ranges(service_ranges_, family);
  syncer_.set_node(std::move(settings->context), host_.interface_addresses);
  wake_.notify();
}

io::Task<void> NodeProxy::Impl::wait_for_surroundings() {
  const auto deadline = std::chrono::steady_clock::now() + kNodePatience;
  const auto all_known = [this] {
    const model::Node& node = model_.node();
    return ranges_settled_ && (node.known ? !node.addresses.empty() : nodes_->synced());
  };
  while (!all_known() && co_await surroundings_changed_.wait_until(deadline)) {
  }
  if (co_await io::cancelled()) co_return;
  node_settled_ = true;
  tell_of_node(client::Event::Type::Normal, "Starting", "");
  node_changed();
  open_gates();
}

}  // namespace fairlead::proxy
