// The one interface every mode implements: take a plan to the kernel, keep it there, take it away.
// A Mode lives on the proxy's worker thread; all calls block and none is concurrent with another.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "proxy/plan/plan.hpp"

namespace fairlead::plan {

// Work done by one call, for metrics, benchmarks and the tests that guard scale.
struct ApplyStats {
  std::uint64_t transactions = 0;
  std::uint64_t messages = 0;  // kernel messages (nftables: netlink messages; iptables: lines)
  std::uint64_t elements = 0;  // set and map elements added or deleted
  std::uint64_t bytes = 0;
  bool operator==(const ApplyStats&) const = default;
  ApplyStats& operator+=(const ApplyStats& other) {
    transactions += other.transactions;
    messages += other.messages;
    elements += other.elements;
    bytes += other.bytes;
    return *this;
  }
};

// Rules of one table, for modes that have them.
struct RuleCount {
  IpFamily family = IpFamily::V4;
  std::string table;
  std::uint64_t total = 0;  // that the kernel holds
  std::uint64_t last = 0;   // that the last call wrote
  bool operator==(const RuleCount&) const = default;
};

// What has been counted for a service port since it is served, or for one endpoint of it.
struct Traffic {
  PlanKey service;
  std::optional<SocketAddress> endpoint;
  std::uint64_t connections = 0, bytes_in = 0, bytes_out = 0;
  std::optional<std::uint64_t> packets_in, packets_out;  // where the mode sees packets
  std::uint64_t active = 0;                              // connections now; of an endpoint
  // Of a service, where the mode knows: clients that were turned away for want of an endpoint that
  // answers, and endpoints that did not answer.
  std::optional<std::uint64_t> failed, retried;
  // Connections to endpoints that were made within so many milliseconds, not counting those of the
  // bounds before. Empty: the mode does not know.
  std::map<std::uint64_t, std::uint64_t> connected_within_ms{};
  std::uint64_t connected_later = 0;
  double connecting_seconds = 0;  // altogether
  bool operator==(const Traffic&) const = default;
};

class Mode {
 public:
  virtual ~Mode() = default;
  virtual std::string_view name() const = 0;  // "nftables", ...
  // Of the iptables tools it uses: "legacy" or "nft"; empty: none.
  virtual std::string_view variant() const { return ""; }

  // Replaces whatever the kernel holds of ours by `plan`. No connection fails for it: each meets
  // the old rules or the new ones.
  virtual Result<ApplyStats> apply_full(const Plan& plan) = 0;

  // Brings the kernel from the plan last applied to `plan`, of which `delta` is the difference; to
  // the same standard, if need be in several steps. After an error the kernel holds the old state,
  // one between or an unknown one: the caller retries with apply_full.
  virtual Result<ApplyStats> apply(const Plan& plan, const PlanDelta& delta) = 0;

  // Differences between the kernel and `plan`, in words, at most `limit`; empty = in order. `plan`
  // is the one last applied; or any, if this Mode has applied none or its last change failed: then
  // the kernel is held against what apply_full() would make of it, whoever programmed it. Reads
  // back the kernel's state, so it is for audits, never for the way of a change. Changes nothing.
  virtual Result<std::vector<std::string>> verify(const Plan& plan, std::size_t limit) = 0;

  // A descriptor that becomes readable when somebody else may have touched our kernel objects, -1
  // if the mode has none. When it fires the caller calls tampered(), which drains it and says
  // whether what changed was ours and not by us.
  virtual int tamper_fd() const = 0;
  virtual Result<bool> tampered() = 0;

  // A descriptor that becomes readable when another process has taken our place; this one has
  // nothing more to do then. -1: that cannot happen.
  virtual int successor_fd() const { return -1; }

  // Ports of the node at which it takes the UDP flows of a service port itself, to pass them on:
  // these lead where they should, whatever becomes of the endpoints.
  virtual std::vector<Port> udp_ports(const PlanKey&) const { return {}; }

  virtual std::vector<RuleCount> rule_counts() const { return {}; }

  // By service, each before its endpoints; endpoints that were never chosen are left out. For each
  // scrape of the metrics: what it costs follows the traffic, and it changes nothing. Only of modes
  // that count; whether one does may be asked from any thread.
  virtual bool counts_traffic() const { return false; }
  virtual Result<std::vector<Traffic>> traffic(const Plan&) { return std::vector<Traffic>{}; }

  // Removes everything of ours. NotFound is success.
  virtual Result<void> cleanup() = 0;
};

}  // namespace fairlead::plan
