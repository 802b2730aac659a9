// How commands talk to a running lab: one request line, one answer, over a Unix socket of packets
// that can carry descriptors. Only root and the lab's owner can open it (the folder is 0700).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "io/fd.hpp"
#include "io/task.hpp"

namespace fairlead::lab {

struct ControlAnswer {
  std::string text;
  std::vector<io::UniqueFd> descriptors;  // at most kMaxDescriptors
};
inline constexpr std::size_t kMaxDescriptors = 8;

// Invalid: a socket's path cannot be that long.
Result<void> check_socket_path(const std::string& path);

// Supervisor's side; loop thread only. A handler's error travels back as an error.
class ControlServer {
 public:
  using Handler = std::function<Result<ControlAnswer>(const std::string& request)>;

  static Result<ControlServer> create(const std::string& path);
  // Serves until cancelled, one command after the other: each takes microseconds.
  io::Task<void> serve(Handler handler);

 private:
  explicit ControlServer(io::UniqueFd socket) : socket_(std::move(socket)) {}
  io::UniqueFd socket_;
};

// The command's side; blocks. NotFound: no lab listens there.
class ControlClient {
 public:
  static Result<ControlClient> connect(const std::string& path);
  Result<ControlAnswer> ask(const std::string& request);

 private:
  explicit ControlClient(io::UniqueFd socket) : socket_(std::move(socket)) {}
  io::UniqueFd socket_;
};

}  // namespace fairlead::lab
