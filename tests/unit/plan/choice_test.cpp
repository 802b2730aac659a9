#include "proxy/plan/choice.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/plan/model_builder.hpp"

namespace fairlead::plan {
namespace {

constexpr Location kHere{.node = "n1", .zone = "z1"};

// All that can be said of one endpoint: R ready, S serving and terminating, T terminating, N not
// ready; on this node or another; reserved for nobody, this or another zone, this or another node.
std::vector<kube::Endpoint> all_endpoints() {
  std::vector<kube::Endpoint> out;
  for (const char state : {'R', 'S', 'T', 'N'}) {
    for (const char* node : {"n1", "n2"}) {
      for (const std::string hint : {"", "z1", "z2", "n1", "n2"}) {
        kube::Endpoint endpoint = make_endpoint("", node);
        endpoint.ready = state == 'R';
        endpoint.serving = state == 'R' || state == 'S';
        endpoint.terminating = state == 'S' || state == 'T';
        if (!hint.empty()) (hint[0] == 'z' ? endpoint.zone_hints : endpoint.node_hints) = {hint};
        out.push_back(std::move(endpoint));
      }
    }
  }
  return out;
}

struct Given {
  model::Model model;
  std::vector<Candidate> all;
};

std::unique_ptr<Given> given(std::vector<kube::Endpoint> endpoints) {
  auto out = std::make_unique<Given>();
  for (std::size_t i = 0; i < endpoints.size(); ++i)
    endpoints[i].addresses = {fmt::format("10.0.0.{}", i + 1)};
  out->model.put(make_service("a", "10.96.0.1"));
  out->model.put(make_slice("a-1", "a", std::move(endpoints)));
  out->all = candidates(*out->model.find({.namespace_ = "ns", .name = "a"}), {.name = "p"},
                        out->model, kHere.node);
  return out;
}

Pool used(const Choice& choice) {
  Pool out;
  for (const EndpointFate& endpoint : choice.endpoints) {
    if (endpoint.fate == Fate::Used) out.push_back(endpoint.backend);
  }
  return out;
}

TEST(Choice, UsesExactlyWhatIsSelected) {
  const auto kinds = all_endpoints();
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    for (std::size_t j = i; j < kinds.size(); ++j) {
      for (std::size_t k = j; k < kinds.size(); ++k) {
        const auto g = given({kinds[i], kinds[j], kinds[k]});
        const Selection wanted = select(g->all, {.cluster = true, .local = true}, g->model, kHere);
        ASSERT_EQ(used(explain_choice(g->all, PoolKind::Cluster, g->model, kHere)), wanted.cluster)
            << i << " " << j << " " << k;
        ASSERT_EQ(used(explain_choice(g->all, PoolKind::Local, g->model, kHere)), wanted.local)
            << i << " " << j << " " << k;
      }
    }
  }
}

TEST(Choice, SaysWhyAnEndpointIsLeftOut) {
  const auto ready = [](const char* node, std::vector<std::string> zones = {}) {
    kube::Endpoint out = make_endpoint("", node);
    out.zone_hints = std::move(zones);
    return out;
  };
  kube::Endpoint terminating = make_endpoint("", "n1");
  terminating.ready = false;
  terminating.terminating = true;
  kube::Endpoint failing = make_endpoint("", "n1");
  failing.ready = failing.serving = false;
  struct Case {
    std::string name;
    std::vector<kube::Endpoint> endpoints;
    PoolKind kind = PoolKind::Cluster;
    std::vector<Fate> fates;
    Topology topology = Topology::None;
    bool fell_back = false;
  };
  const std::vector<Case> cases = {
      {.name = "ready ones first",
       .endpoints = {ready("n1"), terminating, failing},
       .fates = {Fate::Used, Fate::Terminating, Fate::NotReady}},
      {.name = "nobody ready",
       .endpoints = {terminating, failing},
       .fates = {Fate::Used, Fate::NotReady},
       .fell_back = true},
      {.name = "hints of zones",
       .endpoints = {ready("n2", {"z1"}), ready("n2", {"z2", "z0"})},
       .fates = {Fate::Used, Fate::ReservedForZone},
       .topology = Topology::SameZone},
      {.name = "one without a hint: none counts",
       .endpoints = {ready("n2", {"z1"}), ready("n2")},
       .fates = {Fate::Used, Fate::Used}},
      {.name = "policy Local",
       .endpoints = {ready("n1"), ready("n2")},
       .kind = PoolKind::Local,
       .fates = {Fate::Used, Fate::OnAnotherNode}},
      {.name = "policy Local, only ready elsewhere",
       .endpoints = {terminating, ready("n2")},
       .kind = PoolKind::Local,
       .fates = {Fate::Used, Fate::OnAnotherNode},
       .fell_back = true},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const auto g = given(c.endpoints);
    const Choice got = explain_choice(g->all, c.kind, g->model, kHere);
    std::vector<Fate> fates;
    for (const EndpointFate& endpoint : got.endpoints) fates.push_back(endpoint.fate);
    EXPECT_EQ(fates, c.fates);
    EXPECT_EQ(got.topology, c.topology);
    EXPECT_EQ(got.fell_back, c.fell_back);
  }
}

TEST(Choice, NamesTheZonesAnEndpointIsReservedFor) {
  kube::Endpoint here = make_endpoint("", "n2");
  here.zone_hints = {"z1"};
  kube::Endpoint elsewhere = make_endpoint("", "n2");
  elsewhere.zone_hints = {"z3", "z2"};
  const auto g = given({here, elsewhere});
  const Choice got = explain_choice(g->all, PoolKind::Cluster, g->model, kHere);
  EXPECT_EQ(got.endpoints.at(1).reserved_for, (std::vector<std::string>{"z2", "z3"}));
}

}  // namespace
}  // namespace fairlead::plan
