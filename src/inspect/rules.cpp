#include "inspect/rules.hpp"

#include "proxy/modes/iptables/hooks.hpp"
#include "proxy/modes/iptables/render.hpp"
#include "proxy/modes/ipvs/render.hpp"
#include "proxy/modes/ipvs/scheduler.hpp"
#include "proxy/modes/ipvs/script.hpp"
#include "proxy/modes/nftables/render.hpp"

namespace fairlead::inspect {
namespace {

class OperationList final : public nftables::OperationSink {
 public:
  void add(nftables::Operation operation) override { list.push_back(std::move(operation)); }
  std::vector<nftables::Operation> list;
};

std::string nftables_text(const plan::Plan& plan, IpFamily family) {
  OperationList operations;
  nftables::Renderer(family).full(plan, operations);
  return nftables::to_script(operations.list);
}

// As written to a machine that has no rules yet.
std::string iptables_text(const plan::Plan& plan, IpFamily family, const RuleOptions& options) {
  const iptables::Change change{
      .before = {},
      .filter_between = {},
      .after = iptables::render(plan, family,
                                {.localhost_node_ports = options.localhost_node_ports,
                                 .drop_invalid = options.drop_invalid})};
  const auto hooks = iptables::hooks(family, options.localhost_node_ports);
  return iptables::restore_text(change, iptables::missing_hooks(hooks, {})).text;
}

Result<std::string> ipvs_text(const NodeView& view, IpFamily family, const RuleOptions& options) {
  FAIRLEAD_TRY(scheduling, ipvs::parse_scheduler(options.ipvs_scheduler));
  const std::vector<IpAddress>& local = view.addresses().local;
  const ipvs::Surroundings surroundings{
      .interface_addresses = {local.begin(), local.end()},
      .scheduling = std::move(scheduling),
      .schedulers = {ipvs::scheduler_names().begin(), ipvs::scheduler_names().end()}};
  return ipvs::to_script(ipvs::render_family(view.plan(), family, surroundings),
                         ipvs::rules_for(view.plan().nodes.at(family), family), family);
}

}  // namespace

Result<std::string> render_rules(const NodeView& view, const RuleOptions& options) {
  if (view.mode() == "userspace") {
    return make_error(ErrorCode::Unsupported,
                      "--mode: \"{}\" has no rules that could be printed; all other modes do",
                      view.mode());
  }
  std::string out = view.mode() == "ipvs" ? ipvs::device_script() : "";
  for (const IpFamily family : options.families) {
    if (!view.plan().nodes.contains(family)) continue;
    if (view.mode() == "nftables") {
      out += nftables_text(view.plan(), family);
      continue;
    }
    if (view.mode() == "ipvs") {
      FAIRLEAD_TRY(text, ipvs_text(view, family, options));
      out += text;
      continue;
    }
    out += fmt::format("# {}tables-restore --noflush\n", family == IpFamily::V4 ? "ip" : "ip6");
    out += iptables_text(view.plan(), family, options);
  }
  return out;
}

}  // namespace fairlead::inspect
