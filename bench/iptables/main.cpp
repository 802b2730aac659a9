// bench_iptables: what programming Services through the iptables mode costs, beside
// iptables-restore given the same text, for both variants. Everything happens in network
// namespaces of its own. Exit code 1 on errors; with --check also when an aim is missed.
#include <unistd.h>

#include <cstdlib>
#include <span>

#include "io/netns.hpp"
#include "iptables/first_packet.hpp"
#include "iptables/plans.hpp"
#include "nftables/report.hpp"
#include "proxy/modes/iptables/hooks.hpp"
#include "proxy/modes/iptables/iptables_mode.hpp"

namespace fairlead::bench {
namespace {

using iptables::Variant;
using Clock = std::chrono::steady_clock;

constexpr int kChanges = 40;  // services that lose an endpoint and get it back
constexpr double kMostLoadRatio = 1.2;
constexpr double kMostChangeRatio = 1.2;
constexpr double kMostLegacySeconds = 5.0;
constexpr double kMostFirstPacketRatio = 1.5;

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

// What the mode writes into empty tables.
std::string whole_text(const plan::Plan& plan) {
  iptables::Renderer renderer(IpFamily::V4, {});
  renderer.full(plan);
  return iptables::restore_text(iptables::ChangeView{.after = renderer.view()},
                                iptables::missing_hooks(iptables::hooks(IpFamily::V4, false), {}))
      .text;
}

Result<std::unique_ptr<plan::Mode>> new_mode(Variant variant) {
  return iptables::create({.variant = variant, .localhost_node_ports = false});
}

Result<double> restore(Variant variant, const std::string& text) {
  FAIRLEAD_TRY(tools, iptables::open_tools(variant));
  const auto start = Clock::now();
  FAIRLEAD_CHECK(tools->restore(IpFamily::V4, text));
  return ms_since(start);
}

// ---- the first programming, beside iptables-restore ----

struct Loads {
  std::vector<double> ours, theirs;  // milliseconds; ours from a plan
  std::vector<double> text;          // of ours: rendering
  plan::ApplyStats stats;
};

Result<void> load_once(Variant variant, const plan::Plan& plan, Loads& loads) {
  FAIRLEAD_TRY(mine, io::NetNamespace::create());
  FAIRLEAD_CHECK(mine.run([&]() -> Result<void> {
    FAIRLEAD_TRY(mode, new_mode(variant));
    const auto start = Clock::now();
    FAIRLEAD_TRY(stats, mode->apply_full(plan));
    loads.ours.push_back(ms_since(start));
    loads.stats = stats;
    return {};
  }));
  FAIRLEAD_TRY(peer, io::NetNamespace::create());
  const auto start = Clock::now();
  const std::string text = whole_text(plan);
  loads.text.push_back(ms_since(start));
  return peer.run([&]() -> Result<void> {
    FAIRLEAD_TRY(took, restore(variant, text));
    loads.theirs.push_back(took);
    return {};
  });
}

void print(Variant variant, const Loads& loads, Report& report) {
  const double ours = median(loads.ours);
  const double theirs = median(loads.theirs);
  report.note("lines / bytes of text",
              fmt::format("{} / {}", loads.stats.messages, loads.stats.bytes));
  report.note("fairlead: read, render, restore", fmt::format("{:.1f} ms", ours));
  report.note("  of which rendering", fmt::format("{:.1f} ms", median(loads.text)));
  report.note("iptables-restore of the same text", fmt::format("{:.1f} ms", theirs));
  report.aim("fairlead / iptables-restore", ours / theirs, kMostLoadRatio, "x");
  if (variant == Variant::Legacy) report.aim("in seconds", ours / 1000, kMostLegacySeconds, "s");
}

// ---- changes ----

struct Changes {
  std::vector<double> ours, theirs, lines;
};

// The same texts by hand go first through iptables-restore in a namespace of their own.
Result<Changes> measure_changes(Variant variant, const plan::Plan& plan) {
  Changes out;
  FAIRLEAD_TRY(mode, new_mode(variant));
  FAIRLEAD_CHECK(mode->apply_full(plan));
  plan::Plan current = plan;
  iptables::Renderer renderer(IpFamily::V4, {});
  renderer.full(plan);
  for (int i = 0; i < 2 * kChanges; ++i) {
    plan::Plan next = current;
    const auto& original = nth_service(plan, (i / 2) * 7);
    next.services[original->key] = i % 2 == 0 ? without_last_backend(*original) : original;
    const plan::PlanDelta delta = plan::diff(current, next);

    const auto start = Clock::now();
    FAIRLEAD_TRY(stats, mode->apply(next, delta));
    out.ours.push_back(ms_since(start));
    out.lines.push_back(static_cast<double>(stats.messages));

    // Written once more: the same work for the tool and the kernel.
    const auto change = renderer.change(delta);
    check(change.has_value(), "a change of one endpoint does not change the shape");
    FAIRLEAD_TRY(took, restore(variant, iptables::restore_text(*change, {}).text));
    out.theirs.push_back(took);
    current = std::move(next);
  }
  const auto start = Clock::now();
  FAIRLEAD_TRY(next_mode, new_mode(variant));
  FAIRLEAD_TRY(adopted, next_mode->apply_full(current));
  fmt::print("  {:<58} {:>22}\n", "restart: all of it read back, lines written",
             fmt::format("{:.0f} ms, {}", ms_since(start), adopted.messages));
  return out;
}

Result<void> run_size(Variant variant, int services, Report& report) {
  report.heading(
      fmt::format("{}: {} services x {} endpoints", to_string(variant), services, kEndpoints));
  const plan::Plan plan = make_plan(services);
  // The nft tools need minutes for what others do in seconds.
  const int times = variant == Variant::Nft && services > 1000 ? 1 : 3;
  Loads loads;
  for (int i = 0; i < times; ++i) FAIRLEAD_CHECK(load_once(variant, plan, loads));
  print(variant, loads, report);

  FAIRLEAD_TRY(where, io::NetNamespace::create());
  return where.run([&]() -> Result<void> {
    FAIRLEAD_TRY(changes, measure_changes(variant, plan));
    report.note(fmt::format("one endpoint less or more, median of {}", changes.ours.size()),
                fmt::format("{:.2f} ms", median(changes.ours)));
    report.note("  99th percentile", fmt::format("{:.2f} ms", percentile(changes.ours, 0.99)));
    report.note("  lines written, median / most",
                fmt::format("{} / {}", median(changes.lines), percentile(changes.lines, 1)));
    report.note("  iptables-restore of the same lines",
                fmt::format("{:.2f} ms", median(changes.theirs)));
    report.aim("  fairlead / iptables-restore", median(changes.ours) / median(changes.theirs),
               kMostChangeRatio, "x");
    FAIRLEAD_TRY(packets, measure_first_packets(plan));
    report.note("connect() to the first / the last service, medians",
                fmt::format("{:.1f} / {:.1f} us", packets.first, packets.last));
    report.aim("  last / first", packets.last / packets.first, kMostFirstPacketRatio, "x");
    return {};
  });
}

Result<int> run(const std::vector<Variant>& variants) {
  Report report;
  for (const Variant variant : variants) {
    for (const int services : {1'000, 10'000}) {
      FAIRLEAD_CHECK(run_size(variant, services, report));
    }
  }
  return report.missed();
}

int main_of(std::span<const std::string_view> arguments) {
  bool checking = false;
  std::vector<Variant> variants;
  for (const std::string_view argument : arguments) {
    if (argument == "--check") {
      checking = true;
    } else if (argument == "legacy" || argument == "nft") {
      variants.push_back(argument == "nft" ? Variant::Nft : Variant::Legacy);
    } else {
      fmt::print(stderr, "usage: bench_iptables [--check] [legacy] [nft]\n");
      return 2;
    }
  }
  // The machine's lock is for its own tables, not for those of our namespaces.
  const std::string lock = fmt::format("/tmp/bench-iptables-{}.lock", ::getpid());
  ::setenv("XTABLES_LOCKFILE", lock.c_str(), 1);
  if (variants.empty()) variants = {Variant::Legacy, Variant::Nft};
  const auto missed = run(variants);
  ::unlink(lock.c_str());
  if (!missed) {
    fmt::print(stderr, "bench_iptables: {}\n", missed.error().message);
    return EXIT_FAILURE;
  }
  if (*missed > 0) fmt::print("\n{} aims missed\n", *missed);
  return checking && *missed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

}  // namespace
}  // namespace fairlead::bench

int main(int argc, char** argv) {
  const std::vector<std::string_view> arguments(argv + 1, argv + argc);
  return fairlead::bench::main_of(arguments);
}
