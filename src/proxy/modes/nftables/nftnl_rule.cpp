// Rules and chains for libnftnl: every statement becomes the expressions nft itself would emit, so
// that `nft list` reads them back.
#include <libnftnl/common.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <net/if.h>
#include <netinet/ip_icmp.h>

#include "proxy/modes/nftables/nftnl_objects.hpp"

namespace fairlead::nftables {
namespace {

constexpr std::uint32_t kRtnLocal = 2;  // linux/rtnetlink.h, RTN_LOCAL

// Registers are sixteen words. Those that begin a four-word register go by its number, as the
// kernel reports them.
std::uint32_t word_register(std::size_t word) {
  return static_cast<std::uint32_t>(word % 4 == 0 ? NFT_REG_1 + word / 4 : NFT_REG32_00 + word);
}
constexpr std::uint32_t kFirst = NFT_REG_1;

class RuleBuilder {
 public:
  RuleBuilder(nftnl_rule* rule, IpFamily family) : rule_(rule), family_(family) {}

  void add(const Statement& statement) {
    std::visit([this](const auto& s) { append(s); }, statement);
  }

 private:
  nftnl_expr* expression(const char* name) {
    nftnl_expr* e = nftnl_expr_alloc(name);
    check(e != nullptr, "libnftnl knows our expressions");
    nftnl_rule_add_expr(rule_, e);  // the rule owns it
    return e;
  }

  void append(const MatchSet& s) {
    load_key(s.key);
    auto* e = expression("lookup");
    nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_SREG, kFirst);
    set_name(e, NFTNL_EXPR_LOOKUP_SET, s.set);
    nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_FLAGS, s.negate ? std::uint32_t{NFT_LOOKUP_F_INV} : 0U);
  }

  void append(const MatchPrefix& s) {
    const auto bytes = s.prefix.address().bytes();
    const auto operation = s.negate ? NFT_CMP_NEQ : NFT_CMP_EQ;
    // As nft does it: whole bytes need no mask.
    if (s.prefix.length() > 0 && s.prefix.length() % 8 == 0) {
      const std::size_t length = s.prefix.length() / 8;
      load_payload(NFT_PAYLOAD_NETWORK_HEADER, address_offset(s.field),
                   static_cast<std::uint32_t>(length), 0);
      compare(operation, bytes.first(length));
      return;
    }
    load(s.field, 0);
    bitwise(mask_of(s.prefix), std::vector<std::uint8_t>(bytes.size(), 0));
    compare(operation, bytes);
  }

  void append(const MatchInputInterface& s) {
    load_meta(NFT_META_IIFNAME, 0);
    std::vector<std::uint8_t> name(s.name.begin(), s.name.end());
    if (!s.is_prefix) name.resize(IFNAMSIZ, 0);
    compare(s.negate ? NFT_CMP_NEQ : NFT_CMP_EQ, name);
  }

