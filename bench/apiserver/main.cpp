// bench_apiserver: what it costs to write, list and watch Services through fairlead-apiserver on
// SQLite, beside inserts into SQLite alone, and on an etcd ($FAIRLEAD_ETCD), beside puts into that
// alone; and through another API server, named by --peer, in the same run. All is on loopback, with
// TLS; a run leaves no objects behind on the peer. Exit code 1 on errors.
#include <boost/asio/co_spawn.hpp>
#include <cstdlib>
#include <filesystem>
#include <span>

#include "apiserver/own_etcd.hpp"
#include "apiserver/subject.hpp"
#include "client/kubeconfig.hpp"
#include "nftables/report.hpp"

namespace fairlead::bench {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr int kWriters = 16;
constexpr int kServices = 10'000;
constexpr int kLists = 15;
constexpr int kWatchers = 1'000;
constexpr int kEvents = 20;
constexpr int kRawRows = 2'000;
constexpr char kCollection[] = "/api/v1/namespaces/default/services";

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

// One server's figures. Milliseconds, unless they say otherwise.
struct Figures {
  double creates_a_second = 0;
  std::vector<double> create, get, list;
  std::size_t list_bytes = 0;
  std::vector<double> fan_out;  // from before the write until a watcher has its event
};

class Run {
 public:
  explicit Run(const client::ClusterAccess& access) : access_(access) {}

  Result<Figures> measure() {
    FAIRLEAD_TRY(clients, connect(loop_.get_executor(), access_, kWriters));
    clients_ = std::move(clients);
    prefix_ = fmt::format("bench-{}", Clock::now().time_since_epoch().count() % 1'000'000);
    FAIRLEAD_CHECK(all_writers([this](int writer) { return create(writer); }));
    FAIRLEAD_CHECK(one(read()));
    FAIRLEAD_CHECK(one(watch_all()));
    FAIRLEAD_CHECK(all_writers([this](int writer) { return remove(writer); }));
    clients_.clear();
    return std::move(figures_);
  }

 private:
  using Step = io::Task<Result<void>>;

  Result<void> one(Step step) {
    std::vector<Step> steps;
    steps.push_back(std::move(step));
    return all(std::move(steps));
  }
  // Idle connections keep the loop from running out of work, so it is driven until all have ended.
  Result<void> all(std::vector<Step> steps) {
    Result<void> out;
    std::size_t left = steps.size();
    for (Step& step : steps) {
      io::asio::co_spawn(loop_, std::move(step), [&](const std::exception_ptr&, Result<void> done) {
        if (!done) out = done;
        --left;
      });
    }
    while (left > 0) loop_.run_one();
    return out;
  }
  Result<void> all_writers(const std::function<Step(int)>& step) {
    const auto start = Clock::now();
    std::vector<Step> steps;
    for (int writer = 0; writer < kWriters; ++writer) steps.push_back(step(writer));
    Result<void> out = all(std::move(steps));
    if (figures_.creates_a_second == 0) {
      figures_.creates_a_second = kServices / (ms_since(start) / 1000);
    }
    return out;
  }
  client::ApiClient& client(int writer) { return *clients_[static_cast<std::size_t>(writer)]; }
  std::string path_of(int number) const {
    return fmt::format("{}/{}-{}", kCollection, prefix_, number);
  }

  Step create(int writer) {
    for (int i = writer; i < kServices; i += kWriters) {
      const auto start = Clock::now();
      auto done = co_await client(writer).post(kCollection, service_json(prefix_, i));
      if (!done) co_return done.error();
      figures_.create.push_back(ms_since(start));
    }
    co_return Result<void>{};
  }
  Step remove(int writer) {
    for (int i = writer; i < kServices; i += kWriters) {
      auto done = co_await client(writer).remove(path_of(i));
      if (!done) co_return done.error();
    }
    co_return Result<void>{};
  }
  Step read() {
    for (int i = 0; i < 500; ++i) {
      const auto start = Clock::now();
      auto done = co_await client(0).get(path_of(i * 7));
      if (!done) co_return done.error();
      figures_.get.push_back(ms_since(start));
    }
    for (int i = 0; i < kLists; ++i) {
      const auto start = Clock::now();
      auto done = co_await client(0).get(kCollection);
      if (!done) co_return done.error();
      figures_.list.push_back(ms_since(start));
      figures_.list_bytes = done->size();
    }
    co_return Result<void>{};
  }

