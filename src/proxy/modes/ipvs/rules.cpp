#include "proxy/modes/ipvs/rules.hpp"

#include "proxy/modes/ipvs/objects.hpp"

namespace fairlead::ipvs {
namespace {

constexpr std::string_view kNew = "-m conntrack --ctstate NEW";

std::string in_set(SetId set, IpFamily family, std::string_view directions) {
  return fmt::format("-m set --match-set {} {}", set_name(set, family), directions);
}

std::string not_in_set(SetId set, IpFamily family, std::string_view directions) {
  return fmt::format("-m set ! --match-set {} {}", set_name(set, family), directions);
}

// Pods of the cluster, or with `negated` everybody else. Empty without a detector. iptables-save
// puts these matches first.
std::string from_pods(const plan::LocalDetector& detector, bool negated) {
  const std::string_view no = negated ? "! " : "";
  if (detector.source_prefix) return fmt::format("{}-s {} ", no, *detector.source_prefix);
  if (!detector.interface_name.empty()) return fmt::format("{}-i {} ", no, detector.interface_name);
  if (!detector.interface_prefix.empty())
    return fmt::format("{}-i {}+ ", no, detector.interface_prefix);
  return "";
}

// Before any translation: who may not pass, and who takes a short cut. IPVS has balanced packets of
// the node itself when they reach the filter table.
Table mangle(const plan::NodePlan& node, IpFamily family) {
  const auto set = [&](SetId id, std::string_view directions) {
    return in_set(id, family, directions);
  };
  const std::string cut = set(SetId::ShortCut, "dst,dst");
  const std::string cut_mark = fmt::format("{} -j SET --map-set {} dst,dst --map-mark", cut,
                                           set_name(SetId::ShortCut, family));
  Table out;
  auto& policy = out.chains["KUBE-IPVS-POLICY"];
  policy.push_back(fmt::format("{} {} -j DROP", set(SetId::Drop, "dst,dst"), kNew));
  for (const IpPrefix& cidr : node.service_cidrs) {
    policy.push_back(fmt::format("-d {} {} {} -j DROP", cidr,
                                 not_in_set(SetId::Addresses, family, "dst"), kNew));
  }
  out.chains["KUBE-IPVS-SOURCE-RANGES"] = {set(SetId::SourceRanges, "dst,dst,src") + " -j RETURN",
                                           "-j DROP"};
  const std::string firewall =
      fmt::format("{} {} -j KUBE-IPVS-SOURCE-RANGES", set(SetId::Firewalled, "dst,dst"), kNew);

  auto& entering = out.chains["KUBE-IPVS-PREROUTING"];
  entering.push_back(firewall);
  if (node.detector.implemented()) {
    const std::string pods = from_pods(node.detector, false);
    entering.push_back(pods + cut_mark);
    entering.push_back(fmt::format("{}{} -j RETURN", pods, cut));
  }
  entering.emplace_back("-j KUBE-IPVS-POLICY");

  const std::uint32_t bit = node.masquerade_mark;
  out.chains["KUBE-IPVS-OUTPUT"] = {
      firewall, cut_mark, fmt::format("{} -j MARK --set-xmark {:#x}/{:#x}", cut, bit, bit),
      cut + " -j RETURN", "-j KUBE-IPVS-POLICY"};
  out.jumps = {"PREROUTING -j KUBE-IPVS-PREROUTING", "OUTPUT -j KUBE-IPVS-OUTPUT"};
  return out;
}

Table nat(const plan::NodePlan& node, IpFamily family) {
  const auto set = [&](SetId id, std::string_view directions) {
    return in_set(id, family, directions);
  };
  const std::uint32_t bit = node.masquerade_mark;
  constexpr std::string_view kMark = "-j KUBE-IPVS-MARK-MASQ";
  Table out;
  auto& services = out.chains["KUBE-IPVS-SERVICES"];
  const std::string cluster_ip = set(SetId::ClusterIp, "dst,dst");
  if (node.masquerade_all) {
    services.push_back(fmt::format("{} {}", cluster_ip, kMark));
  } else if (node.detector.implemented()) {
    services.push_back(fmt::format("{}{} {}", from_pods(node.detector, true), cluster_ip, kMark));
  } else {
    // The node itself has an address of the dummy device for its source, which pods elsewhere
    // cannot answer.
    services.push_back(fmt::format("{} {} {}", cluster_ip, set(SetId::Addresses, "src"), kMark));
  }
  services.push_back(fmt::format("{} {}", set(SetId::Masquerade, "dst,dst"), kMark));
  services.push_back(set(SetId::Servers, "dst,dst") + " -j ACCEPT");
  out.chains["KUBE-IPVS-MARK-MASQ"] = {fmt::format("-j MARK --set-xmark {:#x}/{:#x}", bit, bit)};
  out.chains["KUBE-IPVS-POSTROUTING"] = {
      set(SetId::LoopBack, "dst,dst,src") + " -j MASQUERADE",
      fmt::format("-m mark ! --mark {:#x}/{:#x} -j RETURN", bit, bit),
      fmt::format("-j MARK --set-xmark {:#x}/0x0", bit), "-j MASQUERADE --random-fully"};
  out.jumps = {"PREROUTING -j KUBE-IPVS-SERVICES", "OUTPUT -j KUBE-IPVS-SERVICES",
               "POSTROUTING -j KUBE-IPVS-POSTROUTING"};
  return out;
}

Table filter(const plan::NodePlan& node, IpFamily family) {
  const std::uint32_t bit = node.masquerade_mark;
  Table out;
  out.chains["KUBE-IPVS-FORWARD"] = {fmt::format("-m mark --mark {:#x}/{:#x} -j ACCEPT", bit, bit),
                                     "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"};
  // The addresses of services are the node's own here, but the node's other ports are not theirs. A
  // reset reaches even a client that is still inside connect(), where the kernel forgets an ICMP
  // message; this runs before IPVS sees a packet.
  const std::string_view unreachable =
      family == IpFamily::V4 ? "icmp-port-unreachable" : "icmp6-port-unreachable";
  auto& entering = out.chains["KUBE-IPVS-FILTER"];
  entering.push_back(fmt::format("-p tcp {} -j ACCEPT", in_set(SetId::HealthCheck, family, "dst")));
  const auto refuse = [&](const std::string& which) {
    entering.push_back(fmt::format("-p tcp {} {} -j REJECT --reject-with tcp-reset", kNew, which));
    entering.push_back(fmt::format("{} {} -j REJECT --reject-with {}", kNew, which, unreachable));
  };
  refuse(in_set(SetId::Reject, family, "dst,dst"));
  entering.push_back(in_set(SetId::Servers, family, "dst,dst") + " -j RETURN");
  entering.push_back(in_set(SetId::ShortCut, family, "dst,dst") + " -j RETURN");
  refuse(in_set(SetId::Addresses, family, "dst"));
  out.jumps = {"FORWARD -j KUBE-IPVS-FORWARD", "INPUT -j KUBE-IPVS-FILTER"};
  return out;
}

// Lines of a text, without their ends.
template <class Each>
void each_line(std::string_view text, Each each) {
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    each(text.substr(0, end));
    if (end == std::string_view::npos) return;
    text.remove_prefix(end + 1);
  }
}

void write_chains(const Table& before, const Table& after, std::string& body) {
  std::string rules;
  for (const auto& [name, wanted] : after.chains) {
    const auto old = before.chains.find(name);
    if (old != before.chains.end() && old->second == wanted) continue;
    body += fmt::format(":{} - [0:0]\n", name);  // makes it, or empties it
    for (const std::string& rule : wanted) rules += fmt::format("-A {} {}\n", name, rule);
  }
  std::string deletions;
  for (const auto& [name, unused] : before.chains) {
    if (after.chains.contains(name)) continue;
    body += fmt::format(":{} - [0:0]\n", name);
    deletions += fmt::format("-X {}\n", name);
  }
  body += rules;
  for (const std::string& jump : before.jumps) {
    if (!after.jumps.contains(jump)) body += fmt::format("-D {}\n", jump);
  }
  for (const std::string& jump : after.jumps) {
    if (before.jumps.contains(jump)) continue;
    const std::size_t space = jump.find(' ');
    body += fmt::format("-I {} 1{}\n", jump.substr(0, space), jump.substr(space));
  }
  body += deletions;
}

}  // namespace

