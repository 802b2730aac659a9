// The ruleset of the nftables mode as values: sets, elements, chains, rules, and the operations
// that change them. Nothing here knows Services (render.hpp) or netlink (encode.hpp); to_text()
// prints any of it as `nft -f` input.
//
// Byte layout: keys and data are what the kernel compares, i.e. fields in network order, each
// padded to four bytes; slots and tokens are numbers in host order. A Key is inline storage: a full
// load makes 10^5 of them. Thread rule: values. Not here: references between objects (the kernel
// and the tests' fake check those).
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <compare>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.hpp"
#include "base/ip.hpp"

namespace fairlead::nftables {

inline constexpr std::string_view kTable = "fairlead";
// The table's comment says which layout it has: one that says anything else is not read but
// replaced. To be changed whenever a set changes its declaration, or its elements their meaning, or
// a base chain its hook.
inline constexpr std::string_view kTableComment = "Services, layout 2";

// Every set and map of a table. Elements carry all that differs between services; these names never
// grow in number. "F" below is a frontend: address . protocol . port; "P" a node port: protocol .
// port.
enum class SetId : std::uint8_t {
  Services,             // F -> number of the frontend's shape
  NodePorts,            // P -> the same
  Shapes,               // number -> goto the shape's chain: the only verdicts in elements
  Slots,                // F . slot -> backend
  NodePortSlots,        // P . slot -> backend
  Tokens,               // F . slot -> token of the backend (services with affinity)
  NodePortTokens,       // P . slot -> token
  Members,              // F . token -> backend: what a token means while the backend is in the pool
  NodePortMembers,      // P . token -> backend
  Affinity,             // client . token, learnt by the kernel, with a timeout
  NoEndpoints,          // F: refused
  NoEndpointNodePorts,  // P: refused
  Silent,               // F: dropped, for want of endpoints on this node
  SilentNodePorts,      // P: the same
  ClusterIps,           // address: its other ports are rejected
  NodePortAddresses,    // address: where node ports answer, when not everywhere
  Firewalled,           // F: has source ranges
  AllowedSources,       // F . source prefix
  Hairpin,  // backend . backend . protocol . port: a backend on this node talking to itself
};
inline constexpr std::size_t kSetCount = 19;
inline constexpr std::array<SetId, kSetCount> kAllSets = {
    SetId::Services,        SetId::NodePorts,
    SetId::Shapes,          SetId::Slots,
    SetId::NodePortSlots,   SetId::Tokens,
    SetId::NodePortTokens,  SetId::Members,
    SetId::NodePortMembers, SetId::Affinity,
    SetId::NoEndpoints,     SetId::NoEndpointNodePorts,
    SetId::Silent,          SetId::SilentNodePorts,
    SetId::ClusterIps,      SetId::NodePortAddresses,
    SetId::Firewalled,      SetId::AllowedSources,
    SetId::Hairpin};

enum class FieldType : std::uint8_t {
  Address,
  Protocol,
  Service,
  Slot,
  Token,
  Shape
};  // Service: a port, as in nft
enum class DataKind : std::uint8_t { None, Verdict, Backend, Token, Shape };

struct SetSchema {
  std::string_view name;
  std::vector<FieldType> key;
  DataKind data = DataKind::None;
  bool interval = false;  // the last field is a range
  bool learnt = false;    // filled by the kernel; survives reloads
};
const SetSchema& schema(SetId set);
std::optional<SetId> set_named(std::string_view name);
// Bytes of one field and of a whole key or datum, padding included.
std::size_t width(FieldType field, IpFamily family);
std::size_t key_width(SetId set, IpFamily family);
std::size_t data_width(SetId set, IpFamily family);  // 0 for sets and verdict maps

// The learnt set's bound; a full one only stops new clients from being sticky.
inline constexpr std::uint32_t kAffinitySize = 1U << 20U;

class Key {
 public:
  Key& address(const IpAddress& value) { return raw(value.bytes()); }
  Key& protocol(Protocol value) {
    return raw(std::array{static_cast<std::uint8_t>(value), kPad, kPad, kPad});
  }
  Key& port(Port value) {
    const auto n = number(value);
    return raw(std::array{static_cast<std::uint8_t>(n >> 8U), static_cast<std::uint8_t>(n & 0xffU),
                          kPad, kPad});
  }
  Key& number_in_host_order(std::uint32_t value) {
    std::array<std::uint8_t, 4> bytes{};
    std::memcpy(bytes.data(), &value, sizeof value);
    return raw(bytes);
  }
  Key& raw(std::span<const std::uint8_t> bytes) {
    check(size_ + bytes.size() <= bytes_.size(), "an nftables key fits into its storage");
    std::ranges::copy(bytes, bytes_.begin() + size_);
    size_ = static_cast<std::uint8_t>(size_ + bytes.size());
    return *this;
  }
  std::span<const std::uint8_t> bytes() const { return {bytes_.data(), size_}; }
  bool begins_with(const Key& prefix) const {
    return size_ >= prefix.size_ && std::ranges::equal(bytes().first(prefix.size_), prefix.bytes());
  }
  // The last field, a number in host order.
  std::uint32_t last_number() const {
    std::uint32_t value = 0;
    std::memcpy(&value, bytes().last(sizeof value).data(), sizeof value);
    return value;
  }
  bool empty() const { return size_ == 0; }
  auto operator<=>(const Key&) const = default;

