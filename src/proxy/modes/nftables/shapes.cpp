#include "proxy/modes/nftables/shapes.hpp"

#include <fmt/format.h>

namespace fairlead::nftables {
namespace {

const KeyPart kSource{.field = Field::SourceAddress};
const KeyPart kDestination{.field = Field::DestinationAddress};
const KeyPart kProtocol{.field = Field::L4Protocol};
const KeyPart kPort{.field = Field::DestinationPort};
const KeyPart kToken{.field = Field::Priority};

const MatchConnection kNewConnection{.what = MatchConnection::What::New};

KeyExpression frontend_key(bool node_port) {
  if (node_port) return {kProtocol, kPort};
  return {kDestination, kProtocol, kPort};
}

KeyExpression with(KeyExpression key, const KeyPart& part) {
  key.push_back(part);
  return key;
}

Verdict go_to(std::string chain) {
  return {.code = Verdict::Code::Goto, .chain = std::move(chain)};
}
Verdict jump(std::string chain) { return {.code = Verdict::Code::Jump, .chain = std::move(chain)}; }

std::uint32_t slot_base(const Pick& pick) { return pick.local ? kLocalSlotBase : 0; }

// ClientIP affinity. The kernel learns (client . token) pairs, a token being one backend of one
// service port, the same through all its frontends. A client is sticky to the backend whose token
// it is learnt with, if that backend is in the pool: the rules ask the pool's slots one by one, so
// a learnt pair whose backend has left is never asked for, and the mode deletes it soon
// (affinity.hpp), lest the client go back when the backend returns. The token travels
// from one expression to the next in the packet's priority, the only field that is ours to use and
// that rules can both set from a map and put into a key; leave_no_token() clears it before the
// packet meets a queue.
Chain sticky_chain(const Pick& pick) {
  const SetId tokens = pick.node_port ? SetId::NodePortTokens : SetId::Tokens;
  const SetId members = pick.node_port ? SetId::NodePortMembers : SetId::Members;
  const KeyExpression frontend = frontend_key(pick.node_port);
  const Learn learn{.key = {kSource, kToken}, .timeout = pick.sticky};
  const DestinationNat translate{.key = with(frontend, kToken), .map = members};
  Chain chain{.name = pick.chain_name()};
  for (std::uint32_t slot = 0; slot < pick.size; ++slot) {
    const KeyPart this_slot{
        .field = Field::RandomSlot, .modulus = 1, .offset = slot_base(pick) + slot};
    chain.rules.push_back(
        {{SetPriority{.key = with(frontend, this_slot), .map = tokens},
          MatchSet{.key = {kSource, kToken}, .set = SetId::Affinity}, learn, translate}});
  }
  const KeyPart any_slot{
      .field = Field::RandomSlot, .modulus = pick.size, .offset = slot_base(pick)};
  chain.rules.push_back({{SetPriority{.key = with(frontend, any_slot), .map = tokens}}});
  // A rule of its own: when the learnt set is full this rule gives up, and the connection goes
  // through all the same.
  chain.rules.push_back({{learn}});
  chain.rules.push_back({{translate}});
  return chain;
}

Chain pick_chain(const Pick& pick) {
  if (pick.sticky.count() > 0) return sticky_chain(pick);
  const KeyPart slot{.field = Field::RandomSlot, .modulus = pick.size, .offset = slot_base(pick)};
  return {
      .name = pick.chain_name(),
      .rules = {{{DestinationNat{.key = with(frontend_key(pick.node_port), slot),
                                 .map = pick.node_port ? SetId::NodePortSlots : SetId::Slots}}}}};
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
    return {MatchSet{.key = {kDestination}, .set = SetId::NodePortAddresses}};
  const IpPrefix loopback{IpAddress::loopback(family), family == IpFamily::V4 ? 8U : 128U};
  return {MatchLocalAddress{.field = Field::DestinationAddress},
          MatchPrefix{.field = Field::DestinationAddress, .prefix = loopback, .negate = true}};
}

Rule node_port_rule(const plan::NodePlan& node, IpFamily family, SetId map) {
  Rule rule{to_node_port_address(node, family)};
  rule.statements.emplace_back(VerdictMap{.key = frontend_key(true), .map = map});
  return rule;
}

std::vector<Chain> inner_chains(const plan::NodePlan& node, IpFamily family) {
  const KeyExpression frontend = frontend_key(false);
  Chain cluster_ips{
      .name = "check-cluster-ips",
      .rules = {{{MatchSet{.key = {kDestination}, .set = SetId::ClusterIps},
                  Verdict{.code = Verdict::Code::Goto, .chain = std::string(kRejectChain)}}}}};
  for (const IpPrefix& range : node.service_cidrs) {
    cluster_ips.rules.push_back({{MatchPrefix{.field = Field::DestinationAddress, .prefix = range},
                                  Verdict{.code = Verdict::Code::Drop}}});
  }
  return {
      {.name = std::string(kRejectChain), .rules = {{{ResetTcp{}}}, {{Reject{}}}}},
      // Before translation, so that pods and the node itself obey source ranges too.
      {.name = "check-sources",
       .rules = {{{MatchSet{.key = frontend, .set = SetId::Firewalled},
                   MatchSet{.key = with(frontend, kSource),
                            .set = SetId::AllowedSources,
                            .negate = true},
                   Verdict{.code = Verdict::Code::Drop}}}}},
      // After translation: what still carries a service's address found no backend.
      {.name = "check-endpoints",
       .rules = {{{VerdictMap{.key = frontend, .map = SetId::NoEndpoints}}}}},
      {.name = "check-node-port-endpoints",
       .rules = {node_port_rule(node, family, SetId::NoEndpointNodePorts)}},
      std::move(cluster_ips),
      {.name = "dispatch",
       .rules = {{{VerdictMap{.key = frontend, .map = SetId::Services}}},
                 node_port_rule(node, family, SetId::NodePorts)}},
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

std::vector<std::string> Shape::chain_names() const {
  std::vector<std::string> names;
  if (general) names.push_back(general->chain_name());
  if (short_circuit && short_circuit != general) names.push_back(short_circuit->chain_name());
  if (!is_plain_pick()) names.push_back(chain_name());
  return names;
}

std::vector<Chain> chains_of(const Shape& shape, const plan::NodePlan& node, IpFamily) {
  std::vector<Chain> chains;
  if (shape.general) chains.push_back(pick_chain(*shape.general));
  if (shape.short_circuit && shape.short_circuit != shape.general)
    chains.push_back(pick_chain(*shape.short_circuit));
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
          MatchSet{.key = {kSource, kDestination, kProtocol, kPort}, .set = SetId::Hairpin},
          Masquerade{}}}});
  return chains;
}

}  // namespace fairlead::nftables
