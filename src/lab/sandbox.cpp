#include "lab/sandbox.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <thread>

#include "base/text.hpp"

namespace fairlead::lab {
namespace {

// A UTS namespace whose host name is `hostname`; made on a thread that ends with it.
Result<io::UniqueFd> make_hostname_space(const std::string& hostname) {
  Result<io::UniqueFd> out;
  std::thread([&] {
    if (::unshare(CLONE_NEWUTS) != 0 || ::sethostname(hostname.data(), hostname.size()) != 0) {
      out = errno_error(errno, fmt::format("make a namespace for host name {}", hostname));
      return;
    }
    io::UniqueFd fd(::open("/proc/thread-self/ns/uts", O_RDONLY | O_CLOEXEC));
    if (fd) {
      out = std::move(fd);
    } else {
      out = errno_error(errno, "open the namespace of a host name");
    }
  }).join();
  return out;
}

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

bool lives_in(std::string_view pid, const struct stat& space) {
  struct stat theirs{};
  const std::string path = fmt::format("/proc/{}/ns/net", pid);
  return ::stat(path.c_str(), &theirs) == 0 && theirs.st_ino == space.st_ino &&
         theirs.st_dev == space.st_dev;
}

// Processes may leave their session and their parent, but not (without privilege over the lab's
// descriptors) their network namespace.
Result<void> kill_all_in(const io::NetNamespace& space) {
  struct stat wanted{};
  if (::fstat(space.fd(), &wanted) != 0) return errno_error(errno, "look at a pod's namespace");
  const std::unique_ptr<DIR, CloseDirectory> processes(::opendir("/proc"));
  if (!processes) return errno_error(errno, "list processes");
  while (const dirent* entry = ::readdir(processes.get())) {
    const auto pid = parse_uint(entry->d_name);
    if (pid && lives_in(entry->d_name, wanted)) ::kill(static_cast<pid_t>(*pid), SIGKILL);
  }
  return {};
}

// Unique on the node and short enough for a link's name.
std::string veth_name(unsigned number) { return fmt::format("pod{}", number); }

}  // namespace

Result<Sandbox> Sandbox::create(const Config& config) {
  FAIRLEAD_TRY(hostname, make_hostname_space(config.hostname));
  if (config.host_network) return Sandbox(config, config.layout->address, std::move(hostname));
  const auto number = config.addresses->take();
  if (!number) {
    return make_error(ErrorCode::Exhausted, "all addresses of {} on {} are in use",
                      config.layout->pods.v4, config.layout->name);
  }
  const DualAddress address{.v4 = config.layout->pods.v4.address().plus(*number),
                            .v6 = config.layout->pods.v6.address().plus(*number)};
  auto space = config.network->add_pod(veth_name(*number), address);
  if (!space) {
    config.addresses->give_back(*number);
    return std::move(space).error();
  }
  Sandbox out(config, address, std::move(hostname));
  out.number_ = *number;
  out.own_ = *std::move(space);
  return out;
}

std::vector<int> Sandbox::namespaces() const {
  const auto& space = own_ ? *own_ : config_.network->space();
  return {space.fd(), hostname_.get()};
}

Result<void> Sandbox::tear_down() {
  if (!own_) return {};
  auto killed = kill_all_in(*own_);
  auto removed = config_.network->remove_pod(veth_name(number_));
  own_.reset();
  config_.addresses->give_back(number_);
  if (!killed) return killed;
  return removed;
}

}  // namespace fairlead::lab
