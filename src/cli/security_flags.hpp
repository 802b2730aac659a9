// The API server's flags about who is trusted, who is believed and how much one may ask for:
// certificates, tokens, keys, anonymity, authorization, admission, limits and the audit log. Errors
// name the flag, the file and what is wrong with it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "apiserver/server.hpp"
#include "base/error.hpp"

namespace CLI {
class App;
}

namespace fairlead::cli {

struct SecurityFlags {
  std::string client_ca_file;
  std::string tls_cert_file, tls_key_file;
  bool no_http2 = false;
  std::string token_file;
  std::string signing_key_file;
  std::vector<std::string> key_files, issuers, audiences;
  std::string longest_token = "0s";
  bool anonymous = false;
  std::string authorization_mode = "RBAC";
  std::string audit_log, audit_policy_file;
  std::uint32_t audit_log_megabytes = 100, audit_log_backups = 0;
  std::uint32_t audit_longest_event = apiserver::kLongestAuditEvent;
  std::vector<std::string> admission_plugins;
  apiserver::RequestLimitsConfig limits;
  std::size_t connections_per_address =
      apiserver::ApiServer::Config::ConnectionLimits{}.per_address;
  std::string read_timeout = "30s";
};

// `flags` must outlive the parsing of `app`.
void describe(CLI::App& app, SecurityFlags& flags);

// Fills in what the flags say; the files are read here.
Result<void> apply(const SecurityFlags& flags, apiserver::ApiServer::Config& config);

// What was wrong with which flag.
Error flag_error(std::string_view flag, const Error& error);

}  // namespace fairlead::cli
