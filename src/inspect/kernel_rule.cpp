#include "inspect/kernel_rule.hpp"

#include "proxy/modes/iptables/chain_names.hpp"
#include "proxy/modes/nftables/ruleset.hpp"

namespace fairlead::inspect {
namespace {

using plan::Explanation;
using plan::Frontend;
using plan::FrontendKind;
using plan::Target;

std::string nftables_rule(const Explanation& e) {
  using nftables::SetId;
  if (e.verdict != plan::Verdict::Forward) return "";
  const Frontend& frontend = *e.frontend;
  const IpFamily family = e.service->family;
  const bool node_port = frontend.kind == FrontendKind::NodePort;
  nftables::Key key;
  if (!node_port) key.address(frontend.address);
  key.protocol(e.service->service_port.protocol).port(frontend.port);
  const SetId set = node_port ? SetId::NodePorts : SetId::Services;
  return fmt::format("nft get element {} {} {} '{{ {} }}'", family == IpFamily::V4 ? "ip" : "ip6",
                     nftables::kTable, schema(set).name, nftables::key_text(set, key, family));
}

std::string iptables_rule(const Explanation& e) {
  const Frontend& frontend = *e.frontend;
  const std::string_view tool = e.service->family == IpFamily::V4 ? "iptables" : "ip6tables";
  const auto chain = [&](std::string_view prefix) {
    return fmt::format("{} -t nat -S {}", tool,
                       iptables::service_chain(prefix, e.service->service_port));
  };
  if (e.verdict == plan::Verdict::Forward) {
    if (frontend.kind != FrontendKind::ClusterIp) return chain("KUBE-EXT-");
    return chain(frontend.target == Target::LocalPool ? "KUBE-SVL-" : "KUBE-SVC-");
  }
  const bool leads_nowhere = frontend.target == Target::Reject || frontend.target == Target::Drop;
  if (!leads_nowhere) return fmt::format("{} -t filter -S KUBE-PROXY-FIREWALL", tool);
  return fmt::format(
      "{} -t filter -S {}", tool,
      frontend.kind == FrontendKind::ClusterIp ? "KUBE-SERVICES" : "KUBE-EXTERNAL-SERVICES");
}

}  // namespace

std::string kernel_rule(std::string_view mode, const Explanation& explanation) {
  if (!explanation.service || !explanation.frontend) return "";
  if (mode == "nftables") return nftables_rule(explanation);
  if (mode == "iptables") return iptables_rule(explanation);
  return "";
}

}  // namespace fairlead::inspect
