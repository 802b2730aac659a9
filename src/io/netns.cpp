#include "io/netns.hpp"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <thread>

namespace fairlead::io {
namespace {

// A thread of its own: a namespace belongs to a thread, and this one ends with it.
template <class Body>
Result<void> on_own_thread(const Body& body) {
  Result<void> result;
  std::thread([&] { result = body(); }).join();
  return result;
}

Result<UniqueFd> open_namespace(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return errno_error(errno, fmt::format("open network namespace {}", path));
  return fd;
}

Error no_privilege_or(int err, std::string_view what) {
  Error error = errno_error(err, what);
  if (err == EPERM) error.message += " (CAP_SYS_ADMIN is needed; run as root)";
  return error;
}

Result<void> bring_up_loopback() {
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return errno_error(errno, "open a socket in the new network namespace");
  ifreq request{};
  std::strncpy(request.ifr_name, "lo", sizeof request.ifr_name - 1);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (::ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0)
    return errno_error(errno, "bring up lo in the new network namespace");
  return {};
}

}  // namespace

Result<NetNamespace> NetNamespace::create() {
  UniqueFd fd;
  FAIRLEAD_CHECK(on_own_thread([&]() -> Result<void> {
    if (::unshare(CLONE_NEWNET) != 0) return no_privilege_or(errno, "make a network namespace");
    FAIRLEAD_CHECK(bring_up_loopback());
    FAIRLEAD_TRY(opened, open_namespace("/proc/thread-self/ns/net"));
    fd = std::move(opened);
    return {};
  }));
  return NetNamespace(std::move(fd));
}

Result<NetNamespace> NetNamespace::of_process(pid_t pid) {
  return of_path(fmt::format("/proc/{}/ns/net", pid));
}

Result<NetNamespace> NetNamespace::of_path(const std::string& path) {
  FAIRLEAD_TRY(fd, open_namespace(path));
  return NetNamespace(std::move(fd));
}

Result<NetNamespace> NetNamespace::current() { return of_path("/proc/thread-self/ns/net"); }

Result<void> NetNamespace::run(const std::function<Result<void>()>& body) const {
  return on_own_thread([&]() -> Result<void> {
    if (::setns(fd_.get(), CLONE_NEWNET) != 0)
      return no_privilege_or(errno, "enter a network namespace");
    return body();
  });
}

}  // namespace fairlead::io