  // ---- watchers: a write, and when each of them has it ----

  io::Task<void> watch(int number, std::string path) {
    auto stream = co_await client(number % kWriters).open(std::move(path));
    if (!stream || (*stream)->status() != 200) {
      failed_watchers_ += 1;
      co_return;
    }
    ++open_watchers_;
    while (true) {
      auto piece = co_await (*stream)->read_some(2min);
      if (!piece || !*piece) co_return;
      // An event is a line, and in this quiet one comes at a time.
      if ((*piece)->ends_with('\n')) figures_.fan_out.push_back(ms_since(written_));
    }
  }
  Step watch_all() {
    io::TaskGroup watchers(loop_.get_executor(), "watchers");
    auto newest = co_await client(0).get(std::string(kCollection) + "?limit=1");
    if (!newest) co_return newest.error();
    const std::string path = fmt::format("{}?watch=true&timeoutSeconds=300&resourceVersion={}",
                                         kCollection, version_of(*newest));
    for (int i = 0; i < kWatchers; ++i) watchers.spawn(watch(i, path));
    while (open_watchers_ + failed_watchers_ < kWatchers) co_await io::sleep_for(10ms);
    Result<void> out;
    if (failed_watchers_ > 0) {
      out = make_error(ErrorCode::Unavailable, "{} of {} watches were refused", failed_watchers_,
                       kWatchers);
    }
    for (int i = 0; out && i < kEvents; ++i) {
      const std::size_t wanted = figures_.fan_out.size() + kWatchers;
      written_ = Clock::now();
      auto done = co_await client(0).patch(
          path_of(i), "application/merge-patch+json",
          fmt::format(R"({{"metadata":{{"labels":{{"turn":"{}"}}}}}})", i));
      if (!done) out = done.error();
      const auto deadline = Clock::now() + 30s;
      while (out && figures_.fan_out.size() < wanted) {
        if (Clock::now() > deadline) out = make_error(ErrorCode::Timeout, "events are missing");
        co_await io::sleep_for(1ms);
      }
    }
    co_await watchers.close();
    co_return out;
  }
  static std::string version_of(const std::string& list) {
    constexpr std::string_view kName = "\"resourceVersion\":\"";
    const auto at = list.find(kName);
    if (at == std::string::npos) return "";
    const auto begin = at + kName.size();
    return list.substr(begin, list.find('"', begin) - begin);
  }

