#include "inspect/node_view.hpp"

#include <algorithm>

namespace fairlead::inspect {
namespace {

void fill(model::Model& model, const Snapshot& snapshot, const std::string& node) {
  for (const auto& [name, service] : snapshot.services) model.put(service);
  for (const auto& [name, slice] : snapshot.slices) model.put(slice);
  if (const auto found = snapshot.nodes.find(node); found != snapshot.nodes.end())
    model.put(found->second);
}

void add_service_ranges(plan::NodeContext& context, const Snapshot& snapshot) {
  std::map<std::string, std::vector<std::string>> known;
  for (const auto& [name, range] : snapshot.ranges) known[name] = range.cidrs;
  for (auto& [family, node] : context.families)
    node.service_cidrs = proxy::service_ranges(known, family);
}

std::vector<IpAddress> all_addresses(const NodeQuestion& question, const model::Node& node) {
  std::vector<IpAddress> out = question.host.interface_addresses;
  if (question.is_this_machine) return out;
  std::ranges::copy(node.addresses, std::back_inserter(out));
  std::ranges::sort(out);
  out.erase(std::ranges::unique(out).begin(), out.end());
  return out;
}

}  // namespace

Result<std::unique_ptr<NodeView>> NodeView::create(Snapshot snapshot, NodeQuestion node) {
  std::unique_ptr<NodeView> out(new NodeView);
  FAIRLEAD_TRY(mode, proxy::effective_mode(node.config));
  out->mode_ = std::move(mode);
  node.config.mode = out->mode_;
  out->addresses_.localhost_node_ports = proxy::localhost_node_ports(node.config);
  out->snapshot_ = with_slices_of_pods(std::move(snapshot));
  fill(out->model_, out->snapshot_, node.host.node_name);
  out->addresses_.local = all_addresses(node, out->model_.node());
  node.host.interface_addresses = out->addresses_.local;
  FAIRLEAD_TRY(settings, proxy::node_settings(node.config, node.host, out->model_.node()));
  add_service_ranges(settings.context, out->snapshot_);
  out->warnings_ = std::move(settings.warnings);
  plan::Compiler compiler(std::move(settings.context));
  out->conflicts_ = compiler.update(out->model_).conflicts;
  out->plan_ = compiler.plan();
  out->context_ = compiler.node();
  return out;
}

std::string choose_node(const Snapshot& snapshot, std::string_view wanted,
                        std::string_view host_name) {
  if (!wanted.empty()) return std::string(wanted);
  if (snapshot.nodes.size() == 1) return snapshot.nodes.begin()->first;
  return std::string(host_name);
}

}  // namespace fairlead::inspect
