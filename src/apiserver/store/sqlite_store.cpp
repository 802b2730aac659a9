#include "apiserver/store/sqlite_store.hpp"

#include <boost/asio/post.hpp>
#include <condition_variable>
#include <deque>
#include <list>
#include <mutex>
#include <thread>
#include <variant>

#include "apiserver/store/sqlite_log.hpp"
#include "io/callback.hpp"

namespace fairlead::apiserver {
namespace {

namespace asio = io::asio;

constexpr std::size_t kMostInGroup = 256;  // commits that share one fsync
constexpr std::uint64_t kCompactionStep =
    500;  // revisions forgotten per turn, so that commits get in between

using io::Done;

struct CommitJob {
  StoreTransaction transaction;
  Done<CommitResult> done;
};
using ReadJob = std::function<void(SqliteLog&)>;  // posts its own result
using Job = std::variant<CommitJob, ReadJob>;

// What outlives the store object: handlers that were posted but have not run yet find it closed.
struct Shared {
  explicit Shared(io::Executor loop) : executor(std::move(loop)) {}

  io::Executor executor;
  std::mutex mutex;
  std::condition_variable wake;
  std::deque<Job> jobs;   // guarded by mutex
  bool stopping = false;  // guarded by mutex

  // The loop's side.
  struct Subscriber {
    std::string prefix;
    Store::EventHandler handler;
    bool live = false;
  };
  std::list<std::shared_ptr<Subscriber>> subscribers;
  Revision published = 0;
  Revision compacted = 0;

  void publish(const std::vector<StoreEvent>& events);
};

void Shared::publish(const std::vector<StoreEvent>& events) {
  if (events.empty()) return;
  published = events.back().revision;
  const auto now = subscribers;  // a handler may end or start subscriptions
  for (const auto& subscriber : now) {
    if (!subscriber->live) continue;
    std::vector<StoreEvent> matching;
    for (const StoreEvent& event : events) {
      if (event.key.starts_with(subscriber->prefix)) matching.push_back(event);
    }
    subscriber->handler(EventBatch{.events = matching, .revision = published});
  }
}

class Subscription final : public StoreWatch {
 public:
  Subscription(std::shared_ptr<Shared> shared, std::shared_ptr<Shared::Subscriber> subscriber)
      : shared_(std::move(shared)), subscriber_(std::move(subscriber)) {}
  ~Subscription() override {
    subscriber_->live = false;
    shared_->subscribers.remove(subscriber_);
  }

 private:
  std::shared_ptr<Shared> shared_;
  std::shared_ptr<Shared::Subscriber> subscriber_;
};

// ---- The worker's side

class Worker {
 public:
  Worker(std::shared_ptr<Shared> shared, SqliteLog log)
      : shared_(std::move(shared)), log_(std::move(log)) {}

  void run() {
    while (true) {
      std::deque<Job> jobs = take();
      if (jobs.empty()) return;
      while (!jobs.empty()) run_front(jobs);
    }
  }

 private:
  std::deque<Job> take() {
    std::unique_lock lock(shared_->mutex);
    shared_->wake.wait(lock, [this] { return shared_->stopping || !shared_->jobs.empty(); });
    return std::exchange(shared_->jobs, {});
  }

  // Runs the first job, or all commits at the front as one group.
  void run_front(std::deque<Job>& jobs) {
    if (auto* read = std::get_if<ReadJob>(&jobs.front())) {
      (*read)(log_);
      jobs.pop_front();
      return;
    }
    std::vector<StoreTransaction> transactions;
    std::vector<Done<CommitResult>> waiting;
    while (!jobs.empty() && transactions.size() < kMostInGroup) {
      auto* commit = std::get_if<CommitJob>(&jobs.front());
      if (commit == nullptr) break;
      transactions.push_back(std::move(commit->transaction));
      waiting.push_back(std::move(commit->done));
      jobs.pop_front();
    }
    asio::post(shared_->executor, [shared = shared_, group = log_.commit(transactions),
                                   waiting = std::move(waiting)]() mutable {
      finish(*shared, std::move(group), waiting);
    });
  }

  static void finish(Shared& shared, Result<SqliteLog::Group> group,
                     std::vector<Done<CommitResult>>& waiting) {
    if (group) shared.publish(group->events);
    for (std::size_t i = 0; i < waiting.size(); ++i) {
      waiting[i](group ? Result<CommitResult>(std::move(group->results[i]))
                       : Result<CommitResult>(group.error()));
    }
  }

  std::shared_ptr<Shared> shared_;
  SqliteLog log_;
};

// ---- The store

class SqliteStore final : public Store {
 public:
  SqliteStore(std::shared_ptr<Shared> shared, SqliteLog log, std::size_t queued_commits)
      : shared_(std::move(shared)),
        queued_commits_(queued_commits),
        thread_(&Worker::run, std::make_unique<Worker>(shared_, std::move(log))) {}

  ~SqliteStore() override { stop(); }

  Revision current_revision() const override { return shared_->published; }
  Revision compacted_revision() const override { return shared_->compacted; }
  // Nobody else writes, and who committed has been answered after its events were published.
  io::Task<Result<Revision>> synchronize() override { co_return shared_->published; }

  io::Task<Result<std::optional<KeyValue>>> get(std::string key, Revision revision) override {
    co_return co_await read<std::optional<KeyValue>>(
        [key = std::move(key), revision](SqliteLog& log) { return log.get(key, revision); });
  }

