#include "history/load.hpp"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <random>

#include "base/text.hpp"
#include "history/observation.hpp"

namespace fairlead::history {

using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

namespace {

constexpr char kServices[] = "/api/v1/namespaces/kube-public/services";
constexpr char kLast[] = "last";       // the object of the last write
constexpr auto kPatience = 20s;        // for one answer
constexpr auto kPause = 10ms;          // after a server that was not there
constexpr std::size_t kOwned = 5;      // objects that one writer alone writes
constexpr std::size_t kContested = 4;  // objects that all of them write

io::HttpRequest request(std::string method, std::string target, std::string body = {},
                        std::string type = "application/json") {
  io::HttpRequest out{.method = std::move(method),
                      .target = std::move(target),
                      .headers = {{"Accept", "application/json"}},
                      .body = std::move(body)};
  if (!out.body.empty()) out.headers.push_back({"Content-Type", std::move(type)});
  return out;
}

}  // namespace

struct Load::State {
  State(io::Executor on, LoadConfig with)
      : executor(on), config(std::move(with)), tasks(on, "load"), progress(on) {}

  std::unique_ptr<io::HttpClient> client(std::size_t server) const {
    auto out = io::HttpClient::create(executor,
                                      {.host = "127.0.0.1",
                                       .port = Port{config.servers[server % config.servers.size()]},
                                       .tls = {},
                                       .max_idle = 0});
    check(out.has_value(), "a client of loopback can be made");
    return *std::move(out);
  }

  io::Executor executor;
  LoadConfig config;
  History history;
  Counts counts;
  Moment now = 0;
  std::uint64_t marks = 0;
  bool writers_over = false, all_over = false;
  std::size_t writers_left = 0, watchers_left = 0;
  std::vector<std::string> complaints;
  io::TaskGroup tasks;
  io::Event progress;  // something was acknowledged, or somebody ended
};

namespace {

// ---- writers ------------------------------------------------------------------------------------

// What a writer believes of an object.
struct Belief {
  bool known = false;
  std::string version;  // empty: it does not exist
};

struct Writer {
  std::mt19937 random;
  std::size_t server = 0;
  std::map<std::string, Belief> beliefs;
  std::vector<std::string> objects;

