// Tells the API server what happened (events.k8s.io/v1), so that `kubectl describe` shows it.
//
// Loop thread; owned by whoever wires the process. record() costs nothing and never fails: run()
// sends in the background, as far as the server takes events at all. One that does not (404, or 403
// for want of permission) is said once in the log; one that is away is tried again. Events are
// news, not state: they are given up rather than kept for ever.
#pragma once

#include "client/api_client.hpp"
#include "client/backoff.hpp"
#include "client/event_series.hpp"

namespace fairlead::client {

class EventRecorder {
 public:
  struct Config {
    ApiClient* client = nullptr;
    EventSeries::Config series;
    Backoff::Config backoff;
    const Clock* clock = &Clock::real();
  };
  EventRecorder(io::Executor executor, Config config);

  void record(const Event& event);
  io::Task<void> run();  // until cancelled
  // Until every event has been sent or given up, or time has passed; for what is said last.
  io::Task<void> flush(std::chrono::nanoseconds patience);

 private:
  io::Task<Result<std::string>> send(EventSeries::Request request);
  void failed(const Error& error, bool create);
  void say_once(const Error& error);

  Config config_;
  EventSeries series_;
  Backoff backoff_;
  io::Event recorded_, settled_;
  bool complained_ = false;
};

}  // namespace fairlead::client
