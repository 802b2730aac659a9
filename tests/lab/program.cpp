#include "lab/program.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace fairlead::lab_test {
namespace {

using namespace std::chrono_literals;

std::string from_environment(const char* name, const std::string& otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : otherwise;
}

std::string tool(const char* variable, const char* name) {
  return from_environment(variable, fmt::format("{}/.cache/tools/{}", FAIRLEAD_SOURCE_DIR, name));
}

}  // namespace

std::string fairlead_program() { return FAIRLEAD_BINARY_DIR "/src/cli/fairlead"; }
std::string kubectl_program() { return tool("FAIRLEAD_KUBECTL", "kubectl"); }
std::string old_kubectl_program() { return tool("FAIRLEAD_KUBECTL_OLD", "kubectl-1.20"); }

std::string why_not_here() {
  if (::geteuid() != 0) return "network namespaces need root";
  for (const std::string& program : {kubectl_program(), old_kubectl_program()}) {
    if (::access(program.c_str(), X_OK) != 0) {
      return fmt::format(
          "no kubectl at {}; run ./dev setup, or set FAIRLEAD_KUBECTL and FAIRLEAD_KUBECTL_OLD",
          program);
    }
  }
  return "";
}

io::Output run(Words argv, std::map<std::string, std::string> env, std::string_view input) {
  const std::string line = fmt::format("{}", fmt::join(argv, " "));
  io::Command command{.argv = std::move(argv), .env = std::move(env)};
  auto output = io::run_blocking(std::move(command), input, 60s);
  EXPECT_TRUE(output) << line << ": " << (output ? "" : output.error().message);
  return output ? *std::move(output) : io::Output{};
}

std::string must(Words argv, std::map<std::string, std::string> env, std::string_view input) {
  const std::string line = fmt::format("{}", fmt::join(argv, " "));
  io::Output output = run(std::move(argv), std::move(env), input);
  EXPECT_TRUE(output.status.ok()) << line << ": " << output.status.to_string() << "\n"
                                  << output.out << output.err;
  return std::move(output.out);
}

std::string refusal(Words argv, std::map<std::string, std::string> env) {
  const std::string line = fmt::format("{}", fmt::join(argv, " "));
  io::Output output = run(std::move(argv), std::move(env));
  EXPECT_TRUE(output.status.code.value_or(0) != 0) << line << ": " << output.status.to_string();
  EXPECT_EQ(output.out, "") << line;
  EXPECT_EQ(std::ranges::count(output.err, '\n'), 1) << line << ":\n" << output.err;
  return std::move(output.err);
}

}  // namespace fairlead::lab_test
