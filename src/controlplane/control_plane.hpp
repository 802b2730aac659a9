// API server and controllers in one process, with a client for the others who live there: what
// `fairlead up` and the lab run. Loop thread only. create() binds nothing (listeners come in the
// config), start() serves, close() is to be awaited before destruction, also when start() failed.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "apiserver/server.hpp"
#include "client/api_client.hpp"
#include "controllers/controllers.hpp"

namespace fairlead::controlplane {

class ControlPlane {
 public:
  // The first listener must be TLS and reachable from this process.
  static Result<std::unique_ptr<ControlPlane>> create(
      io::Executor executor, apiserver::ApiServer::Config config,
      controllers::LoadBalancerPolicy balancer = {});

  io::Task<Result<void>> start();
  io::Task<void> close();

  // How an administrator reaches the server at `url`, with a certificate of its own.
  Result<client::ClusterAccess> access(const std::string& url) const;
  // How a node proxy reaches it, as the user who may do what that needs.
  Result<client::ClusterAccess> proxy_access(const std::string& url) const;
  // URL of the n-th listener, from this machine.
  std::string url(std::size_t listener = 0) const;
  client::ApiClient& client() { return *client_; }  // after start()

 private:
  Result<client::ClusterAccess> access_as(const std::string& url, const std::string& user,
                                          std::vector<std::string> groups) const;
  Result<std::unique_ptr<client::ApiClient>> connect(const client::ClusterAccess& access) const;
  ControlPlane(io::Executor executor, std::unique_ptr<apiserver::ApiServer> server,
               controllers::LoadBalancerPolicy balancer, const Clock* clock)
      : executor_(std::move(executor)),
        balancer_(std::move(balancer)),
        clock_(clock),
        server_(std::move(server)) {}

  io::Executor executor_;
  controllers::LoadBalancerPolicy balancer_;
  const Clock* clock_;
  std::unique_ptr<apiserver::ApiServer> server_;
  std::unique_ptr<client::ApiClient> client_, controllers_client_;
  std::unique_ptr<controllers::Controllers> controllers_;
};

}  // namespace fairlead::controlplane
