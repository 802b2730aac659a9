#include "packets/cluster.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <fstream>

#include "kube/codec.hpp"
#include "proxy/config_file.hpp"
#include "proxy/modes/iptables/iptables_mode.hpp"
#include "proxy/modes/userspace/userspace_mode.hpp"
#include "proxy/node_proxy.hpp"

namespace fairlead::packets {
namespace {

constexpr std::string_view kNamespace = "ns";

template <class T>
Result<T> decode(const std::string& json) {
  FAIRLEAD_TRY(object, kube::Decoder().object<T>(json));
  if (kube::KindOf<T>::kNamespaced && object.metadata.namespace_.empty())
    object.metadata.namespace_ = kNamespace;
  return object;
}

std::string kind_of(const std::string& json) {
  boost::json::error_code ec;
  const auto value = boost::json::parse(json, ec);
  const auto* const object = value.if_object();
  const auto* const kind = object == nullptr ? nullptr : object->if_contains("kind");
  return kind != nullptr && kind->is_string() ? std::string(kind->get_string()) : "";
}

kube::Node node_object(const Rig& rig) {
  kube::Node node;
  node.metadata.name = "node1";
  for (const auto& [family, addresses] : rig.node().addresses) {
    node.addresses.push_back({.type = "InternalIP", .address = addresses.front().to_string()});
    node.pod_cidrs.push_back(Rig::expand("${pods1_range}", family));
  }
  return node;
}

// Scenarios speak of nftables' settings and count on its defaults: the same is said to the others.
void set_mode(std::string_view name, proxy::Config& config) {
  config.mode = name.substr(0, name.find('-'));
  if (config.mode == "nftables") return;
  config.iptables.masquerade_all = config.nftables.masquerade_all;
  config.iptables.masquerade_bit = config.nftables.masquerade_bit;
  if (config.node_port_addresses.empty()) config.node_port_addresses = {"primary"};
}

// In the calling thread's network namespace.
Result<std::unique_ptr<plan::Mode>> new_mode(const proxy::Config& config, std::string_view name) {
  if (name.starts_with("userspace")) {
    return userspace::create(
        {.way_in = name.ends_with("addresses") ? userspace::WayIn::Places : userspace::WayIn::Rules,
         .transparent = name.ends_with("transparent"),
         .drain = std::chrono::milliseconds(0)});
  }
  if (!name.starts_with("iptables-")) return proxy::make_mode(config);
  // Replies of `internet` to `outside` do not pass node1, which would call the rest of such a
  // connection invalid and, as kube-proxy does, drop it.
  std::ofstream("/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal") << 1;
  const auto variant =
      name.ends_with("legacy") ? iptables::Variant::Legacy : iptables::Variant::Nft;
  const std::size_t large_above = name.ends_with("large") ? 0 : 1000;
  return iptables::create({.variant = variant,
                           .localhost_node_ports = proxy::localhost_node_ports(config),
                           .large_cluster_above = large_above});
}

}  // namespace

std::string_view to_string(Programming programming) {
  return programming == Programming::Deltas ? "Deltas" : "Restarts";
}

Result<std::unique_ptr<Cluster>> Cluster::create(const Rig& rig, Options options) {
  std::unique_ptr<Cluster> cluster(new Cluster(rig, std::move(options)));
  FAIRLEAD_TRY(file, proxy::decode_config(cluster->options_.config));
  if (!file.complaints.empty())
    return make_error(ErrorCode::Invalid, "config: {}", file.complaints.front());
  cluster->config_ = std::move(file.config);
  set_mode(cluster->options_.mode, cluster->config_);
  cluster->facts_.node_name = "node1";
  FAIRLEAD_CHECK(rig.node().network.run([&]() -> Result<void> {
    FAIRLEAD_TRY(addresses, proxy::interface_addresses());
    cluster->facts_.interface_addresses = std::move(addresses);
    cluster->facts_.families = proxy::supported_families();
    return {};
  }));
  cluster->model_.put(node_object(rig));
  FAIRLEAD_TRY(context, cluster->node_context());
  cluster->compiler_ = std::make_unique<plan::Compiler>(std::move(context));
  return cluster;
}

Result<plan::NodeContext> Cluster::node_context() const {
  FAIRLEAD_TRY(settings, proxy::node_settings(config_, facts_, model_.node()));
  for (const IpPrefix& cidr : options_.service_cidrs) {
    if (const auto found = settings.context.families.find(cidr.family());
        found != settings.context.families.end())
      found->second.service_cidrs.push_back(cidr);
  }
  return std::move(settings.context);
}

Result<void> Cluster::make_mode() {
  return rig_.node().network.run([&]() -> Result<void> {
    FAIRLEAD_TRY(mode, new_mode(config_, options_.mode));
    mode_ = std::move(mode);
    return {};
  });
}

Result<void> Cluster::apply(const std::string& object_json) {
  const std::string kind = kind_of(object_json);
  if (kind == "Service") {
    FAIRLEAD_TRY(service, decode<kube::Service>(object_json));
    model_.put(service);
  } else if (kind == "EndpointSlice") {
    FAIRLEAD_TRY(slice, decode<kube::EndpointSlice>(object_json));
    model_.put(slice);
  } else if (kind == "Node") {
    FAIRLEAD_TRY(node, decode<kube::Node>(object_json));
    model_.put(node);
    FAIRLEAD_TRY(context, node_context());
    compiler_->set_node(std::move(context), model_);
  } else {
    return make_error(ErrorCode::Invalid, "no known kind in {}", object_json);
  }
  return {};
}

Result<void> Cluster::remove(const ObjectRef& object) {
  const kube::NamespacedName name{.namespace_ = std::string(kNamespace), .name = object.name};
  if (object.kind == "Service") {
    model_.remove_service(name);
  } else if (object.kind == "EndpointSlice") {
    model_.remove_slice(name);
  } else {
    return make_error(ErrorCode::Invalid, "cannot delete a {}", object.kind);
  }
  return {};
}

Result<void> Cluster::program_in_full() {
  FAIRLEAD_CHECK(mode_->apply_full(plan()));
  return {};
}

Result<void> Cluster::sync() {
  const plan::Update update = compiler_->update(model_);
  if (mode_ == nullptr || options_.programming == Programming::Restarts) {
    FAIRLEAD_CHECK(make_mode());
    return program_in_full();
  }
  FAIRLEAD_CHECK(mode_->apply(plan(), update.delta));
  return {};
}

plan::Explanation Cluster::explain(const Host& from, Protocol protocol, const IpAddress& source,
                                   const SocketAddress& to) const {
  // Mode ipvs binds services' addresses on the node, which sends from them.
  std::vector<IpAddress> local = facts_.interface_addresses;
  if (&from == &rig_.node()) local.push_back(source);
  return plan::explain(plan(),
                       {.protocol = protocol,
                        .source = source,
                        .destination = to,
                        .input_interface = &from == &rig_.node() ? "" : from.seen_at},
                       {.local = std::move(local)});
}

bool Cluster::asks_for_itself(const Send& send, const Host& backend) const {
  if (!options_.mode.starts_with("userspace")) return false;
  if (!options_.mode.ends_with("transparent") || send.from == "node1") return true;
  return rig_.host(send.from).seen_at == backend.seen_at;
}

}  // namespace fairlead::packets
