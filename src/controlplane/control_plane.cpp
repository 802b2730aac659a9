#include "controlplane/control_plane.hpp"

#include "apiserver/rbac_bootstrap.hpp"
#include "io/socket.hpp"

namespace fairlead::controlplane {

Result<std::unique_ptr<ControlPlane>> ControlPlane::create(
    io::Executor executor, apiserver::ApiServer::Config config,
    controllers::LoadBalancerPolicy balancer) {
  const Clock* clock = config.clock;
  FAIRLEAD_TRY(server, apiserver::ApiServer::create(executor, std::move(config)));
  return std::unique_ptr<ControlPlane>(
      new ControlPlane(std::move(executor), std::move(server), std::move(balancer), clock));
}

std::string ControlPlane::url(std::size_t listener) const {
  return fmt::format("https://{}", io::reachable(server_->addresses().at(listener)));
}

Result<client::ClusterAccess> ControlPlane::access(const std::string& url) const {
  return access_as(url, "fairlead-admin", {std::string(apiserver::kMasters)});
}

Result<client::ClusterAccess> ControlPlane::proxy_access(const std::string& url) const {
  return access_as(url, std::string(apiserver::kProxyUser), {});
}

Result<client::ClusterAccess> ControlPlane::access_as(const std::string& url,
                                                      const std::string& user,
                                                      std::vector<std::string> groups) const {
  FAIRLEAD_TRY(identity, server_->pki().client_identity(user, std::move(groups), *clock_));
  client::ClusterAccess out;
  out.server = url;
  out.ca_pem = server_->trust().ca_pem;
  out.tls_server_name = server_->trust().server_name;
  out.identity = std::move(identity);
  return out;
}

Result<std::unique_ptr<client::ApiClient>> ControlPlane::connect(
    const client::ClusterAccess& access) const {
  return client::ApiClient::create(executor_,
                                   {.access = access, .user_agent = "fairlead", .clock = clock_});
}

io::Task<Result<void>> ControlPlane::start() {
  FAIRLEAD_CO_CHECK(co_await server_->start());
  FAIRLEAD_CO_TRY(mine, access(url()));
  FAIRLEAD_CO_TRY(client, connect(mine));
  client_ = std::move(client);
  FAIRLEAD_CO_TRY(theirs, access_as(url(), std::string(apiserver::kControllerUser), {}));
  FAIRLEAD_CO_TRY(controllers_client, connect(theirs));
  controllers_client_ = std::move(controllers_client);
  controllers_ = std::make_unique<controllers::Controllers>(
      executor_,
      controllers::Controllers::Config{
          .client = controllers_client_.get(), .clock = clock_, .load_balancer = balancer_});
  controllers_->start();
  co_return Result<void>();
}

io::Task<void> ControlPlane::close() {
  if (controllers_) co_await controllers_->close();
  // Its idle connections have timers, for which the loop would go on.
  controllers_.reset();
  controllers_client_.reset();
  client_.reset();
  co_await server_->close();
}

}  // namespace fairlead::controlplane
