#include "proxy/modes/userspace/userspace_mode.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "base/log.hpp"

#include "io/process.hpp"

namespace fairlead::userspace {
namespace {

constexpr auto kToolTimeout = std::chrono::seconds(30);

Result<std::string> run_nft(std::vector<std::string> arguments, std::string_view input = {}) {
  arguments.insert(arguments.begin(), "nft");
  auto output = io::run_blocking({.argv = std::move(arguments)}, input, kToolTimeout);
  if (!output) return output.error().with_context("run nft");
  if (output->status.ok()) return std::move(output->out);
  const std::string why = output->err.substr(0, output->err.find('\n'));
  if (why.find("Operation not permitted") != std::string::npos) {
    return make_error(ErrorCode::Forbidden,
                      "nft: {}; run as root, or give the process CAP_NET_ADMIN", why);
  }
  if (why.find("No such file or directory") != std::string::npos) {
    return make_error(ErrorCode::NotFound, "nft: {}", why);
  }
  return make_error(ErrorCode::Internal, "nft: {}", why);
}

std::string element_lines(IpFamily family, const std::map<Element, std::size_t>& wanted) {
  std::set<Element> all;
  for (const auto& [element, count] : wanted) all.insert(element);
  return change_text(family, {}, all);
}

Result<std::string> list_skeleton(IpFamily family) {
  return run_nft({"-t", "list", "table", std::string(nft_family(family)), std::string(kTable)});
}

// The elements of a listing: between "elements = {" and "}" of each set or map.
std::set<std::string> listed_elements(std::string_view listing) {
  std::set<std::string> out;
  std::string set;
  bool inside = false;
  std::string current;
  const auto flush = [&] {
    const auto first = current.find_first_not_of(" \t\n");
    if (first != std::string::npos) {
      const auto last = current.find_last_not_of(" \t\n");
      out.insert(set + ": " + current.substr(first, last - first + 1));
    }
    current.clear();
  };
  while (!listing.empty()) {
    if (!inside) {
      const auto end = listing.find('\n');
      std::string_view line = listing.substr(0, end);
      const auto at = line.find("elements = {");
      if (at != std::string_view::npos) {
        inside = true;
        listing.remove_prefix(at + std::string_view("elements = {").size());
        continue;
      }
      line.remove_prefix(std::min(line.find_first_not_of('\t'), line.size()));
      for (const std::string_view kind : {"map ", "set "}) {
        if (line.starts_with(kind)) set = line.substr(4, line.find(' ', 4) - 4);
      }
      listing.remove_prefix(end == std::string_view::npos ? listing.size() : end + 1);
      continue;
    }
    const char c = listing.front();
    listing.remove_prefix(1);
    if (c == ',' || c == '}') {
      flush();
      inside = c == ',';
    } else {
      current += c;
    }
  }
  return out;
}

}  // namespace

Result<std::unique_ptr<plan::Mode>> create(const Config& config) {
  FAIRLEAD_TRY(mode, UserspaceMode::create(config));
  return std::unique_ptr<plan::Mode>(std::move(mode));
}

Result<std::unique_ptr<UserspaceMode>> UserspaceMode::create(const Config& config) {
  FAIRLEAD_CHECK(run_nft({"list", "tables"}));
  FAIRLEAD_CHECK(limits_here(config.most_connections, config.most_flows));
  FAIRLEAD_TRY(loop, EventLoop::create());
  io::UniqueFd succeeded(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!succeeded) return errno_error(errno, "create eventfd");
  return std::unique_ptr<UserspaceMode>(new UserspaceMode(
      config, std::make_unique<HomeThread>(std::move(loop)), std::move(succeeded)));
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
  FAIRLEAD_TRY(forwarder, Forwarder::create({.loops = config_.loops,
                                             .choice = config_.choice,
                                             .most_connections = config_.most_connections,
                                             .most_flows = config_.most_flows,
                                             .udp_idle = config_.udp_idle,
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
  log::info("Forwarding in user space",
            {{"after", predecessor ? "another process, with its sockets" : "nobody"},
             {"threads", config_.loops == 0 ? "one a CPU" : std::to_string(config_.loops)},
             {"bytesMovedBy", "splice, small ones by copying"},
             {"mostConnections", limits.connections},
             {"mostFlows", limits.flows},
             {"files", limits.files},
             {"mostMegabytes", most_memory(limits) / 1'000'000}});
  offer_handover();
  return stats;
}

void UserspaceMode::offer_handover() {
  auto handover = Handover::start({.sockets =
                                       [this] {
                                         return home_->run([this] {
                                           tenure_ = Tenure::HandingOver;
                                           return forwarder_->copies();
                                         });
                                       },
                                   .let_go =
                                       [this] {
                                         home_->run([this] {
                                           tenure_ = Tenure::Over;
                                           forwarder_->let_go();
                                           return true;
                                         });
                                         const std::uint64_t one = 1;
                                         static_cast<void>(write(succeeded_.get(), &one, 8));
                                       },
                                   .keep =
                                       [this] {
                                         home_->run([this] {
                                           tenure_ = Tenure::Ours;
                                           return true;
                                         });
                                       }});
  if (handover) {
    handover_ = *std::move(handover);
  } else {
    log::warning("The next process will not be able to take over without refusing connections",
                 {{"err", handover.error()}});
  }
}

Result<void> UserspaceMode::may_change() const {
  switch (tenure_) {
    case Tenure::Ours:
      return {};
    case Tenure::HandingOver:
      return make_error(ErrorCode::Unavailable, "another process is about to take over");
    case Tenure::Over:
      return make_error(ErrorCode::Unavailable, "another process has taken over");
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
  return change_elements(delta);
}

Result<plan::ApplyStats> UserspaceMode::program(const plan::Plan& plan) {
  plan::Plan before{.nodes = {}, .services = served_};
  const plan::PlanDelta delta = plan::diff(before, plan);
  FAIRLEAD_CHECK(serve(delta.services));
  programmed_.clear();
  tables_.clear();
  FAIRLEAD_TRY(stats, write_tables(plan));
  FAIRLEAD_CHECK(retire(delta.services));
  return stats;
}

Result<plan::ApplyStats> UserspaceMode::write_tables(const plan::Plan& plan) {
  for (const auto& [key, service] : plan.services) {
    auto elements = elements_of(*service, *this);
    for (const Element& element : elements) ++tables_[key.family].wanted[element];
    programmed_.emplace(key, std::move(elements));
  }
  plan::ApplyStats stats;
  std::string text;
  for (const auto& [family, node] : plan.nodes) {
    const auto& wanted = tables_[family].wanted;
    text += table_text(family, node, forwarder_->tcp_ports(family)) + element_lines(family, wanted);
    stats.elements += wanted.size();
  }
  FAIRLEAD_CHECK(run_nft({"-f", "-"}, text));
  for (auto& [family, table] : tables_) {
    FAIRLEAD_TRY(skeleton, list_skeleton(family));
    table.skeleton = std::move(skeleton);
  }
  stats.transactions = 1;
  stats.messages = static_cast<std::uint64_t>(std::ranges::count(text, '\n'));
  stats.bytes = text.size();
  return stats;
}

Result<plan::ApplyStats> UserspaceMode::change_elements(const plan::PlanDelta& delta) {
  FAIRLEAD_CHECK(serve(delta.services));
  std::map<IpFamily, Wanted> before;  // of the elements concerned
  for (const plan::ServiceChange& change : delta.services) {
    const plan::PlanKey& key = change.after ? change.after->key : change.before->key;
    Wanted& wanted = tables_[key.family].wanted;
    auto now = change.after ? elements_of(*change.after, *this) : std::vector<Element>{};
    const auto note = [&](const Element& element) {
      const auto found = wanted.find(element);
      before[key.family].try_emplace(element, found == wanted.end() ? 0 : found->second);
    };
    for (const Element& element : programmed_[key]) {
      note(element);
      --wanted[element];
    }
    for (const Element& element : now) {
      note(element);
      ++wanted[element];
    }
    programmed_[key] = std::move(now);
    if (!change.after) programmed_.erase(key);
  }
  plan::ApplyStats stats;
  std::string text;
  for (const auto& [family, elements] : before) {
    Wanted& wanted = tables_[family].wanted;
    std::set<Element> gone, added;
    for (const auto& [element, count] : elements) {
      const auto now = wanted.find(element);
      if (count > 0 && now->second == 0) gone.insert(element);
      if (count == 0 && now->second > 0) added.insert(element);
      if (now->second == 0) wanted.erase(now);
    }
    stats.elements += gone.size() + added.size();
    text += change_text(family, gone, added);
  }
  if (!text.empty()) {
    FAIRLEAD_CHECK(run_nft({"-f", "-"}, text));
    stats.transactions = 1;
    stats.messages = static_cast<std::uint64_t>(std::ranges::count(text, '\n'));
    stats.bytes = text.size();
  }
  FAIRLEAD_CHECK(retire(delta.services));
  return stats;
}

Result<std::vector<std::string>> UserspaceMode::compare(const plan::Plan& plan, std::size_t limit) {
  std::vector<std::string> out;
  if (tenure_ != Tenure::Ours) return out;  // the rules are another process's
  const auto say = [&](std::string text) {
    if (out.size() < limit) out.push_back(std::move(text));
  };
  for (const auto& [family, node] : plan.nodes) {
    const Table& table = tables_[family];
    const std::string name = fmt::format("table {} {}", nft_family(family), kTable);
    const auto skeleton = list_skeleton(family);
    if (!skeleton && skeleton.error().code == ErrorCode::NotFound) {
      say(name + " is missing");
      continue;
    }
    if (!skeleton) return skeleton.error();
    if (*skeleton != table.skeleton) say(name + ": its chains are not as they were written");
    FAIRLEAD_TRY(listing,
                 run_nft({"list", "table", std::string(nft_family(family)), std::string(kTable)}));
    std::set<std::string> there = listed_elements(listing);
    for (const auto& [element, count] : table.wanted) {
      const std::string text = element.set + ": " + element.text();
      if (there.erase(text) == 0) say(fmt::format("{}: {} is missing", name, text));
    }
    for (const std::string& text : there) say(fmt::format("{}: {} is not ours", name, text));
  }
  return out;
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
    for (const auto& [backend, count] : totals.endpoints) {
      out.push_back({.service = totals.key,
                     .endpoint = SocketAddress{.address = backend.address, .port = backend.port},
                     .connections = count.total,
                     .active = count.open});
    }
  }
  return out;
}

Result<void> UserspaceMode::remove() {
  for (const IpFamily family : {IpFamily::V4, IpFamily::V6}) {
    const auto done =
        run_nft({"delete", "table", std::string(nft_family(family)), std::string(kTable)});
    if (!done && done.error().code != ErrorCode::NotFound) return done.error();
  }
  tables_.clear();
  programmed_.clear();
  return {};
}

}  // namespace fairlead::userspace
