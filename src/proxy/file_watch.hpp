// Waits for a file to be written, or to be replaced by a rename over it, as kube-proxy watches its
// configuration (spec/kube-proxy 1.9). Loop thread.
#pragma once

#include <string>

#include "base/error.hpp"
#include "io/task.hpp"

namespace fairlead::proxy {

// True when it was changed, false when cancelled; an error when it cannot be watched.
io::Task<Result<bool>> file_changed(io::Executor executor, std::string path);

}  // namespace fairlead::proxy
