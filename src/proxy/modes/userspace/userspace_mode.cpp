#include "proxy/modes/userspace/userspace_mode.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "base/log.hpp"
#include "proxy/modes/userspace/address_entrance.hpp"
#include "proxy/modes/userspace/answer_routes.hpp"
#include "proxy/modes/userspace/rule_entrance.hpp"

namespace fairlead::userspace {
namespace {

void add_latencies(const ServiceTotals& totals, plan::Traffic& out) {
  const std::size_t bounds = totals.connect_ms.size() - 1;
  for (std::size_t i = 0; i < bounds; ++i) {
    out.connected_within_ms.emplace(std::uint64_t{1} << i, totals.connect_ms[i]);
  }
  out.connected_later = totals.connect_ms[bounds];
  out.connecting_seconds = static_cast<double>(totals.connect_ns) / 1e9;
}

}  // namespace

Result<std::unique_ptr<plan::Mode>> create(const Config& config) {
  FAIRLEAD_TRY(mode, UserspaceMode::create(config));
  return std::unique_ptr<plan::Mode>(std::move(mode));
}

Result<std::unique_ptr<UserspaceMode>> UserspaceMode::create(const Config& config) {
  if (config.way_in == WayIn::Rules) FAIRLEAD_CHECK(RuleEntrance::try_it(config.transparent));
  FAIRLEAD_CHECK(limits_here(config.most_connections, config.most_flows));
  FAIRLEAD_TRY(loop, EventLoop::create());
  io::UniqueFd succeeded(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!succeeded) return errno_error(errno, "create eventfd");
  return std::unique_ptr<UserspaceMode>(new UserspaceMode(
      config, std::make_unique<HomeThread>(std::move(loop)), std::move(succeeded)));
}

UserspaceMode::UserspaceMode(const Config& config, std::unique_ptr<HomeThread> home,
                             io::UniqueFd succeeded)
    : config_(config), home_(std::move(home)), succeeded_(std::move(succeeded)) {
  if (config.way_in == WayIn::Rules) {
    const Ports& ports = *this;
    entrance_ = std::make_unique<RuleEntrance>(ports, config.transparent);
  } else {
    entrance_ =
        std::make_unique<AddressEntrance>([this] { return forwarder_->addresses_in_use(); });
  }
}

UserspaceMode::~UserspaceMode() {
  handover_.reset();
  if (forwarder_) forwarder_->drain(std::chrono::steady_clock::now() + config_.drain);
}

// ---- Beginning and ending

// Programs the plan for the first time. Until all of it is there a process that served before goes
// on serving; then nothing comes between its last connection and our first.
Result<plan::ApplyStats> UserspaceMode::begin(const plan::Plan& plan) {
  FAIRLEAD_TRY(predecessor, Predecessor::find());
  FAIRLEAD_TRY(forwarder, Forwarder::create({.way_in = config_.way_in,
                                             .loops = config_.loops,
                                             .choice = config_.choice,
                                             .most_connections = config_.most_connections,
                                             .most_flows = config_.most_flows,
                                             .udp_idle = config_.udp_idle,
                                             .keep_sources = config_.transparent,
                                             .families = {IpFamily::V4, IpFamily::V6}},
                                            predecessor ? predecessor->take_sockets() : Sockets()));
  forwarder_ = std::move(forwarder);
  auto stats = program(plan);
  if (stats && predecessor) {
    if (const auto done = predecessor->replace(); !done) stats = done.error();
  }
  if (!stats) {
    forwarder_.reset();
    served_.clear();
    return stats;
  }
  forwarder_->begin();
  const Limits& limits = forwarder_->budget().limits();
  log::info(
      "Forwarding in user space",
      {{"after", predecessor ? "another process, with its sockets" : "nobody"},
       {"wayIn", config_.way_in == WayIn::Rules ? "rules" : "addresses"},
       {"endpointsSee", config_.transparent ? "the client, where the plan has it" : "the node"},
       {"threads", config_.loops == 0 ? "one a CPU" : std::to_string(config_.loops)},
       {"bytesMovedBy", "splice, small ones by copying"},
       {"mostConnections", limits.connections},
       {"mostFlows", limits.flows},
       {"files", limits.files},
       {"mostMegabytes", most_memory(limits) / 1'000'000}});
  offer_handover();
  if (const auto removed = remove_other_entrance(); !removed) {
    log::warning("Cannot remove the other way in, if it is there", {{"err", removed.error()}});
  }
  return stats;
}

// A process before this one may have been told of the other way.
Result<void> UserspaceMode::remove_other_entrance() {
  if (!config_.transparent) FAIRLEAD_CHECK(remove_answer_routes());
  if (config_.way_in == WayIn::Rules) return AddressEntrance({}).remove();
  const auto done = RuleEntrance(*this, false).remove();
  if (!done && done.error().code != ErrorCode::NotFound) return done.error();
  return {};  // no nft, no rules
}

void UserspaceMode::offer_handover() {
  auto handover = Handover::start({.sockets = [this] { return share_sockets(); },
                                   .let_go = [this] { yield(); },
                                   .keep = [this] { set_tenure(Tenure::Ours); }});
  if (handover) {
    handover_ = *std::move(handover);
  } else {
    log::warning("The next process will not be able to take over without refusing connections",
                 {{"err", handover.error()}});
  }
}

// These three are called on the handover's thread.

void UserspaceMode::set_tenure(Tenure tenure) {
  home_->run([&] { return tenure_ = tenure; });
}

Sockets UserspaceMode::share_sockets() {
  return home_->run([this] {
    tenure_ = Tenure::HandingOver;
    return forwarder_->copies();
  });
}

void UserspaceMode::yield() {
  home_->run([this] {
    tenure_ = Tenure::Over;
    forwarder_->let_go();
    return true;
  });
  const std::uint64_t one = 1;
  static_cast<void>(write(succeeded_.get(), &one, sizeof one));
}

Result<void> UserspaceMode::may_change() const {
  switch (tenure_) {
    case Tenure::Ours:
      return {};
    case Tenure::HandingOver:
      return make_error(ErrorCode::Cancelled, "another process is about to take over");
    case Tenure::Over:
      return make_error(ErrorCode::Cancelled, "another process has taken over");
  }
  return {};
}

// ---- Changes

// Services that are new or changed.
Result<void> UserspaceMode::serve(const std::vector<plan::ServiceChange>& changes) {
  std::vector<plan::ServiceChange> kept;
  for (const plan::ServiceChange& change : changes) {
    if (!change.after) continue;
    auto& served = served_[change.after->key];
    kept.push_back({.before = served, .after = change.after});
    served = change.after;
  }
  return forwarder_->apply(kept);
}

Result<void> UserspaceMode::retire(const std::vector<plan::ServiceChange>& changes) {
  std::vector<plan::ServiceChange> gone;
  for (const plan::ServiceChange& change : changes) {
    if (change.after) continue;
    const auto served = served_.find(change.before->key);
    if (served == served_.end()) continue;
    gone.push_back({.before = served->second, .after = nullptr});
    served_.erase(served);
  }
  if (gone.empty()) return {};
  return forwarder_->apply(gone);
}

Result<plan::ApplyStats> UserspaceMode::replace(const plan::Plan& plan) {
  FAIRLEAD_CHECK(may_change());
  return forwarder_ ? program(plan) : begin(plan);
}

Result<plan::ApplyStats> UserspaceMode::change(const plan::Plan& plan,
                                               const plan::PlanDelta& delta) {
  if (!forwarder_ || !delta.nodes_changed.empty()) return replace(plan);
  FAIRLEAD_CHECK(may_change());
  FAIRLEAD_CHECK(serve(delta.services));
  auto stats = entrance_->change(delta);
  if (stats) FAIRLEAD_CHECK(retire(delta.services));
  say_what_is_unbound();
  return stats;
}

Result<plan::ApplyStats> UserspaceMode::program(const plan::Plan& plan) {
  plan::Plan before{.nodes = {}, .services = served_};
  const plan::PlanDelta delta = plan::diff(before, plan);
  forwarder_->set_nodes(plan.nodes);
  FAIRLEAD_CHECK(serve(delta.services));
  FAIRLEAD_TRY(stats, entrance_->program(plan));
  FAIRLEAD_CHECK(retire(delta.services));
  say_what_is_unbound();
  return stats;
}

// Each place once, until it is bound.
void UserspaceMode::say_what_is_unbound() {
  const auto& unbound = forwarder_->unbound();
  for (const auto& [place, error] : unbound) {
    if (!said_.insert(place).second) continue;
    log::warning("Cannot listen where a Service is asked for, trying again with each sync",
                 {{"at", place}, {"err", error}});
  }
  std::erase_if(said_, [&unbound](const std::string& place) { return !unbound.contains(place); });
}

Result<std::vector<std::string>> UserspaceMode::compare(const plan::Plan& plan, std::size_t limit) {
  if (tenure_ != Tenure::Ours) return std::vector<std::string>{};  // it is another process's
  FAIRLEAD_TRY(out, entrance_->verify(plan, limit));
  if (!forwarder_) return out;
  for (const auto& [place, error] : forwarder_->unbound()) {
    if (out.size() < limit) out.push_back(fmt::format("{}: {}", place, error.message));
  }
  return out;
}

Result<void> UserspaceMode::remove() {
  FAIRLEAD_CHECK(entrance_->remove());
  return remove_other_entrance();
}

Result<std::vector<plan::Traffic>> UserspaceMode::traffic(const plan::Plan&) {
  std::vector<plan::Traffic> out;
  if (!forwarder_) return out;
  for (const ServiceTotals& totals : forwarder_->totals()) {
    out.push_back({.service = totals.key,
                   .endpoint = {},
                   .connections = totals.opened,
                   .bytes_in = totals.bytes_in,
                   .bytes_out = totals.bytes_out,
                   .active = totals.opened - totals.closed,
                   .failed = totals.refused,
                   .retried = totals.retries});
    // Datagrams go to endpoints without being connected.
    if (totals.key.service_port.protocol == Protocol::Tcp) add_latencies(totals, out.back());
    for (const auto& [backend, count] : totals.endpoints) {
      out.push_back({.service = totals.key,
                     .endpoint = SocketAddress{.address = backend.address, .port = backend.port},
                     .connections = count.total,
                     .active = count.open});
    }
  }
  return out;
}

}  // namespace fairlead::userspace
