// A thread that stays in the network namespace it was started in, for work that has to be done
// there: making sockets and running tools. The caller waits. (Entering the namespace from another
// thread would take a capability that all the rest does without.)
#pragma once

#include <latch>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "proxy/modes/userspace/event_loop.hpp"

namespace fairlead::userspace {

class HomeThread {
 public:
  explicit HomeThread(std::unique_ptr<EventLoop> loop)
      : loop_(std::move(loop)), thread_([this] { loop_->run(); }) {}
  ~HomeThread() {
    loop_->stop();
    thread_.join();
  }
  HomeThread(const HomeThread&) = delete;
  HomeThread& operator=(const HomeThread&) = delete;

  template <class Work>
  auto run(Work work) {
    std::optional<decltype(work())> out;
    std::latch done(1);
    loop_->post([&] {
      out.emplace(work());
      done.count_down();
    });
    done.wait();
    return *std::move(out);
  }

 private:
  std::unique_ptr<EventLoop> loop_;
  std::thread thread_;
};

}  // namespace fairlead::userspace
