#include "inspect/answer.hpp"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/text.hpp"
#include "inspect/hints.hpp"
#include "inspect/kernel_rule.hpp"

namespace fairlead::inspect {
namespace {

// What the slices say of an address.
const kube::Endpoint* find_endpoint(const Snapshot& snapshot, const IpAddress& address) {
  for (const auto& [name, slice] : snapshot.slices) {
    for (const kube::Endpoint& endpoint : slice.endpoints) {
      for (const std::string& text : endpoint.addresses) {
        const auto known = IpAddress::parse_sloppy(text);
        if (known && *known == address) return &endpoint;
      }
    }
  }
  return nullptr;
}

// ---- who sends ----------------------------------------------------------------------------------

std::optional<IpAddress> address_of_node(const NodeView& view, IpFamily family) {
  const auto& primary = view.context().addresses;
  if (const auto found = primary.find(family); found != primary.end()) return found->second;
  for (const IpAddress& address : view.addresses().local) {
    if (address.family() == family && !address.is_loopback() && !address.is_link_local())
      return address;
  }
  return std::nullopt;
}

struct Sender {
  IpAddress address;
  std::string words;
};

std::string describe_sender(const NodeView& view, const IpAddress& address) {
  if (view.addresses().contains(address)) return "this node";
  if (const kube::Endpoint* endpoint = find_endpoint(view.snapshot(), address)) {
    const auto& pod = endpoint->target_ref;
    if (pod && pod->kind == "Pod") return fmt::format("pod {}", pod->name);
    return "an endpoint";
  }
  const auto node = view.plan().nodes.find(address.family());
  if (node != view.plan().nodes.end()) {
    const auto& pods = node->second.detector.source_prefix;
    if (pods && pods->contains(address)) return "a pod";
  }
  return "a client elsewhere";
}

Sender sender_of(const NodeView& view, const Question& question) {
  if (question.source)
    return {.address = *question.source, .words = describe_sender(view, *question.source)};
  const IpFamily family = question.destination.address.family();
  if (question.destination.address.is_loopback())
    return {.address = IpAddress::loopback(family), .words = "this node"};
  const auto mine = address_of_node(view, family);
  if (mine) return {.address = *mine, .words = "this node"};
  return {.address = IpAddress::any(family), .words = "a client elsewhere"};
}

// ---- which endpoints ----------------------------------------------------------------------------

// The pool whose making says most about the verdict; nothing when no pool was looked at.
std::optional<plan::PoolKind> pool_in_question(const plan::Explanation& explanation) {
  if (!explanation.frontend) return std::nullopt;
  switch (explanation.target) {
    case plan::Target::ClusterPool:
    case plan::Target::Reject:
      return plan::PoolKind::Cluster;
    case plan::Target::LocalPool:
      return plan::PoolKind::Local;
    case plan::Target::Drop:  // policy Local, unless the source was refused
      if (explanation.frontend->target == plan::Target::Drop) return plan::PoolKind::Local;
      return std::nullopt;
  }
  return std::nullopt;
}

void explain_pool(const NodeView& view, Answer& out) {
  const auto kind = pool_in_question(out.explanation);
  if (!kind || !out.explanation.service) return;
  const plan::PlanKey& key = *out.explanation.service;
  const auto* record =
      view.model().find({.namespace_ = key.service_port.namespace_, .name = key.service_port.name});
  if (record == nullptr) return;
  const auto all = plan::candidates(
      *record,
      {.name = key.service_port.port, .protocol = key.service_port.protocol, .family = key.family},
      view.model(), view.context().name);
  out.choice = plan::explain_choice(all, *kind, view.model(),
                                    {.node = view.context().name, .zone = view.context().zone});
  for (const plan::EndpointFate& endpoint : out.choice->endpoints) {
    if (endpoint.fate == plan::Fate::Used) continue;
    const kube::Endpoint* known = find_endpoint(view.snapshot(), endpoint.backend.address);
    out.left_out.push_back(
        {.endpoint = endpoint,
         .node = known == nullptr ? std::string() : known->node_name.value_or("")});
  }
}

std::string why(const plan::EndpointFate& endpoint) {
  if (endpoint.reserved_for.empty()) return std::string(to_string(endpoint.fate));
  return fmt::format("{} ({})", to_string(endpoint.fate), fmt::join(endpoint.reserved_for, ", "));
}

std::string_view topology_words(plan::Topology topology) {
  switch (topology) {
    case plan::Topology::None:
      return "";
    case plan::Topology::SameZone:
      return "same-zone";
    case plan::Topology::SameNode:
      return "same-node";
  }
  return "";
}

// How the pool was made, where it is more than "the ready ones".
std::vector<std::string> choice_words(const Answer& answer) {
  std::vector<std::string> out;
  if (!answer.choice) return out;
  if (answer.choice->topology == plan::Topology::SameNode)
    out.emplace_back("by topology hints: endpoints reserved for this node");
  if (answer.choice->topology == plan::Topology::SameZone)
    out.emplace_back("by topology hints: endpoints reserved for this zone");
  if (answer.choice->fell_back)
    out.emplace_back("no endpoint is ready: those that terminate but serve still are used");
  return out;
}

std::optional<Protocol> protocol_named(std::string_view text) {
  for (const Protocol protocol : {Protocol::Tcp, Protocol::Udp, Protocol::Sctp}) {
    if (equals_ignore_case(text, fairlead::to_string(protocol))) return protocol;
  }
  return std::nullopt;
}

// ---- printing -----------------------------------------------------------------------------------

std::string quoted(std::string_view text) {
  std::string out = "\"";
  append_json_escaped(out, text);
  return out + '"';
}

std::string list_json(const std::vector<std::string>& texts) {
  std::vector<std::string> all;
  for (const std::string& text : texts) all.push_back(quoted(text));
  return fmt::format("[{}]", fmt::join(all, ","));
}

std::string left_out_json(const std::vector<LeftOut>& all) {
  std::vector<std::string> out;
  for (const LeftOut& one : all) {
    out.push_back(fmt::format(R"({{"address":{},"port":{},"node":{},"reason":{}}})",
                              quoted(one.endpoint.backend.address.to_string()),
                              one.endpoint.backend.port, quoted(one.node),
                              quoted(why(one.endpoint))));
  }
  return fmt::format("[{}]", fmt::join(out, ","));
}

}  // namespace

Result<Question> parse_question(const Words& words) {
  Question out;
  const auto protocol = protocol_named(words.protocol);
  if (!protocol) {
    return make_error(ErrorCode::Invalid, "PROTO: \"{}\" is not tcp, udp or sctp", words.protocol);
  }
  out.protocol = *protocol;
  const auto destination = SocketAddress::parse(words.destination);
  if (!destination) {
    return make_error(ErrorCode::Invalid, "DESTINATION: \"{}\" is not ADDRESS:PORT or [IPV6]:PORT",
                      words.destination);
  }
  out.destination = *destination;
  out.input_interface = words.input_interface;
  if (words.source.empty()) return out;
  const auto source = IpAddress::parse(words.source);
  if (!source)
    return make_error(ErrorCode::Invalid, "--from: \"{}\" is not an IP address", words.source);
  if (source->family() != out.destination.address.family()) {
    return make_error(ErrorCode::Invalid, "--from: {} cannot talk to {}: other family", *source,
                      out.destination);
  }
  out.source = *source;
  return out;
}

Answer answer(const NodeView& view, const Question& question) {
  const Sender sender = sender_of(view, question);
  Answer out{.packet = {.protocol = question.protocol,
                        .source = sender.address,
                        .destination = question.destination,
                        .input_interface = question.input_interface},
             .sender = sender.words,
             .node = view.context().name,
             .mode = view.mode()};
  out.explanation = plan::explain(view.plan(), out.packet, view.addresses());
  out.kernel_rule = kernel_rule(view.mode(), out.explanation);
  explain_pool(view, out);
  out.notes = hints(view, out.packet, out.explanation);
  if (out.explanation.service) std::ranges::copy(view.warnings(), std::back_inserter(out.notes));
  return out;
}

std::string to_text(const Answer& a) {
  const bool unknown = a.packet.source.is_unspecified();
  std::string out =
      fmt::format("packet    {} from {} to {}, on node {} in mode {}\n", a.packet.protocol,
                  unknown ? a.sender : fmt::format("{} ({})", a.packet.source, a.sender),
                  a.packet.destination, a.node.empty() ? "?" : a.node, a.mode);
  out += to_text(a.explanation);
  for (const std::string& words : choice_words(a)) out += fmt::format("chosen    {}\n", words);
  for (const LeftOut& one : a.left_out) {
    const plan::Backend& backend = one.endpoint.backend;
    out += fmt::format("left out  {:<24} {}{}\n",
                       SocketAddress{backend.address, backend.port}.to_string(), why(one.endpoint),
                       one.node.empty() ? "" : ", on node " + one.node);
  }
  if (!a.kernel_rule.empty()) out += fmt::format("in kernel {}\n", a.kernel_rule);
  for (const std::string& note : a.notes) out += fmt::format("note      {}\n", note);
  return out;
}

std::string to_json(const Answer& a) {
  std::string out = fmt::format(
      R"({{"node":{},"mode":{},"packet":{{"protocol":{},"source":{},"sender":{},"destination":{}}})",
      quoted(a.node), quoted(a.mode), quoted(fairlead::to_string(a.packet.protocol)),
      quoted(a.packet.source.to_string()), quoted(a.sender),
      quoted(a.packet.destination.to_string()));
  out += fmt::format(R"(,"explanation":{})", to_json(a.explanation));
  if (a.choice) {
    out += fmt::format(R"(,"topologyHints":{},"fallBackToTerminating":{})",
                       quoted(topology_words(a.choice->topology)), a.choice->fell_back);
  }
  return out + fmt::format(R"(,"leftOut":{},"inKernel":{},"notes":{}}})", left_out_json(a.left_out),
                           quoted(a.kernel_rule), list_json(a.notes));
}

}  // namespace fairlead::inspect
