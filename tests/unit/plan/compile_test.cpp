#include "proxy/plan/compile.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "unit/plan/model_builder.hpp"

namespace fairlead::plan {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

const kube::NamespacedName kWeb{.namespace_ = "ns", .name = "web"};
const Backend kLocal{.address = addr("10.0.1.1"), .port = Port{8080}, .local = true};
const Backend kRemote{.address = addr("10.0.2.1"), .port = Port{8080}, .local = false};

// A load balancer with every kind of way in.
kube::Service make_balancer() {
  kube::Service out = make_service("web", "10.96.0.10");
  out.type = kube::ServiceType::LoadBalancer;
  out.ports[0].node_port = 30080;
  out.external_ips = {"203.0.113.7"};
  out.ingress = {{.ip = "198.51.100.9"}};
  return out;
}

std::vector<ServicePlanPtr> compile_one(const kube::Service& service,
                                        std::vector<kube::Endpoint> endpoints,
                                        const NodeContext& node = make_node()) {
  model::Model model;
  model.put(service);
  if (!endpoints.empty()) model.put(make_slice("s", "web", std::move(endpoints)));
  return compile_service(kWeb, model.find(kWeb), model, node).plans;
}

struct DecisionCase {
  std::string name;
  bool internal_local = false, external_local = false;
  std::string endpoints;  // 'l' a local one, 'r' a remote one
  Target cluster_ip = Target::Reject;
  Target external = Target::Reject;
  Masquerade masquerade = Masquerade::Never;
  bool short_circuit = false;
};

TEST(Compile, DecidesWhereTrafficGoes) {
  using enum Target;
  const std::vector<DecisionCase> cases = {
      {.name = "no endpoints"},
      {.name = "no endpoints, all Local", .internal_local = true, .external_local = true},
      {.name = "both policies Cluster",
       .endpoints = "lr",
       .cluster_ip = ClusterPool,
       .external = ClusterPool,
       .masquerade = Masquerade::Always},
      {.name = "internal Local",
       .internal_local = true,
       .endpoints = "lr",
       .cluster_ip = LocalPool,
       .external = ClusterPool,
       .masquerade = Masquerade::Always},
      {.name = "internal Local, none here",
       .internal_local = true,
       .endpoints = "r",
       .cluster_ip = Drop,
       .external = ClusterPool,
       .masquerade = Masquerade::Always},
      {.name = "external Local",
       .external_local = true,
       .endpoints = "lr",
       .cluster_ip = ClusterPool,
       .external = LocalPool,
       .short_circuit = true},
      {.name = "external Local, none here",
       .external_local = true,
       .endpoints = "r",
       .cluster_ip = ClusterPool,
       .external = Drop,
       .short_circuit = true},
      {.name = "both Local, none here",
       .internal_local = true,
       .external_local = true,
       .endpoints = "r",
       .cluster_ip = Drop,
       .external = Drop,
       .short_circuit = true},
  };
  for (const DecisionCase& c : cases) {
    SCOPED_TRACE(c.name);
    kube::Service service = make_balancer();
    if (c.internal_local) service.internal_traffic_policy = kube::TrafficPolicy::Local;
    if (c.external_local) service.external_traffic_policy = kube::TrafficPolicy::Local;
    std::vector<kube::Endpoint> endpoints;
    for (const char e : c.endpoints) {
      endpoints.push_back(e == 'l' ? make_endpoint("10.0.1.1", "n1")
                                   : make_endpoint("10.0.2.1", "n2"));
    }
    const auto plans = compile_one(service, endpoints);
    ASSERT_THAT(plans, SizeIs(1));
    Frontend external{
        .target = c.external, .masquerade = c.masquerade, .short_circuit = c.short_circuit};
    const auto at = [&](FrontendKind kind, std::string_view address, std::uint16_t port) {
      Frontend out = external;
      out.kind = kind;
      out.address = addr(address);
      out.port = Port{port};
      return out;
    };
    EXPECT_THAT(plans[0]->frontends,
                ElementsAre(Frontend{.address = addr("10.96.0.10"),
                                     .port = Port{80},
                                     .target = c.cluster_ip,
                                     .masquerade = Masquerade::OffCluster},
                            at(FrontendKind::ExternalIp, "203.0.113.7", 80),
                            at(FrontendKind::LoadBalancerIp, "198.51.100.9", 80),
                            at(FrontendKind::NodePort, "0.0.0.0", 30080)));
    Pool cluster, local;
    if (c.endpoints.find('l') != std::string::npos) cluster.push_back(kLocal);
    if (c.endpoints.find('r') != std::string::npos) cluster.push_back(kRemote);
    if (c.endpoints.find('l') != std::string::npos && (c.internal_local || c.external_local)) {
      local.push_back(kLocal);
    }
    EXPECT_EQ(plans[0]->cluster_pool, cluster);
    EXPECT_EQ(plans[0]->local_pool, local);
  }
}

TEST(Compile, InternalServiceWithPolicyLocalHasNoClusterPool) {
  kube::Service service = make_service("web", "10.96.0.10");
  service.internal_traffic_policy = kube::TrafficPolicy::Local;
  const auto plans = compile_one(service, {make_endpoint("10.0.2.1", "n2")});
  EXPECT_THAT(plans.at(0)->cluster_pool, IsEmpty());
  EXPECT_EQ(plans.at(0)->frontends.at(0).target, Target::Drop);
}

TEST(Compile, OnlyLoadBalancerAddressesAreRestrictedAndTheNodeBringsThemAlong) {
  kube::Service service = make_balancer();
  service.external_ips.push_back("198.51.100.9");  // also the load balancer's: restricted
  const auto ranges_of = [&](std::vector<std::string> ranges) {
    service.load_balancer_source_ranges = std::move(ranges);
    std::map<std::string, std::vector<std::string>> out;
    const auto plans = compile_one(service, {});
    for (const Frontend& f : plans.at(0)->frontends) {
      for (const IpPrefix& range : f.source_ranges) {
        out[fmt::format("{}", f.address)].push_back(range.to_string());
      }
    }
    return out;
  };
  using Expected = std::map<std::string, std::vector<std::string>>;
  EXPECT_EQ(ranges_of({"172.16.0.0/12"}), (Expected{{"198.51.100.9", {"172.16.0.0/12"}}}));
  EXPECT_EQ(ranges_of({"192.168.0.0/16"}),
            (Expected{{"198.51.100.9", {"192.168.0.0/16", "198.51.100.9/32"}}}));
  EXPECT_EQ(ranges_of({"fd00::/8"}), Expected{});  // no range of this family: open
}

TEST(Compile, DualStackGivesOnePlanAFamily) {
  kube::Service service = make_service("web", "10.96.0.10");
  service.cluster_ips = {"10.96.0.10", "fd00:96::10"};
  service.ip_families = {IpFamily::V4, IpFamily::V6};
  service.ports[0].node_port = 30080;
  model::Model model;
  model.put(service);
  model.put(make_slice("v4", "web", {make_endpoint("10.0.1.1")}));
  auto v6 = make_slice("v6", "web", {make_endpoint("fd00:1::1")});
  v6.address_type = kube::AddressType::IPv6;
  model.put(v6);
  const auto plans = compile_service(kWeb, model.find(kWeb), model, make_node()).plans;
  ASSERT_THAT(plans, SizeIs(2));
  EXPECT_THAT(plans[0]->cluster_pool, ElementsAre(kLocal));
  EXPECT_THAT(
      plans[1]->cluster_pool,
      ElementsAre(Backend{.address = addr("fd00:1::1"), .port = Port{8080}, .local = true}));
  EXPECT_EQ(plans[1]->frontends.back().address, addr("::"));

  NodeContext only_v4 = make_node();
  only_v4.families.erase(IpFamily::V6);
  EXPECT_THAT(compile_service(kWeb, model.find(kWeb), model, only_v4).plans, SizeIs(1));
}

TEST(Compile, HealthCheckCountsDistinctReadyLocalAddresses) {
  kube::Service service = make_balancer();
  service.external_traffic_policy = kube::TrafficPolicy::Local;
  service.health_check_node_port = 31000;
  service.ports.push_back({.name = "q", .port = 81});
  model::Model model;
  model.put(service);
  kube::Endpoint terminating = make_endpoint("10.0.1.3");
  terminating.ready = false;
  terminating.terminating = true;
  auto slice = make_slice("s", "web",
                          {make_endpoint("10.0.1.1"), make_endpoint("10.0.1.2"), terminating,
                           make_endpoint("10.0.2.1", "n2")});
  slice.ports.push_back({.name = "q", .port = 8081});
  model.put(slice);
  EXPECT_EQ(compile_service(kWeb, model.find(kWeb), model, make_node()).health_check,
            (HealthCheck{.port = Port{31000}, .local_endpoints = {{IpFamily::V4, 2}}}));
}

TEST(Compiler, RecompilesWhatChangedAndNothingElse) {
  model::Model model;
  for (int i = 0; i < 100; ++i) {
    const std::string name = fmt::format("s{:02}", i);
    model.put(make_service(name, fmt::format("10.96.0.{}", i)));
    model.put(make_slice(name + "-x", name, {make_endpoint(fmt::format("10.0.1.{}", i))}));
  }
  Compiler compiler(make_node());
  EXPECT_EQ(compiler.update(model).recompiled, 100U);
  const ServicePlanPtr before = compiler.plan().services.at(make_key("s07"));

  model.put(make_slice("s07-x", "s07", {make_endpoint("10.0.2.9")}));
  Update update = compiler.update(model);
  EXPECT_EQ(update.recompiled, 1U);
  ASSERT_THAT(update.delta.services, SizeIs(1));
  EXPECT_EQ(update.delta.services[0].before, before);
  EXPECT_EQ(update.delta.services[0].after, compiler.plan().services.at(make_key("s07")));
}

TEST(Compiler, ChangeThatIsTakenBackIsNoChange) {
  model::Model model;
  model.put(make_service("web", "10.96.0.10"));
  model.put(make_slice("s", "web", {make_endpoint("10.0.1.1")}));
  Compiler compiler(make_node());
  compiler.update(model);
  const ServicePlanPtr before = compiler.plan().services.at(make_key("web"));
  model.put(make_slice("s", "web", {}));
  model.put(make_slice("s", "web", {make_endpoint("10.0.1.1")}));
  EXPECT_TRUE(compiler.update(model).delta.empty());
  EXPECT_EQ(compiler.plan().services.at(make_key("web")), before);
}

TEST(Compiler, EndpointThatMovesBetweenSlicesChangesNothing) {
  model::Model model;
  model.put(make_service("web", "10.96.0.10"));
  model.put(make_slice("a", "web", {make_endpoint("10.0.1.1")}));
  model.put(make_slice("b", "web", {}));
  Compiler compiler(make_node());
  compiler.update(model);
  model.put(make_slice("b", "web", {make_endpoint("10.0.1.1")}));
  EXPECT_TRUE(compiler.update(model).delta.empty());  // in both
  model.put(make_slice("a", "web", {}));
  EXPECT_TRUE(compiler.update(model).delta.empty());
}

TEST(Compiler, ModeSettingsOfTheNodeRecompileNoService) {
  model::Model model;
  model.put(make_service("web", "10.96.0.10"));
  Compiler compiler(make_node());
  EXPECT_THAT(compiler.update(model).delta.nodes_changed, ElementsAre(IpFamily::V4, IpFamily::V6));
  NodeContext node = make_node();
  node.families[IpFamily::V4].masquerade_all = true;
  compiler.set_node(node, model);
  Update update = compiler.update(model);
  EXPECT_EQ(update.recompiled, 0U);
  EXPECT_THAT(update.delta.nodes_changed, ElementsAre(IpFamily::V4));
  node.zone = "z2";
  compiler.set_node(node, model);
  EXPECT_EQ(compiler.update(model).recompiled, 1U);
}

TEST(Compiler, ContestedAddressHasOneOwnerAndPassesOn) {
  model::Model model;
  Compiler compiler(make_node());
  const auto with_external_ip = [](std::string name, std::string cluster_ip) {
    kube::Service out = make_service(std::move(name), std::move(cluster_ip));
    out.external_ips = {"10.96.0.1"};
    return out;
  };
  const auto owners = [&] {
    std::vector<std::string> out;
    for (const auto& [key, plan] : compiler.plan().services) {
      for (const Frontend& f : plan->frontends) {
        if (f.address == addr("10.96.0.1")) out.push_back(key.service_port.name);
      }
    }
    return out;
  };
  model.put(with_external_ip("b", "10.96.0.11"));
  EXPECT_THAT(compiler.update(model).conflicts, IsEmpty());
  EXPECT_THAT(owners(), ElementsAre("b"));
  model.put(with_external_ip("a", "10.96.0.12"));  // smaller key
  const Update outbid = compiler.update(model);
  ASSERT_THAT(outbid.conflicts, SizeIs(1));
  EXPECT_EQ(outbid.conflicts[0].loser, make_key("b"));
  EXPECT_EQ(outbid.conflicts[0].winner, make_key("a"));
  EXPECT_THAT(owners(), ElementsAre("a"));
  model.put(make_service("z", "10.96.0.1"));  // a cluster IP cannot be hijacked
  compiler.update(model);
  EXPECT_THAT(owners(), ElementsAre("z"));
  model.remove_service({.namespace_ = "ns", .name = "z"});
  model.remove_service({.namespace_ = "ns", .name = "a"});
  compiler.update(model);
  EXPECT_THAT(owners(), ElementsAre("b"));
}

// "name: places that lead to so many endpoints, places it has no more".
std::vector<std::string> reviewed(const Update& update) {
  std::vector<std::string> out;
  for (const FlowReview& review : update.flows) {
    out.push_back(fmt::format("{}: {} to {}, {} gone", review.key.service_port.name,
                              review.frontends.size(), review.serving.size(),
                              review.former.size()));
  }
  return out;
}

TEST(Compiler, UdpFlowsAreReviewedWhenTheyMayLeadNowhere) {
  model::Model model;
  Compiler compiler(make_node());
  kube::Service dns = make_service("dns", "10.96.0.53");
  dns.ports[0].protocol = Protocol::Udp;
  const auto put_endpoints = [&](std::vector<kube::Endpoint> endpoints) {
    auto slice = make_slice("s", "dns", std::move(endpoints));
    slice.ports[0].protocol = Protocol::Udp;
    model.put(slice);
    return reviewed(compiler.update(model));
  };
  model.put(make_service("tcp", "10.96.0.1"));
  model.put(dns);
  const auto update = [&] { return reviewed(compiler.update(model)); };
  EXPECT_THAT(update(), ElementsAre("dns: 1 to 0, 0 gone")) << "first sight";
  EXPECT_THAT(put_endpoints({make_endpoint("10.0.1.1")}), ElementsAre("dns: 1 to 1, 0 gone"))
      << "black hole";
  EXPECT_THAT(put_endpoints({make_endpoint("10.0.1.1"), make_endpoint("10.0.1.2")}), IsEmpty());
  kube::Endpoint draining = make_endpoint("10.0.1.1");
  draining.ready = false;
  draining.serving = true;
  draining.terminating = true;
  EXPECT_THAT(put_endpoints({draining, make_endpoint("10.0.1.2")}), IsEmpty()) << "still serves";
  EXPECT_THAT(put_endpoints({make_endpoint("10.0.1.2")}), ElementsAre("dns: 1 to 1, 0 gone"));
  EXPECT_THAT(put_endpoints({}), ElementsAre("dns: 1 to 0, 0 gone"));
  dns.external_ips = {"203.0.113.7"};
  model.put(dns);
  EXPECT_THAT(update(), ElementsAre("dns: 2 to 0, 0 gone"));
  dns.external_ips = {"203.0.113.8"};
  model.put(dns);
  EXPECT_THAT(update(), ElementsAre("dns: 2 to 0, 1 gone"));
  dns.ports[0].port = 54;
  model.put(dns);
  EXPECT_THAT(update(), ElementsAre("dns: 2 to 0, 2 gone"));
  dns.ports[0].protocol = Protocol::Tcp;
  model.put(dns);
  EXPECT_THAT(update(), ElementsAre("dns: 0 to 0, 2 gone")) << "no UDP port any more";
}

TEST(Compiler, UdpFlowsOfADeletedServiceGoWithIt) {
  model::Model model;
  Compiler compiler(make_node());
  kube::Service dns = make_service("dns", "10.96.0.53");
  dns.ports[0].protocol = Protocol::Udp;
  model.put(dns);
  compiler.update(model);
  dns.metadata.name = "heir";
  dns.ports[0].port = 53;
  model.put(dns);
  compiler.update(model);
  model.remove_service({.namespace_ = "ns", .name = "dns"});
  EXPECT_THAT(reviewed(compiler.update(model)), ElementsAre("dns: 0 to 0, 1 gone"));
}

// ---- randomised: the incremental path against from-scratch --------------------------------------

class RandomCluster {
 public:
  explicit RandomCluster(std::uint32_t seed) : random_(seed) {}

