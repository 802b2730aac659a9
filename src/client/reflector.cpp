#include "client/reflector.hpp"

#include "base/text.hpp"
#include "client/line_splitter.hpp"
#include "io/http.hpp"

namespace fairlead::client {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

namespace {

constexpr std::string_view kPageSize = "500";
// No object comes near this; a line that does is a broken server.
constexpr std::size_t kLongestLine = 64 * 1024 * 1024;
// The server ends a watch after timeoutSeconds; one that does not is given this much longer.
constexpr auto kWatchGrace = 30s;
// A watch that ends sooner and brought nothing is a failure, not a success to be repeated at once.
constexpr auto kShortestWatch = 1s;
// While a server stays away, one line in so long.
constexpr auto kComplaintInterval = 60s;

// The server understood us and will not do a streaming list, whatever its reason.
bool refuses_streaming(ErrorCode code) {
  return code == ErrorCode::BadRequest || code == ErrorCode::Invalid ||
         code == ErrorCode::NotFound || code == ErrorCode::Unsupported;
}

}  // namespace

struct ReflectorLoop::Watching {
  std::unique_ptr<io::HttpBodyStream> stream;
  steady_clock::time_point opened;
  steady_clock::time_point until;
  bool initial_events = false;  // the whole collection is being streamed, its end has not come yet
  std::size_t events = 0;
  LineSplitter lines{kLongestLine};

