// What fairlead-proxy keeps of a cluster and does about a change, without the HTTP between: a watch
// line is decoded, the model takes it, the compiler makes the difference, the mode commits it.
// These are the proxy's own parts, joined as proxy/node_proxy.cpp joins them. Thread rule: one
// thread; create() in the network namespace that is to be programmed.
#pragma once

#include <memory>
#include <string_view>

#include "kube/codec.hpp"
#include "nftables/cluster.hpp"
#include "proxy/sync.hpp"

namespace fairlead::bench {

using Duration = std::chrono::nanoseconds;

// Decoder and model.
class Cluster {
 public:
  Result<void> service(std::string_view line);
  Result<void> slice(std::string_view line);
  // All of a cluster, line by line.
  Result<void> load(ClusterSize size);
  model::Model& model() { return model_; }

 private:
  kube::Decoder decoder_;
  model::Model model_;
};

struct Commit {
  plan::ApplyStats stats;
  Duration compile{0};
  Duration kernel{0};  // rendering included
  Duration total() const { return compile + kernel; }
};

// Compiler and mode.
class ProxyUnderTest {
 public:
  static Result<std::unique_ptr<ProxyUnderTest>> create(model::Model* model);

  // Compiles what is dirty and commits it: the first time everything.
  Result<Commit> sync();
  const plan::Plan& plan() const { return kernel_.plan(); }

 private:
  ProxyUnderTest(model::Model* model, std::unique_ptr<plan::Mode> mode);

  proxy::Syncer syncer_;
  proxy::KernelSide kernel_;
};

}  // namespace fairlead::bench
