#include "controlplane/control_plane.hpp"

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
  FAIRLEAD_TRY(identity,
               server_->pki().client_identity("fairlead-admin", {"system:masters"}, *clock_));
  client::ClusterAccess out;
  out.server = url;
  out.ca_pem = server_->pki().ca_pem();
  out.identity = std::move(identity);
  return out;
}

io::Task<Result<void>> ControlPlane::start() {
  FAIRLEAD_CO_CHECK(co_await server_->start());
  FAIRLEAD_CO_TRY(mine, access(url()));
  FAIRLEAD_CO_TRY(client, client::ApiClient::create(executor_, {.access = std::move(mine),
                                                                .user_agent = "fairlead",
                                                                .clock = clock_}));
  client_ = std::move(client);
  controllers_ = std::make_unique<controllers::Controllers>(
      executor_, controllers::Controllers::Config{
                     .client = client_.get(), .clock = clock_, .load_balancer = balancer_});
  controllers_->start();
  co_return Result<void>();
}

io::Task<void> ControlPlane::close() {
  if (controllers_) co_await controllers_->close();
  // Its idle connections have timers, for which the loop would go on.
  controllers_.reset();
  client_.reset();
  co_await server_->close();
}

}  // namespace fairlead::controlplane
