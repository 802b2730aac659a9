#include "cli/security_flags.hpp"

#include <CLI/CLI.hpp>
#include <optional>

#include "base/clock.hpp"
#include "base/log.hpp"
#include "base/text.hpp"
#include "io/tls.hpp"

namespace fairlead::cli {
namespace {

using apiserver::ApiServer;

// A file's text, which `parse` must be able to read; "" without a file.
template <class Parse>
Result<std::string> read_checked(std::string_view flag, const std::string& path, Parse parse) {
  if (path.empty()) return std::string();
  auto text = apiserver::read_file(path);
  if (!text) return flag_error(flag, text.error());
  if (const auto parsed = parse(*text); !parsed)
    return flag_error(flag, parsed.error().with_context(path));
  return text;
}

Result<std::vector<apiserver::TokenEntry>> read_tokens(const std::string& path) {
  FAIRLEAD_TRY(text, read_checked("token-auth-file", path, apiserver::parse_token_file));
  return apiserver::parse_token_file(text);
}

Result<ApiServer::Config::ServiceAccounts> service_accounts(const SecurityFlags& flags) {
  ApiServer::Config::ServiceAccounts out;
  FAIRLEAD_TRY(signing, read_checked("service-account-signing-key-file", flags.signing_key_file,
                                     io::SigningKey::parse));
  out.signing_key_pem = std::move(signing);
  for (const std::string& path : flags.key_files) {
    FAIRLEAD_TRY(keys,
                 read_checked("service-account-key-file", path, io::VerificationKey::parse_all));
    out.key_pems.push_back(std::move(keys));
  }
  if (!flags.issuers.empty()) out.terms.issuers = flags.issuers;
  out.terms.audiences = flags.audiences;
  const auto longest = parse_duration(flags.longest_token);
  if (!longest) return flag_error("service-account-max-token-expiration", longest.error());
  out.terms.longest = std::chrono::duration_cast<std::chrono::seconds>(*longest);
  if (out.terms.longest.count() != 0 && out.terms.longest < std::chrono::hours(1)) {
    return make_error(ErrorCode::Invalid,
                      "--service-account-max-token-expiration: {} is less than an hour",
                      flags.longest_token);
  }
  return out;
}

// A certificate that has run out is said but used: nobody could reach the server to mend it.
void warn_of_expiry(std::string_view flag, const std::string& path, const std::string& pem) {
  const auto left = io::remaining_validity(pem, Clock::real());
  if (left && left->count() < 0)
    log::warning("A certificate has expired", {{"flag", flag}, {"file", path}});
}

Result<ApiServer::Config::Certificates> certificates(const SecurityFlags& flags) {
  ApiServer::Config::Certificates out;
  FAIRLEAD_TRY(client_ca,
               read_checked("client-ca-file", flags.client_ca_file, io::certificate_names));
  if (!client_ca.empty()) warn_of_expiry("client-ca-file", flags.client_ca_file, client_ca);
  out.client_ca_pem = std::move(client_ca);
  out.http2 = !flags.no_http2;
  if (flags.tls_cert_file.empty()) return out;
  FAIRLEAD_TRY(certificate,
               read_checked("tls-cert-file", flags.tls_cert_file, io::certificate_names));
  warn_of_expiry("tls-cert-file", flags.tls_cert_file, certificate);
  const auto fits = [&certificate](const std::string& key) {
    return io::TlsServer::create({.certificate_pem = certificate, .private_key_pem = key},
                                 std::nullopt);
  };
  FAIRLEAD_TRY(key, read_checked("tls-private-key-file", flags.tls_key_file, fits));
  out.identity = {.certificate_pem = std::move(certificate), .private_key_pem = std::move(key)};
  return out;
}

Result<std::optional<ApiServer::Config::AuditConfig>> audit(const SecurityFlags& flags) {
  using Config = ApiServer::Config::AuditConfig;
  if (flags.audit_log.empty()) return std::optional<Config>();
  Config out{.policy = {},
             .log = {.path = flags.audit_log,
                     .max_bytes = std::uint64_t{flags.audit_log_megabytes} * 1024 * 1024,
                     .max_backups = flags.audit_log_backups},
             .longest_event = flags.audit_longest_event};
  if (const auto opened = apiserver::AuditLog::open(out.log, Clock::real()); !opened)
    return flag_error("audit-log-path", opened.error());
  if (flags.audit_policy_file.empty()) return std::optional(std::move(out));
  FAIRLEAD_TRY(text, read_checked("audit-policy-file", flags.audit_policy_file,
                                  apiserver::AuditPolicy::parse));
  FAIRLEAD_TRY(policy, apiserver::AuditPolicy::parse(text));
  out.policy = std::move(policy);
  return std::optional(std::move(out));
}

void describe_audit(CLI::App& app, SecurityFlags& flags) {
  auto* path = app.add_option("--audit-log-path", flags.audit_log,
                              "file that every request is written to, one event of "
                              "audit.k8s.io/v1 a line; - is standard output");
  app.add_option("--audit-policy-file", flags.audit_policy_file,
                 "Policy of audit.k8s.io/v1: which requests are written, at which stages and with "
                 "which bodies (default: all, without RequestReceived and without bodies)")
      ->needs(path);
  app.add_option("--audit-log-maxsize", flags.audit_log_megabytes,
                 "megabytes after which the file is renamed and a new one begun; 0 is no limit")
      ->capture_default_str();
  app.add_option("--audit-log-maxbackup", flags.audit_log_backups,
                 "renamed files that are kept; 0 keeps all")
      ->capture_default_str();
  app.add_option("--audit-log-truncate-max-event-size", flags.audit_longest_event,
                 "bytes of an event above which bodies are left out of it")
      ->capture_default_str();
}

void describe_service_accounts(CLI::App& app, SecurityFlags& flags) {
  app.add_option("--service-account-signing-key-file", flags.signing_key_file,
                 "PEM file: the EC (P-256) or RSA key that signs tokens of ServiceAccounts "
                 "(default: DATA-DIR/sa.key, made if need be)");
  app.add_option("--service-account-key-file", flags.key_files,
                 "PEM file: keys whose tokens are accepted besides; may be given several times");
  app.add_option("--service-account-issuer", flags.issuers,
                 fmt::format("who tokens say has issued them (default: {}); further ones are "
                             "accepted only",
                             apiserver::kDefaultIssuer));
  app.add_option("--api-audiences", flags.audiences,
                 "whom tokens are meant for unless asked otherwise (default: the issuer)")
      ->delimiter(',');
  app.add_option("--service-account-max-token-expiration", flags.longest_token,
                 "tokens that are to live longer live so long; 0s is no limit")
      ->capture_default_str();
}

void describe_limits(CLI::App& app, SecurityFlags& flags) {
  apiserver::RequestLimitsConfig& limits = flags.limits;
  app.add_option("--max-requests-per-user", limits.requests_per_user,
                 "a second; twice as many may come at once, further ones are answered 429; 0 is "
                 "no limit, as for members of system:masters and Fairlead's own programs")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--max-unauthenticated-requests-per-address", limits.requests_per_address,
                 "the same for requests without credentials or with wrong ones, of an IPv4 address "
                 "or an IPv6 /64")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--max-event-writes-per-source", limits.events_per_source,
                 "the same for writes of Events by one user in one namespace")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--max-watches-per-user", limits.watches_per_user,
                 "watches of one user that may be open; 0 is no limit")
      ->capture_default_str();
  app.add_option("--max-connections-per-address", flags.connections_per_address,
                 "connections from one IPv4 address or IPv6 /64; further ones are closed at once")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--request-read-timeout", flags.read_timeout,
                 "in which a request has to arrive in full; else its connection is closed")
      ->capture_default_str();
}