  void step(model::Model& model) {
    const std::string name = fmt::format("s{}", pick(6));
    switch (pick(6)) {
      case 0:
        model.remove_service({.namespace_ = "ns", .name = name});
        break;
      case 1:
        model.remove_slice({.namespace_ = "ns", .name = slice_name()});
        break;
      case 2:
      case 3:
        model.put(service(name));
        break;
      default:
        model.put(slice());
    }
  }

  int pick(int below) { return std::uniform_int_distribution<int>(0, below - 1)(random_); }

 private:
  std::string slice_name() { return fmt::format("slice{}", pick(10)); }

  // Few addresses, so that Services collide.
  kube::Service service(const std::string& name) {
    kube::Service out = make_service(name, fmt::format("10.96.0.{}", 1 + pick(8)));
    out.type = pick(2) == 0 ? kube::ServiceType::LoadBalancer : kube::ServiceType::ClusterIp;
    out.ports[0].protocol = pick(3) == 0 ? Protocol::Udp : Protocol::Tcp;
    if (pick(3) == 0) out.ports.push_back({.name = "q", .port = 81, .node_port = 30001});
    if (pick(2) == 0) out.external_ips = {fmt::format("10.96.0.{}", 1 + pick(8))};
    if (pick(3) == 0) out.ingress = {{.ip = fmt::format("10.96.0.{}", 1 + pick(8))}};
    if (pick(3) == 0) out.load_balancer_source_ranges = {"192.168.0.0/16"};
    if (pick(3) == 0) out.external_traffic_policy = kube::TrafficPolicy::Local;
    if (pick(3) == 0) out.internal_traffic_policy = kube::TrafficPolicy::Local;
    if (pick(8) == 0) out.cluster_ip = "None";
    if (pick(4) == 0) out.client_ip_affinity = true;
    return out;
  }

