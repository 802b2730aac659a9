#include "apiserver/etcd/etcd_store.hpp"

#include <algorithm>
#include <list>
#include <map>
#include <tuple>

#include "apiserver/etcd/etcd_client.hpp"
#include "apiserver/etcd/etcd_messages.hpp"
#include "apiserver/etcd/event_history.hpp"
#include "base/log.hpp"

namespace fairlead::apiserver {
namespace {

namespace pb = etcdserverpb;

constexpr std::int64_t kPageKeys = 500;
// History from before the start, so that watches of clients survive a restart of the server; less
// where etcd has compacted it.
constexpr Revision kHistory = 5000;
constexpr auto kDeliveryTimeout = std::chrono::seconds(30);
constexpr auto kReconnectPause = std::chrono::milliseconds(200);
constexpr int kDeleteAttempts = 8;

struct Subscriber {
  std::string prefix;
  Store::EventHandler handler;
  Revision after = 0;  // knows everything up to here
};

class Subscription final : public StoreWatch {
 public:
  using List = std::list<std::shared_ptr<Subscriber>>;
  Subscription(std::shared_ptr<List> all, std::shared_ptr<Subscriber> one)
      : all_(std::move(all)), one_(std::move(one)) {}
  ~Subscription() override {
    one_->handler = nullptr;
    all_->remove(one_);
  }

 private:
  std::shared_ptr<List> all_;
  std::shared_ptr<Subscriber> one_;
};

// Does the transaction know whether the key it deletes is there?
bool is_guarded(const StoreTransaction& transaction, const std::string& key) {
  return std::ranges::any_of(transaction.compares,
                             [&key](const Compare& compare) { return compare.key == key; });
}

Result<void> check_sizes(const StoreTransaction& transaction) {
  for (const Operation& operation : transaction.operations) {
    if (operation.value != nullptr && operation.value->size() > kMaxValueBytes) {
      return make_error(ErrorCode::TooLarge, "{}: value of {} bytes, the limit is {}",
                        operation.key, operation.value->size(), kMaxValueBytes);
    }
  }
  return {};
}

class EtcdStore final : public Store {
 public:
  EtcdStore(const io::Executor& loop, std::unique_ptr<etcd::Client> client, std::string prefix)
      : loop_(loop),
        client_(std::move(client)),
        prefix_(std::move(prefix)),
        marker_(prefix_ + "fairlead/last-commit"),
        tasks_(loop, "etcd") {}

  io::Task<Result<void>> open();

  Revision current_revision() const override { return delivered_; }
  Revision compacted_revision() const override { return history_.floor(); }
  io::Task<Result<Revision>> synchronize() override;
  io::Task<Result<std::optional<KeyValue>>> get(std::string key, Revision revision) override;
  io::Task<Result<ListPage>> list(ListRequest request) override {
    co_return co_await read(std::move(request), Content::KeysAndValues);
  }
  io::Task<Result<CommitResult>> commit(StoreTransaction transaction) override;
  io::Task<Result<std::unique_ptr<StoreWatch>>> watch(std::string prefix, Revision after,
                                                      EventHandler handler) override;
  io::Task<Result<void>> compact(Revision revision) override;
  io::Task<void> close() override;

 private:
  struct Marker {
    Revision last_commit = 0;  // by any server
    Revision revision = 0;     // of the cluster
  };
  io::Task<Result<Marker>> read_marker();
  io::Task<Result<Revision>> find_history(Revision now);
  io::Task<Result<void>> learn_keys();
  enum class Content { KeysAndValues, Keys };
  io::Task<Result<ListPage>> read(ListRequest request, Content content);

  io::Task<void> follow();
  io::Task<Error> follow_member();
  io::Task<Result<void>> bridge_gap();
  void deliver(std::vector<StoreEvent> events, Revision revision, bool gap = false);
  void remember_keys(const std::vector<StoreEvent>& events);
  io::Task<bool> delivered(Revision revision);

  io::Task<Result<void>> guard_deletes(StoreTransaction* transaction);
  io::Task<Result<CommitResult>> commit_once(const StoreTransaction* transaction);

  io::Executor loop_;
  std::unique_ptr<etcd::Client> client_;
  std::string prefix_, marker_;

  std::shared_ptr<Subscription::List> subscribers_ = std::make_shared<Subscription::List>();
  std::multimap<Revision, io::Event*> waiters_;  // of delivered(), by what they wait for
  Revision delivered_ = 0;
  EventHistory history_;
  // mod_revision of every key, to tell what changed across a gap.
  etcd::Revisions keys_;

