// Network namespaces as handles. A NetNamespace is an open descriptor of one; entering it changes
// the calling thread only, so it is done on a short-lived thread of our own and never on the
// loop's.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

#include "base/error.hpp"
#include "io/fd.hpp"

namespace fairlead::io {

class NetNamespace {
 public:
  // A new, empty, anonymous namespace; it dies with its last descriptor, process or interface in
  // it. Needs CAP_SYS_ADMIN. Loopback is up.
  static Result<NetNamespace> create();
  static Result<NetNamespace> of_process(pid_t pid);
  static Result<NetNamespace> of_path(const std::string& path);  // e.g. /run/netns/x
  static Result<NetNamespace> current();

  // Runs `body` on a helper thread inside the namespace and waits for it. Sockets made there keep
  // belonging to the namespace whoever uses them later.
  Result<void> run(const std::function<Result<void>()>& body) const;

  int fd() const { return fd_.get(); }

 private:
  explicit NetNamespace(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace fairlead::io
