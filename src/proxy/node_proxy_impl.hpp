// Inside of NodeProxy: who is connected to whom. Internal to proxy/.
#pragma once

#include <optional>

#include "client/api_client.hpp"
#include "client/event_recorder.hpp"
#include "client/reflector.hpp"
#include "io/fd.hpp"
#include "io/worker.hpp"
#include "proxy/node_context.hpp"
#include "proxy/node_proxy.hpp"
#include "proxy/proxy_metrics.hpp"
#include "proxy/servers.hpp"
#include "proxy/surfaces.hpp"

namespace fairlead::proxy {

// What the configuration says of the mode that runs.
struct SyncPeriods {
  Duration sync{0};
  Duration min_sync{0};
};

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
  io::Task<void> watch_successor(int fd);
  io::Task<void> watch_config_file();
  io::Task<void> take_outcome(Outcome outcome);
  io::Task<void> serve_health_checks();
  io::Task<void> rest();
  io::Task<void> count_traffic(std::string target);
  io::Task<void> read_traffic();
  void log_outcome(const Outcome& outcome);
  void log_leftovers(const Leftovers& leftovers);
  void log_conflicts();
  void fatal(const Error& error);
  void start_servers();

  void tell_of_node(client::Event::Type type, std::string reason, std::string note);
  void health_check_failed(const kube::NamespacedName& service, const Error& error);
  io::Task<void> end_with(std::string reason, Error error);

  HealthInputs health_inputs() const;
  std::string metrics_text();

  io::Executor executor_;
  Options options_;
  HostFacts host_;
  std::string mode_name_;
  SyncPeriods periods_;
  model::Model model_;
  Syncer syncer_;
  std::unique_ptr<KernelSide> kernel_;  // touched on the worker only, once started
  ProxyMetrics metrics_;
  std::unique_ptr<client::ApiClient> api_;
  client::EventRecorder events_;
  Feed<kube::Service> service_feed_{this};
  Feed<kube::EndpointSlice> slice_feed_{this};
  Feed<kube::Node> node_feed_{this};
  Feed<kube::ServiceCidr> range_feed_{this};
  std::optional<client::Reflector<kube::Service>> services_;
  std::optional<client::Reflector<kube::EndpointSlice>> slices_;
  std::optional<client::Reflector<kube::Node>> nodes_;
  std::optional<client::Reflector<kube::ServiceCidr>> ranges_;
  std::optional<io::StatusServer> health_server_, metrics_server_;
  HealthCheckServers health_checks_;
  std::optional<MonoTime> health_checks_due_;  // of those that cannot be served yet
  MetricsSurface metrics_surface_;
  io::Event wake_, tamper_checked_, surroundings_changed_;
  io::asio::steady_timer traffic_counted_;  // cancelled when a reading under way has ended
  MonoTime traffic_fresh_until_{};
  bool counting_ = false;
  io::TaskGroup tasks_;
  io::Worker worker_;
  std::vector<IpPrefix> pod_cidrs_;                                  // as first seen, for NodeCIDR
  std::map<std::string, std::vector<std::string>> service_ranges_;   // by ServiceCIDR
  std::map<kube::NamespacedName, std::string> health_checked_uids_;  // Services with such a port
  std::string node_uid_;
  bool node_gone_ = false;  // the Node object was there, and was deleted
  std::string conntrack_complaint_;
  WallTime started_;
  std::vector<std::string> warned_;
  bool services_listed_ = false, slices_listed_ = false, ranges_settled_ = false,
       node_settled_ = false;
  bool first_sync_done_ = false;
  bool failed_ = false;
};

}  // namespace fairlead::proxy