Ruleset rules_for(const plan::NodePlan& node, IpFamily family) {
  return {{"filter", filter(node, family)},
          {"mangle", mangle(node, family)},
          {"nat", nat(node, family)}};
}

Ruleset ours_in(std::string_view saved, const Ruleset& wanted) {
  Ruleset out;
  std::string table;
  each_line(saved, [&](std::string_view line) {
    if (line.starts_with('*')) table = line.substr(1);
    const auto known = wanted.find(table);
    if (known == wanted.end()) return;
    if (line.starts_with(':')) {
      const std::string chain(line.substr(1, line.find(' ') - 1));
      if (known->second.chains.contains(chain)) out[table].chains[chain];
    } else if (line.starts_with("-A ")) {
      line.remove_prefix(3);
      const std::string chain(line.substr(0, line.find(' ')));
      if (known->second.chains.contains(chain)) {
        out[table].chains[chain].emplace_back(line.substr(chain.size() + 1));
      } else if (const std::string jump(line); known->second.jumps.contains(jump)) {
        out[table].jumps.insert(jump);
      }
    }
  });
  return out;
}

std::string restore_text(const Ruleset& before, const Ruleset& after) {
  std::string out;
  for (const std::string_view name : {"mangle", "nat", "filter"}) {
    const auto table = [&](const Ruleset& ruleset) {
      const auto found = ruleset.find(std::string(name));
      return found == ruleset.end() ? Table{} : found->second;
    };
    std::string body;
    write_chains(table(before), table(after), body);
    if (!body.empty()) out += fmt::format("*{}\n{}COMMIT\n", name, body);
  }
  return out;
}

}  // namespace fairlead::ipvs
