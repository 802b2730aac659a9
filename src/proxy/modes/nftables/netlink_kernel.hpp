// nf_tables of one network namespace over netlink. Two sockets: one sends transactions and reads
// listings, the other listens for what anybody else does to our tables. Both belong to the
// namespace the creating thread was in, whichever thread uses them later. Owner: NftablesMode.
// Thread rule: one caller at a time.
#pragma once

#include <memory>

#include "io/netlink.hpp"
#include "proxy/modes/nftables/encode.hpp"
#include "proxy/modes/nftables/kernel.hpp"

namespace fairlead::nftables {

class NetlinkKernel final : public Kernel {
 public:
  // Opens the sockets and asks the kernel, without changing anything, whether it can do all that
  // the ruleset needs.
  static Result<std::unique_ptr<NetlinkKernel>> create();
  // Without asking what it can do.
  static Result<std::unique_ptr<NetlinkKernel>> open();

  // False: there was none.
  Result<bool> delete_table(IpFamily family, const std::string& name);

  std::unique_ptr<Transaction> begin() override;
  CommitResult commit(std::unique_ptr<Transaction> transaction) override;
  Result<std::optional<TableListing>> list(IpFamily family) override;
  Result<void> list_elements(IpFamily family, SetId set,
                             const std::function<void(Element)>& each) override;
  Result<std::map<std::string, std::vector<std::string>>> list_rules(IpFamily family) override;
  std::string describe(const Rule& rule, IpFamily family) const override {
    return rule_text(rule, family);
  }
  int tamper_fd() const override { return listener_.fd(); }
  Result<bool> tampered() override;

 private:
  NetlinkKernel(io::NetlinkSocket commands, io::NetlinkSocket listener)
      : commands_(std::move(commands)), listener_(std::move(listener)) {}

  Result<void> probe();
  CommitResult exchange(Batch& batch, bool commit);
  Result<void> dump(std::vector<std::uint8_t> request, std::uint32_t sequence,
                    const std::function<void(std::span<const std::uint8_t>)>& each);
  Result<std::uint32_t> generation();

  io::NetlinkSocket commands_;
  io::NetlinkSocket listener_;
  std::uint32_t next_sequence_ = 1;
  bool missed_ = false;  // something may have happened that the listener could not hear
};

// Deletes the tables of these names, ours or not, in families ip and ip6; names in "ip name" form
// those that were there. In the calling thread's namespace. A kernel without nf_tables has none.
Result<std::vector<std::string>> delete_tables(const std::vector<std::string>& names);

}  // namespace fairlead::nftables
