// The peer: nft(8) given the same table as text. And what a table holds, to see that both are the
// same.
#pragma once

#include <chrono>
#include <string>

#include "base/error.hpp"
#include "io/fd.hpp"
#include "io/netns.hpp"
#include "proxy/plan/plan.hpp"

namespace fairlead::bench {

// The whole table of `plan` as `nft -f` input, in memory. Elements are gathered by set, which is
// what nft is quickest with.
class Script {
 public:
  static Result<Script> write(const plan::Plan& plan);

  // How long nft takes for it in `where`, from its start to its end.
  Result<std::chrono::nanoseconds> load(const io::NetNamespace& where) const;
  std::size_t bytes() const { return bytes_; }

 private:
  Script(io::UniqueFd file, std::size_t bytes) : file_(std::move(file)), bytes_(bytes) {}
  io::UniqueFd file_;
  std::size_t bytes_ = 0;
};

// A table as it is in the kernel.
struct TableContent {
  std::size_t chains = 0, rules = 0, elements = 0;
  std::uint64_t digest = 0;  // of all elements, whatever their order
  bool operator==(const TableContent&) const = default;
};
// In the calling thread's namespace, both families together.
Result<TableContent> read_tables();

}  // namespace fairlead::bench
