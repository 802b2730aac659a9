// The seam between the pure ruleset and nf_tables: transactions in, listings out. NetlinkKernel is
// the real one; the tests' fake enforces the same references and atomicity in memory. Thread rule:
// one caller at a time. Invariant: a commit that fails has changed nothing.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "proxy/modes/nftables/ruleset.hpp"
#include "proxy/plan/mode.hpp"

namespace fairlead::nftables {

// What the kernel refused, as exactly as it says.
struct CommitError {
  Error error;
  IpFamily family = IpFamily::V4;
  std::optional<Element> element;  // set, key and its end only
};
using CommitResult = tl::expected<plan::ApplyStats, CommitError>;

// Operations on their way; nothing happens before commit().
class Transaction : public OperationSink {};

struct TableListing {
  std::string comment;
  std::vector<std::string> chains;
  std::vector<std::string> sets;
};

class Kernel {
 public:
  virtual ~Kernel() = default;

  virtual std::unique_ptr<Transaction> begin() = 0;
  virtual CommitResult commit(std::unique_ptr<Transaction> transaction) = 0;

  // Names in our table; nullopt when there is no such table.
  virtual Result<std::optional<TableListing>> list(IpFamily family) = 0;
  // Set, key, end and datum of every element; without comments.
  virtual Result<void> list_elements(IpFamily family, SetId set,
                                     const std::function<void(Element)>& each) = 0;
  // Rules by chain, in the wording of describe().
  virtual Result<std::map<std::string, std::vector<std::string>>> list_rules(IpFamily family) = 0;
  virtual std::string describe(const Rule& rule, IpFamily family) const = 0;

  // See plan::Mode.
  virtual int tamper_fd() const = 0;
  virtual Result<bool> tampered() = 0;
};

}  // namespace fairlead::nftables