  void append(const MatchLocalAddress& s) {
    auto* e = expression("fib");
    nftnl_expr_set_u32(e, NFTNL_EXPR_FIB_DREG, kFirst);
    nftnl_expr_set_u32(e, NFTNL_EXPR_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
    nftnl_expr_set_u32(e, NFTNL_EXPR_FIB_FLAGS,
                       s.field == Field::SourceAddress ? NFTA_FIB_F_SADDR : NFTA_FIB_F_DADDR);
    compare_word(NFT_CMP_EQ, kRtnLocal);
  }

  void append(const MatchConnection& s) {
    const bool is_new = s.what == MatchConnection::What::New;
    auto* e = expression("ct");
    nftnl_expr_set_u32(e, NFTNL_EXPR_CT_KEY, is_new ? NFT_CT_STATE : NFT_CT_STATUS);
    nftnl_expr_set_u32(e, NFTNL_EXPR_CT_DREG, kFirst);
    constexpr std::uint32_t kStateNew =
        1U << (IP_CT_NEW + 1U);  // NF_CT_STATE_BIT, which is not exported
    bitwise_words(is_new ? kStateNew : std::uint32_t{IPS_DST_NAT}, 0);
    compare_word(NFT_CMP_NEQ, 0);
  }

  void append(const MatchMark& s) {
    load_meta(NFT_META_MARK, 0);
    bitwise_words(s.bit, 0);
    compare_word(NFT_CMP_NEQ, 0);
  }

  void append(const MatchTokenPriority&) {
    load_meta(NFT_META_PRIORITY, 0);
    bitwise_words(kNumberMask, 0);
    compare_word(NFT_CMP_EQ, kNumberBase);
  }

  void append(const SetMark& s) {
    load_meta(NFT_META_MARK, 0);
    bitwise_words(s.on ? ~s.bit : ~std::uint32_t{0}, s.bit);
    store_meta(NFT_META_MARK);
  }

  void append(const SetPriority& s) {
    if (s.key.empty()) {
      auto* e = expression("immediate");
      nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, kFirst);
      nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DATA, 0);
    } else {
      map(s.key, s.map, kFirst);
    }
    store_meta(NFT_META_PRIORITY);
  }

  void append(const ChooseSlot& s) {
    auto* e = expression("numgen");
    nftnl_expr_set_u32(e, NFTNL_EXPR_NG_DREG, kFirst);
    nftnl_expr_set_u32(e, NFTNL_EXPR_NG_TYPE, NFT_NG_RANDOM);
    nftnl_expr_set_u32(e, NFTNL_EXPR_NG_MODULUS, s.count);
    nftnl_expr_set_u32(e, NFTNL_EXPR_NG_OFFSET, s.first);
    store_meta(NFT_META_PRIORITY);
  }

  void append(const Learn& s) {
    load_key(s.key);
    auto* e = expression("dynset");
    nftnl_expr_set_u32(e, NFTNL_EXPR_DYNSET_SREG_KEY, kFirst);
    nftnl_expr_set_u32(e, NFTNL_EXPR_DYNSET_OP, NFT_DYNSET_OP_UPDATE);
    nftnl_expr_set_u64(e, NFTNL_EXPR_DYNSET_TIMEOUT,
                       static_cast<std::uint64_t>(std::chrono::milliseconds(s.timeout).count()));
    set_name(e, NFTNL_EXPR_DYNSET_SET_NAME, SetId::Affinity);
  }

  void append(const DestinationNat& s) {
    map(s.key, s.map, kFirst);
    const std::uint32_t port = word_register(width(FieldType::Address, family_) / 4);
    auto* e = expression("nat");
    nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_TYPE, NFT_NAT_DNAT);
    nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_FAMILY, nf_family(family_));
    nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_REG_ADDR_MIN, kFirst);
    nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_REG_ADDR_MAX, kFirst);
    nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_REG_PROTO_MIN, port);
    nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_REG_PROTO_MAX, port);
    nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_FLAGS,
                       NF_NAT_RANGE_MAP_IPS | NF_NAT_RANGE_PROTO_SPECIFIED);
  }

  void append(const VerdictMap& s) { map(s.key, s.map, NFT_REG_VERDICT); }

  void append(const Verdict& s) {
    auto* e = expression("immediate");
    nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
    switch (s.code) {
      case Verdict::Code::Drop:
        nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_VERDICT, NF_DROP);
        return;
      case Verdict::Code::Goto:
      case Verdict::Code::Jump: {
        const int code = s.code == Verdict::Code::Goto ? NFT_GOTO : NFT_JUMP;
        nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_VERDICT, static_cast<std::uint32_t>(code));
        nftnl_expr_set_str(e, NFTNL_EXPR_IMM_CHAIN, s.chain.c_str());
        return;
      }
    }
  }

  void append(const ResetTcp&) {
    load_meta(NFT_META_L4PROTO, 0);
    compare(NFT_CMP_EQ, std::vector<std::uint8_t>{IPPROTO_TCP});
    nftnl_expr_set_u32(expression("reject"), NFTNL_EXPR_REJECT_TYPE, NFT_REJECT_TCP_RST);
  }

  void append(const Reject&) {
    constexpr std::uint8_t kIcmp6PortUnreachable = 4;
    auto* e = expression("reject");
    nftnl_expr_set_u32(e, NFTNL_EXPR_REJECT_TYPE, NFT_REJECT_ICMP_UNREACH);
    nftnl_expr_set_u8(
        e, NFTNL_EXPR_REJECT_CODE,
        family_ == IpFamily::V4 ? std::uint8_t{ICMP_PORT_UNREACH} : kIcmp6PortUnreachable);
  }

  void append(const Masquerade&) {
    auto* e = expression("masq");
    nftnl_expr_set_u32(e, NFTNL_EXPR_MASQ_FLAGS, NF_NAT_RANGE_PROTO_RANDOM_FULLY);
  }

  // ---- pieces ----

  void set_name(nftnl_expr* e, std::uint16_t attribute, SetId set) {
    nftnl_expr_set_str(e, attribute, std::string(schema(set).name).c_str());
  }

  void map(const KeyExpression& key, SetId set, std::uint32_t destination) {
    load_key(key);
    auto* e = expression("lookup");
    nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_SREG, kFirst);
    nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_DREG, destination);
    nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_FLAGS, 0);
    set_name(e, NFTNL_EXPR_LOOKUP_SET, set);
  }

  void load_key(const KeyExpression& key) {
    std::size_t word = 0;
    for (const Field field : key) word += load(field, word);
  }

  // Returns the words it takes.
  std::size_t load(Field field, std::size_t word) {
    const bool v4 = family_ == IpFamily::V4;
    const std::uint32_t address = static_cast<std::uint32_t>(width(FieldType::Address, family_));
    switch (field) {
      case Field::SourceAddress:
        load_payload(NFT_PAYLOAD_NETWORK_HEADER, v4 ? 12 : 8, address, word);
        return address / 4;
      case Field::DestinationAddress:
        load_payload(NFT_PAYLOAD_NETWORK_HEADER, v4 ? 16 : 24, address, word);
        return address / 4;
      case Field::L4Protocol:
        load_meta(NFT_META_L4PROTO, word);
        return 1;
      case Field::DestinationPort:
        load_payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, word);
        return 1;
      case Field::Priority:
        load_meta(NFT_META_PRIORITY, word);
        return 1;
    }
    return 0;
  }

  void load_payload(std::uint32_t base, std::uint32_t offset, std::uint32_t length,
                    std::size_t word) {
    auto* e = expression("payload");
    nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_DREG, word_register(word));
    nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_BASE, base);
    nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
    nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_LEN, length);
  }

  void load_meta(std::uint32_t key, std::size_t word) {
    auto* e = expression("meta");
    nftnl_expr_set_u32(e, NFTNL_EXPR_META_KEY, key);
    nftnl_expr_set_u32(e, NFTNL_EXPR_META_DREG, word_register(word));
  }

  void store_meta(std::uint32_t key) {
    auto* e = expression("meta");
    nftnl_expr_set_u32(e, NFTNL_EXPR_META_KEY, key);
    nftnl_expr_set_u32(e, NFTNL_EXPR_META_SREG, kFirst);
  }

  std::uint32_t address_offset(Field field) const {
    const bool v4 = family_ == IpFamily::V4;
    if (field == Field::SourceAddress) return v4 ? 12 : 8;
    return v4 ? 16 : 24;
  }

  static std::vector<std::uint8_t> mask_of(const IpPrefix& prefix) {
    std::vector<std::uint8_t> mask(prefix.address().bytes().size(), 0);
    for (unsigned bit = 0; bit < prefix.length(); ++bit) {
      mask[bit / 8] = static_cast<std::uint8_t>(mask[bit / 8] | (0x80U >> (bit % 8)));
    }
    return mask;
  }

  void bitwise(std::span<const std::uint8_t> mask, std::span<const std::uint8_t> flip) {
    const auto length = static_cast<std::uint32_t>(mask.size());
    auto* e = expression("bitwise");
    nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_SREG, kFirst);
    nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_DREG, kFirst);
    nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_LEN, length);
    nftnl_expr_set(e, NFTNL_EXPR_BITWISE_MASK, mask.data(), length);
    nftnl_expr_set(e, NFTNL_EXPR_BITWISE_XOR, flip.data(), length);
  }

  void bitwise_words(std::uint32_t mask, std::uint32_t flip) {
    bitwise({reinterpret_cast<const std::uint8_t*>(&mask), sizeof mask},
            {reinterpret_cast<const std::uint8_t*>(&flip), sizeof flip});
  }

  void compare(std::uint32_t operation, std::span<const std::uint8_t> value) {
    auto* e = expression("cmp");
    nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_SREG, kFirst);
    nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_OP, operation);
    nftnl_expr_set(e, NFTNL_EXPR_CMP_DATA, value.data(), static_cast<std::uint32_t>(value.size()));
  }

  void compare_word(std::uint32_t operation, std::uint32_t value) {
    compare(operation, {reinterpret_cast<const std::uint8_t*>(&value), sizeof value});
  }

  nftnl_rule* rule_;
  IpFamily family_;
};

}  // namespace