  std::shared_ptr<etcd::WatchStream> stream_;
  bool compacted_ = false;  // etcd has forgotten what we have not seen
  bool closing_ = false;
  io::TaskGroup tasks_;
};

// ---- Opening

io::Task<Result<void>> EtcdStore::open() {
  FAIRLEAD_CO_TRY(marker, co_await read_marker());
  FAIRLEAD_CO_TRY(oldest, co_await find_history(marker.revision));
  FAIRLEAD_CO_CHECK(co_await learn_keys());
  history_.reset(oldest);
  delivered_ = oldest;
  tasks_.spawn(follow());
  if (!co_await delivered(marker.last_commit)) {
    co_return make_error(ErrorCode::Timeout, "etcd {}: the watch does not deliver revision {}",
                         client_->endpoint(), marker.last_commit);
  }
  delivered_ = std::max(delivered_, marker.revision);  // what is between was not written by us
  co_return Result<void>();
}

io::Task<Result<EtcdStore::Marker>> EtcdStore::read_marker() {
  pb::RangeRequest request;
  request.set_key(marker_);
  request.set_keys_only(true);
  FAIRLEAD_CO_TRY(response, co_await client_->range(std::move(request)));
  co_return Marker{.last_commit = response.kvs_size() > 0
                                      ? static_cast<Revision>(response.kvs(0).mod_revision())
                                      : 0,
                   .revision = static_cast<Revision>(response.header().revision())};
}

// From where etcd still knows all changes up to `now`: it does not tell, so it is asked by halves.
io::Task<Result<Revision>> EtcdStore::find_history(Revision now) {
  Revision unknown = now > kHistory ? now - kHistory : 1, known = now;
  for (Revision asked = unknown; unknown < known; asked = unknown + (known - unknown) / 2) {
    pb::RangeRequest request;
    request.set_key(marker_);
    request.set_keys_only(true);
    request.set_revision(static_cast<std::int64_t>(asked));
    const auto answer = co_await client_->range(std::move(request));
    if (!answer && answer.error().code != ErrorCode::Expired) co_return answer.error();
    (answer ? known : unknown) = answer ? asked : asked + 1;
  }
  co_return known;
}

io::Task<Result<void>> EtcdStore::learn_keys() {
  FAIRLEAD_CO_TRY(page, co_await read({.prefix = prefix_}, Content::Keys));
  for (KeyValue& item : page.items) keys_.insert_or_assign(std::move(item.key), item.mod_revision);
  co_return Result<void>();
}

// ---- Following

// Keeps a watch at some member until the store is closed.
io::Task<void> EtcdStore::follow() {
  while (!closing_) {
    const Error ended = co_await follow_member();
    if (closing_) co_return;
    if (std::exchange(compacted_, false)) {
      if (const auto bridged = co_await bridge_gap(); bridged) continue;
      compacted_ = true;
    }
    log::warning("Lost the watch of etcd, going on at the next member",
                 {{"err", ended}, {"revision", delivered_}});
    client_->rotate();
    if (!co_await io::sleep_for(kReconnectPause)) co_return;
  }
}

// Why the watch ended.
io::Task<Error> EtcdStore::follow_member() {
  pb::WatchCreateRequest request;
  request.set_key(prefix_);
  request.set_range_end(prefix_end(prefix_));
  request.set_start_revision(static_cast<std::int64_t>(delivered_) + 1);
  request.set_progress_notify(true);
  stream_ = client_->watch(std::move(request));
  while (true) {
    auto response = co_await stream_->next();
    if (!response) {
      stream_ = nullptr;
      co_return response.error();
    }
    if (response->canceled()) {
      compacted_ = response->compact_revision() > 0;
      stream_->cancel();
      continue;
    }
    if (response->events_size() == 0) {
      // What others keep in this etcd moves its revision, too. Who follows it here may go on from
      // there when the rest has been compacted.
      if (!response->created()) deliver({}, static_cast<Revision>(response->header().revision()));
      continue;
    }
    std::vector<StoreEvent> events;
    for (pb::Event& event : *response->mutable_events()) events.push_back(etcd::store_event(event));
    const Revision revision = events.back().revision;
    deliver(std::move(events), revision);
  }
}

// The net change from what was delivered last to now.
io::Task<Result<void>> EtcdStore::bridge_gap() {
  FAIRLEAD_CO_TRY(page, co_await list({.prefix = prefix_}));
  etcd::Revisions gone = keys_;
  std::vector<StoreEvent> events;
  for (KeyValue& item : page.items) {
    const auto before = gone.find(item.key);
    const bool same = before != gone.end() && before->second == item.mod_revision;
    if (before != gone.end()) gone.erase(before);
    if (same) continue;
    events.push_back({.key = std::move(item.key),
                      .value = std::move(item.value),
                      .revision = item.mod_revision,
                      .create_revision = item.create_revision});
  }
  std::ranges::sort(events, {},
                    [](const StoreEvent& event) { return std::tie(event.revision, event.key); });
  for (const auto& [key, revision] : gone) {
    events.push_back(
        {.key = key, .value = nullptr, .revision = page.revision, .create_revision = 0});
  }
  log::warning("etcd has compacted changes that were not seen; clients have to list again",
               {{"from", delivered_}, {"to", page.revision}, {"changed", events.size()}});
  deliver(std::move(events), page.revision, true);
  co_return Result<void>();
}

void EtcdStore::deliver(std::vector<StoreEvent> events, Revision revision, bool gap) {
  std::erase_if(events, [this](const StoreEvent& event) { return event.key == marker_; });
  remember_keys(events);
  if (gap) {
    history_.reset(revision);
  } else {
    history_.add(events);
  }
  delivered_ = std::max(delivered_, revision);
  const auto now = *subscribers_;  // a handler may end or start subscriptions
  for (const auto& subscriber : now) {
    if (subscriber->handler == nullptr || delivered_ <= subscriber->after) continue;
    std::vector<StoreEvent> matching;
    for (const StoreEvent& event : events) {
      if (event.revision > subscriber->after && event.key.starts_with(subscriber->prefix)) {
        matching.push_back(event);
      }
    }
    subscriber->after = delivered_;
    subscriber->handler(EventBatch{.events = matching, .revision = delivered_, .gap = gap});
  }
  for (auto waiter = waiters_.begin(); waiter != waiters_.upper_bound(delivered_); ++waiter)
    waiter->second->notify();
}

// Events of before the start are replayed; what was learnt then is newer.
void EtcdStore::remember_keys(const std::vector<StoreEvent>& events) {
  for (const StoreEvent& event : events) {
    const auto known = keys_.find(event.key);
    if (known != keys_.end() && known->second > event.revision) continue;
    if (event.value != nullptr) {
      keys_.insert_or_assign(event.key, event.revision);
    } else if (known != keys_.end()) {
      keys_.erase(known);
    }
  }
}

// Waits until all subscribers know of `revision`; false when that takes too long.
io::Task<bool> EtcdStore::delivered(Revision revision) {
  const auto until = std::chrono::steady_clock::now() + kDeliveryTimeout;
  io::Event wake(loop_);
  const auto place = waiters_.emplace(revision, &wake);
  while (delivered_ < revision && co_await wake.wait_until(until)) {
  }
  waiters_.erase(place);
  co_return delivered_ >= revision;
}

io::Task<Result<std::unique_ptr<StoreWatch>>> EtcdStore::watch(std::string prefix, Revision after,
                                                               EventHandler handler) {
  if (after < history_.floor()) {
    co_return make_error(ErrorCode::Expired,
                         "watch {}: revision {} has been compacted, the oldest known is {}", prefix,
                         after, history_.floor());
  }
  auto subscriber = std::make_shared<Subscriber>(Subscriber{.prefix = std::move(prefix),
                                                            .handler = std::move(handler),
                                                            .after = std::max(after, delivered_)});
  if (after < delivered_) {
    const auto events = history_.since(after, subscriber->prefix);
    subscriber->handler(EventBatch{.events = events, .revision = delivered_});
  }
  subscribers_->push_back(subscriber);
  co_return std::unique_ptr<StoreWatch>(std::make_unique<Subscription>(subscribers_, subscriber));
}

io::Task<Result<Revision>> EtcdStore::synchronize() {
  FAIRLEAD_CO_TRY(marker, co_await read_marker());
  if (!co_await delivered(marker.last_commit)) {
    co_return make_error(ErrorCode::Timeout, "etcd {}: the watch does not deliver revision {}",
                         client_->endpoint(), marker.last_commit);
  }
  co_return delivered_;
}

// ---- Reading

io::Task<Result<std::optional<KeyValue>>> EtcdStore::get(std::string key, Revision revision) {
  pb::RangeRequest request;
  request.set_key(std::move(key));
  request.set_revision(static_cast<std::int64_t>(revision));
  FAIRLEAD_CO_TRY(response, co_await client_->range(std::move(request)));
  if (response.kvs_size() == 0) co_return std::optional<KeyValue>();
  co_return std::optional(etcd::key_value(*response.mutable_kvs(0)));
}

// In pages, all of one revision.
io::Task<Result<ListPage>> EtcdStore::read(ListRequest request, Content content) {
  ListPage out{.items = {}, .more = false, .revision = request.revision};
  std::string from = request.from.empty() ? request.prefix : request.from;
  while (true) {
    pb::RangeRequest page;
    page.set_key(from);
    page.set_range_end(prefix_end(request.prefix));
    page.set_revision(static_cast<std::int64_t>(out.revision));
    page.set_keys_only(content == Content::Keys);
    const auto wanted = static_cast<std::int64_t>(request.limit - out.items.size());
    page.set_limit(request.limit == 0 ? kPageKeys : std::min(kPageKeys, wanted));
    FAIRLEAD_CO_TRY(response, co_await client_->range(std::move(page)));
    if (out.revision == 0) out.revision = static_cast<Revision>(response.header().revision());
    for (pb::KeyValue& item : *response.mutable_kvs()) out.items.push_back(etcd::key_value(item));
    out.more = response.more();
    if (!out.more || out.items.size() == request.limit) break;
    from = out.items.back().key + '\0';
  }
  std::erase_if(out.items, [this](const KeyValue& item) { return item.key == marker_; });
  co_return out;
}

// ---- Writing

// Every delete gets a compare, so that it is known beforehand whether it changes anything.
io::Task<Result<void>> EtcdStore::guard_deletes(StoreTransaction* transaction) {
  for (const Operation& operation : transaction->operations) {
    if (operation.value != nullptr || is_guarded(*transaction, operation.key)) continue;
    FAIRLEAD_CO_TRY(found, co_await get(operation.key, 0));
    transaction->compares.push_back(
        {.key = operation.key, .mod_revision = found ? found->mod_revision : 0});
  }
  co_return Result<void>();
}

io::Task<Result<CommitResult>> EtcdStore::commit(StoreTransaction transaction) {
  FAIRLEAD_CO_CHECK(check_sizes(transaction));
  const std::size_t asked = transaction.compares.size();
  for (int attempt = 0; attempt < kDeleteAttempts; ++attempt) {
    StoreTransaction guarded = transaction;
    FAIRLEAD_CO_CHECK(co_await guard_deletes(&guarded));
    FAIRLEAD_CO_TRY(result, co_await commit_once(&guarded));
    const bool ours = std::ranges::any_of(
        std::span(guarded.compares).subspan(asked),
        [&result](const Compare& compare) { return compare.key == result.conflicting_key; });
    if (result.succeeded || !ours) co_return result;
  }
  co_return make_error(ErrorCode::Unavailable, "{}: others keep changing it",
                       transaction.operations.front().key);
}

io::Task<Result<CommitResult>> EtcdStore::commit_once(const StoreTransaction* transaction) {
  const etcd::Commit commit(*transaction, delivered_, keys_);
  if (!commit.stale().empty()) co_return CommitResult{.conflicting_key = commit.stale()};
  pb::TxnRequest request = commit.request();
  if (commit.writes()) request.add_success()->mutable_request_put()->set_key(marker_);
  auto answer = co_await client_->txn(std::move(request));
  // With its quota used up etcd takes no put, but what makes room again. Without the marker other
  // servers learn of it from their watches alone, a moment later.
  if (!answer && etcd::is_out_of_space(answer.error()) && commit.only_deletes())
    answer = co_await client_->txn(commit.request());
  FAIRLEAD_CO_TRY(response, std::move(answer));
  CommitResult out{.succeeded = response.succeeded()};
  if (!out.succeeded) {
    out.conflicting_key = commit.conflict(response);
    co_return out;
  }
  const auto revision = static_cast<Revision>(response.header().revision());
  for (const Operation& operation : transaction->operations) {
    out.revisions.push_back(etcd::changes_nothing(*transaction, operation) ? 0 : revision);
  }
  if (commit.writes() && !co_await delivered(revision)) {
    co_return make_error(ErrorCode::Timeout,
                         "etcd {}: revision {} was committed but has not been delivered",
                         client_->endpoint(), revision);
  }
  co_return out;
}

io::Task<Result<void>> EtcdStore::compact(Revision revision) {
  if (revision > history_.floor()) {
    pb::CompactionRequest request;
    request.set_revision(static_cast<std::int64_t>(revision));
    const auto done = co_await client_->compact(std::move(request));
    // Expired: another server was quicker.
    if (!done && done.error().code != ErrorCode::Expired) co_return done.error();
    history_.forget_to(revision);
  }
  co_return Result<void>();
}

io::Task<void> EtcdStore::close() {
  closing_ = true;
  if (stream_) stream_->cancel();
  co_await tasks_.close();
}

}  // namespace

io::Task<Result<std::unique_ptr<Store>>> open_etcd_store(EtcdConfig config) {
  if (!config.prefix.starts_with('/') || !config.prefix.ends_with('/')) {
    co_return make_error(ErrorCode::Invalid, "etcd prefix \"{}\" must start and end with '/'",
                         config.prefix);
  }
  const io::Executor loop = co_await io::asio::this_coro::executor;
  FAIRLEAD_CO_TRY(client, etcd::Client::create(loop, config));
  auto store = std::make_unique<EtcdStore>(loop, std::move(client), std::move(config.prefix));
  if (const auto opened = co_await store->open(); !opened) {
    co_await store->close();
    co_return opened.error();
  }
  co_return std::unique_ptr<Store>(std::move(store));
}

}  // namespace fairlead::apiserver
