// Operations to nf_tables netlink messages, one batch = one transaction. Elements, of which there
// are many, are written straight into the buffer and packed, thousands to a message; sets, chains
// and rules go through libnftnl. Pure: bytes in memory. Not here: sockets and answers
// (netlink_kernel.hpp).
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "proxy/modes/nftables/kernel.hpp"
#include "proxy/modes/nftables/ruleset.hpp"

namespace fairlead::nftables {

// The wording rules are compared in: libnftnl's rendering of what goes to, or comes from, the
// kernel.
std::string rule_text(const Rule& rule, IpFamily family);

class Batch final : public Transaction {
 public:
  // Message numbers count from `first_sequence`, which is the opening message's.
  explicit Batch(std::uint32_t first_sequence, std::string table = std::string(kTable));

  void add(Operation operation) override;

  // Ends the batch and returns the datagram. `commit` false leaves out the end mark: the kernel
  // checks everything and then drops it.
  std::span<const std::uint8_t> finish(bool commit = true);

  std::uint32_t first_sequence() const { return first_sequence_; }
  std::uint32_t last_sequence() const {
    return next_sequence_ - 1;
  }  // the one that is acknowledged
  bool empty() const { return starts_.size() <= 1 && !packing_; }
  const plan::ApplyStats& stats() const { return stats_; }

  // What message `sequence` was about; `offset` is where in it the kernel saw the fault, if it said
  // so.
  struct Fault {
    std::string what;
    IpFamily family = IpFamily::V4;
    std::optional<Element> element;
  };
  Fault locate(std::uint32_t sequence, std::optional<std::uint32_t> offset) const;

 private:
  struct Packing {  // element messages being filled, one for each set
    IpFamily family = IpFamily::V4;
    bool deleting = false;
    std::array<std::vector<std::uint8_t>, kSetCount> elements;
  };

  void add_element(const Element& element, IpFamily family, bool deleting);
  void flush_set(SetId set);
  void flush();
  void begin_message();
  void append(std::span<const std::uint8_t> bytes);
  void add_other(const Operation& operation);

  std::string table_;
  std::vector<std::uint8_t> buffer_;
  std::uint32_t first_sequence_;
  std::uint32_t next_sequence_;
  std::vector<std::uint32_t> starts_;  // of messages in the buffer, by sequence
  std::map<std::uint32_t, std::string>
      what_;  // of messages that are not about elements, by sequence
  std::optional<Packing> packing_;
  std::uint32_t next_set_id_ = 1;
  plan::ApplyStats stats_;
};

}  // namespace fairlead::nftables
