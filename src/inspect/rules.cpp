#include "inspect/rules.hpp"

#include "proxy/modes/iptables/hooks.hpp"
#include "proxy/modes/iptables/render.hpp"
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

}  // namespace

Result<std::string> render_rules(const NodeView& view, const RuleOptions& options) {
  if (view.mode() != "nftables" && view.mode() != "iptables") {
    return make_error(ErrorCode::Unsupported,
                      "--mode: \"{}\" has no rules that could be printed; nftables and iptables do",
                      view.mode());
  }
  std::string out;
  for (const IpFamily family : options.families) {
    if (!view.plan().nodes.contains(family)) continue;
    if (view.mode() == "nftables") {
      out += nftables_text(view.plan(), family);
      continue;
    }
    out += fmt::format("# {}tables-restore --noflush\n", family == IpFamily::V4 ? "ip" : "ip6");
    out += iptables_text(view.plan(), family, options);
  }
  return out;
}

}  // namespace fairlead::inspect
