#include "lab/pod_worker.hpp"

#include <fcntl.h>
#include <signal.h>

#include <algorithm>
#include <cerrno>

#include "base/log.hpp"
#include "io/probe.hpp"

namespace fairlead::lab {
namespace {

using namespace std::chrono_literals;

constexpr auto kRetryPause = 1s;  // of sandbox and API calls

template <class... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};

}  // namespace

std::string log_path(const std::string& directory, const kube::NamespacedName& pod,
                     const std::string& container) {
  return fmt::format("{}/{}_{}_{}.log", directory, pod.namespace_, pod.name, container);
}

PodWorker::PodWorker(const io::Executor& executor, NodeSurroundings* node, kube::Pod pod)
    : node_(node),
      pod_(std::move(pod)),
      machine_({.pod = pod_, .pauses = {}, .now = Instant::of(*node->clock)}),
      place_{.pod = {}, .host = node->layout.address, .since = node->clock->wall()},
      children_(machine_.size()),
      wake_(executor),
      tasks_(executor, "pod") {
  update(pod_);
}

kube::NamespacedName PodWorker::key() const {
  return {.namespace_ = pod_.metadata.namespace_, .name = pod_.metadata.name};
}

// A host name has at most 63 characters, a pod's name more.
std::string PodWorker::hostname() const {
  return pod_.hostname.empty() ? pod_.metadata.name.substr(0, 63) : pod_.hostname;
}

void PodWorker::log_failure(std::string_view what, const Error& error) const {
  log::warning(what, {{"pod", key().to_string()}, {"node", node_->layout.name}, {"err", error}});
}

void PodWorker::update(const kube::Pod& pod) {
  if (!pod.metadata.deletion_timestamp) return;
  const auto grace = pod.metadata.deletion_grace_period_seconds.value_or(30);
  machine_.terminate(std::chrono::seconds{grace}, now());
  wake_.notify();
}

void PodWorker::vanish() {
  vanished_ = true;
  machine_.terminate(0s, now());
  wake_.notify();
}

io::Task<void> PodWorker::run() {
  bool removing = false;
  while (!removing && !co_await io::cancelled()) {
    if (!set_up()) {
      co_await wake_.wait_until(node_->clock->mono() + kRetryPause);
      removing = machine_.terminating();
      continue;
    }
    removing = perform_all(machine_.advance(now()));
    if (removing) break;
    co_await publish();
    auto next = machine_.next_due().value_or(node_->clock->mono() + 1h);
    const bool unpublished = published_ != pod_status_patch(pod_, machine_.report(), place_);
    if (unpublished) next = std::min(next, node_->clock->mono() + kRetryPause);
    co_await wake_.wait_until(next);
  }
  co_await tasks_.close();
  for (const auto& child : children_) {
    if (child) ::kill(-child->pid(), SIGKILL);  // with what it started
  }
  children_.clear();
  if (sandbox_) {
    if (const auto done = sandbox_->tear_down(); !done)
      log_failure("Could not clean up after a pod", done.error());
    sandbox_.reset();
  }
  if (removing && !vanished_) co_await remove();
}

bool PodWorker::set_up() {
  if (sandbox_ || machine_.terminating()) return sandbox_.has_value();
  auto sandbox = Sandbox::create({.network = node_->network,
                                  .addresses = &node_->addresses,
                                  .layout = &node_->layout,
                                  .hostname = hostname(),
                                  .host_network = pod_.host_network});
  if (!sandbox) {
    log_failure("Could not make a pod's network, trying again", sandbox.error());
    return false;
  }
  sandbox_ = *std::move(sandbox);
  place_.pod = sandbox_->address();
  return true;
}

bool PodWorker::perform_all(const std::vector<PodAction>& actions) {
  bool removing = false;
  for (const PodAction& action : actions) {
    std::visit(Overloaded{[this](const StartContainer& a) { start(a.container); },
                          [this](const SignalContainer& a) {
                            auto& child = children_.at(a.container);
                            // A container's processes are one session: all of them get the signal.
                            if (child) ::kill(-child->pid(), a.signal);
                          },
                          [this](const RunProbe& a) { tasks_.spawn(probe(a)); },
                          [&removing](const RemovePod&) { removing = true; }},
               action);
  }
  return removing;
}

Result<io::Command> PodWorker::command_for(ContainerIndex container) const {
  ContainerSurroundings surroundings = node_->containers;
  surroundings.hostname = hostname();
  FAIRLEAD_TRY(command, container_command(machine_.spec(container), surroundings));
  command.namespaces = sandbox_->namespaces();
  return command;
}

