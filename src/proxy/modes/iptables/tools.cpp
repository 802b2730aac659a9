#include "proxy/modes/iptables/tools.hpp"

#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <vector>

#include "io/netns.hpp"
#include "io/process.hpp"
#include "proxy/modes/iptables/chain_names.hpp"

namespace fairlead::iptables {
namespace {

using namespace std::chrono_literals;

// The kernel may work a minute on what a large cluster needs.
constexpr auto kRestoreTimeout = 300s;
constexpr auto kReadTimeout = 60s;
constexpr int kLockHeld = 4;  // the tools' exit code for "resource problem"

bool has_net_admin() {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> data{};
  if (::syscall(SYS_capget, &header, data.data()) != 0) return false;
  return (data[0].effective & (1U << CAP_NET_ADMIN)) != 0;
}

std::string_view command_of(IpFamily family) {
  return family == IpFamily::V4 ? "iptables" : "ip6tables";
}

// "iptables-nft-save": the names that say which variant they are.
std::string program(IpFamily family, Variant variant, std::string_view act) {
  return fmt::format("{}-{}{}", command_of(family), to_string(variant), act);
}

std::string_view take_line(std::string_view& text) {
  const std::string_view line = text.substr(0, text.find('\n'));
  text.remove_prefix(std::min(line.size() + 1, text.size()));
  return line;
}

// What a tool complained of, in one line.
std::string complaint(std::string_view text) {
  constexpr std::size_t kEnough = 300;
  std::string out;
  while (!text.empty() && out.size() < kEnough) {
    const std::string_view line = take_line(text);
    if (line.empty() || line.starts_with("Try `")) continue;
    if (!out.empty()) out += "; ";
    out += line;
  }
  return out;
}

// The line of `input` that a complaint ("line 12 failed", "Error occurred at line: 12") is about.
// Only for people: nothing is decided by it.
std::string named_line(std::string_view message, std::string_view input) {
  const auto at = message.rfind("line");
  if (at == std::string_view::npos) return "";
  const auto digits = message.find_first_of("0123456789", at);
  if (digits == std::string_view::npos) return "";
  std::size_t wanted = 0;
  std::from_chars(message.data() + digits, message.data() + message.size(), wanted);
  std::string_view line;
  for (std::size_t i = 0; i < wanted && !input.empty(); ++i) line = take_line(input);
  return line.empty() ? "" : fmt::format(": \"{}\"", line);
}

ino_t namespace_inode(const char* path) {
  struct stat status{};
  return ::stat(path, &status) == 0 ? status.st_ino : 0;
}

class XtablesTools final : public Tools {
 public:
  XtablesTools(Variant variant, io::NetNamespace network, ino_t inode)
      : variant_(variant), network_(std::move(network)), inode_(inode) {}

  Variant variant() const override { return variant_; }

  Result<std::string> save(IpFamily family) override {
    FAIRLEAD_TRY(output, run({program(family, variant_, "-save")}, {}, kReadTimeout));
    if (!output.status.ok()) return failure(program(family, variant_, "-save"), output, {});
    return std::move(output.out);
  }

  Result<void> restore(IpFamily family, const std::string& text) override {
    const std::string tool = program(family, variant_, "-restore");
    FAIRLEAD_TRY(output, run({tool, "--noflush", "-w", "5"}, text, kRestoreTimeout));
    if (!output.status.ok()) return failure(tool, output, text);
    return {};
  }

  Result<bool> has_canary(IpFamily family) override {
    for (const char* table : {"mangle", "nat", "filter"}) {
      FAIRLEAD_TRY(output, run({program(family, variant_, ""), "-w", "5", "-t", table, "-S",
                                kCanaryChain, "1"},
                               {}, kReadTimeout));
      if (output.status.code == 1) return false;
    }
    return true;
  }

 private:
  Result<io::Output> run(std::vector<std::string> argv, std::string_view input,
                         std::chrono::milliseconds timeout) const {
    io::Command command{.argv = std::move(argv)};
    // Entering a namespace takes a capability that programming one does not.
    if (namespace_inode("/proc/thread-self/ns/net") != inode_) {
      command.namespaces = {network_.fd()};
    }
    return io::run_blocking(std::move(command), input, timeout);
  }

  static Error failure(std::string_view tool, const io::Output& output, std::string_view input) {
    const ErrorCode code =
        output.status.code == kLockHeld ? ErrorCode::Unavailable : ErrorCode::Internal;
    const std::string message = complaint(output.err);
    return make_error(code, "{}: {}: {}{}", tool, output.status.to_string(), message,
                      named_line(message, input));
  }

  Variant variant_;
  io::NetNamespace network_;
  ino_t inode_;
};

bool installed(Variant variant) {
  auto output =
      io::run_blocking({.argv = {program(IpFamily::V4, variant, "-save"), "-V"}}, {}, kReadTimeout);
  return output && output->status.ok();
}

struct Traces {
  bool kubelet = false;
  std::size_t rules = 0;
};

Traces look_for_traces(Variant variant) {
  Traces out;
  for (const IpFamily family : {IpFamily::V4, IpFamily::V6}) {
    auto output = io::run_blocking({.argv = {program(family, variant, "-save")}}, {}, kReadTimeout);
    if (!output || !output->status.ok()) continue;
    std::string_view text = output->out;
    while (!text.empty()) {
      const std::string_view line = take_line(text);
      if (line.starts_with("-A ")) ++out.rules;
      out.kubelet = out.kubelet || line.starts_with(":KUBE-IPTABLES-HINT ") ||
                    line.starts_with(":KUBE-KUBELET-CANARY ");
    }
  }
  return out;
}

}  // namespace

std::string_view to_string(Variant variant) {
  return variant == Variant::Legacy ? "legacy" : "nft";
}

Result<std::unique_ptr<Tools>> open_tools(Variant variant) {
  if (!has_net_admin()) {
    return make_error(ErrorCode::Forbidden, "program iptables: needs CAP_NET_ADMIN");
  }
  if (!installed(variant)) {
    return make_error(ErrorCode::NotFound, "program iptables: {} is not installed",
                      program(IpFamily::V4, variant, "-save"));
  }
  FAIRLEAD_TRY(network, io::NetNamespace::current());
  const ino_t inode = namespace_inode("/proc/thread-self/ns/net");
  return std::unique_ptr<Tools>(std::make_unique<XtablesTools>(variant, std::move(network), inode));
}

Result<Variant> detect_variant() {
  const bool nft = installed(Variant::Nft);
  const bool legacy = installed(Variant::Legacy);
  if (!nft && !legacy) {
    return make_error(ErrorCode::NotFound,
                      "program iptables: neither iptables-nft nor iptables-legacy is installed");
  }
  if (!legacy) return Variant::Nft;
  if (!nft) return Variant::Legacy;
  const Traces in_nft = look_for_traces(Variant::Nft);
  if (in_nft.kubelet) return Variant::Nft;
  const Traces in_legacy = look_for_traces(Variant::Legacy);
  return in_legacy.kubelet || in_legacy.rules > in_nft.rules ? Variant::Legacy : Variant::Nft;
}

}  // namespace fairlead::iptables
