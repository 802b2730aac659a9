// Sets, chains and rules as libnftnl objects. Internal to the encoder.
#pragma once

#include <libnftnl/chain.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>

#include <memory>
#include <string>

#include "proxy/modes/nftables/ruleset.hpp"

namespace fairlead::nftables {

template <auto kFree>
struct NftnlFree {
  void operator()(auto* object) const { kFree(object); }
};
using TablePtr = std::unique_ptr<nftnl_table, NftnlFree<nftnl_table_free>>;
using SetPtr = std::unique_ptr<nftnl_set, NftnlFree<nftnl_set_free>>;
using ChainPtr = std::unique_ptr<nftnl_chain, NftnlFree<nftnl_chain_free>>;
using RulePtr = std::unique_ptr<nftnl_rule, NftnlFree<nftnl_rule_free>>;

SetPtr make_set(SetId set, IpFamily family, const std::string& table, std::uint32_t id);
ChainPtr make_chain(const Chain& chain, const std::string& table);
RulePtr make_rule(const Rule& rule, IpFamily family, const std::string& table,
                  const std::string& chain);

// The expressions of a rule in words, as `nft --debug=netlink` prints them.
std::string text_of(nftnl_rule* rule);

std::uint8_t nf_family(IpFamily family);  // NFPROTO_IPV4 / NFPROTO_IPV6

}  // namespace fairlead::nftables
