#include "proxy/modes/userspace/entrance.hpp"

#include <chrono>

#include "io/process.hpp"

namespace fairlead::userspace {
namespace {

constexpr auto kToolTimeout = std::chrono::seconds(30);

}  // namespace

Result<std::string> run_tool(std::vector<std::string> argv, std::string_view input) {
  const std::string name = argv.front();
  auto output = io::run_blocking({.argv = std::move(argv)}, input, kToolTimeout);
  if (!output) return output.error().with_context("run " + name);
  if (output->status.ok()) return std::move(output->out);
  const std::string why = output->err.substr(0, output->err.find('\n'));
  if (why.find("Operation not permitted") != std::string::npos) {
    return make_error(ErrorCode::Forbidden,
                      "{}: {}; run as root, or give the process CAP_NET_ADMIN", name, why);
  }
  if (why.find("No such file or directory") != std::string::npos ||
      why.find("does not exist") != std::string::npos ||
      why.find("Cannot find device") != std::string::npos) {
    return make_error(ErrorCode::NotFound, "{}: {}", name, why);
  }
  return make_error(ErrorCode::Internal, "{}: {}", name, why);
}

}  // namespace fairlead::userspace
