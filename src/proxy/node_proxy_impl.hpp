// Inside of NodeProxy: who is connected to whom. Internal to proxy/.
#pragma once

#include <optional>

#include "client/api_client.hpp"
#include "client/reflector.hpp"
#include "io/fd.hpp"
#include "proxy/node_context.hpp"
#include "proxy/node_proxy.hpp"
#include "proxy/proxy_metrics.hpp"
#include "proxy/servers.hpp"
#include "proxy/worker.hpp"

namespace fairlead::proxy {

class NodeProxy::Impl {
 public:
  Impl(io::Executor executor, Options options, HostFacts host, NodeSettings settings,
       std::unique_ptr<plan::Mode> mode, std::unique_ptr<client::ApiClient> api);

  void start();
  io::Task<void> close();
  const Syncer& syncer() const { return syncer_; }
  bool first_sync_done() const { return first_sync_done_; }

 private:
  // What the reflectors feed.
  template <class T>
  class Feed final : public client::ReflectorHandler<T> {
   public:
    explicit Feed(Impl* owner) : owner_(owner) {}
    void upsert(T object) override { owner_->put(object); }
    void remove(const kube::NamespacedName& key) override { owner_->removed(key, T{}); }
    void synced() override { owner_->synced(T{}); }
    void absent() override { owner_->synced(T{}); }

   private:
    Impl* owner_;
  };

  void put(const kube::Service& object);
  void put(const kube::EndpointSlice& object);
  void put(const kube::Node& object);
  void put(const kube::ServiceCidr& object);
  void removed(const kube::NamespacedName& key, const kube::Service&);
  void removed(const kube::NamespacedName& key, const kube::EndpointSlice&);
  void removed(const kube::NamespacedName& key, const kube::Node&);
  void removed(const kube::NamespacedName& key, const kube::ServiceCidr&);
  void synced(const kube::Service&);
  void synced(const kube::EndpointSlice&);
  void synced(const kube::Node&);
  void synced(const kube::ServiceCidr&);
  void model_changed();
  void node_changed();
  void open_gates();

  io::Task<void> sync_loop();
  io::Task<void> wait_for_surroundings();
  io::Task<void> watch_tamper(int fd);
  io::Task<void> watch_config_file();
  io::Task<void> take_outcome(Outcome outcome);
  void log_outcome(const Outcome& outcome);
  void log_conflicts();
  void fatal(const Error& error);
  void start_servers();

  HealthInputs health_inputs() const;
  io::HttpResponse answer_health(const io::HttpRequest& request);
  io::HttpResponse answer_metrics(const io::HttpRequest& request);

  io::Executor executor_;
  Options options_;
  HostFacts host_;
  model::Model model_;
  Syncer syncer_;
  std::unique_ptr<KernelSide> kernel_;  // touched on the worker only, once started
  std::string mode_name_;
  ProxyMetrics metrics_;
  std::unique_ptr<client::ApiClient> api_;
  Feed<kube::Service> service_feed_{this};
  Feed<kube::EndpointSlice> slice_feed_{this};
  Feed<kube::Node> node_feed_{this};
  Feed<kube::ServiceCidr> range_feed_{this};
  std::optional<client::Reflector<kube::Service>> services_;
  std::optional<client::Reflector<kube::EndpointSlice>> slices_;
  std::optional<client::Reflector<kube::Node>> nodes_;
  std::optional<client::Reflector<kube::ServiceCidr>> ranges_;
  std::optional<RetryingServer> health_server_, metrics_server_;
  HealthCheckServers health_checks_;
  io::Event wake_, tamper_checked_, surroundings_changed_;
  io::TaskGroup tasks_;
  Worker worker_;
  std::vector<IpPrefix> pod_cidrs_;                                 // as first seen, for NodeCIDR
  std::map<std::string, std::vector<std::string>> service_ranges_;  // by ServiceCIDR
  WallTime started_;
  std::vector<std::string> warned_;
  bool services_listed_ = false, slices_listed_ = false, ranges_settled_ = false,
       node_settled_ = false;
  bool first_sync_done_ = false;
  bool failed_ = false;
};

}  // namespace fairlead::proxy
