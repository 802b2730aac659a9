#include "proxy/modes/iptables/service_rules.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>

#include "proxy/modes/iptables/chain_names.hpp"

namespace fairlead::iptables {
namespace {

using plan::Backend;
using plan::Frontend;
using plan::FrontendKind;
using plan::Masquerade;
using plan::NodePlan;
using plan::Pool;
using plan::ServicePlan;
using plan::Target;

constexpr int kStray = 2;

// One in so many, as the kernel keeps it: in units of 2^-31.
std::string format_probability(std::size_t one_in) {
  constexpr double kUnit = 0x80000000U;
  return fmt::format("{:.11f}", std::round(kUnit / static_cast<double>(one_in)) / kUnit);
}

// Most pools are small, and printing such numbers is slow.
std::string probability(std::size_t one_in) {
  static const auto small_pools = [] {
    std::array<std::string, 64> out;
    for (std::size_t n = 1; n < out.size(); ++n) out[n] = format_probability(n);
    return out;
  }();
  return one_in < small_pools.size() ? small_pools[one_in] : format_probability(one_in);
}

std::string recent_list(std::string_view chain, IpFamily family) {
  return fmt::format(
      "--name {} --mask {} --rsource", chain,
      family == IpFamily::V4 ? "255.255.255.255" : "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
}

std::string text(const Backend& backend) {
  return SocketAddress{.address = backend.address, .port = backend.port}.to_string();
}

// "-s 10.0.0.0/16": the match of traffic from this node's pods, or with "! " of all other.
std::string pod_match(const plan::LocalDetector& detector, std::string_view negation) {
  if (detector.source_prefix) return fmt::format("{}-s {}", negation, *detector.source_prefix);
  if (!detector.interface_name.empty())
    return fmt::format("{}-i {}", negation, detector.interface_name);
  return fmt::format("{}-i {}+", negation, detector.interface_prefix);
}

class ServiceRenderer {
 public:
  ServiceRenderer(const ServicePlan& service, const NodePlan& node, Shape shape)
      : service_(service), node_(node), shape_(shape) {}

  ServiceRules render() {
    for (const Frontend& frontend : service_.frontends) add_frontend(frontend);
    if (uses_pool(Target::ClusterPool)) add_pool("KUBE-SVC-", service_.cluster_pool);
    if (uses_pool(Target::LocalPool)) add_pool("KUBE-SVL-", service_.local_pool);
    if (service_.health_check_node_port) add_health_check(*service_.health_check_node_port);
    return std::move(out_);
  }

 private:
  const plan::ServicePortName& name() const { return service_.key.service_port; }
  std::string_view protocol() const { return to_lower(name().protocol); }
  IpFamily family() const { return service_.key.family; }
  std::string chain(std::string_view prefix) const { return service_chain(prefix, name()); }
  Rules& nat(const std::string& chain) { return out_.own[chain]; }

  bool uses_pool(Target pool) const {
    return std::ranges::any_of(service_.frontends, [pool](const Frontend& frontend) {
      return frontend.target == pool || (pool == Target::ClusterPool && frontend.short_circuit);
    });
  }

  // What packets to a frontend look like, with the comment where iptables-save has it.
  std::string match(const Frontend& frontend, std::string_view comment) const {
    return fmt::format("-d {} {}", IpPrefix::host(frontend.address),
                       port_match(frontend, comment, ""));
  }
  std::string port_match(const Frontend& frontend, std::string_view comment,
                         std::string_view more) const {
    return fmt::format("-p {} {} {}-m {} --dport {}", protocol(), quoted_comment(comment), more,
                       protocol(), frontend.port);
  }

  void add_frontend(const Frontend& frontend) {
    const bool refused = frontend.target == Target::Reject || frontend.target == Target::Drop;
    if (refused) add_refusal(frontend);
    if (frontend.kind == FrontendKind::ClusterIp) {
      add_stray(frontend);
      if (!refused) add_cluster_ip(frontend);
    } else if (frontend.target != Target::Reject) {
      add_external(frontend);
    }
  }

  // Whether or not this node has endpoints: that is what the load balancer asks.
  void add_health_check(Port port) {
    out_.listings.health_checks.push_back(fmt::format(
        "-p tcp {} -m tcp --dport {} -j ACCEPT",
        quoted_comment(fmt::format("{} health check node port", name().to_string())), port));
  }

  std::string refusal(Target target) const {
    return target == Target::Reject ? reject(name().protocol, family()) : "DROP";
  }

  void add_refusal(const Frontend& frontend) {
    const std::string comment = fmt::format("{} has no {}endpoints", name().to_string(),
                                            frontend.target == Target::Reject ? "" : "local ");
    const std::string verdict = refusal(frontend.target);
    if (frontend.kind == FrontendKind::NodePort) {
      add_node_port_refusal(frontend, comment, verdict);
      return;
    }
    const std::string packets = match(frontend, comment);
    auto& list = frontend.kind == FrontendKind::ClusterIp ? out_.listings.refused_services
                                                          : out_.listings.refused_externals;
    const bool restricted = !frontend.source_ranges.empty() && frontend.target == Target::Reject;
    for (const IpPrefix& range : frontend.source_ranges) {
      if (!restricted) break;
      const std::string source = range.length() == 0 ? "" : fmt::format("-s {} ", range);
      list.push_back({.address = frontend.address,
                      .rule = fmt::format("{}{} -j {}", source, packets, verdict)});
    }
    // Whoever may not come in is not told that nobody is there.
    list.push_back({.address = frontend.address,
                    .rank = restricted ? 1 : 0,
                    .rule = fmt::format("{} -j {}", packets, restricted ? "DROP" : verdict)});
  }

  // Addresses that are no node ports' are left to whoever else listens there.
  void add_node_port_refusal(const Frontend& frontend, std::string_view comment,
                             std::string_view verdict) {
    Rules& rules = out_.listings.refused_node_ports;
    if (!node_.node_port_addresses) {
      rules.push_back(fmt::format(
          "{} -j {}", port_match(frontend, comment, "-m addrtype --dst-type LOCAL "), verdict));
      return;
    }
    for (const IpAddress& address : *node_.node_port_addresses) {
      rules.push_back(fmt::format("-d {} {} -j {}", IpPrefix::host(address),
                                  port_match(frontend, comment, ""), verdict));
    }
  }

  // What comes to the address and is no port of its.
  void add_stray(const Frontend& frontend) {
    const std::string comment =
        fmt::format("{}/{} has no such port", name().namespace_, name().name);
    out_.listings.refused_services.push_back(
        {.address = frontend.address,
         .rank = kStray,
         .rule = fmt::format("-d {} {} -j {}", IpPrefix::host(frontend.address),
                             quoted_comment(comment), kStrayChain)});
  }

  void add_cluster_ip(const Frontend& frontend) {
    const std::string target =
        chain(frontend.target == Target::ClusterPool ? "KUBE-SVC-" : "KUBE-SVL-");
    const std::string comment = fmt::format("{} cluster IP", name().to_string());
    const std::string packets = match(frontend, comment);
    out_.listings.services.push_back(
        {.address = frontend.address, .rule = fmt::format("{} -j {}", packets, target)});
    if (node_.masquerade_all || frontend.masquerade == Masquerade::Always) {
      nat(target).push_back(fmt::format("{} -j KUBE-MARK-MASQ", packets));
    } else if (frontend.masquerade == Masquerade::OffCluster && node_.detector.implemented()) {
      // iptables-save prints the addresses before the interface.
      const std::string others = pod_match(node_.detector, "! ");
      const std::string rule = node_.detector.source_prefix
                                   ? fmt::format("{} {}", others, packets)
                                   : fmt::format("-d {} {} {}", IpPrefix::host(frontend.address),
                                                 others, port_match(frontend, comment, ""));
      nat(target).push_back(fmt::format("{} -j KUBE-MARK-MASQ", rule));
    }
  }

  void add_external(const Frontend& frontend) {
    add_external_chain(frontend);
    const std::string entry = chain("KUBE-EXT-");
    if (frontend.kind == FrontendKind::NodePort) {
      out_.listings.node_ports.push_back(
          fmt::format("{} -j {}", port_match(frontend, name().to_string(), ""), entry));
      return;
    }
    const bool balancer = frontend.kind == FrontendKind::LoadBalancerIp;
    const std::string comment =
        fmt::format("{} {} IP", name().to_string(), balancer ? "loadbalancer" : "external");
    const bool restricted = balancer && !frontend.source_ranges.empty();
    if (restricted) add_source_ranges(frontend, comment);
    out_.listings.services.push_back({.address = frontend.address,
                                      .rule = fmt::format("{} -j {}", match(frontend, comment),
                                                          restricted ? chain("KUBE-FW-") : entry)});
  }

  // One for all of the service's ways in from outside, which share one policy.
  void add_external_chain(const Frontend& frontend) {
    Rules& rules = nat(chain("KUBE-EXT-"));
    if (!rules.empty()) return;
    const std::string suffix =
        fmt::format("traffic for {} external destinations", name().to_string());
    const std::string cluster = chain("KUBE-SVC-");
    if (frontend.target == Target::ClusterPool) {
      rules.push_back(fmt::format("{} -j KUBE-MARK-MASQ", quoted_comment("masquerade " + suffix)));
      rules.push_back(fmt::format("-j {}", cluster));
      return;
    }
    if (frontend.short_circuit) add_short_circuit(rules, suffix);
    if (frontend.target == Target::LocalPool) {
      rules.push_back(fmt::format("-j {}", chain("KUBE-SVL-")));
    }
  }

  void add_short_circuit(Rules& rules, const std::string& suffix) const {
    const std::string cluster = chain("KUBE-SVC-");
    if (node_.detector.implemented()) {
      rules.push_back(fmt::format("{} {} -j {}", pod_match(node_.detector, ""),
                                  quoted_comment("pod " + suffix), cluster));
    }
    const auto from_node = [&](std::string_view verb, std::string_view target) {
      rules.push_back(fmt::format("{} -m addrtype --src-type LOCAL -j {}",
                                  quoted_comment(fmt::format("{} LOCAL {}", verb, suffix)),
                                  target));
    };
    from_node("masquerade", "KUBE-MARK-MASQ");
    from_node("route", cluster);
  }

  void add_source_ranges(const Frontend& frontend, const std::string& comment) {
    const std::string gate = chain("KUBE-FW-");
    out_.listings.firewalled.push_back(
        {.address = frontend.address,
         .rule =
             fmt::format("{} -j DROP", match(frontend, fmt::format("{} traffic not accepted by {}",
                                                                   name().to_string(), gate)))});
    Rules& rules = nat(gate);
    if (!rules.empty()) return;  // another address of the same load balancer
    for (const IpPrefix& range : frontend.source_ranges) {
      // iptables-save leaves out what matches everything.
      const std::string source = range.length() == 0 ? "" : fmt::format("-s {} ", range);
      rules.push_back(
          fmt::format("{}{} -j {}", source, quoted_comment(comment), chain("KUBE-EXT-")));
    }
    rules.push_back(quoted_comment(fmt::format(
        "other traffic to {} will be dropped by KUBE-PROXY-FIREWALL", name().to_string())));
  }

  std::string endpoint_comment(const Backend& backend) const {
    if (shape_ == Shape::Large) return "";
    return quoted_comment(fmt::format("{} -> {}", name().to_string(), text(backend))) + " ";
  }

  void add_pool(std::string_view prefix, const Pool& pool) {
    Rules& rules = nat(chain(prefix));
    if (service_.affinity) {
      for (const Backend& backend : pool) {
        const std::string target = endpoint_chain(name(), backend);
        rules.push_back(fmt::format("{}-m recent --rcheck --seconds {} --reap {} -j {}",
                                    endpoint_comment(backend), service_.affinity->count(),
                                    recent_list(target, family()), target));
      }
    }
    const bool chains = shape_ == Shape::Chains || service_.affinity;
    std::size_t left = pool.size();
    for (const Backend& backend : pool) {
      const std::string chance =
          left > 1 ? fmt::format("-m statistic --mode random --probability {} ", probability(left))
                   : "";
      --left;
      if (chains) {
        rules.push_back(fmt::format("{}{}-j {}", endpoint_comment(backend), chance,
                                    endpoint_chain(name(), backend)));
        add_endpoint(backend);
      } else {
        rules.push_back(
            fmt::format("-p {} {}-j DNAT --to-destination {}", protocol(), chance, text(backend)));
      }
    }
  }

  void add_endpoint(const Backend& backend) {
    const std::string chain = endpoint_chain(name(), backend);
    Rules& rules = nat(chain);
    if (!rules.empty()) return;  // in both pools
    const std::string comment =
        shape_ == Shape::Chains ? quoted_comment(name().to_string()) + " " : "";
    const std::string learn =
        service_.affinity ? fmt::format("-m recent --set {} ", recent_list(chain, family())) : "";
    rules.push_back(
        fmt::format("-s {} {}-j KUBE-MARK-MASQ", IpPrefix::host(backend.address), comment));
    rules.push_back(fmt::format("-p {0} {1}{2}-m {0} -j DNAT --to-destination {3}", protocol(),
                                comment, learn, text(backend)));
  }

  const ServicePlan& service_;
  const NodePlan& node_;
  Shape shape_;
  ServiceRules out_;
};

template <class Entry>
void append(std::vector<Entry>& to, const std::vector<Entry>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

template <class Entry>
std::vector<Entry> missing(const std::vector<Entry>& in, const std::vector<Entry>& from) {
  std::vector<Entry> out;
  std::ranges::copy_if(from, std::back_inserter(out), [&](const Entry& entry) {
    return std::ranges::find(in, entry) == in.end();
  });
  return out;
}

}  // namespace

void Listings::add(const Listings& other) {
  append(services, other.services);
  append(node_ports, other.node_ports);
  append(refused_services, other.refused_services);
  append(refused_externals, other.refused_externals);
  append(refused_node_ports, other.refused_node_ports);
  append(firewalled, other.firewalled);
  append(health_checks, other.health_checks);
}

Listings Listings::filter_entries_missing_in(const Listings& other) const {
  return {.refused_services = missing(other.refused_services, refused_services),
          .refused_externals = missing(other.refused_externals, refused_externals),
          .refused_node_ports = missing(other.refused_node_ports, refused_node_ports),
          .firewalled = missing(other.firewalled, firewalled),
          .health_checks = missing(other.health_checks, health_checks)};
}

std::string quoted_comment(std::string_view text) {
  return fmt::format("-m comment --comment \"{}\"", text);
}

std::string reject(Protocol protocol, IpFamily family) {
  // A reset reaches a client that is still inside connect(), which an ICMP error does not.
  if (protocol == Protocol::Tcp) return "REJECT --reject-with tcp-reset";
  return family == IpFamily::V4 ? "REJECT --reject-with icmp-port-unreachable"
                                : "REJECT --reject-with icmp6-port-unreachable";
}

ServiceRules service_rules(const ServicePlan& service, const NodePlan& node, Shape shape) {
  return ServiceRenderer(service, node, shape).render();
}

}  // namespace fairlead::iptables