  kube::EndpointSlice slice() {
    std::vector<kube::Endpoint> endpoints;
    for (int i = pick(4); i > 0; --i) {
      endpoints.push_back(
          make_endpoint(fmt::format("10.0.1.{}", pick(6)), pick(2) == 0 ? "n1" : "n2"));
      endpoints.back().ready = pick(3) != 0;
      endpoints.back().terminating = pick(3) == 0;
      if (pick(2) == 0) endpoints.back().zone_hints = {pick(2) == 0 ? "z1" : "z2"};
    }
    auto out = make_slice(slice_name(), fmt::format("s{}", pick(6)), std::move(endpoints));
    if (pick(2) == 0) out.ports.push_back({.name = "q", .port = 8081});
    if (pick(3) == 0) out.ports[0].protocol = Protocol::Udp;
    return out;
  }

  std::mt19937 random_;
};

// Whole content, readable when it fails.
std::string to_text(const ServicePlan& plan) {
  std::string out = fmt::format("{}/{}/{} affinity={}", plan.key.service_port.to_string(),
                                plan.key.service_port.protocol, plan.key.family,
                                plan.affinity ? plan.affinity->count() : 0);
  for (const Pool* pool : {&plan.cluster_pool, &plan.local_pool}) {
    out += "\n    pool";
    for (const Backend& b : *pool)
      out += fmt::format(" {}:{}{}", b.address, b.port, b.local ? "*" : "");
  }
  for (const Frontend& f : plan.frontends) {
    out += fmt::format("\n    kind {} {}:{} target {} masquerade {} short {} ranges {}",
                       static_cast<int>(f.kind), f.address, f.port, static_cast<int>(f.target),
                       static_cast<int>(f.masquerade), f.short_circuit, f.source_ranges.size());
  }
  return out;
}

std::vector<std::string> content(const Plan& plan) {
  std::vector<std::string> out;
  for (const auto& [key, service] : plan.services) out.push_back(to_text(*service));
  return out;
}

// A mode's view: it has only ever seen deltas.
void commit(std::map<PlanKey, ServicePlanPtr>& kernel, const PlanDelta& delta) {
  const PlanKey* previous = nullptr;
  for (const ServiceChange& change : delta.services) {
    const PlanKey& key = change.after ? change.after->key : change.before->key;
    if (previous != nullptr) {
      EXPECT_LT(*previous, key) << "changes are ordered";
    }
    previous = &key;
    const auto found = kernel.find(key);
    EXPECT_EQ(change.before, found == kernel.end() ? nullptr : found->second);
    if (change.before && change.after) {
      EXPECT_NE(*change.before, *change.after);
    }
    if (change.after) {
      kernel[key] = change.after;
    } else {
      kernel.erase(key);
    }
  }
}

TEST(Compiler, DeltasAddUpToACompileFromScratch) {
  for (std::uint32_t seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(seed);
    RandomCluster cluster(seed);
    model::Model model;
    NodeContext node = make_node();
    Compiler compiler(node);
    std::map<PlanKey, ServicePlanPtr> kernel;
    for (int batch = 0; batch < 40; ++batch) {
      for (int step = cluster.pick(4); step >= 0; --step) cluster.step(model);
      if (cluster.pick(10) == 0) {
        node.zone = cluster.pick(2) == 0 ? "z1" : "z2";
        compiler.set_node(node, model);
      }
      commit(kernel, compiler.update(model).delta);
      const auto from_scratch = content(compile(model, node));
      ASSERT_EQ(content(compiler.plan()), from_scratch);
      ASSERT_EQ(kernel, compiler.plan().services);
    }
  }
}

TEST(Diff, TurnsOnePlanIntoTheOther) {
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    SCOPED_TRACE(seed);
    RandomCluster cluster(seed);
    model::Model model;
    for (int i = 0; i < 20; ++i) cluster.step(model);
    const Plan before = compile(model, make_node());
    for (int i = 0; i < 5; ++i) cluster.step(model);
    const Plan after = compile(model, make_node());
    std::map<PlanKey, ServicePlanPtr> kernel = before.services;
    commit(kernel, diff(before, after));
    EXPECT_EQ(content(Plan{.services = kernel}), content(after));
    EXPECT_TRUE(diff(after, after).empty());
  }
}

}  // namespace
}  // namespace fairlead::plan
