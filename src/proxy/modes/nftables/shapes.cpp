#include "proxy/modes/nftables/shapes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace fairlead::nftables {
namespace {

const MatchConnection kNewConnection{.what = MatchConnection::What::New};

KeyExpression frontend_key(bool node_port) {
  using enum Field;
  if (node_port) return {L4Protocol, DestinationPort};
  return {DestinationAddress, L4Protocol, DestinationPort};
}

KeyExpression with(KeyExpression key, Field field) {
  key.push_back(field);
  return key;
}

Verdict go_to(std::string chain) {
  return {.code = Verdict::Code::Goto, .chain = std::move(chain)};
}
Verdict jump(std::string chain) { return {.code = Verdict::Code::Jump, .chain = std::move(chain)}; }

std::uint32_t first_slot(const Pick& pick) { return pick.local ? kLocalSlots : kClusterSlots; }

std::string_view take_slot_chain(bool node_port) {
  return node_port ? "take-node-port-slot" : "take-slot";
}

// ClientIP affinity. The kernel learns (client . token) pairs, a token being one backend of one
// service port, the same through all its frontends. A client is sticky to the backend whose token
// it is learnt with, if that backend is in the pool: the rules ask the pool's slots one by one, so
// a learnt pair whose backend has left is never asked for, and the mode deletes it soon
// (affinity.hpp), lest the client go back when the backend returns.
std::vector<Chain> sticky_chains(const Pick& pick) {
  const SetId tokens = pick.node_port ? SetId::NodePortTokens : SetId::Tokens;
  const SetId members = pick.node_port ? SetId::NodePortMembers : SetId::Members;
  const KeyExpression numbered = with(frontend_key(pick.node_port), Field::Priority);
  const KeyExpression pair = {Field::SourceAddress, Field::Priority};
  const SetPriority to_token{.key = numbered, .map = tokens};
  const Learn learn{.key = pair, .timeout = pick.sticky};
  const DestinationNat translate{.key = numbered, .map = members};
  Chain known{
      .name = pick.known_chain_name(),
      .rules = {{{to_token, MatchSet{.key = pair, .set = SetId::Affinity}, learn, translate}}}};
  // Learning is a rule of its own: when the learnt set is full this rule gives up, and the
  // connection goes through all the same.
  Chain learning{.name = pick.learn_chain_name(),
                 .rules = {{{to_token}}, {{learn}}, {{translate}}}};
  Chain choice{.name = pick.chain_name()};
  for (std::uint32_t slot = 0; slot < pick.size; ++slot) {
    choice.rules.push_back(
        {{ChooseSlot{.count = 1, .first = first_slot(pick) + slot}, jump(known.name)}});
  }
  choice.rules.push_back(
      {{ChooseSlot{.count = pick.size, .first = first_slot(pick)}, go_to(learning.name)}});
  return {std::move(known), std::move(learning), std::move(choice)};
}

// No chain of a pool looks into a map that grows with the cluster: when another chain begins to use
// a map, the kernel looks at all of it.
std::vector<Chain> pick_chains(const Pick& pick) {
  if (pick.sticky.count() > 0) return sticky_chains(pick);
  return {{.name = pick.chain_name(),
           .rules = {{{ChooseSlot{.count = pick.size, .first = first_slot(pick)},
                       go_to(std::string(take_slot_chain(pick.node_port)))}}}}};
}

Chain slot_taker(bool node_port) {
  return {.name = std::string(take_slot_chain(node_port)),
          .rules = {{{DestinationNat{.key = with(frontend_key(node_port), Field::Priority),
                                     .map = node_port ? SetId::NodePortSlots : SetId::Slots}}}}};
}

// Traffic of this node's pods, as the detector tells it; nothing without a detector.
std::optional<Statement> from_pods(const plan::LocalDetector& detector, bool negate) {
  if (detector.source_prefix) {
    return MatchPrefix{
        .field = Field::SourceAddress, .prefix = *detector.source_prefix, .negate = negate};
  }
  if (!detector.interface_name.empty())
    return MatchInputInterface{.name = detector.interface_name, .negate = negate};
  if (!detector.interface_prefix.empty()) {
    return MatchInputInterface{
        .name = detector.interface_prefix, .is_prefix = true, .negate = negate};
  }
  return std::nullopt;
}

void add_short_circuit(Chain& chain, const Pick& pick, const plan::NodePlan& node) {
  if (auto pods = from_pods(node.detector, false))
    chain.rules.push_back({{*pods, go_to(pick.chain_name())}});
  chain.rules.push_back({{MatchLocalAddress{.field = Field::SourceAddress},
                          SetMark{.bit = node.masquerade_mark}, go_to(pick.chain_name())}});
}

Chain entry_chain(const Shape& shape, const plan::NodePlan& node) {
  Chain chain{.name = shape.chain_name()};
  if (shape.short_circuit) add_short_circuit(chain, *shape.short_circuit, node);
  if (!shape.general) return chain;
  const SetMark mark{.bit = node.masquerade_mark};
  if (shape.masquerade == plan::Masquerade::Always) {
    chain.rules.push_back({{mark, go_to(shape.general->chain_name())}});
    return chain;
  }
  if (shape.masquerade == plan::Masquerade::OffCluster) {
    if (auto others = from_pods(node.detector, true)) chain.rules.push_back({{*others, mark}});
  }
  chain.rules.push_back({{go_to(shape.general->chain_name())}});
  return chain;
}

// Node ports: on every address of the node but loopback, or on a given set of addresses.
std::vector<Statement> to_node_port_address(const plan::NodePlan& node, IpFamily family) {
  if (node.node_port_addresses)
    return {MatchSet{.key = {Field::DestinationAddress}, .set = SetId::NodePortAddresses}};
  const IpPrefix loopback{IpAddress::loopback(family), family == IpFamily::V4 ? 8U : 128U};
  return {MatchLocalAddress{.field = Field::DestinationAddress},
          MatchPrefix{.field = Field::DestinationAddress, .prefix = loopback, .negate = true}};
}

Rule to_node_port(const plan::NodePlan& node, IpFamily family, std::vector<Statement> then) {
  Rule rule{to_node_port_address(node, family)};
  std::ranges::move(then, std::back_inserter(rule.statements));
  return rule;
}

// The frontend's number, and the chain of that number. Two lookups where a map from frontends to
// chains would do with one: of such a map the kernel looks at every element whenever one that leads
// to a chain is added.
std::vector<Statement> by_shape(bool node_port) {
  return {SetPriority{.key = frontend_key(node_port),
                      .map = node_port ? SetId::NodePorts : SetId::Services},
          VerdictMap{.key = {Field::Priority}, .map = SetId::Shapes}};
}

std::vector<Chain> inner_chains(const plan::NodePlan& node, IpFamily family) {
  const KeyExpression frontend = frontend_key(false);
  const KeyExpression node_port = frontend_key(true);
  const Verdict reject = go_to(std::string(kRejectChain));
  const Verdict drop{.code = Verdict::Code::Drop};
  Chain cluster_ips{
      .name = "check-cluster-ips",
      .rules = {
          {{MatchSet{.key = {Field::DestinationAddress}, .set = SetId::ClusterIps}, reject}}}};
  for (const IpPrefix& range : node.service_cidrs) {
    cluster_ips.rules.push_back(
        {{MatchPrefix{.field = Field::DestinationAddress, .prefix = range}, drop}});
  }
  return {
      {.name = std::string(kRejectChain), .rules = {{{ResetTcp{}}}, {{Reject{}}}}},
      // Before translation, so that pods and the node itself obey source ranges too.
      {.name = "check-sources",
       .rules = {{{MatchSet{.key = frontend, .set = SetId::Firewalled},
                   MatchSet{.key = with(frontend, Field::SourceAddress),
                            .set = SetId::AllowedSources,
                            .negate = true},
                   drop}}}},
      // After translation: what still carries a service's address found no backend.
      {.name = "check-endpoints",
       .rules = {{{MatchSet{.key = frontend, .set = SetId::NoEndpoints}, reject}},
                 {{MatchSet{.key = frontend, .set = SetId::Silent}, drop}}}},
      {.name = "check-node-port-endpoints",
       .rules = {to_node_port(
                     node, family,
                     {MatchSet{.key = node_port, .set = SetId::NoEndpointNodePorts}, reject}),
                 to_node_port(node, family,
                              {MatchSet{.key = node_port, .set = SetId::SilentNodePorts}, drop})}},
      std::move(cluster_ips),
      slot_taker(false),
      slot_taker(true),
      {.name = "dispatch",
       .rules = {{by_shape(false)}, to_node_port(node, family, by_shape(true))}},
  };
}

Rule new_connections(std::string chain) { return {{kNewConnection, jump(std::move(chain))}}; }

}  // namespace

