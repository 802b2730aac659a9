#include "proxy/modes/nftables/encode.hpp"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <libnftnl/udata.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#include "proxy/modes/nftables/attributes.hpp"
#include "proxy/modes/nftables/nftnl_objects.hpp"

namespace fairlead::nftables {
namespace {

// An attribute's length has 16 bits, so a list of elements ends before this; one element is far
// below the slack.
constexpr std::size_t kMostElementBytes = 60'000;
// Big enough for any one set, chain or rule.
constexpr std::size_t kObjectBytes = 16 * 1024;

using Bytes = std::vector<std::uint8_t>;

void put(Bytes& to, std::span<const std::uint8_t> bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

template <class T>
std::span<const std::uint8_t> as_bytes(const T& value) {
  return {reinterpret_cast<const std::uint8_t*>(&value), sizeof value};
}

void pad(Bytes& to) {
  while (to.size() % NLA_ALIGNTO != 0) to.push_back(0);
}

void put_attribute(Bytes& to, std::uint16_t type, std::span<const std::uint8_t> value) {
  const nlattr header{.nla_len = static_cast<std::uint16_t>(NLA_HDRLEN + value.size()),
                      .nla_type = type};
  put(to, as_bytes(header));
  put(to, value);
  pad(to);
}

void put_text(Bytes& to, std::uint16_t type, std::string_view text) {
  Bytes with_end(text.begin(), text.end());
  with_end.push_back(0);
  put_attribute(to, type, with_end);
}

// A nested attribute: the length is filled in when the scope ends.
class Nest {
 public:
  Nest(Bytes& to, std::uint16_t type) : to_(to), start_(to.size()) {
    put(to, as_bytes(
                nlattr{.nla_len = 0, .nla_type = static_cast<std::uint16_t>(type | NLA_F_NESTED)}));
  }
  ~Nest() {
    const auto length = static_cast<std::uint16_t>(to_.size() - start_);
    std::memcpy(&to_[start_], &length, sizeof length);
  }
  Nest(const Nest&) = delete;
  Nest& operator=(const Nest&) = delete;

 private:
  Bytes& to_;
  std::size_t start_;
};

void put_value(Bytes& to, std::uint16_t type, std::span<const std::uint8_t> value) {
  const Nest data(to, type);
  put_attribute(to, NFTA_DATA_VALUE, value);
}

void put_verdict(Bytes& to, const Verdict& verdict) {
  const int code = verdict.code == Verdict::Code::Goto   ? int{NFT_GOTO}
                   : verdict.code == Verdict::Code::Jump ? int{NFT_JUMP}
                                                         : 0;  // NF_DROP
  const Nest data(to, NFTA_SET_ELEM_DATA);
  const Nest inner(to, NFTA_DATA_VERDICT);
  put_attribute(to, NFTA_VERDICT_CODE, as_bytes(htonl(static_cast<std::uint32_t>(code))));
  if (!verdict.chain.empty()) put_text(to, NFTA_VERDICT_CHAIN, verdict.chain);
}

void put_comment(Bytes& to, const std::string& comment) {
  Bytes data{NFTNL_UDATA_SET_ELEM_COMMENT, static_cast<std::uint8_t>(comment.size() + 1)};
  data.insert(data.end(), comment.begin(), comment.end());
  data.push_back(0);
  put_attribute(to, NFTA_SET_ELEM_USERDATA, data);
}

void put_element(Bytes& to, const Element& element, bool deleting) {
  const Nest item(to, NFTA_LIST_ELEM);
  put_value(to, NFTA_SET_ELEM_KEY, element.key.bytes());
  if (!element.key_end.empty()) put_value(to, NFTA_SET_ELEM_KEY_END, element.key_end.bytes());
  if (deleting) return;
  if (const auto* value = std::get_if<Key>(&element.data))
    put_value(to, NFTA_SET_ELEM_DATA, value->bytes());
  if (const auto* verdict = std::get_if<Verdict>(&element.data)) put_verdict(to, *verdict);
  if (!element.comment.empty()) put_comment(to, element.comment);
}

std::uint16_t nft_type(int message) {
  return static_cast<std::uint16_t>((NFNL_SUBSYS_NFTABLES << 8U) | message);
}

struct MessageKind {
  int type;
  std::uint16_t flags;
};

MessageKind kind_of(const Operation& operation) {
  constexpr std::uint16_t kCreate = NLM_F_CREATE;
  return std::visit(Overloaded{
                        [](const AddTable&) { return MessageKind{NFT_MSG_NEWTABLE, kCreate}; },
                        [](const DeleteTable&) { return MessageKind{NFT_MSG_DELTABLE, 0}; },
                        [](const AddSet&) { return MessageKind{NFT_MSG_NEWSET, kCreate}; },
                        [](const DeleteSet&) { return MessageKind{NFT_MSG_DELSET, 0}; },
                        [](const FlushElements&) { return MessageKind{NFT_MSG_DELSETELEM, 0}; },
                        [](const AddChain&) { return MessageKind{NFT_MSG_NEWCHAIN, kCreate}; },
                        [](const DeleteChain&) { return MessageKind{NFT_MSG_DELCHAIN, 0}; },
                        [](const AddRule&) {
                          return MessageKind{NFT_MSG_NEWRULE,
                                             std::uint16_t{NLM_F_CREATE | NLM_F_APPEND}};
                        },
                        [](const FlushRules&) { return MessageKind{NFT_MSG_DELRULE, 0}; },
                        [](const AddElement&) { return MessageKind{NFT_MSG_NEWSETELEM, kCreate}; },
                        [](const DeleteElement&) { return MessageKind{NFT_MSG_DELSETELEM, 0}; },
                    },
                    operation.action);
}

TablePtr make_table(const std::string& name) {
  TablePtr table(nftnl_table_alloc());
  check(table != nullptr, "memory for a table");
  nftnl_table_set_str(table.get(), NFTNL_TABLE_NAME, name.c_str());
  return table;
}

struct PayloadWriter {
  nlmsghdr* message;
  IpFamily family;
  const std::string& table;
  std::uint32_t set_id;

  void operator()(const AddTable&) const {
    const TablePtr object = make_table(table);
    Bytes comment{NFTNL_UDATA_TABLE_COMMENT, static_cast<std::uint8_t>(kTableComment.size() + 1)};
    comment.insert(comment.end(), kTableComment.begin(), kTableComment.end());
    comment.push_back(0);
    nftnl_table_set_data(object.get(), NFTNL_TABLE_USERDATA, comment.data(),
                         static_cast<std::uint32_t>(comment.size()));
    nftnl_table_nlmsg_build_payload(message, object.get());
  }
  void operator()(const DeleteTable&) const {
    const TablePtr object = make_table(table);
    nftnl_table_nlmsg_build_payload(message, object.get());
  }
  void operator()(const AddSet& o) const {
    const SetPtr object = make_set(o.set, family, table, set_id);
    nftnl_set_nlmsg_build_payload(message, object.get());
  }
  void operator()(const DeleteSet& o) const { put_names(NFTA_SET_TABLE, NFTA_SET_NAME, o.name); }
  void operator()(const FlushElements& o) const {
    put_names(NFTA_SET_ELEM_LIST_TABLE, NFTA_SET_ELEM_LIST_SET, std::string(schema(o.set).name));
  }
  void operator()(const AddChain& o) const {
    const ChainPtr object = make_chain(o.chain, table);
    nftnl_chain_nlmsg_build_payload(message, object.get());
  }
  void operator()(const DeleteChain& o) const {
    put_names(NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME, o.name);
  }
  void operator()(const AddRule& o) const {
    const RulePtr object = make_rule(o.rule, family, table, o.chain);
    nftnl_rule_nlmsg_build_payload(message, object.get());
  }
  void operator()(const FlushRules& o) const {
    put_names(NFTA_RULE_TABLE, NFTA_RULE_CHAIN, o.chain);
  }
  void operator()(const AddElement&) const { invariant_failed("elements are packed"); }
  void operator()(const DeleteElement&) const { invariant_failed("elements are packed"); }

  void put_names(std::uint16_t table_attribute, std::uint16_t name_attribute,
                 const std::string& name) const {
    mnl_attr_put_strz(message, table_attribute, table.c_str());
    if (!name.empty()) mnl_attr_put_strz(message, name_attribute, name.c_str());
  }
};

// ---- reading our own messages back, to say what the kernel refused ----

struct ElementSpan {
  std::size_t begin = 0;  // offsets in the message
  std::size_t end = 0;
  Key key;
};

std::span<const std::uint8_t> attribute_value(const nlattr* attribute) {
  return {static_cast<const std::uint8_t*>(mnl_attr_get_payload(attribute)),
          mnl_attr_get_payload_len(attribute)};
}

std::vector<ElementSpan> elements_in(const nlmsghdr* message, const nlattr* list) {
  std::vector<ElementSpan> spans;
  const auto offset_of = [message](const void* at) {
    return static_cast<std::size_t>(static_cast<const char*>(at) -
                                    reinterpret_cast<const char*>(message));
  };
  each_nested(list, [&](const nlattr* item) {
    ElementSpan span{.begin = offset_of(item), .end = offset_of(item) + item->nla_len};
    each_nested(item, [&](const nlattr* part) {
      if (mnl_attr_get_type(part) != NFTA_SET_ELEM_KEY) return;
      span.key.raw(attribute_value(static_cast<const nlattr*>(mnl_attr_get_payload(part))));
    });
    spans.push_back(span);
  });
  return spans;
}

}  // namespace

Batch::Batch(std::uint32_t first_sequence, std::string table)
    : table_(std::move(table)), first_sequence_(first_sequence), next_sequence_(first_sequence) {
  begin_message();
  Bytes message(MNL_ALIGN(sizeof(nlmsghdr)) + sizeof(nfgenmsg));
  nftnl_batch_begin(reinterpret_cast<char*>(message.data()), first_sequence);
  append(message);
  ++stats_.transactions;
}

void Batch::begin_message() {
  starts_.push_back(static_cast<std::uint32_t>(buffer_.size()));
  ++next_sequence_;
}

void Batch::append(std::span<const std::uint8_t> bytes) {
  put(buffer_, bytes);
  stats_.bytes = buffer_.size();
}

void Batch::add(Operation operation) {
  if (const auto* o = std::get_if<AddElement>(&operation.action))
    return add_element(o->element, operation.family, false);
  if (const auto* o = std::get_if<DeleteElement>(&operation.action)) {
    return add_element(o->element, operation.family, true);
  }
  flush();
  add_other(operation);
}

void Batch::add_other(const Operation& operation) {
  const std::uint32_t sequence = next_sequence_;
  begin_message();
  const MessageKind kind = kind_of(operation);
  std::array<char, kObjectBytes> scratch{};
  nlmsghdr* message = nftnl_nlmsg_build_hdr(scratch.data(), static_cast<std::uint16_t>(kind.type),
                                            nf_family(operation.family), kind.flags, sequence);
  std::visit(PayloadWriter{.message = message,
                           .family = operation.family,
                           .table = table_,
                           .set_id = next_set_id_++},
             operation.action);
  append({reinterpret_cast<const std::uint8_t*>(message), message->nlmsg_len});
  pad(buffer_);
  ++stats_.messages;
  std::string text = to_script({&operation, 1});
  text.pop_back();  // the newline
  what_.emplace(sequence, std::move(text));
}

void Batch::add_element(const Element& element, IpFamily family, bool deleting) {
  if (packing_ && (packing_->family != family || packing_->deleting != deleting)) flush();
  if (!packing_) packing_.emplace(Packing{.family = family, .deleting = deleting});
  Bytes& elements = packing_->elements[static_cast<std::size_t>(element.set)];
  put_element(elements, element, deleting);
  ++stats_.elements;
  if (elements.size() >= kMostElementBytes) flush_set(element.set);
}

void Batch::flush_set(SetId set) {
  Bytes& elements = packing_->elements[static_cast<std::size_t>(set)];
  if (elements.empty()) return;
  const std::uint32_t sequence = next_sequence_;
  begin_message();
  const std::size_t start = buffer_.size();
  nlmsghdr header{
      .nlmsg_type = nft_type(packing_->deleting ? NFT_MSG_DELSETELEM : NFT_MSG_NEWSETELEM),
      .nlmsg_flags =
          static_cast<std::uint16_t>(NLM_F_REQUEST | (packing_->deleting ? 0 : NLM_F_CREATE)),
      .nlmsg_seq = sequence};
  append(as_bytes(header));
  append(as_bytes(
      nfgenmsg{.nfgen_family = nf_family(packing_->family), .version = NFNETLINK_V0, .res_id = 0}));
  put_text(buffer_, NFTA_SET_ELEM_LIST_TABLE, table_);
  put_text(buffer_, NFTA_SET_ELEM_LIST_SET, schema(set).name);
  {
    const Nest list(buffer_, NFTA_SET_ELEM_LIST_ELEMENTS);
    append(elements);
  }
  header.nlmsg_len = static_cast<std::uint32_t>(buffer_.size() - start);
  std::memcpy(&buffer_[start], &header, sizeof header);
  elements.clear();
  ++stats_.messages;
}

void Batch::flush() {
  if (!packing_) return;
  for (const SetId set : kAllSets) flush_set(set);
  packing_.reset();
}

std::span<const std::uint8_t> Batch::finish(bool commit) {
  flush();
  // One acknowledgement, of the last message: errors are reported for every message, acknowledged
  // or not.
  auto* last = reinterpret_cast<nlmsghdr*>(&buffer_[starts_.back()]);
  last->nlmsg_flags = static_cast<std::uint16_t>(last->nlmsg_flags | NLM_F_ACK);
  if (commit) {
    Bytes message(MNL_ALIGN(sizeof(nlmsghdr)) + sizeof(nfgenmsg));
    nftnl_batch_end(reinterpret_cast<char*>(message.data()), next_sequence_);
    append(message);
  }
  return buffer_;
}

Batch::Fault Batch::locate(std::uint32_t sequence, std::optional<std::uint32_t> offset) const {
  const std::size_t index = sequence - first_sequence_;
  if (const auto it = what_.find(sequence); it != what_.end()) return {.what = it->second};
  if (index == 0 || index >= starts_.size()) return {.what = "the transaction"};
  const auto* message = reinterpret_cast<const nlmsghdr*>(&buffer_[starts_[index]]);
  const auto* body = static_cast<const nfgenmsg*>(mnl_nlmsg_get_payload(message));
  Fault fault{.family =
                  body->nfgen_family == nf_family(IpFamily::V6) ? IpFamily::V6 : IpFamily::V4};
  const bool deleting = message->nlmsg_type == nft_type(NFT_MSG_DELSETELEM);
  std::optional<SetId> set;
  each_attribute(message, sizeof(nfgenmsg), [&](const nlattr* attribute) {
    if (mnl_attr_get_type(attribute) == NFTA_SET_ELEM_LIST_SET)
      set = set_named(mnl_attr_get_str(attribute));
    if (mnl_attr_get_type(attribute) != NFTA_SET_ELEM_LIST_ELEMENTS || !set) return;
    const std::vector<ElementSpan> elements = elements_in(message, attribute);
    for (const ElementSpan& span : elements) {
      const bool hit = offset ? *offset >= span.begin && *offset < span.end : elements.size() == 1;
      if (hit) fault.element = Element{.set = *set, .key = span.key};
    }
  });
  const std::string_view set_name = set ? schema(*set).name : "?";
  fault.what = fmt::format("{} {} elements", deleting ? "delete" : "add", set_name);
  if (fault.element) {
    fault.what = fmt::format("{} element {} of {}", deleting ? "delete" : "add",
                             key_text(*set, fault.element->key, fault.family), set_name);
  }
  return fault;
}

std::string rule_text(const Rule& rule, IpFamily family) {
  const RulePtr object = make_rule(rule, family, std::string(kTable), "");
  return text_of(object.get());
}

}  // namespace fairlead::nftables
