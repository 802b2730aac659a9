// nft's spelling of the ruleset. The same text loads with `nft -f` and is what the golden tests
// compare.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <bit>

#include "proxy/modes/nftables/ruleset.hpp"

namespace fairlead::nftables {
namespace {

std::string_view ip_word(IpFamily family) { return family == IpFamily::V4 ? "ip" : "ip6"; }

std::uint32_t host_order(std::span<const std::uint8_t> bytes) {
  std::uint32_t value = 0;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

std::string token_text(std::uint32_t token) {
  return fmt::format("{:x}:{:x}", token >> 16U, token & 0xffffU);
}

std::string protocol_text(std::uint8_t number) {
  switch (number) {
    case 6:
      return "tcp";
    case 17:
      return "udp";
    case 132:
      return "sctp";
    default:
      return fmt::format("{}", number);
  }
}

std::string field_text(FieldType field, std::span<const std::uint8_t> bytes) {
  switch (field) {
    case FieldType::Address:
      return IpAddress::from_bytes(bytes).to_string();
    case FieldType::Protocol:
      return protocol_text(bytes[0]);
    case FieldType::Service:
      return fmt::format("{}", (bytes[0] << 8U) | bytes[1]);
    case FieldType::Slot:
    case FieldType::Token:
    case FieldType::Shape:
      return token_text(host_order(bytes));
  }
  return "?";
}

std::string fields_text(std::span<const FieldType> fields, const Key& key, IpFamily family) {
  std::vector<std::string> parts;
  std::size_t at = 0;
  for (const FieldType field : fields) {
    parts.push_back(field_text(field, key.bytes().subspan(at, width(field, family))));
    at += width(field, family);
  }
  return fmt::format("{}", fmt::join(parts, " . "));
}

std::string verdict_text(const Verdict& verdict) {
  switch (verdict.code) {
    case Verdict::Code::Goto:
      return "goto " + verdict.chain;
    case Verdict::Code::Jump:
      return "jump " + verdict.chain;
    case Verdict::Code::Drop:
      return "drop";
  }
  return "?";
}

std::string data_text(const Element& element, IpFamily family) {
  static constexpr std::array kBackend = {FieldType::Address, FieldType::Service};
  static constexpr std::array kToken = {FieldType::Token};
  if (const auto* verdict = std::get_if<Verdict>(&element.data)) return verdict_text(*verdict);
  if (const auto* value = std::get_if<Key>(&element.data)) {
    return schema(element.set).data == DataKind::Backend ? fields_text(kBackend, *value, family)
                                                         : fields_text(kToken, *value, family);
  }
  return "";
}

// The range of an interval element is always a prefix of ours; nft lists it as one.
std::string interval_text(const Element& element, IpFamily family) {
  const std::size_t address = width(FieldType::Address, family);
  const auto low = element.key.bytes().last(address);
  const auto high = element.key_end.bytes().last(address);
  unsigned length = 0;
  for (std::size_t i = 0; i < address; ++i) {
    const auto differing = static_cast<unsigned>(low[i] ^ high[i]);
    length += static_cast<unsigned>(8 - std::bit_width(differing));
    if (differing != 0) break;
  }
  std::string text = key_text(element.set, element.key, family);
  if (length < address * 8) text += fmt::format("/{}", length);
  return text;
}

// ---- rules ----

std::string field_text(Field field, IpFamily family) {
  switch (field) {
    case Field::SourceAddress:
      return fmt::format("{} saddr", ip_word(family));
    case Field::DestinationAddress:
      return fmt::format("{} daddr", ip_word(family));
    case Field::L4Protocol:
      return "meta l4proto";
    case Field::DestinationPort:
      return "th dport";
    case Field::Priority:
      return "meta priority";
  }
  return "?";
}

std::string key_expression_text(const KeyExpression& key, IpFamily family) {
  std::vector<std::string> parts;
  for (const Field field : key) parts.push_back(field_text(field, family));
  return fmt::format("{}", fmt::join(parts, " . "));
}

std::string_view not_equal(bool negate) { return negate ? "!= " : ""; }

std::string statement_text(const Statement& statement, IpFamily family) {
  const auto key_of = [family](const auto& s) { return key_expression_text(s.key, family); };
  return std::visit(
      Overloaded{
          [&](const MatchSet& s) {
            return fmt::format("{} {}@{}", key_of(s), not_equal(s.negate), schema(s.set).name);
          },
          [&](const MatchPrefix& s) {
            const std::string value = s.prefix.length() == s.prefix.address().bits()
                                          ? s.prefix.address().to_string()
                                          : s.prefix.to_string();
            return fmt::format("{} {}{}", field_text(s.field, family), not_equal(s.negate), value);
          },
          [&](const MatchInputInterface& s) {
            return fmt::format("iifname {}\"{}{}\"", not_equal(s.negate), s.name,
                               s.is_prefix ? "*" : "");
          },
          [&](const MatchLocalAddress& s) {
            return fmt::format("fib {} type local",
                               s.field == Field::SourceAddress ? "saddr" : "daddr");
          },
          [&](const MatchConnection& s) {
            return std::string(s.what == MatchConnection::What::New ? "ct state new"
                                                                    : "ct status dnat");
          },
          [&](const MatchMark& s) {
            return fmt::format("meta mark & 0x{:08x} != 0x00000000", s.bit);
          },
          [&](const MatchTokenPriority&) {
            return fmt::format("meta priority & {} == {}", token_text(kNumberMask),
                               token_text(kNumberBase));
          },
          [&](const SetMark& s) {
            return fmt::format("meta mark set meta mark {} 0x{:08x}", s.on ? "|" : "^", s.bit);
          },
          [&](const SetPriority& s) {
            return s.key.empty()
                       ? std::string("meta priority set none")
                       : fmt::format("meta priority set {} map @{}", key_of(s), schema(s.map).name);
          },
          [&](const ChooseSlot& s) {
            return fmt::format("meta priority set numgen random mod {} offset {}", s.count,
                               s.first);
          },
          [&](const Learn& s) {
            return fmt::format("update @{} {{ {} timeout {}s }}", schema(SetId::Affinity).name,
                               key_of(s), s.timeout.count());
          },
          [&](const DestinationNat& s) {
            return fmt::format("dnat {} addr . port to {} map @{}", ip_word(family), key_of(s),
                               schema(s.map).name);
          },
          [&](const VerdictMap& s) {
            return fmt::format("{} vmap @{}", key_of(s), schema(s.map).name);
          },
          [&](const Verdict& s) { return verdict_text(s); },
          [&](const ResetTcp&) { return std::string("meta l4proto tcp reject with tcp reset"); },
          [&](const Reject&) { return std::string("reject"); },
          [&](const Masquerade&) { return std::string("masquerade fully-random"); },
      },
      statement);
}

// ---- sets ----

std::string_view type_name(FieldType field, IpFamily family) {
  switch (field) {
    case FieldType::Address:
      return family == IpFamily::V4 ? "ipv4_addr" : "ipv6_addr";
    case FieldType::Protocol:
      return "inet_proto";
    case FieldType::Service:
      return "inet_service";
    case FieldType::Slot:
    case FieldType::Token:
    case FieldType::Shape:
      return "classid";
  }
  return "?";
}

std::vector<FieldType> data_fields(DataKind data) {
  switch (data) {
    case DataKind::None:
    case DataKind::Verdict:
      return {};
    case DataKind::Backend:
      return {FieldType::Address, FieldType::Service};
    case DataKind::Token:
      return {FieldType::Token};
    case DataKind::Shape:
      return {FieldType::Shape};
  }
  return {};
}

std::string set_text(SetId set, IpFamily family) {
  const SetSchema& s = schema(set);
  const auto spell = [&](const std::vector<FieldType>& fields) {
    std::vector<std::string_view> parts;
    for (const FieldType field : fields) {
      parts.push_back(type_name(field, family));
    }
    return fmt::format("{}", fmt::join(parts, " . "));
  };
  std::string text = "type " + spell(s.key);
  if (s.data == DataKind::Verdict) text += " : verdict";
  if (const auto data = data_fields(s.data); !data.empty()) text += " : " + spell(data);
  text += ";";
  if (s.interval) text += " flags interval;";
  if (s.learnt) text += fmt::format(" size {}; flags dynamic,timeout;", kAffinitySize);
  return fmt::format("add {} {} {} {} {{ {} }}", s.data == DataKind::None ? "set" : "map",
                     ip_word(family), kTable, s.name, text);
}

std::string chain_text(const Chain& chain, IpFamily family) {
  static constexpr std::array<std::string_view, 5> kHooks = {"prerouting", "input", "forward",
                                                             "output", "postrouting"};
  std::string text = fmt::format("add chain {} {} {}", ip_word(family), kTable, chain.name);
  if (chain.hook) {
    text += fmt::format(" {{ type {} hook {} priority {}; policy accept; }}", chain.hook->type,
                        kHooks[static_cast<std::size_t>(chain.hook->hook)], chain.hook->priority);
  }
  return text;
}

// ---- scripts ----

const Element* element_of(const Operation& operation) {
  if (const auto* add = std::get_if<AddElement>(&operation.action)) return &add->element;
  if (const auto* del = std::get_if<DeleteElement>(&operation.action)) return &del->element;
  return nullptr;
}

bool same_command(const Operation& a, const Operation& b) {
  const Element* x = element_of(a);
  const Element* y = element_of(b);
  return x != nullptr && y != nullptr && x->set == y->set && a.family == b.family &&
         a.action.index() == b.action.index();
}

std::string command_text(const Operation& operation) {
  const std::string place = fmt::format("{} {}", ip_word(operation.family), kTable);
  return std::visit(
      Overloaded{
          [&](const AddTable&) {
            return fmt::format("add table {} {{ comment \"{}\"; }}", place, kTableComment);
          },
          [&](const DeleteTable&) { return fmt::format("delete table {}", place); },
          [&](const AddSet& o) { return set_text(o.set, operation.family); },
          [&](const FlushElements& o) {
            return fmt::format("flush {} {} {}",
                               schema(o.set).data == DataKind::None ? "set" : "map", place,
                               schema(o.set).name);
          },
          [&](const DeleteSet& o) { return fmt::format("delete set {} {}", place, o.name); },
          [&](const AddChain& o) { return chain_text(o.chain, operation.family); },
          [&](const DeleteChain& o) { return fmt::format("delete chain {} {}", place, o.name); },
          [&](const AddRule& o) {
            return fmt::format("add rule {} {} {}", place, o.chain,
                               to_text(o.rule, operation.family));
          },
          [&](const FlushRules& o) {
            return o.chain.empty() ? fmt::format("flush table {}", place)
                                   : fmt::format("flush chain {} {}", place, o.chain);
          },
          [&](const AddElement& o) {
            return fmt::format("add element {} {}", place, schema(o.element.set).name);
          },
          [&](const DeleteElement& o) {
            return fmt::format("delete element {} {}", place, schema(o.element.set).name);
          },
      },
      operation.action);
}

}  // namespace

std::string to_text(const Rule& rule, IpFamily family) {
  std::vector<std::string> parts;
  for (const Statement& statement : rule.statements)
    parts.push_back(statement_text(statement, family));
  return fmt::format("{}", fmt::join(parts, " "));
}

std::string key_text(SetId set, const Key& key, IpFamily family) {
  return fields_text(schema(set).key, key, family);
}

std::string to_text(const Element& element, IpFamily family) {
  std::string text = schema(element.set).interval ? interval_text(element, family)
                                                  : key_text(element.set, element.key, family);
  if (!element.comment.empty()) text += fmt::format(" comment \"{}\"", element.comment);
  const std::string data = data_text(element, family);
  return data.empty() ? text : text + " : " + data;
}

std::string to_script(std::span<const Operation> operations) {
  std::string out;
  for (std::size_t i = 0; i < operations.size();) {
    out += command_text(operations[i]);
    const Element* element = element_of(operations[i]);
    if (element == nullptr) {
      out += '\n';
      ++i;
      continue;
    }
    out += " {\n";
    const std::size_t first = i;
    for (; i < operations.size() && same_command(operations[first], operations[i]); ++i) {
      out += fmt::format("  {},\n", to_text(*element_of(operations[i]), operations[i].family));
    }
    out += "}\n";
  }
  return out;
}

}  // namespace fairlead::nftables