 private:
  static constexpr std::uint8_t kPad = 0;
  std::array<std::uint8_t, 40> bytes_{};  // two IPv6 addresses, protocol, port
  std::uint8_t size_ = 0;
};

struct Verdict {
  enum class Code : std::uint8_t { Goto, Jump, Drop };
  Code code = Code::Drop;
  std::string chain;  // of Goto and Jump
  auto operator<=>(const Verdict&) const = default;
};

struct Element {
  SetId set = SetId::Services;
  Key key;
  Key key_end;  // interval sets: the last key of the range
  std::variant<std::monostate, Key, Verdict> data;
  std::string comment;  // for people: the service port
  auto operator<=>(const Element&) const = default;
};

// ---- rules
// ----------------------------------------------------------------------------------------------------------

enum class Field : std::uint8_t {
  SourceAddress,
  DestinationAddress,
  L4Protocol,
  DestinationPort,
  Priority
};
using KeyExpression = std::vector<Field>;

struct MatchSet {
  KeyExpression key;
  SetId set = SetId::Services;
  bool negate = false;
  bool operator==(const MatchSet&) const = default;
};
struct MatchPrefix {
  Field field = Field::SourceAddress;
  IpPrefix prefix;
  bool negate = false;
  bool operator==(const MatchPrefix&) const = default;
};
struct MatchInputInterface {
  std::string name;
  bool is_prefix = false;
  bool negate = false;
  bool operator==(const MatchInputInterface&) const = default;
};
struct MatchLocalAddress {  // fib: one of this node's addresses
  Field field = Field::SourceAddress;
  bool operator==(const MatchLocalAddress&) const = default;
};
struct MatchConnection {
  enum class What : std::uint8_t { New, DestinationTranslated };
  What what = What::New;
  bool operator==(const MatchConnection&) const = default;
};
struct MatchMark {  // the bit is set
  std::uint32_t bit = 0;
  bool operator==(const MatchMark&) const = default;
};
struct MatchTokenPriority {  // the packet's priority is a number of ours
  bool operator==(const MatchTokenPriority&) const = default;
};
struct SetMark {
  std::uint32_t bit = 0;
  bool on = true;  // off flips the bit, after a MatchMark
  bool operator==(const SetMark&) const = default;
};
struct SetPriority {
  KeyExpression key;  // empty: no priority
  SetId map = SetId::Tokens;
  bool operator==(const SetPriority&) const = default;
};
struct ChooseSlot {  // one of `count` slots at random, as the packet's priority
  std::uint32_t count = 1;
  std::uint32_t first = 0;
  bool operator==(const ChooseSlot&) const = default;
};
struct Learn {
  KeyExpression key;
  std::chrono::seconds timeout{0};
  bool operator==(const Learn&) const = default;
};
struct DestinationNat {
  KeyExpression key;
  SetId map = SetId::Slots;
  bool operator==(const DestinationNat&) const = default;
};
struct VerdictMap {
  KeyExpression key;
  SetId map = SetId::Services;
  bool operator==(const VerdictMap&) const = default;
};
// TCP packets only, the others go on: a reset. Unlike the ICMP errors of Reject, of which the
// kernel sends a client about one a second (icmp_ratelimit), every connection gets its own at once.
// And an ICMP error that comes back while the client is still inside connect(), as it does within
// one machine, is not acted on before the SYN is sent again a second later; a reset is.
struct ResetTcp {
  bool operator==(const ResetTcp&) const = default;
};
struct Reject {
  bool operator==(const Reject&) const = default;
};
struct Masquerade {
  bool operator==(const Masquerade&) const = default;
};
using Statement =
    std::variant<MatchSet, MatchPrefix, MatchInputInterface, MatchLocalAddress, MatchConnection,
                 MatchMark, MatchTokenPriority, SetMark, SetPriority, ChooseSlot, Learn,
                 DestinationNat, VerdictMap, Verdict, ResetTcp, Reject, Masquerade>;

struct Rule {
  std::vector<Statement> statements;
  bool operator==(const Rule&) const = default;
};

enum class Hook : std::uint8_t {
  Prerouting = 0,
  Input = 1,
  Forward = 2,
  Output = 3,
  Postrouting = 4
};  // NF_INET_*
struct BaseHook {
  std::string_view type;  // "filter" or "nat"
  Hook hook = Hook::Input;
  std::int32_t priority = 0;
  bool operator==(const BaseHook&) const = default;
};
struct Chain {
  std::string name;
  std::optional<BaseHook> hook;
  std::vector<Rule> rules;
  bool operator==(const Chain&) const = default;
};

// Numbers of ours: shapes, slots and tokens. They travel from one rule to the next in the packet's
// priority, and occupy one byte's worth of its space, so that a packet that carries one can be told
// from one whose priority somebody else has set.
inline constexpr std::uint32_t kNumberBase = 0xfa000000;
inline constexpr std::uint32_t kNumberMask = 0xff000000;

// ---- operations
// -----------------------------------------------------------------------------------------------------

struct AddTable {
  bool operator==(const AddTable&) const = default;
};
struct DeleteTable {
  bool operator==(const DeleteTable&) const = default;
};
struct AddSet {
  SetId set = SetId::Services;
  bool operator==(const AddSet&) const = default;
};
struct DeleteSet {  // with its elements; by name, because an older version may have left sets we do
                    // not know
  std::string name;
  bool operator==(const DeleteSet&) const = default;
};
struct FlushElements {
  SetId set = SetId::Services;
  bool operator==(const FlushElements&) const = default;
};
struct AddChain {  // without its rules
  Chain chain;
  bool operator==(const AddChain&) const = default;
};
struct DeleteChain {
  std::string name;
  bool operator==(const DeleteChain&) const = default;
};
struct AddRule {
  std::string chain;
  Rule rule;
  bool operator==(const AddRule&) const = default;
};
struct FlushRules {
  std::string chain;  // empty: all chains of the table
  bool operator==(const FlushRules&) const = default;
};
struct AddElement {
  Element element;
  bool operator==(const AddElement&) const = default;
};
struct DeleteElement {
  Element element;
  bool operator==(const DeleteElement&) const = default;
};

struct Operation {
  IpFamily family = IpFamily::V4;
  std::variant<AddTable, DeleteTable, AddSet, DeleteSet, FlushElements, AddChain, DeleteChain,
               AddRule, FlushRules, AddElement, DeleteElement>
      action;
  bool operator==(const Operation&) const = default;
};

// Takes operations one by one, in order, so that a full load never exists as a list.
class OperationSink {
 public:
  virtual ~OperationSink() = default;
  virtual void add(Operation operation) = 0;
};

// ---- text
// -----------------------------------------------------------------------------------------------------------

std::string to_text(const Rule& rule, IpFamily family);
std::string key_text(SetId set, const Key& key, IpFamily family);
std::string to_text(const Element& element, IpFamily family);
// `nft -f` input. Neighbouring operations on the elements of one set become one command.
std::string to_script(std::span<const Operation> operations);

}  // namespace fairlead::nftables

// std::visit over alternatives named in place.
namespace fairlead::nftables {
template <class... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};
template <class... Fs>
Overloaded(Fs...) -> Overloaded<Fs...>;
}  // namespace fairlead::nftables
