// ApiServer: the whole API server as one object on one loop, to be run by fairlead-apiserver or
// inside another program.
//
//   create()  opens the store and the CA, binds nothing: listeners come from the caller
//   (io::listen_tcp, also from inside
//             other network namespaces).
//   start()   loads the caches, makes the namespaces every cluster has (and the Service
//   "kubernetes"), then accepts. close()   ends watches and connections, then the store. To be
//   awaited before destruction, also when start() failed.
//
// Invariants: one writer per store.db (a second server is refused); what was answered with 2xx is
// on disk. Not here: controllers (they are clients), leader election.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apiserver/admission.hpp"
#include "apiserver/audit_log.hpp"
#include "apiserver/audit_policy.hpp"
#include "apiserver/auth.hpp"
#include "apiserver/authorizer.hpp"
#include "apiserver/kinds.hpp"
#include "apiserver/pki.hpp"
#include "apiserver/request_limits.hpp"
#include "apiserver/store/store.hpp"
#include "base/clock.hpp"
#include "io/http.hpp"
#include "io/task.hpp"

namespace fairlead::apiserver {

class ApiServer {
 public:
  struct Listener {
    io::UniqueFd socket;  // bound and listening
    // Plain HTTP makes everyone who can connect an administrator: loopback or a namespace of one's
    // own only.
    bool tls = true;
  };
  struct Config {
    // store.db, ca.crt, ca.key, sa.key; empty = everything in memory, nothing survives
    std::string data_directory;
    // Where objects are kept instead of store.db. The caller's, who closes it after the server.
    Store* store = nullptr;
    std::vector<Listener> listeners;
    KindsConfig kinds;
    std::vector<TokenEntry> tokens;  // bearer tokens
    struct ServiceAccounts {
      // Signs their tokens; empty = the key sa.key of the data directory, made if need be.
      std::string signing_key_pem;
      std::vector<std::string> key_pems;  // further keys whose tokens are accepted
      TokenTerms terms;
    };
    ServiceAccounts service_accounts;
    struct Certificates {
      // What the server shows; absent = a certificate signed by its own CA.
      std::optional<io::KeyPair> identity;
      // Whose client certificates are accepted besides those of the server's own CA.
      std::string client_ca_pem;
      bool http2 = true;  // offered beside HTTP/1.1
    };
    Certificates certificates;
    struct AuditConfig {
      AuditPolicy policy;
      AuditLog::Config log;
      std::size_t longest_event = kLongestAuditEvent;  // bytes; longer ones go without bodies
    };
    std::optional<AuditConfig> audit;  // absent = nothing is written down
    Anonymous anonymous = Anonymous::Health;
    AuthorizationMode authorization = AuthorizationMode::Rbac;
    AdmissionPlugins admission;
    RequestLimitsConfig limits;
    struct ConnectionLimits {
      std::size_t per_address = 5'000;        // half of those there may be at all
      std::chrono::seconds read_timeout{30};  // for a request to arrive in full
    };
    ConnectionLimits connections;
    Pki::Names names;  // further names and addresses of the server's certificate
    // Where pods reach this server: makes Service and EndpointSlice default/kubernetes. Absent =
    // they are not made.
    std::optional<SocketAddress> advertise;
    std::chrono::nanoseconds event_lifetime = std::chrono::hours(1);  // after its last write
    const Clock* clock = &Clock::real();
  };
  // Invalid: a config value is wrong, named in the message. Unavailable: another process has the
  // data directory.
  static Result<std::unique_ptr<ApiServer>> create(io::Executor executor, Config config);
  virtual ~ApiServer() = default;

  virtual io::Task<Result<void>> start() = 0;
  virtual io::Task<void> close() = 0;

  virtual const Pki& pki() const = 0;
  virtual const ServerTrust& trust() const = 0;              // for clients of the TLS listeners
  virtual std::vector<SocketAddress> addresses() const = 0;  // of the listeners, in order

  // A kubeconfig for `url` with a fresh client certificate of that user. Of http URLs everybody is
  // the administrator.
  virtual Result<std::string> kubeconfig(const std::string& url, const std::string& user,
                                         std::vector<std::string> groups) const = 0;
  Result<std::string> admin_kubeconfig(const std::string& url) const {
    return kubeconfig(url, "fairlead-admin", {std::string(kMasters)});
  }
};

}  // namespace fairlead::apiserver