  bool worth_repeating() const {
    return events > 0 || steady_clock::now() - opened >= kShortestWatch;
  }
};

ReflectorLoop::ReflectorLoop(Config config)
    : config_(std::move(config)),
      backoff_(config_.options.backoff),
      streaming_(config_.options.streaming_list) {}

io::Task<void> ReflectorLoop::run() {
  while (!co_await io::cancelled()) {
    const Next next = co_await round();
    if (next == Next::BackOff) co_await io::sleep_for(backoff_.next());
    if (next == Next::WaitForResource) co_await io::sleep_for(*config_.options.absence_pause);
  }
}

io::Task<ReflectorLoop::Next> ReflectorLoop::round() {
  if (!resource_version_.empty()) return watch();
  return streaming_ ? stream_list() : list();
}

std::string ReflectorLoop::query(
    std::initializer_list<std::pair<std::string_view, std::string>> parameters) const {
  std::string out = config_.collection;
  char separator = '?';
  const auto add = [&](std::string_view name, std::string_view value) {
    if (value.empty()) return;
    out += fmt::format("{}{}={}", separator, name, io::percent_encode(value));
    separator = '&';
  };
  for (const auto& [name, value] : parameters) add(name, value);
  add("labelSelector", config_.options.label_selector);
  add("fieldSelector", config_.options.field_selector);
  return out;
}

ReflectorLoop::Next ReflectorLoop::failed(const Error& error) {
  connected_ = false;
  const bool absent = error.code == ErrorCode::NotFound || error.code == ErrorCode::Forbidden;
  if (absent && config_.options.absence_pause) {
    log::verbose(1, "the server does not offer a resource, going on without it",
                 {{"resource", config_.resource}, {"error", error}});
    config_.sink->absent();
    return Next::WaitForResource;
  }
  const auto now = steady_clock::now();
  if (error.code != ErrorCode::Cancelled &&
      (!complained_ || now - *complained_ >= kComplaintInterval)) {
    complained_ = now;
    log::warning(
        "cannot follow the API server, keeping what is known and retrying",
        {{"resource", config_.resource}, {"server", config_.client->server()}, {"error", error}});
  }
  return Next::BackOff;
}

void ReflectorLoop::succeeded() {
  connected_ = true;
  expired_in_a_row_ = 0;
  backoff_.reset();
  if (!complained_) return;
  complained_.reset();
  log::info("following the API server again",
            {{"resource", config_.resource}, {"server", config_.client->server()}});
}

// The server no longer has the revision we stand at. Once is life; again without any progress is a
// server that will say so for ever.
ReflectorLoop::Next ReflectorLoop::expired() {
  log::verbose(1, "the resource version has expired, listing again",
               {{"resource", config_.resource}, {"resourceVersion", resource_version_}});
  resource_version_.clear();
  return ++expired_in_a_row_ > 1 ? Next::BackOff : Next::Continue;
}

// "0" takes whatever state the server has at hand, which is cheap for it; that may be older than
// what we have seen, so only the first list asks for it.
io::Task<ReflectorLoop::Next> ReflectorLoop::list() {
  auto listed = co_await list_pages(listed_once_ ? "" : "0");
  if (!listed && listed.error().code == ErrorCode::Expired) listed = co_await list_pages("");
  if (!listed) co_return failed(listed.error());
  succeeded();
  co_return Next::Continue;
}

io::Task<Result<void>> ReflectorLoop::list_pages(std::string resource_version) {
  config_.sink->begin_sync();
  ReflectorSink::Page page;
  do {
    const bool first = page.continue_token.empty();
    auto body =
        co_await config_.client->get(query({{"limit", std::string(kPageSize)},
                                            {"resourceVersion", first ? resource_version : ""},
                                            {"continue", page.continue_token}}));
    if (!body) co_return std::move(body).error();
    auto read = config_.sink->page(*body);
    if (!read) co_return read.error().with_context(fmt::format("list of {}", config_.resource));
    page = *std::move(read);
  } while (!page.continue_token.empty());
  config_.sink->end_sync();
  resource_version_ = std::move(page.resource_version);
  listed_once_ = true;
  co_return Result<void>{};
}

io::Task<ReflectorLoop::Next> ReflectorLoop::stream_list() {
  const std::chrono::seconds timeout{backoff_.pick(300, 600)};
  auto stream =
      co_await config_.client->open(query({{"watch", "true"},
                                           {"sendInitialEvents", "true"},
                                           {"resourceVersionMatch", "NotOlderThan"},
                                           {"allowWatchBookmarks", "true"},
                                           {"timeoutSeconds", std::to_string(timeout.count())}}));
  if (!stream && refuses_streaming(stream.error().code)) {
    log::verbose(1, "the server offers no streaming list, listing in pages",
                 {{"resource", config_.resource}, {"error", stream.error()}});
    streaming_ = false;
    co_return Next::Continue;
  }
  if (!stream) co_return failed(stream.error());
  config_.sink->begin_sync();
  const auto now = steady_clock::now();
  co_return co_await follow(
      std::make_unique<Watching>(Watching{.stream = *std::move(stream),
                                          .opened = now,
                                          .until = now + timeout + kWatchGrace,
                                          .initial_events = true}));
}

// A watch from a version that the server has not reached is accepted and silent until it does
// (spec/apiserver 2.3), so a server that was away is asked where it stands first.
io::Task<Result<bool>> ReflectorLoop::server_went_back() {
  auto body = co_await config_.client->get(query({{"limit", "1"}}));
  if (!body) co_return std::move(body).error();
  const auto newest = config_.sink->peek(*body);
  if (!newest) co_return newest.error().with_context(fmt::format("list of {}", config_.resource));
  const auto theirs = parse_int(newest->resource_version);
  const auto ours = parse_int(resource_version_);
  const bool behind = theirs && ours && *theirs < *ours;
  co_return behind;
}

io::Task<ReflectorLoop::Next> ReflectorLoop::watch() {
  if (was_away_) {
    const auto back = co_await server_went_back();
    if (!back) co_return failed(back.error());
    was_away_ = false;
    if (*back) {
      log::warning("the API server is behind what it once said, listing again",
                   {{"resource", config_.resource}, {"resourceVersion", resource_version_}});
      resource_version_.clear();
      co_return Next::Continue;
    }
  }
  const std::chrono::seconds timeout{backoff_.pick(300, 600)};
  auto stream =
      co_await config_.client->open(query({{"watch", "true"},
                                           {"resourceVersion", resource_version_},
                                           {"allowWatchBookmarks", "true"},
                                           {"timeoutSeconds", std::to_string(timeout.count())}}));
  if (!stream && stream.error().code == ErrorCode::Expired) co_return expired();
  if (!stream) {
    was_away_ = stream.error().code == ErrorCode::Unavailable;
    co_return failed(stream.error());
  }
  connected_ = true;
  const auto now = steady_clock::now();
  co_return co_await follow(std::make_unique<Watching>(
      Watching{.stream = *std::move(stream), .opened = now, .until = now + timeout + kWatchGrace}));
}

io::Task<ReflectorLoop::Next> ReflectorLoop::follow(std::unique_ptr<Watching> watching) {
  while (true) {
    const auto patience = watching->initial_events
                              ? std::chrono::nanoseconds(config_.options.streaming_patience)
                              : watching->until - steady_clock::now();
    auto chunk = co_await watching->stream->read_some(patience);
    if (!chunk) co_return broken_off(*watching, chunk.error());
    if (!*chunk) break;
    if (auto fed = watching->lines.feed(**std::move(chunk)); !fed) co_return failed(fed.error());
    while (const auto line = watching->lines.next()) {
      if (const auto next = take_event(watching.get(), *line)) co_return *next;
    }
  }
  if (watching->initial_events) {
    co_return failed(make_error(ErrorCode::Unavailable, "the list was cut off before its end"));
  }
  if (watching->worth_repeating()) co_return Next::Continue;
  co_return failed(
      make_error(ErrorCode::Unavailable, "the watch ended at once and brought nothing"));
}

ReflectorLoop::Next ReflectorLoop::broken_off(const Watching& watching, const Error& error) {
  if (watching.initial_events && error.code == ErrorCode::Timeout) {
    log::info("the server does not end its streaming list, listing in pages",
              {{"resource", config_.resource}});
    streaming_ = false;
    return Next::Continue;
  }
  if (watching.initial_events || !watching.worth_repeating()) return failed(error);
  log::verbose(1, "a watch broke off, resuming it",
               {{"resource", config_.resource}, {"error", error}});
  return Next::Continue;
}

// Nothing to do next = go on reading.
std::optional<ReflectorLoop::Next> ReflectorLoop::take_event(Watching* watching,
                                                             std::string_view line) {
  auto event = config_.sink->event(line);
  if (!event) {
    // One object we cannot read must not keep us from all the others.
    log::error("an event of the API server cannot be read, ignoring it",
               {{"resource", config_.resource}, {"error", event.error()}});
    return std::nullopt;
  }
  if (event->type == kube::WatchEventType::Error) {
    if (event->error.code == ErrorCode::Expired) return expired();
    // "Too large resource version": the server's counter has gone back (a restored backup); ours
    // means nothing to it.
    if (event->error.code == ErrorCode::Timeout) resource_version_.clear();
    return failed(event->error);
  }
  if (++watching->events == 1 && !watching->initial_events) succeeded();
  if (!watching->initial_events) {
    if (!event->resource_version.empty()) resource_version_ = std::move(event->resource_version);
    return std::nullopt;
  }
  if (!event->initial_events_end) return std::nullopt;
  watching->initial_events = false;
  resource_version_ = std::move(event->resource_version);
  listed_once_ = true;
  config_.sink->end_sync();
  succeeded();
  return std::nullopt;
}

}  // namespace fairlead::client
