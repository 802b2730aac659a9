#include "apiserver/server.hpp"

#include <algorithm>

#include "apiserver/api_handler.hpp"
#include "apiserver/event_expiry.hpp"
#include "apiserver/garbage_collector.hpp"
#include "apiserver/kubernetes_service.hpp"
#include "apiserver/lifecycle.hpp"
#include "apiserver/rbac_bootstrap.hpp"
#include "apiserver/service_account_keeper.hpp"
#include "apiserver/service_cidrs.hpp"
#include "apiserver/service_repair.hpp"
#include "apiserver/store/sqlite_store.hpp"
#include "base/log.hpp"

namespace fairlead::apiserver {
namespace {

constexpr auto kStartPatience = std::chrono::seconds(30);
constexpr auto kStartPause = std::chrono::milliseconds(200);

struct TokenKeys {
  io::SigningKey signing;
  std::vector<io::VerificationKey> further;
};

class Server final : public ApiServer {
 public:
  struct Parts {
    std::unique_ptr<Store> own_store;  // null: `store` is somebody else's
    Store* store;
    Pki pki;
    ServerTrust trust;
    TokenKeys token_keys;
    TokenTerms token_terms;
    Anonymous anonymous;
    std::optional<Audit> audit;
    AuthorizationMode authorization;
    ApiHandler::Rules rules;
    Config::ConnectionLimits connections;
    std::optional<SocketAddress> advertise;
    KindsConfig kinds;
    std::chrono::nanoseconds event_lifetime;
    const Clock* clock;
  };
  Server(io::Executor executor, Parts parts, Strategies strategies, std::vector<TokenEntry> tokens)
      : own_store_(std::move(parts.own_store)),
        store_(parts.store),
        pki_(std::move(parts.pki)),
        trust_(std::move(parts.trust)),
        kinds_(std::move(parts.kinds)),
        clock_(parts.clock),
        registry_(executor, *store_, std::move(strategies)),
        account_tokens_(registry_, *clock_, std::move(parts.token_keys.signing),
                        std::move(parts.token_keys.further), std::move(parts.token_terms)),
        authenticator_(std::move(tokens), &account_tokens_, parts.anonymous, *clock_),
        rbac_(registry_),
        authorizer_(parts.authorization, rbac_),
        audit_(std::move(parts.audit)),
        handler_(registry_, *clock_, authenticator_, account_tokens_, authorizer_, parts.rules,
                 audit_ ? &*audit_ : nullptr),
        connections_(parts.connections),
        reaper_(registry_, *clock_, executor),
        collector_(registry_, *clock_, executor),
        cidr_keeper_(registry_, *clock_, executor, kinds_.service_cidrs),
        repair_(registry_, *clock_, executor, kinds_),
        account_keeper_(registry_, *clock_, executor),
        role_aggregator_(registry_, *clock_, executor),
        expiry_(registry_, *clock_, parts.event_lifetime),
        tasks_(executor, "apiserver") {
    handler_.tell_of(repair_);
    if (parts.advertise) {
      kubernetes_.emplace(registry_, *clock_,
                          KubernetesService::Config{.service_cidr = kinds_.service_cidrs.front(),
                                                    .advertise = *parts.advertise,
                                                    .alone = own_store_ != nullptr});
    }
  }

  Result<void> add_listener(const io::Executor& executor, Listener listener,
                            const io::TlsServer& tls) {
    const bool trusted = !listener.tls;
    io::HttpServer::Config config{
        .listener = std::move(listener.socket),
        .tls = {},
        .handler = [this, trusted](
                       io::HttpExchange& exchange) { return handler_.handle(&exchange, trusted); },
        .limits = {},
        .name = trusted ? "apiserver-http" : "apiserver-https"};
    if (!trusted) config.tls = tls;
    // Somewhat above the limit that is answered with a proper Status.
    config.limits.body_bytes = 4 * 1024 * 1024;
    config.limits.connections_per_source = connections_.per_address;
    config.limits.header_timeout = connections_.read_timeout;
    FAIRLEAD_TRY(server, io::HttpServer::create(executor, std::move(config)));
    servers_.push_back(std::move(server));
    return {};
  }

  io::Task<Result<void>> start() override {
    FAIRLEAD_CO_CHECK(co_await registry_.load());
    expiry_.load();
    registry_.on_change(
        [this](const Resource& resource, const StoreEvent& event) { react(resource, event); });
    rbac_.load();
    collector_.load();
    repair_.load();
    FAIRLEAD_CO_CHECK(co_await prepare_patiently());
    is_member_ = kubernetes_.has_value();
    if (kubernetes_) tasks_.spawn(kubernetes_->run());
    tasks_.spawn(reaper_.run());
    tasks_.spawn(collector_.run());
    tasks_.spawn(cidr_keeper_.run());
    tasks_.spawn(repair_.run());
    tasks_.spawn(account_keeper_.run());
    tasks_.spawn(role_aggregator_.run());
    tasks_.spawn(expiry_.run());
    tasks_.spawn(compact_regularly(store_, clock_));
    for (const auto& server : servers_) server->start();
    co_return Result<void>();
  }

