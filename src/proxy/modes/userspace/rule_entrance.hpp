// The way in by nftables: one table a family (entry_rules.hpp), written whole or by elements.
#pragma once

#include <map>

#include "proxy/modes/userspace/entrance.hpp"
#include "proxy/modes/userspace/entry_rules.hpp"

namespace fairlead::userspace {

class RuleEntrance final : public Entrance {
 public:
  // NotFound: no nft. Forbidden: it may not program this namespace. Unsupported: the kernel cannot
  // bring answers back to sockets that speak as a client.
  static Result<void> try_it(bool transparent);
  // `ports` outlives it. `transparent`: what is addressed to a client, of whom a socket of ours
  // speaks, is brought to that socket.
  RuleEntrance(const Ports& ports, bool transparent) : ports_(ports), transparent_(transparent) {}

  Result<plan::ApplyStats> program(const plan::Plan& plan) override;
  Result<plan::ApplyStats> change(const plan::PlanDelta& delta) override;
  Result<std::vector<std::string>> verify(const plan::Plan& plan, std::size_t limit) override;
  Result<void> remove() override;

 private:
  // Elements of one family, with how many service ports want each.
  using Wanted = std::map<Element, std::size_t>;
  struct Table {
    Wanted wanted;
    std::string skeleton;  // as nft lists the table without elements
  };

  const Ports& ports_;
  bool transparent_ = false;
  std::map<plan::PlanKey, std::vector<Element>> programmed_;
  std::map<IpFamily, Table> tables_;
};

}  // namespace fairlead::userspace
