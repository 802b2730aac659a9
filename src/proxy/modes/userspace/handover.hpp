// Handover: the forwarder's sockets pass from a process to the one that takes its place, so that an
// upgrade refuses no connection and loses no datagram.
//
// The older process listens at an abstract unix socket of its network namespace (unix(7)). The
// newer one asks there, gets a copy of every socket (SCM_RIGHTS), prepares to serve and then says
// so; the older one stops accepting, frees the name and says so; it lives on until its connections
// have ended. Connections that come meanwhile wait in the backlog that both have. Both must be of
// the same user.
//
// Thread rule: Predecessor one thread; Handover has a thread of its own, on which the hooks are
// called.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <thread>

#include "base/error.hpp"
#include "io/fd.hpp"
#include "proxy/modes/userspace/forwarder.hpp"

namespace fairlead::userspace {

// The older process, as the newer one sees it.
class Predecessor {
 public:
  // Nothing when no one serves here. Unavailable: it does, and does not answer.
  static Result<std::optional<Predecessor>> find();

  Sockets take_sockets() { return std::move(sockets_); }
  // Returns when it has let go. Unavailable: it has not, and goes on serving. A process that died
  // meanwhile has let go.
  Result<void> replace();

 private:
  explicit Predecessor(io::UniqueFd connection) : connection_(std::move(connection)) {}
  Result<void> receive();

  io::UniqueFd connection_;
  Sockets sockets_;
};

// The older process's side.
class Handover {
 public:
  struct Hooks {
    // Copies of all sockets; from here on nothing may change until one of the others is called.
    std::function<Sockets()> sockets;
    std::function<void()> let_go;  // the other one serves
    std::function<void()> keep;    // it gave up
  };
  // AlreadyExists: another process listens already.
  static Result<std::unique_ptr<Handover>> start(Hooks hooks);
  ~Handover();  // a handover that is under way is given up
  Handover(const Handover&) = delete;
  Handover& operator=(const Handover&) = delete;

 private:
  Handover(io::UniqueFd listener, io::UniqueFd stop, Hooks hooks);
  void run();
  // True: it took over.
  bool serve(const io::UniqueFd& connection);
  bool wait_readable(int fd, std::chrono::milliseconds patience) const;

  io::UniqueFd listener_, stop_;
  Hooks hooks_;
  std::thread thread_;
};

}  // namespace fairlead::userspace
