#include "io/fd.hpp"

#include <unistd.h>

namespace fairlead::io {

void UniqueFd::reset() {
  if (fd_ >= 0) {
    // Not retried on EINTR: Linux has released the descriptor by then.
    ::close(fd_);
    fd_ = -1;
  }
}

}  // namespace fairlead::io
