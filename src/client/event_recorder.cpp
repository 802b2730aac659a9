#include "client/event_recorder.hpp"

#include "base/log.hpp"

namespace fairlead::client {

using std::chrono::steady_clock;

EventRecorder::EventRecorder(io::Executor executor, Config config)
    : config_(std::move(config)),
      series_(config_.series),
      backoff_(config_.backoff),
      recorded_(executor),
      settled_(executor) {}

void EventRecorder::record(const Event& event) {
  series_.record(event, config_.clock->mono(), config_.clock->wall());
  recorded_.notify();
}

io::Task<Result<std::string>> EventRecorder::send(EventSeries::Request request) {
  if (request.create) return config_.client->post(std::move(request.path), std::move(request.body));
  return config_.client->patch(std::move(request.path), "application/merge-patch+json",
                               std::move(request.body));
}

io::Task<void> EventRecorder::run() {
  while (!co_await io::cancelled()) {
    auto request = series_.next(config_.clock->mono());
    if (!request) {
      settled_.notify();
      if (const auto due = series_.next_due()) {
        co_await recorded_.wait_until(*due);
      } else {
        co_await recorded_.wait();
      }
      continue;
    }
    const bool create = request->create;
    const auto answer = co_await send(*std::move(request));
    if (answer) {
      series_.sent(config_.clock->mono());
      backoff_.reset();
    } else {
      failed(answer.error(), create);
    }
  }
}

void EventRecorder::failed(const Error& error, bool create) {
  const MonoTime now = config_.clock->mono();
  switch (error.code) {
    case ErrorCode::AlreadyExists:  // a former try arrived after all
      return series_.sent(now);
    case ErrorCode::NotFound:
      if (!create) return series_.vanished(now);
      [[fallthrough]];
    case ErrorCode::Forbidden:
      say_once(error);
      return series_.refused();
    case ErrorCode::Unavailable:
    case ErrorCode::Timeout:
    case ErrorCode::Exhausted:
    case ErrorCode::Internal:
    case ErrorCode::Cancelled:
    case ErrorCode::Unauthorized:
      log::verbose(2, "cannot tell the API server of an event, trying again", {{"err", error}});
      return series_.lost(now + backoff_.next());
    case ErrorCode::Invalid:
    case ErrorCode::BadRequest:
    case ErrorCode::Conflict:
    case ErrorCode::Expired:
    case ErrorCode::TooLarge:
    case ErrorCode::Unsupported:
      log::warning("the API server refuses an event", {{"err", error}});
      return series_.refused();
  }
}

void EventRecorder::say_once(const Error& error) {
  if (std::exchange(complained_, true)) return;
  log::warning("the API server does not take events from us, going on without them",
               {{"err", error}});
}

io::Task<void> EventRecorder::flush(std::chrono::nanoseconds patience) {
  const auto deadline = steady_clock::now() + patience;
  while (!series_.idle() && co_await settled_.wait_until(deadline)) {
  }
}

}  // namespace fairlead::client