  io::Task<void> close() override {
    for (const auto& server : servers_) co_await server->close();
    co_await tasks_.close();
    if (is_member_) co_await kubernetes_->leave();
    if (own_store_) co_await own_store_->close();
  }

  const Pki& pki() const override { return pki_; }
  const ServerTrust& trust() const override { return trust_; }
  std::vector<SocketAddress> addresses() const override {
    std::vector<SocketAddress> out;
    for (const auto& server : servers_) out.push_back(server->local_address());
    return out;
  }
  Result<std::string> kubeconfig(const std::string& url, const std::string& user,
                                 std::vector<std::string> groups) const override {
    if (url.starts_with("http://")) return make_insecure_kubeconfig(url);
    FAIRLEAD_TRY(identity, pki_.client_identity(user, std::move(groups), *clock_));
    return make_kubeconfig(url, trust_, identity);
  }

 private:
  // What the cluster must have before clients come; what is there already stays.
  io::Task<Result<void>> prepare() {
    FAIRLEAD_CO_CHECK(co_await make_standard_roles(&registry_, clock_));
    FAIRLEAD_CO_CHECK(co_await make_system_namespaces(&registry_, clock_));
    FAIRLEAD_CO_CHECK(co_await account_keeper_.make_missing());
    FAIRLEAD_CO_CHECK(co_await cidr_keeper_.make_default());
    FAIRLEAD_CO_CHECK(co_await repair_.repair());
    if (kubernetes_) FAIRLEAD_CO_CHECK(co_await kubernetes_->reconcile());
    co_return Result<void>();
  }

  // A store that loses a member just now is back soon. A write it did not answer may have been
  // done: beginning anew finds out.
  io::Task<Result<void>> prepare_patiently() {
    const auto give_up = clock_->mono() + kStartPatience;
    while (true) {
      auto done = co_await prepare();
      const bool passes = !done && (done.error().code == ErrorCode::Unavailable ||
                                    done.error().code == ErrorCode::Timeout);
      if (!passes || clock_->mono() > give_up) co_return done;
      log::warning("The store does not answer at the start, trying again", {{"err", done.error()}});
      if (!co_await io::sleep_for(kStartPause)) co_return done;
    }
  }

  void react(const Resource& resource, const StoreEvent& event) {
    expiry_.wrote(resource, event);
    rbac_.changed(resource, event.key);
    role_aggregator_.changed(resource);
    collector_.changed(resource, event);
    cidr_keeper_.changed(resource, event);
    repair_.changed(resource, event);
    // A namespace began to terminate, or something in one went away.
    if (&resource == &registry_.namespaces() || event.value == nullptr) {
      reaper_.poke();
      account_keeper_.poke();
    }
  }