  client::ClusterAccess access_;
  io::asio::io_context loop_{1};
  Clients clients_;
  std::string prefix_;
  Figures figures_;
  int open_watchers_ = 0, failed_watchers_ = 0;
  Clock::time_point written_;
};

void print(std::string_view name, const Figures& f, Report& report) {
  const auto both = [](const std::vector<double>& values) {
    return fmt::format("{:.2f} / {:.2f} ms", median(values), percentile(values, 0.99));
  };
  report.heading(name);
  report.note(fmt::format("Services created a second, {} writers", kWriters),
              fmt::format("{:.0f}", f.creates_a_second));
  report.note("  one create, median / 99th percentile", both(f.create));
  report.note("one get, median / 99th percentile", both(f.get));
  report.note(fmt::format("a list of {}, median / 99th percentile", kServices), both(f.list));
  report.note("  of so many megabytes", fmt::format("{:.1f}", double(f.list_bytes) / 1e6));
  report.note(fmt::format("a write until each of {} watchers has it", kWatchers), both(f.fan_out));
}

Result<client::ClusterAccess> access_of(const std::string& peer) {
  if (std::filesystem::exists(peer)) return client::load_kubeconfig(peer);
  FAIRLEAD_CHECK(client::parse_server_url(peer));
  return client::ClusterAccess{.server = peer};
}

// One of ours, on the store that the flags name, and what that does alone.
Result<Figures> measure_ours(std::string_view name, const Folder& folder,
                             std::vector<std::string> flags, std::string_view alone, double raw,
                             Report& report) {
  FAIRLEAD_TRY(server, OwnServer::start(folder, std::move(flags)));
  const std::uint64_t before = server.resident_kilobytes();
  FAIRLEAD_TRY(access, client::load_kubeconfig(server.kubeconfig()));
  FAIRLEAD_TRY(ours, Run(access).measure());
  print(name, ours, report);
  report.note("resident memory at the start / afterwards",
              fmt::format("{} / {} MB", before / 1024, server.resident_kilobytes() / 1024));
  report.note(alone, fmt::format("{:.0f}", raw));
  report.note("creates / such writes", fmt::format("{:.2f} x", ours.creates_a_second / raw));
  return std::move(ours);
}

Result<void> measure_on_etcd(Report& report) {
  const auto program = etcd_program();
  if (!program) {
    report.heading("no etcd: FAIRLEAD_ETCD names none");
    return {};
  }
  FAIRLEAD_TRY(folder, Folder::create());
  FAIRLEAD_TRY(etcd, OwnEtcd::start(*program, folder));
  FAIRLEAD_TRY(raw, raw_etcd_rate(etcd, kRawRows, kWriters));
  FAIRLEAD_CHECK(
      measure_ours("fairlead-apiserver on etcd", folder, {"--etcd-servers", etcd.endpoint()},
                   fmt::format("etcd alone, puts a second, {} writers", kWriters), raw, report));
  return {};
}

Result<void> run(const std::string& peer) {
  Report report;
  FAIRLEAD_TRY(folder, Folder::create());
  FAIRLEAD_TRY(raw, raw_sqlite_rate(folder, kRawRows));
  FAIRLEAD_TRY(ours,
               measure_ours("fairlead-apiserver on SQLite", folder, {},
                            "SQLite alone, inserts a second, one after the other", raw, report));
  FAIRLEAD_CHECK(measure_on_etcd(report));
  if (peer.empty()) return {};
  FAIRLEAD_TRY(other, access_of(peer));
  FAIRLEAD_TRY(theirs, Run(other).measure());
  print(fmt::format("{}", peer), theirs, report);
  report.heading("fairlead / peer (less is better, but for creates)");
  const auto ratio = [&](std::string_view what, double mine, double yours) {
    report.note(what, fmt::format("{:.2f} x", mine / yours));
  };
  ratio("creates a second", ours.creates_a_second, theirs.creates_a_second);
  ratio("get, median", median(ours.get), median(theirs.get));
  ratio("list, median", median(ours.list), median(theirs.list));
  ratio("fan-out, 99th percentile", percentile(ours.fan_out, 0.99),
        percentile(theirs.fan_out, 0.99));
  return {};
}

int main_of(std::span<char*> arguments) {
  std::string peer;
  if (arguments.size() == 2 && std::string_view(arguments[0]) == "--peer") {
    peer = arguments[1];
  } else if (!arguments.empty()) {
    fmt::print(stderr, "usage: bench_apiserver [--peer URL|KUBECONFIG]\n");
    return 2;
  }
  const auto done = run(peer);
  if (done) return EXIT_SUCCESS;
  fmt::print(stderr, "bench_apiserver: {}\n", done.error().message);
  return EXIT_FAILURE;
}

}  // namespace
}  // namespace fairlead::bench

int main(int argc, char** argv) {
  return fairlead::bench::main_of({argv + 1, static_cast<std::size_t>(argc - 1)});
}
