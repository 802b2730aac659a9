#include "lab/lab_fixture.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "base/text.hpp"
#include "io/fd.hpp"

namespace fairlead::lab_test {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  std::stringstream out;
  out << file.rdbuf();
  return out.str();
}

// The fields of /proc/PID/stat behind the program's name: state, parent, ...
std::vector<std::string> process_state(const std::string& pid) {
  const std::string text = read_file(fmt::format("/proc/{}/stat", pid));
  std::istringstream fields(text.substr(std::min(text.size(), text.rfind(')') + 2)));
  return {std::istream_iterator<std::string>(fields), {}};
}

std::string pid_namespace(const std::string& pid) {
  std::error_code ec;
  return std::filesystem::read_symlink(fmt::format("/proc/{}/ns/pid", pid), ec).string();
}

}  // namespace

RunningLab::RunningLab(const Words& flags) {
  Words words{"up"};
  words.insert(words.end(), flags.begin(), flags.end());
  lab(words);
}

RunningLab::~RunningLab() {
  if (std::filesystem::exists(state_ + "/control.sock"))
    run({fairlead_program(), "lab", "down"}, env());
}

std::map<std::string, std::string> RunningLab::env() const {
  return {{"FAIRLEAD_LAB", state_}, {"KUBECONFIG", kubeconfig()}, {"HOME", parent_.path()}};
}

std::string RunningLab::lab(Words words) const {
  words.insert(words.begin(), {fairlead_program(), "lab"});
  return must(std::move(words), env());
}

std::string RunningLab::kubectl(Words words, std::string_view input) const {
  words.insert(words.begin(), kubectl_program());
  return must(std::move(words), env(), input);
}

void RunningLab::wait_for(const std::string& what, const std::string& condition) const {
  const io::Output waited =
      run({kubectl_program(), "wait", what, "--for=" + condition, "--timeout=20s"}, env());
  EXPECT_TRUE(waited.status.ok()) << waited.err << kubectl({"get", what, "-o", "yaml"});
}

std::string RunningLab::get(const std::string& what, const std::string& jsonpath) const {
  return kubectl({"get", what, "-o", "jsonpath={" + jsonpath + "}"});
}

std::string RunningLab::exec(const std::string& place, Words argv) const {
  argv.insert(argv.begin(), {"exec", place, "--"});
  return lab(std::move(argv));
}

std::vector<std::string> RunningLab::who_answers(const std::string& place,
                                                 const std::string& target,
                                                 const std::string& protocol) const {
  io::Output probe;
  const bool answered = eventually([&] {
    probe = run({fairlead_program(), "lab", "exec", place, "--", fairlead_program(), "probe",
                 target, "--protocol", protocol, "--count=10", "--timeout=500ms"},
                env());
    return probe.status.ok();
  });
  EXPECT_TRUE(answered) << place << " -> " << target << "\n" << probe.out << probe.err;
  std::set<std::string> names;  // the table's first column; its last line is the summary
  std::istringstream lines(probe.out);
  for (std::string line; std::getline(lines, line);) {
    if (line.find("answered;") == std::string::npos) names.insert(line.substr(0, line.find(' ')));
  }
  return {names.begin(), names.end()};
}

pid_t RunningLab::supervisor() const {
  return static_cast<pid_t>(parse_uint(trim(read_file(state_ + "/pid"))).value_or(0));
}

pid_t RunningLab::init() const {
  const auto state = process_state(std::to_string(supervisor()));
  return state.size() > 1 ? static_cast<pid_t>(parse_uint(state[1]).value_or(0)) : 0;
}

std::vector<pid_t> processes_beside(pid_t member) {
  std::vector<pid_t> out;
  const std::string wanted = pid_namespace(std::to_string(member));
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    const auto pid = parse_uint(name);
    if (!pid || wanted.empty() || pid_namespace(name) != wanted) continue;
    const auto state = process_state(name);
    if (!state.empty() && state[0] != "Z") out.push_back(static_cast<pid_t>(*pid));
  }
  return out;
}

bool all_end(const std::vector<pid_t>& processes, const std::function<void()>& cause) {
  std::vector<io::UniqueFd> handles;
  for (const pid_t pid : processes)
    handles.emplace_back(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  cause();
  constexpr int kPatience = 10'000;
  for (const io::UniqueFd& handle : handles) {
    if (!handle) continue;  // gone already
    pollfd waiting{.fd = handle.get(), .events = POLLIN, .revents = 0};
    if (::poll(&waiting, 1, kPatience) != 1) return false;
  }
  return true;
}

}  // namespace fairlead::lab_test