  std::unique_ptr<Store> own_store_;
  Store* store_;
  Pki pki_;
  ServerTrust trust_;
  KindsConfig kinds_;
  const Clock* clock_;
  Registry registry_;
  ServiceAccountTokens account_tokens_;
  Authenticator authenticator_;
  Rbac rbac_;
  Authorizer authorizer_;
  std::optional<Audit> audit_;
  ApiHandler handler_;
  Config::ConnectionLimits connections_;
  NamespaceReaper reaper_;
  GarbageCollector collector_;
  ServiceCidrKeeper cidr_keeper_;
  ServiceRepair repair_;
  ServiceAccountKeeper account_keeper_;
  RoleAggregator role_aggregator_;
  EventExpiry expiry_;
  std::optional<KubernetesService> kubernetes_;
  bool is_member_ = false;  // of those that Service default/kubernetes leads to
  std::vector<std::unique_ptr<io::HttpServer>> servers_;
  io::TaskGroup tasks_;
};

Result<void> check_config(const ApiServer::Config& config) {
  const auto& cidrs = config.kinds.service_cidrs;
  if (cidrs.empty() || cidrs.size() > 2) {
    return make_error(ErrorCode::Invalid,
                      "service cluster IP range: {} ranges given, one or two are needed",
                      cidrs.size());
  }
  if (cidrs.size() == 2 && cidrs[0].family() == cidrs[1].family()) {
    return make_error(ErrorCode::Invalid,
                      "service cluster IP range: {} and {} are of the same family", cidrs[0],
                      cidrs[1]);
  }
  for (const IpPrefix& cidr : cidrs) {
    const unsigned most = cidr.family() == IpFamily::V4 ? 32 : 128;
    const unsigned least = cidr.family() == IpFamily::V4 ? 8 : 64;
    if (cidr.length() < least || cidr.length() + 2 > most) {
      return make_error(ErrorCode::Invalid,
                        "service cluster IP range {}: the prefix length must be {} to {}", cidr,
                        least, most - 2);
    }
  }
  const PortRange ports = config.kinds.node_ports;
  if (ports.first == 0 || ports.first > ports.last) {
    return make_error(ErrorCode::Invalid,
                      "service node port range {}-{}: must ascend from 1 to 65535", ports.first,
                      ports.last);
  }
  return {};
}

Result<Pki> open_pki(const ApiServer::Config& config) {
  return config.data_directory.empty() ? Pki::create_in_memory(*config.clock)
                                       : Pki::open(config.data_directory, *config.clock);
}

Result<std::optional<Audit>> open_audit(std::optional<ApiServer::Config::AuditConfig> config,
                                        const Clock& clock) {
  if (!config) return std::optional<Audit>();
  auto log = AuditLog::open(std::move(config->log), clock);
  if (!log) return log.error().with_context("audit log");
  return std::optional<Audit>(std::in_place, std::move(config->policy), *std::move(log),
                              config->longest_event, clock);
}

struct Tls {
  io::TlsServer server;
  ServerTrust trust;
};

// What is said to clients depends on who signed the certificate they see.
Result<Tls> open_tls(ApiServer::Config::Certificates certificates, const Pki& pki, Pki::Names names,
                     const Clock& clock) {
  const bool own = !certificates.identity.has_value();
  ServerTrust trust{.ca_pem = pki.ca_pem()};
  if (own) {
    FAIRLEAD_TRY(signed_now, pki.server_identity(std::move(names), clock));
    certificates.identity = std::move(signed_now);
  } else {
    FAIRLEAD_TRY(known_as, io::certificate_names(certificates.identity->certificate_pem));
    trust = {.ca_pem = certificates.identity->certificate_pem,
             .server_name = known_as.empty() ? "" : known_as.front()};
  }
  const std::string clients = pki.ca_pem() + "\n" + certificates.client_ca_pem;
  FAIRLEAD_TRY(server, io::TlsServer::create(*certificates.identity, clients, certificates.http2));
  return Tls{.server = std::move(server), .trust = std::move(trust)};
}

Result<TokenKeys> open_token_keys(const ApiServer::Config& config) {
  const ApiServer::Config::ServiceAccounts& accounts = config.service_accounts;
  FAIRLEAD_TRY(pem, accounts.signing_key_pem.empty() ? own_signing_key(config.data_directory)
                                                     : accounts.signing_key_pem);
  auto signing = io::SigningKey::parse(pem);
  if (!signing) return signing.error().with_context("signing key of service accounts");
  TokenKeys out{.signing = *std::move(signing), .further = {}};
  for (const std::string& further : accounts.key_pems) {
    auto keys = io::VerificationKey::parse_all(further);
    if (!keys) return keys.error().with_context("key of service accounts");
    out.further.insert(out.further.end(), keys->begin(), keys->end());
  }
  return out;
}

Result<std::unique_ptr<Store>> open_own_store(const io::Executor& executor,
                                              const std::string& data_directory) {
  const std::string path = data_directory.empty() ? ":memory:" : data_directory + "/store.db";
  return open_sqlite_store(executor, {.path = path});
}

}  // namespace

Result<std::unique_ptr<ApiServer>> ApiServer::create(io::Executor executor, Config config) {
  FAIRLEAD_CHECK(check_config(config));
  FAIRLEAD_TRY(pki, open_pki(config));
  for (const IpPrefix& cidr : config.kinds.service_cidrs)
    config.names.addresses.push_back(cidr.address().plus(1));
  if (config.advertise) config.names.addresses.push_back(config.advertise->address);
  FAIRLEAD_TRY(token_keys, open_token_keys(config));
  FAIRLEAD_TRY(
      tls, open_tls(std::move(config.certificates), pki, std::move(config.names), *config.clock));
  FAIRLEAD_TRY(audit, open_audit(std::move(config.audit), *config.clock));
  std::unique_ptr<Store> own_store;
  if (config.store == nullptr) {
    FAIRLEAD_TRY(opened, open_own_store(executor, config.data_directory));
    own_store = std::move(opened);
    config.store = own_store.get();
  }
  auto server = std::make_unique<Server>(
      executor,
      Server::Parts{.own_store = std::move(own_store),
                    .store = config.store,
                    .pki = std::move(pki),
                    .trust = std::move(tls.trust),
                    .token_keys = std::move(token_keys),
                    .token_terms = config.service_accounts.terms,
                    .anonymous = config.anonymous,
                    .audit = std::move(audit),
                    .authorization = config.authorization,
                    .rules = {.limits = config.limits, .admission = config.admission},
                    .connections = config.connections,
                    .advertise = config.advertise,
                    .kinds = config.kinds,
                    .event_lifetime = config.event_lifetime,
                    .clock = config.clock},
      make_strategies(config.kinds), std::move(config.tokens));
  for (Listener& listener : config.listeners) {
    FAIRLEAD_CHECK(server->add_listener(executor, std::move(listener), tls.server));
  }
  return std::unique_ptr<ApiServer>(std::move(server));
}

}  // namespace fairlead::apiserver