std::string Pick::chain_name() const {
  std::string text =
      fmt::format("{}pick-{}{}", node_port ? "node-port-" : "", local ? "local-" : "", size);
  if (sticky.count() > 0) text += fmt::format("-sticky-{}s", sticky.count());
  return text;
}

std::string Shape::chain_name() const {
  if (is_plain_pick()) return general->chain_name();
  std::string text;
  if (short_circuit) text += "short-cut-" + short_circuit->chain_name();
  if (!general) return text;
  if (short_circuit) text += "-else-";
  if (masquerade == plan::Masquerade::Always) text += "masquerade-";
  if (masquerade == plan::Masquerade::OffCluster) text += "masquerade-others-";
  return text + general->chain_name();
}

std::string Pick::known_chain_name() const {
  return fmt::format("{}known-{}s", node_port ? "node-port-" : "", sticky.count());
}
std::string Pick::learn_chain_name() const {
  return fmt::format("{}learn-{}s", node_port ? "node-port-" : "", sticky.count());
}

std::vector<std::string> Shape::chain_names() const {
  std::vector<std::string> names;
  const auto append = [&names](std::string name) {
    if (std::ranges::find(names, name) == names.end()) names.push_back(std::move(name));
  };
  for (const auto& pick : {short_circuit, general}) {
    if (!pick) continue;
    if (pick->sticky.count() > 0) {
      append(pick->known_chain_name());
      append(pick->learn_chain_name());
    }
    append(pick->chain_name());
  }
  if (!is_plain_pick()) append(chain_name());
  return names;
}