  bool chance(unsigned one_in) { return random() % one_in == 0; }
};

std::string service_body(Load::State* load, Writer* writer, const Write& write,
                         const std::string& version) {
  const bool node_port = writer->chance(2);
  boost::json::object meta{{"name", write.object},
                           {"annotations", boost::json::object{{"mark", write.mark}}}};
  if (!version.empty()) meta["resourceVersion"] = version;
  boost::json::object spec{{"type", node_port ? "NodePort" : "ClusterIP"},
                           {"ports", boost::json::array{boost::json::object{{"port", 80}}}}};
  if (load->config.dual_stack && writer->chance(2)) spec["ipFamilyPolicy"] = "PreferDualStack";
  return boost::json::serialize(boost::json::object{{"apiVersion", "v1"},
                                                    {"kind", "Service"},
                                                    {"metadata", std::move(meta)},
                                                    {"spec", std::move(spec)}});
}

io::HttpRequest write_request(Load::State* load, Writer* writer, const Write& write,
                              const std::string& version) {
  const std::string path = fmt::format("{}/{}", kServices, write.object);
  switch (write.act) {
    case Act::Create:
      return request("POST", kServices, service_body(load, writer, write, {}));
    case Act::Delete:
      return request("DELETE", path);
    case Act::Update:
      break;
  }
  // One in four without a version, as kubectl writes.
  if (!writer->chance(4)) return request("PUT", path, service_body(load, writer, write, version));
  return request("PATCH", path,
                 fmt::format(R"({{"metadata":{{"annotations":{{"mark":"{}"}}}}}})", write.mark),
                 "application/merge-patch+json");
}

Fate fate_of(const Result<io::HttpResponse>& answer) {
  if (!answer || answer->status >= 500 || answer->status == 429) return Fate::Unknown;
  return answer->status < 300 ? Fate::Acknowledged : Fate::Refused;
}

// Statuses that this load can bring about; any other is a defect.
bool is_expected(Act act, unsigned status) {
  switch (status) {
    case 400:  // a PUT would create what another deleted, and names a version
      return act == Act::Update;
    case 200:
    case 201:
    case 404:  // deleted by another
    case 409:  // written by another
    case 429:
    case 500:  // the range is full
    case 503:
    case 504:
      return true;
    default:
      return false;
  }
}

io::Task<void> look(Load::State* load, Writer* writer, std::string object) {
  const auto client = load->client(writer->server);
  const auto answer =
      co_await client->send(request("GET", fmt::format("{}/{}", kServices, object)), kPatience);
  Belief& belief = writer->beliefs[object];
  belief = {};
  if (answer && answer->status == 404) belief.known = true;
  if (answer && answer->status == 200) {
    if (const auto state = service_state(answer->body))
      belief = {.known = true, .version = std::to_string(state->revision)};
  }
  if (belief.known) co_return;
  ++writer->server;
  co_await io::sleep_for(kPause);
}

Write plan(Load::State* load, Writer* writer, const std::string& object, const Belief& belief) {
  Write write{.object = object};
  if (!belief.version.empty()) write.act = writer->chance(3) ? Act::Delete : Act::Update;
  if (write.act != Act::Delete) write.mark = fmt::format("m{}", ++load->marks);
  return write;
}

// One write, its outcome noted, and what the writer believes afterwards.
io::Task<void> write_once(Load::State* load, Writer* writer, Write write) {
  Belief& belief = writer->beliefs[write.object];
  const auto client = load->client(writer->server);
  auto wanted = write_request(load, writer, write, belief.version);
  write.begun = ++load->now;
  const auto answer = co_await client->send(std::move(wanted), kPatience);
  write.ended = ++load->now;
  write.fate = fate_of(answer);
  belief = {};
  if (answer && !is_expected(write.act, answer->status))
    load->complaints.push_back(
        fmt::format("{} answered {}: {}", write.object, answer->status, answer->body));
  if (write.fate == Fate::Acknowledged) {
    ++load->counts.acknowledged;
    belief.known = true;
    if (write.act != Act::Delete) {
      const auto state = service_state(answer->body);
      if (!state || state->mark != write.mark)
        load->complaints.push_back(
            fmt::format("the answer to {} is not it: {}", write.mark, answer->body));
      if (state) write.revision = state->revision;
      belief.version = std::to_string(write.revision);
    }
  } else {
    ++(write.fate == Fate::Refused ? load->counts.refused : load->counts.unknown);
    if (write.fate == Fate::Unknown)
      load->counts.last_unknown = answer ? answer->body : answer.error().message;
  }
  const bool pause = write.fate == Fate::Unknown;
  load->history.writes.push_back(std::move(write));
  load->progress.notify();
  if (!pause) co_return;
  ++writer->server;
  co_await io::sleep_for(kPause);
}

io::Task<void> write_on(Load::State* load, std::size_t number) {
  Writer writer{.random = std::mt19937(load->config.seed * 100 + static_cast<unsigned>(number)),
                .server = number,
                .beliefs = {},
                .objects = {}};
  for (std::size_t i = 0; i < kOwned; ++i)
    writer.objects.push_back(fmt::format("own-{}-{}", number, i));
  for (std::size_t i = 0; i < kContested; ++i)
    writer.objects.push_back(fmt::format("contested-{}", i));
  while (!load->writers_over) {
    const std::string object = writer.objects[writer.random() % writer.objects.size()];
    const Belief belief = writer.beliefs[object];
    if (!belief.known) {
      co_await look(load, &writer, object);
    } else {
      co_await write_once(load, &writer, plan(load, &writer, object, belief));
    }
  }
  --load->writers_left;
  load->progress.notify();
}

// ---- watchers -----------------------------------------------------------------------------------

struct Follower {
  std::size_t server = 0;
  Watch watch;
  Revision passed = 0;
  std::mt19937 random;
  bool begun = false;  // a watch has been open
};

io::Task<bool> list_anew(Load::State* load, Follower* follower) {
  const auto client = load->client(follower->server);
  const Moment begun = ++load->now;
  const auto answer = co_await client->send(request("GET", kServices), kPatience);
  if (!answer || answer->status != 200) co_return false;
  auto list = service_list(answer->body);
  if (!list) {
    load->complaints.push_back(fmt::format("{}: {}", follower->watch.name, list.error()));
    co_return false;
  }
  list->begun = begun;
  follower->passed = list->revision;
  follower->watch.stretches.push_back({.list = *std::move(list), .events = {}});
  co_return true;
}

// One line of the stream; false: the stream is of no further use.
bool take(Load::State* load, Follower* follower, std::string_view line) {
  auto told = watch_line(line);
  if (!told) {
    load->complaints.push_back(fmt::format("{}: {}", follower->watch.name, told.error()));
    return false;
  }
  if (told->expired) {
    ++load->counts.relisted;
    follower->passed = 0;
    return false;
  }
  follower->passed = std::max(follower->passed, told->revision);
  if (told->event) follower->watch.stretches.back().events.push_back(*std::move(told->event));
  return true;
}

// One connection, to its end, whoever brings that about.
io::Task<void> follow(Load::State* load, Follower* follower) {
  const auto client = load->client(follower->server);
  const auto seconds = 1 + follower->random() % 2;
  auto stream = co_await client->open(
      request("GET", fmt::format("{}?watch=1&allowWatchBookmarks=true&resourceVersion={}&"
                                 "timeoutSeconds={}",
                                 kServices, follower->passed, seconds)),
      kPatience);
  if (!stream || (*stream)->status() != 200) {
    if (stream && (*stream)->status() == 410) follower->passed = 0;
    ++follower->server;
    co_await io::sleep_for(kPause);
    co_return;
  }
  std::string rest;
  while (!load->all_over) {
    auto bytes = co_await (*stream)->read_some(kPatience);
    if (!bytes && bytes.error().code == ErrorCode::Timeout)
      load->complaints.push_back(fmt::format("{}: a watch of {} s is silent and does not end",
                                             follower->watch.name, seconds));
    if (!bytes) ++follower->server;
    if (!bytes || !*bytes) co_return;
    rest += **bytes;
    std::size_t begin = 0;
    for (auto end = rest.find('\n'); end != std::string::npos; end = rest.find('\n', begin)) {
      if (!take(load, follower, std::string_view(rest).substr(begin, end - begin))) co_return;
      begin = end + 1;
    }
    rest.erase(0, begin);
    if (load->history.end != 0 && follower->passed >= load->history.end) co_return;
  }
}

io::Task<void> watch_on(Load::State* load, std::size_t number) {
  Follower follower{.server = number,
                    .watch = {.name = fmt::format("watcher {}", number), .stretches = {}},
                    .random = std::mt19937(static_cast<unsigned>(number))};
  while (!load->all_over && (load->history.end == 0 || follower.passed < load->history.end)) {
    if (follower.passed == 0) {
      if (!co_await list_anew(load, &follower)) co_await io::sleep_for(kPause);
      continue;
    }
    follower.watch.stretches.push_back({});
    if (follower.begun) {
      ++load->counts.resumed;
      load->progress.notify();
    }
    follower.begun = true;
    co_await follow(load, &follower);
  }
  load->history.watches.push_back(std::move(follower.watch));
  --load->watchers_left;
  load->progress.notify();
}

// Lists now and then, on each server in turn.
io::Task<bool> list_once(Load::State* load, std::size_t server, std::string query) {
  const auto client = load->client(server);
  const Moment begun = ++load->now;
  const auto answer = co_await client->send(request("GET", kServices + query), kPatience);
  if (!answer || answer->status != 200) co_return false;
  auto list = service_list(answer->body);
  if (!list) {
    load->complaints.push_back(fmt::format("a list: {}", list.error()));
    co_return false;
  }
  list->begun = begun;
  load->history.listings.push_back(*std::move(list));
  co_return true;
}

io::Task<void> list_on(Load::State* load) {
  for (std::size_t i = 0; !load->writers_over; ++i) {
    co_await list_once(load, i, {});
    co_await io::sleep_for(50ms);
  }
  --load->writers_left;
  load->progress.notify();
}

// ---- the end ------------------------------------------------------------------------------------

// The revision of a write that everybody will be told of.
io::Task<Result<Revision>> write_last(Load::State* load) {
  Writer writer{.random = std::mt19937(0), .server = 0, .beliefs = {}, .objects = {}};
  const auto deadline = Steady::now() + kPatience;
  while (Steady::now() < deadline) {
    Write write{.object = kLast, .mark = fmt::format("m{}", ++load->marks)};
    if (writer.beliefs[kLast].known && !writer.beliefs[kLast].version.empty())
      write.act = Act::Update;
    co_await write_once(load, &writer, std::move(write));
    const Write& done = load->history.writes.back();
    if (done.fate == Fate::Acknowledged) co_return done.revision;
    co_await look(load, &writer, kLast);
  }
  co_return make_error(ErrorCode::Timeout, "nothing can be written any more");
}

io::Task<Result<void>> read_addresses(Load::State* load) {
  const auto client = load->client(0);
  const auto answer =
      co_await client->send(request("GET", "/apis/networking.k8s.io/v1/ipaddresses"), kPatience);
  if (!answer) co_return answer.error();
  FAIRLEAD_CO_TRY(addresses, addresses_of(answer->body, "kube-public"));
  load->history.in_use = std::move(addresses);
  co_return Result<void>();
}

}  // namespace

Load::Load(io::Executor executor, LoadConfig config)
    : state_(std::make_unique<State>(std::move(executor), std::move(config))) {}
Load::~Load() = default;
const Counts& Load::counts() const { return state_->counts; }

void Load::start() {
  State* load = state_.get();
  load->writers_left = load->config.writers + 1;
  load->watchers_left = load->config.watchers;
  for (std::size_t i = 0; i < load->config.writers; ++i) load->tasks.spawn(write_on(load, i));
  for (std::size_t i = 0; i < load->config.watchers; ++i) load->tasks.spawn(watch_on(load, i));
  load->tasks.spawn(list_on(load));
}

io::Task<bool> Load::reached(const std::uint64_t* count, std::uint64_t wanted,
                             std::chrono::seconds patience) {
  const auto deadline = Steady::now() + patience;
  while (*count < wanted) {
    if (Steady::now() >= deadline) co_return false;
    co_await state_->progress.wait_until(deadline);
  }
  co_return true;
}

io::Task<bool> Load::more_acknowledged(std::uint64_t writes, std::chrono::seconds patience) {
  return reached(&state_->counts.acknowledged, state_->counts.acknowledged + writes, patience);
}

io::Task<bool> Load::watches_resumed(std::uint64_t watches, std::chrono::seconds patience) {
  return reached(&state_->counts.resumed, watches, patience);
}

io::Task<Result<History>> Load::finish() {
  State* load = state_.get();
  const auto deadline = Steady::now() + 2 * kPatience;
  load->writers_over = true;
  while (load->writers_left > 0 && Steady::now() < deadline)
    co_await load->progress.wait_until(deadline);
  auto last = co_await write_last(load);
  if (last) load->history.end = *last;
  while (last && load->watchers_left > 0 && Steady::now() < deadline)
    co_await load->progress.wait_until(deadline);
  if (load->watchers_left > 0) {
    load->complaints.push_back(
        fmt::format("{} watchers did not learn of the last write", load->watchers_left));
  }
  for (std::size_t i = 0; i < load->config.servers.size(); ++i) {
    if (!co_await list_once(load, i, {}))
      load->complaints.push_back(fmt::format("server {} gives no list at the end", i));
  }
  if (const auto read = co_await read_addresses(load); !read)
    load->complaints.push_back(fmt::format("addresses: {}", read.error()));
  load->all_over = true;
  co_await load->tasks.close();
  if (!last) load->complaints.push_back(last.error().message);
  if (!load->complaints.empty()) {
    co_return make_error(ErrorCode::Internal, "{} complaints: {}", load->complaints.size(),
                         fmt::join(load->complaints, "\n"));
  }
  co_return std::move(load->history);
}

io::Task<bool> answers(io::Executor executor, std::uint16_t port, std::string path,
                       std::chrono::seconds patience) {
  const auto deadline = Steady::now() + patience;
  const auto client = io::HttpClient::create(
      executor, {.host = "127.0.0.1", .port = Port{port}, .tls = {}, .max_idle = 0});
  check(client.has_value(), "a client of loopback can be made");
  while (Steady::now() < deadline) {
    const auto answer = co_await (*client)->send(request("GET", path), kPatience);
    if (answer && answer->status == 200) co_return true;
    co_await io::sleep_for(kPause);
  }
  co_return false;
}

}  // namespace fairlead::history