Result<void> PodWorker::spawn(ContainerIndex container) {
  FAIRLEAD_TRY(command, command_for(container));
  const std::string path = log_path(node_->log_directory, key(), machine_.spec(container).name);
  const io::UniqueFd log(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
  if (!log) return errno_error(errno, fmt::format("open log {}", path));
  command.stdout_fd = command.stderr_fd = log.get();
  FAIRLEAD_TRY(child, io::Child::spawn(command));
  children_.at(container) = std::move(child);
  return {};
}

void PodWorker::start(ContainerIndex container) {
  const auto spawned = spawn(container);
  if (spawned) {
    machine_.started(container, now());
    tasks_.spawn(watch(container));
  } else {
    const bool no_command = machine_.spec(container).command.empty();
    machine_.not_started(container,
                         {.reason = no_command ? "CommandRequired" : "StartError",
                          .message = spawned.error().message},
                         now());
  }
  wake_.notify();  // the outcome may be due for more: another start, a probe, a new status
}

io::Task<void> PodWorker::watch(ContainerIndex container) {
  auto& child = children_.at(container);
  const pid_t session = child->pid();
  const auto status = co_await child->wait();
  if (!status) co_return;     // cancelled: run() ends everything
  ::kill(-session, SIGKILL);  // what its main process left behind
  child.reset();
  machine_.ended(container, *status, now());
  wake_.notify();
}

io::Task<Result<void>> PodWorker::run_probe(ContainerIndex container) {
  const kube::Container& spec = machine_.spec(container);
  const kube::Probe probe = spec.readiness_probe.value_or(kube::Probe{});
  const io::NetNamespace* from = &node_->network->space();
  const IpAddress to = place_.pod.v4;
  if (const auto* tcp = std::get_if<kube::Probe::TcpSocket>(&probe.action)) {
    FAIRLEAD_CO_TRY(port, probe_port(tcp->port, spec));
    co_return co_await io::probe_tcp(from, {.address = to, .port = port}, probe.timeout);
  }
  if (const auto* http = std::get_if<kube::Probe::HttpGet>(&probe.action)) {
    if (http->scheme != "HTTP" && !http->scheme.empty())
      co_return make_error(ErrorCode::Unsupported, "probes over {} are not offered", http->scheme);
    FAIRLEAD_CO_TRY(port, probe_port(http->port, spec));
    io::HttpProbe request{
        .to = {.address = to, .port = port}, .path = http->path, .headers = http->headers};
    co_return co_await io::probe_http(from, std::move(request), probe.timeout);
  }
  if (const auto* exec = std::get_if<kube::Probe::Exec>(&probe.action)) {
    FAIRLEAD_CO_TRY(command, command_for(container));
    command.argv = exec->command;
    const io::UniqueFd nowhere(::open("/dev/null", O_WRONLY | O_CLOEXEC));
    if (!nowhere) co_return errno_error(errno, "open /dev/null");
    command.stdout_fd = command.stderr_fd = nowhere.get();
    co_return co_await io::probe_command(std::move(command), probe.timeout);
  }
  co_return make_error(ErrorCode::Unsupported, "the readiness probe has no action we know");
}

io::Task<void> PodWorker::probe(RunProbe asked) {
  const auto outcome = co_await run_probe(asked.container);
  if (co_await io::cancelled()) co_return;
  if (!outcome) {
    log::verbose(2, "Readiness probe failed",
                 {{"pod", key().to_string()}, {"err", outcome.error()}});
  }
  machine_.probed(asked, outcome.has_value(), now());
  wake_.notify();
}

io::Task<void> PodWorker::publish() {
  std::string patch = pod_status_patch(pod_, machine_.report(), place_);
  if (patch == published_ || vanished_) co_return;
  const auto answer = co_await node_->client->patch(
      client::object_path<kube::Pod>(key()) + "/status", "application/merge-patch+json", patch);
  if (answer) {
    published_ = std::move(patch);
  } else if (answer.error().code == ErrorCode::NotFound ||
             answer.error().code == ErrorCode::Conflict) {
    vanish();
  } else if (answer.error().code != ErrorCode::Cancelled) {
    log_failure("Could not write a pod's status, trying again", answer.error());
  }
}

io::Task<void> PodWorker::remove() {
  const std::string body = fmt::format(
      R"({{"kind":"DeleteOptions","apiVersion":"v1","gracePeriodSeconds":0,"preconditions":{{"uid":"{}"}}}})",
      pod_.metadata.uid);
  while (!vanished_ && !co_await io::cancelled()) {
    const auto answer = co_await node_->client->remove(client::object_path<kube::Pod>(key()), body);
    if (answer || answer.error().code == ErrorCode::NotFound ||
        answer.error().code == ErrorCode::Conflict)
      co_return;
    log_failure("Could not delete a terminated pod, trying again", answer.error());
    co_await io::sleep_for(kRetryPause);
  }
}

}  // namespace fairlead::lab
