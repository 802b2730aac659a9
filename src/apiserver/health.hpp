// What probes ask: /healthz, /livez and /readyz, all their checks or one of them (/readyz/etcd), as
// kube-apiserver answers them. Pure: the checks themselves are made elsewhere.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/http.hpp"

namespace fairlead::apiserver {

// Whether the store answers; kube-apiserver's name for it, with either store, because probes use
// it.
inline constexpr std::string_view kStoreCheck = "etcd";

struct HealthQuestion {
  std::string endpoint;               // "readyz"
  std::string check;                  // the one asked for; empty = all
  std::vector<std::string> excluded;  // ?exclude=CHECK, any number
  bool verbose = false;               // ?verbose
};
// nullopt: not a path of health.
std::optional<HealthQuestion> health_question(const io::Url& url);

struct HealthCheck {
  std::string_view name;
  bool excluded = false;  // need not be made
  bool passed = true;     // why it has not is for the log, not for strangers
};
// Those the question is about, in order; none: it names one its endpoint does not have.
std::vector<HealthCheck> checks_of(const HealthQuestion& question);

bool all_passed(std::span<const HealthCheck> checks);
// The body of the answer.
std::string health_text(const HealthQuestion& question, std::span<const HealthCheck> checks);

}  // namespace fairlead::apiserver