  io::Task<Result<ListPage>> list(ListRequest request) override {
    co_return co_await read<ListPage>(
        [request = std::move(request)](SqliteLog& log) { return log.list(request); });
  }

  io::Task<Result<CommitResult>> commit(StoreTransaction transaction) override;
  io::Task<Result<std::unique_ptr<StoreWatch>>> watch(std::string prefix, Revision after,
                                                      EventHandler handler) override;
  io::Task<Result<void>> compact(Revision revision) override;
  io::Task<void> close() override;

 private:
  // Hands a job over; false when closing or full.
  bool enqueue(Job job, std::size_t most) {
    {
      const std::scoped_lock lock(shared_->mutex);
      if (shared_->stopping || shared_->jobs.size() >= most) return false;
      shared_->jobs.push_back(std::move(job));
    }
    shared_->wake.notify_one();
    return true;
  }

  void stop() {
    {
      const std::scoped_lock lock(shared_->mutex);
      shared_->stopping = true;
    }
    shared_->wake.notify_one();
    if (thread_.joinable()) thread_.join();
  }

  // Runs `job` on the worker and resumes with its result.
  template <class T, class Function>
  io::Task<Result<T>> read(Function job) {
    auto start = [this, job = std::move(job)](Done<T> done) mutable {
      ReadJob task = [shared = shared_, job = std::move(job), done](SqliteLog& log) {
        asio::post(shared->executor,
                   [result = job(log), done]() mutable { done(std::move(result)); });
      };
      if (!enqueue(std::move(task), SIZE_MAX))
        refuse<T>(done, ErrorCode::Cancelled, "the store is closing");
    };
    co_return co_await io::await_callback<T>(shared_->executor, std::move(start));
  }

  template <class T>
  void refuse(Done<T> done, ErrorCode code, std::string why) {
    asio::post(shared_->executor, [done = std::move(done), code, why = std::move(why)] {
      done(Error{.code = code, .message = why});
    });
  }

  std::shared_ptr<Shared> shared_;
  std::size_t queued_commits_;
  std::thread thread_;
};

io::Task<Result<CommitResult>> SqliteStore::commit(StoreTransaction transaction) {
  for (const Operation& operation : transaction.operations) {
    if (operation.value != nullptr && operation.value->size() > kMaxValueBytes) {
      co_return make_error(ErrorCode::TooLarge, "{}: value of {} bytes, the limit is {}",
                           operation.key, operation.value->size(), kMaxValueBytes);
    }
  }
  auto start = [this, transaction = std::move(transaction)](Done<CommitResult> done) mutable {
    if (!enqueue(CommitJob{.transaction = std::move(transaction), .done = done}, queued_commits_)) {
      refuse<CommitResult>(done, ErrorCode::Exhausted, "the store's queue is full");
    }
  };
  co_return co_await io::await_callback<CommitResult>(shared_->executor, std::move(start));
}

// The history is read on the worker; what commits after it is published by later posts, so
// switching to live when the history arrives loses and repeats nothing.
io::Task<Result<std::unique_ptr<StoreWatch>>> SqliteStore::watch(std::string prefix, Revision after,
                                                                 EventHandler handler) {
  struct History {
    std::vector<StoreEvent> events;
    Revision upto = 0;
  };
  auto shared = shared_;
  auto subscriber = std::make_shared<Shared::Subscriber>(
      Shared::Subscriber{.prefix = prefix, .handler = std::move(handler), .live = false});
  auto start = [this, subscriber, after](Done<History> done) {
    ReadJob task = [shared = shared_, subscriber, after, done](SqliteLog& log) {
      auto events = log.changes(subscriber->prefix, after);
      const Revision upto = log.revision();
      asio::post(shared->executor,
                 [shared, subscriber, events = std::move(events), upto, done]() mutable {
                   if (!events) return done(events.error());
                   subscriber->live = true;
                   shared->subscribers.push_back(subscriber);
                   subscriber->handler(EventBatch{.events = *events, .revision = upto});
                   done(History{.events = {}, .upto = upto});
                 });
    };
    if (!enqueue(std::move(task), SIZE_MAX))
      refuse<History>(done, ErrorCode::Cancelled, "the store is closing");
  };
  auto history = co_await io::await_callback<History>(shared->executor, std::move(start));
  if (!history) co_return history.error().with_context("watch " + prefix);
  co_return std::unique_ptr<StoreWatch>(std::make_unique<Subscription>(shared, subscriber));
}

io::Task<Result<void>> SqliteStore::compact(Revision revision) {
  while (true) {
    auto reached = co_await read<Revision>(
        [revision](SqliteLog& log) { return log.compact(revision, kCompactionStep); });
    if (!reached) co_return std::move(reached).error();
    shared_->compacted = *reached;
    if (*reached >= revision) co_return Result<void>();
  }
}

// Jobs run in order, so an empty one is done when all before it are.
io::Task<void> SqliteStore::close() {
  auto drained = co_await read<bool>([](SqliteLog&) { return Result<bool>(true); });
  static_cast<void>(drained);  // fails only when closing already
  stop();
}

}  // namespace

Result<std::unique_ptr<Store>> open_sqlite_store(io::Executor executor, SqliteStoreConfig config) {
  FAIRLEAD_TRY(log, SqliteLog::open(config.path));
  auto shared = std::make_shared<Shared>(std::move(executor));
  shared->published = log.revision();
  shared->compacted = log.compacted();
  return std::unique_ptr<Store>(
      std::make_unique<SqliteStore>(std::move(shared), std::move(log), config.queued_commits));
}

}  // namespace fairlead::apiserver
