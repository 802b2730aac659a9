#include "inspect/hints.hpp"

#include <fmt/ranges.h>

#include <algorithm>

namespace fairlead::inspect {
namespace {

bool is(const std::string& text, const IpAddress& address) {
  const auto parsed = IpAddress::parse_sloppy(text);
  return parsed && *parsed == address;
}

bool names(const kube::Service& service, const IpAddress& address) {
  const auto matches = [&](const std::string& text) { return is(text, address); };
  return is(service.cluster_ip, address) || std::ranges::any_of(service.cluster_ips, matches) ||
         std::ranges::any_of(service.external_ips, matches) ||
         std::ranges::any_of(service.ingress, [&](const auto& i) { return is(i.ip, address); });
}

std::string ports_of(const kube::Service& service) {
  std::vector<std::string> out;
  for (const kube::ServicePort& port : service.ports)
    out.push_back(fmt::format("{}/{}", port.port, port.protocol));
  return fmt::format("{}", fmt::join(out, ", "));
}

class Hints {
 public:
  Hints(const NodeView& view, const plan::Packet& packet) : view_(view), packet_(packet) {}

  void about_rivals(const plan::PlanKey& winner) {
    for (const plan::Conflict& conflict : view_.conflicts()) {
      const plan::Frontend& lost = conflict.frontend;
      const bool here =
          lost.port == packet_.destination.port && (lost.kind == plan::FrontendKind::NodePort ||
                                                    lost.address == packet_.destination.address);
      if (here && conflict.winner == winner) {
        add("{} names this address and port too, and goes without it",
            conflict.loser.service_port.to_string());
      }
    }
  }

  void about_services() {
    for (const auto& [name, service] : view_.snapshot().services) {
      if (names(service, packet_.destination.address)) about_named(name.to_string(), service);
      about_node_ports(name.to_string(), service);
      if (service.cluster_ip.empty() && service.type != kube::ServiceType::ExternalName)
        without_address_.push_back(name.to_string());
    }
    if (!without_address_.empty()) {
      add("without a clusterIP, which the API server gives, these Services are nowhere: {}",
          fmt::format("{}", fmt::join(without_address_, ", ")));
    }
  }

  void about_endpoints() {
    for (const auto& [name, slice] : view_.snapshot().slices) {
      const auto owner = slice.metadata.labels.find(kube::label::kServiceName);
      if (owner == slice.metadata.labels.end()) continue;
      for (const kube::Endpoint& endpoint : slice.endpoints) {
        const bool here = std::ranges::any_of(endpoint.addresses, [&](const std::string& text) {
          return is(text, packet_.destination.address);
        });
        if (!here) continue;
        add("{} is an endpoint of Service {}: packets go to it as they are",
            packet_.destination.address.to_string(), name.namespace_ + "/" + owner->second);
        return;
      }
    }
  }

  void about_interface() {
    const auto node = view_.plan().nodes.find(packet_.destination.address.family());
    if (node == view_.plan().nodes.end() || !packet_.input_interface.empty()) return;
    const plan::LocalDetector& detector = node->second.detector;
    if (detector.source_prefix || !detector.implemented()) return;
    if (view_.addresses().contains(packet_.source)) return;
    add("pods are told by the interface they come through ({}): say it with --interface",
        detector.interface_name.empty() ? detector.interface_prefix + "..."
                                        : detector.interface_name);
  }

  std::vector<std::string> take() { return std::move(out_); }

 private:
  void about_named(const std::string& name, const kube::Service& service) {
    const auto& labels = service.metadata.labels;
    if (const auto other = labels.find(kube::label::kServiceProxyName); other != labels.end()) {
      add("Service {} has this address, but its label {} leaves it to another proxy, \"{}\"", name,
          std::string(kube::label::kServiceProxyName), other->second);
      return;
    }
    for (const kube::LoadBalancerIngress& ingress : service.ingress) {
      if (is(ingress.ip, packet_.destination.address) && ingress.ip_mode.value_or("VIP") != "VIP") {
        add("Service {} has this address with ipMode {}: its load balancer must take the packets",
            name, *ingress.ip_mode);
        return;
      }
    }
    add("Service {} has this address, with the ports {}", name, ports_of(service));
  }

  void about_node_ports(const std::string& name, const kube::Service& service) {
    for (const kube::ServicePort& port : service.ports) {
      if (Port{port.node_port} == packet_.destination.port && port.protocol == packet_.protocol &&
          port.node_port != 0) {
        add("{} is a node port of Service {}, but does not answer on {}",
            fmt::format("{}", port.node_port), name, packet_.destination.address.to_string());
        about_node_port_addresses();
        return;
      }
    }
    if (service.health_check_node_port != 0 &&
        Port{service.health_check_node_port} == packet_.destination.port &&
        view_.addresses().contains(packet_.destination.address)) {
      add("the proxy itself answers here: health of Service {} for load balancers", name);
    }
  }

  void about_node_port_addresses() {
    if (view_.addresses().local.empty()) {
      add("no address of node {} is known: give its Node object, or --node-address",
          view_.context().name);
      return;
    }
    const auto node = view_.plan().nodes.find(packet_.destination.address.family());
    if (node == view_.plan().nodes.end() || !node->second.node_port_addresses) return;
    const auto& all = *node->second.node_port_addresses;
    add("node ports answer on: {}",
        all.empty() ? "no address" : fmt::format("{}", fmt::join(all, ", ")));
  }

  template <class... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    out_.push_back(fmt::format(format, std::forward<Args>(args)...));
  }

  const NodeView& view_;
  const plan::Packet& packet_;
  std::vector<std::string> without_address_;
  std::vector<std::string> out_;
};

}  // namespace

std::vector<std::string> hints(const NodeView& view, const plan::Packet& packet,
                               const plan::Explanation& explanation) {
  Hints out(view, packet);
  if (explanation.service) {
    out.about_rivals(*explanation.service);
  } else {
    out.about_services();
    out.about_endpoints();
  }
  out.about_interface();
  return out.take();
}

}  // namespace fairlead::inspect
