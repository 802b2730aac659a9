// A whole table as a value: as the kernel has it, as a renderer says it should be, and what leads
// from one to the other. For adoption at start, mending and audits; never for the way of a change,
// because it reads everything back. What the kernel has learnt (affinity) is not part of it. Thread
// rule: values.
#pragma once

#include <array>
#include <map>
#include <string>
#include <vector>

#include "proxy/modes/nftables/kernel.hpp"
#include "proxy/modes/nftables/steps.hpp"

namespace fairlead::nftables {

struct Snapshot {
  std::vector<std::string> sets;
  std::map<std::string, std::vector<std::string>> rules;  // by chain, in the kernel's wording
  std::array<std::vector<Element>, kSetCount> elements;   // sorted

  const std::vector<Element>& of(SetId set) const {
    return elements.at(static_cast<std::size_t>(set));
  }
};

// `listing` is the kernel's answer for the same table.
Result<Snapshot> read_table(Kernel& kernel, IpFamily family, const TableListing& listing);
bool has_every_set(const TableListing& listing);

// The table that operations make, from nothing.
class Expectation final : public OperationSink {
 public:
  explicit Expectation(const Kernel& kernel) : kernel_(kernel) {}

  void add(Operation operation) override;
  void sort();  // once all is added

  Snapshot table;  // elements with their comments
  std::vector<Chain> chains;

 private:
  const Kernel& kernel_;
};

// Chains of `wanted` that `rules` has not, or has with other rules.
void compare_chains(const std::vector<Chain>& wanted, IpFamily family, const Kernel& kernel,
                    const std::map<std::string, std::vector<std::string>>& rules,
                    TableChange& change);

// From what is there to what should be.
TableChange difference(const Expectation& wanted, const Snapshot& there, IpFamily family,
                       const Kernel& kernel);

// Elements of `a` that are not in `b`, whatever their comments say; both sorted.
std::vector<Element> without(const std::vector<Element>& a, const std::vector<Element>& b);

}  // namespace fairlead::nftables