ChainPtr make_chain(const Chain& chain, const std::string& table) {
  ChainPtr object(nftnl_chain_alloc());
  check(object != nullptr, "memory for a chain");
  nftnl_chain_set_str(object.get(), NFTNL_CHAIN_TABLE, table.c_str());
  nftnl_chain_set_str(object.get(), NFTNL_CHAIN_NAME, chain.name.c_str());
  if (chain.hook) {
    nftnl_chain_set_str(object.get(), NFTNL_CHAIN_TYPE, std::string(chain.hook->type).c_str());
    nftnl_chain_set_u32(object.get(), NFTNL_CHAIN_HOOKNUM,
                        static_cast<std::uint32_t>(chain.hook->hook));
    nftnl_chain_set_s32(object.get(), NFTNL_CHAIN_PRIO, chain.hook->priority);
    nftnl_chain_set_u32(object.get(), NFTNL_CHAIN_POLICY, NF_ACCEPT);
  }
  return object;
}

RulePtr make_rule(const Rule& rule, IpFamily family, const std::string& table,
                  const std::string& chain) {
  RulePtr object(nftnl_rule_alloc());
  check(object != nullptr, "memory for a rule");
  nftnl_rule_set_u32(object.get(), NFTNL_RULE_FAMILY, nf_family(family));
  nftnl_rule_set_str(object.get(), NFTNL_RULE_TABLE, table.c_str());
  nftnl_rule_set_str(object.get(), NFTNL_RULE_CHAIN, chain.c_str());
  RuleBuilder builder(object.get(), family);
  for (const Statement& statement : rule.statements) builder.add(statement);
  return object;
}

std::string text_of(nftnl_rule* rule) {
  std::string text;
  const auto append = [](nftnl_expr* e, void* to) {
    const std::string_view name = nftnl_expr_get_str(e, NFTNL_EXPR_NAME);
    // nft turns around the one byte of a protocol in keys of ranges: that changes nothing.
    if (name == "byteorder" && nftnl_expr_get_u32(e, NFTNL_EXPR_BYTEORDER_LEN) == 1) return 0;
    std::array<char, 1024> line{};
    nftnl_expr_snprintf(line.data(), line.size(), e, NFTNL_OUTPUT_DEFAULT, 0);
    *static_cast<std::string*>(to) += fmt::format("[ {} {}]", name, line.data());
    return 0;
  };
  nftnl_expr_foreach(rule, append, &text);
  return text;
}

}  // namespace fairlead::nftables