std::vector<Chain> chains_of(const Shape& shape, const plan::NodePlan& node) {
  std::vector<Chain> chains;
  const auto append = [&chains](std::vector<Chain> more) {
    for (Chain& chain : more) {
      if (std::ranges::find(chains, chain.name, &Chain::name) == chains.end())
        chains.push_back(std::move(chain));
    }
  };
  if (shape.short_circuit) append(pick_chains(*shape.short_circuit));
  if (shape.general) append(pick_chains(*shape.general));
  if (!shape.is_plain_pick()) chains.push_back(entry_chain(shape, node));
  return chains;
}

// Hooks and priorities are kube-proxy 1.36's: checks of sources before translation, checks for
// missing endpoints after it.
std::vector<Chain> fixed_chains(const plan::NodePlan& node, IpFamily family) {
  constexpr std::int32_t kBeforeDnat = -110;
  constexpr std::int32_t kFilter = 0;
  constexpr std::int32_t kDnat = -100;
  constexpr std::int32_t kSnat = 100;
  constexpr std::int32_t kBeforeMangle =
      -160;  // so that a priority set by the host's own rules stays
  std::vector<Chain> chains = inner_chains(node, family);
  const auto base = [&](std::string name, BaseHook hook, std::vector<Rule> rules) {
    chains.push_back({.name = std::move(name), .hook = hook, .rules = std::move(rules)});
  };
  base("sources-prerouting", {.type = "filter", .hook = Hook::Prerouting, .priority = kBeforeDnat},
       {new_connections("check-sources")});
  base("sources-output", {.type = "filter", .hook = Hook::Output, .priority = kBeforeDnat},
       {new_connections("check-sources")});
  base("filter-input", {.type = "filter", .hook = Hook::Input, .priority = kFilter},
       {new_connections("check-node-port-endpoints"), new_connections("check-endpoints")});
  base("filter-forward", {.type = "filter", .hook = Hook::Forward, .priority = kFilter},
       {new_connections("check-endpoints"), new_connections("check-cluster-ips")});
  base("filter-output", {.type = "filter", .hook = Hook::Output, .priority = kFilter},
       {new_connections("check-endpoints"), new_connections("check-cluster-ips")});
  base("nat-prerouting", {.type = "nat", .hook = Hook::Prerouting, .priority = kDnat},
       {{{jump("dispatch")}}});
  base("nat-output", {.type = "nat", .hook = Hook::Output, .priority = kDnat},
       {{{jump("dispatch")}}});
  base("leave-no-token", {.type = "filter", .hook = Hook::Postrouting, .priority = kBeforeMangle},
       {{{kNewConnection, MatchTokenPriority{}, SetPriority{}}}});
  base("nat-postrouting", {.type = "nat", .hook = Hook::Postrouting, .priority = kSnat},
       {{{MatchMark{.bit = node.masquerade_mark}, SetMark{.bit = node.masquerade_mark, .on = false},
          Masquerade{}}},
        {{MatchConnection{.what = MatchConnection::What::DestinationTranslated},
          MatchSet{.key = {Field::SourceAddress, Field::DestinationAddress, Field::L4Protocol,
                           Field::DestinationPort},
                   .set = SetId::Hairpin},
          Masquerade{}}}});
  return chains;
}

}  // namespace fairlead::nftables
