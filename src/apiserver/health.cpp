#include "apiserver/health.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace fairlead::apiserver {
namespace {

// A server whose store does not answer is alive, but nothing should be sent to it (spec 1.6).
std::vector<std::string_view> names_of(std::string_view endpoint) {
  if (endpoint == "readyz") return {"ping", kStoreCheck};
  if (endpoint == "healthz" || endpoint == "livez") return {"ping"};
  return {};
}

// Probes are written by hand: a name that excludes nothing is most likely misspelt.
std::string warn_of_unknown(const HealthQuestion& question) {
  const auto known = names_of(question.endpoint);
  std::string names;
  for (const std::string& name : question.excluded) {
    if (std::ranges::find(known, name) != known.end()) continue;
    names += fmt::format("{}\"{}\"", names.empty() ? "" : ",", name);
  }
  if (names.empty()) return names;
  return fmt::format("warn: some health checks cannot be excluded: no matches for {}\n", names);
}

}  // namespace

std::optional<HealthQuestion> health_question(const io::Url& url) {
  const std::size_t slash = url.path.find('/', 1);
  HealthQuestion out{
      .endpoint = url.path.substr(std::min<std::size_t>(1, url.path.size()), slash - 1),
      .check = slash == std::string::npos ? "" : url.path.substr(slash + 1),
      .excluded = {},
      .verbose = url.param("verbose").has_value()};
  if (names_of(out.endpoint).empty()) return std::nullopt;
  for (const auto& [name, value] : url.query) {
    if (name == "exclude") out.excluded.push_back(value);
  }
  return out;
}

std::vector<HealthCheck> checks_of(const HealthQuestion& question) {
  std::vector<HealthCheck> out;
  for (const std::string_view name : names_of(question.endpoint)) {
    if (!question.check.empty() && question.check != name) continue;
    const bool excluded = std::ranges::find(question.excluded, name) != question.excluded.end();
    out.push_back({.name = name, .excluded = excluded});
  }
  return out;
}

bool all_passed(std::span<const HealthCheck> checks) {
  return std::ranges::all_of(checks, &HealthCheck::passed);
}

std::string health_text(const HealthQuestion& question, std::span<const HealthCheck> checks) {
  const bool passed = all_passed(checks);
  if (passed && !question.verbose) return "ok";
  std::string out;
  for (const HealthCheck& check : checks) {
    out += fmt::format("[{}]{}{}\n", check.passed ? '+' : '-', check.name,
                       !check.passed    ? " failed: reason withheld"
                       : check.excluded ? " excluded: ok"
                                        : " ok");
  }
  return fmt::format("{}{}{} check {}\n", out, warn_of_unknown(question), question.endpoint,
                     passed ? "passed" : "failed");
}

}  // namespace fairlead::apiserver