Result<void> apply_limits(const SecurityFlags& flags, ApiServer::Config& config) {
  const auto plugins = apiserver::parse_admission_plugins(flags.admission_plugins);
  if (!plugins) return flag_error("enable-admission-plugins", plugins.error());
  const auto timeout = parse_duration(flags.read_timeout);
  if (!timeout) return flag_error("request-read-timeout", timeout.error());
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(*timeout);
  if (seconds.count() < 1) {
    return make_error(ErrorCode::Invalid, "--request-read-timeout: {} is less than a second",
                      flags.read_timeout);
  }
  config.admission = *plugins;
  config.limits = flags.limits;
  config.connections = {.per_address = flags.connections_per_address, .read_timeout = seconds};
  return {};
}

}  // namespace

Error flag_error(std::string_view flag, const Error& error) {
  return error.with_context(fmt::format("--{}", flag));
}

void describe(CLI::App& app, SecurityFlags& flags) {
  app.add_option("--client-ca-file", flags.client_ca_file,
                 "PEM file: client certificates signed by one of these are accepted besides those "
                 "of the CA in DATA-DIR; the common name is the user, organizations are groups");
  auto* certificate =
      app.add_option("--tls-cert-file", flags.tls_cert_file,
                     "PEM file: the certificate to show, then those between it and its CA "
                     "(default: one signed by the CA in DATA-DIR at every start)");
  auto* key = app.add_option("--tls-private-key-file", flags.tls_key_file, "PEM file: its key");
  app.add_flag("--disable-http2-serving", flags.no_http2, "HTTP/1.1 alone");
  certificate->needs(key);
  key->needs(certificate);
  app.add_option("--token-auth-file", flags.token_file,
                 "lines of token,user,uid[,\"group1,group2\"]");
  app.add_flag("--anonymous-auth", flags.anonymous,
               "who shows no credentials is system:anonymous, and roles say what that user may; "
               "false: such requests are refused but for /healthz, /livez and /readyz")
      ->capture_default_str();
  app.add_option("--authorization-mode", flags.authorization_mode,
                 "RBAC: by Roles and their bindings; AlwaysAllow: everybody who is authenticated "
                 "may do everything")
      ->check(CLI::IsMember({"RBAC", "AlwaysAllow"}))
      ->capture_default_str();
  app.add_option("--enable-admission-plugins", flags.admission_plugins,
                 "DenyServiceExternalIPs: no Service gets further spec.externalIPs")
      ->delimiter(',');
  describe_service_accounts(app, flags);
  describe_audit(app, flags);
  describe_limits(app, flags);
}

Result<void> apply(const SecurityFlags& flags, ApiServer::Config& config) {
  FAIRLEAD_TRY(tokens, read_tokens(flags.token_file));
  FAIRLEAD_TRY(accounts, service_accounts(flags));
  FAIRLEAD_TRY(shown, certificates(flags));
  FAIRLEAD_TRY(audited, audit(flags));
  FAIRLEAD_CHECK(apply_limits(flags, config));
  config.audit = std::move(audited);
  config.tokens = std::move(tokens);
  config.service_accounts = std::move(accounts);
  config.certificates = std::move(shown);
  config.anonymous =
      flags.anonymous ? apiserver::Anonymous::Everywhere : apiserver::Anonymous::Health;
  config.authorization = flags.authorization_mode == "RBAC"
                             ? apiserver::AuthorizationMode::Rbac
                             : apiserver::AuthorizationMode::AlwaysAllow;
  return {};
}

}  // namespace fairlead::cli
