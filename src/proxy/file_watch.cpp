#include "proxy/file_watch.hpp"

#include <sys/inotify.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>

#include "io/fd.hpp"

namespace fairlead::proxy {

io::Task<Result<bool>> file_changed(io::Executor executor, std::string path) {
  io::UniqueFd fd(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!fd || inotify_add_watch(fd.get(), path.c_str(), IN_MODIFY | IN_MOVE_SELF) < 0) {
    co_return errno_error(errno, fmt::format("watch {}", path));
  }
  io::asio::posix::stream_descriptor descriptor(executor, fd.release());
  const auto [ec] =
      co_await descriptor.async_wait(io::asio::posix::descriptor_base::wait_read, io::kNoThrow);
  co_return !ec;
}

}  // namespace fairlead::proxy
