#include "proxy/plan/select.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/text.hpp"
#include "unit/plan/model_builder.hpp"

namespace fairlead::plan {
namespace {

// An endpoint is written as its state ("R" ready, "S" serving and terminating, "T" terminating
// only, "N" not ready), its node ("l" this one, "r" another) and its hints: "Rr z1 n2".
struct Case {
  std::string name;
  std::vector<std::string> endpoints;
  std::string cluster, local;  // indices of the chosen, as "02"
  bool any = true;
  Wanted wanted{.cluster = true, .local = true};
};

kube::Endpoint to_endpoint(std::string_view text, std::size_t index) {
  kube::Endpoint out = make_endpoint(fmt::format("10.0.0.{}", index), text[1] == 'l' ? "n1" : "n2");
  out.ready = text[0] == 'R';
  out.serving = text[0] == 'R' || text[0] == 'S';
  out.terminating = text[0] == 'S' || text[0] == 'T';
  const auto words = split(text, ' ');
  for (std::size_t i = 1; i < words.size(); ++i) {
    (words[i][0] == 'z' ? out.zone_hints : out.node_hints).emplace_back(words[i]);
  }
  return out;
}

std::string indices(const Pool& pool) {
  std::string out;
  for (const Backend& b : pool) out += static_cast<char>('0' + b.address.bytes()[3]);
  return out;
}

TEST(Select, FollowsTheTables) {
  const std::vector<Case> cases = {
      {.name = "none", .endpoints = {}, .any = false},
      {.name = "only ready ones",
       .endpoints = {"Rl", "Sl", "Tl", "Nl", "Rr"},
       .cluster = "04",
       .local = "0"},
      {.name = "fall back to serving and terminating",
       .endpoints = {"Sl", "Tl", "Nl", "Sr"},
       .cluster = "03",
       .local = "0"},
      {.name = "nothing serves", .endpoints = {"Tl", "Nl"}, .any = false},
      {.name = "local falls back alone", .endpoints = {"Sl", "Rr"}, .cluster = "1", .local = "0"},
      {.name = "none local", .endpoints = {"Rr"}, .cluster = "0", .local = ""},
      {.name = "local only, all remote: absent here, not absent",
       .endpoints = {"Rr"},
       .any = true,
       .wanted = {.cluster = false, .local = true}},
      {.name = "local only, remote terminating counts as some",
       .endpoints = {"Sr"},
       .any = true,
       .wanted = {.cluster = false, .local = true}},
      {.name = "same zone", .endpoints = {"Rl z1", "Rr z2"}, .cluster = "0", .local = "0"},
      {.name = "zone hints do not bind the local pool",
       .endpoints = {"Rl z2", "Rr z1"},
       .cluster = "1",
       .local = "0"},
      {.name = "one without a hint turns hints off",
       .endpoints = {"Rl z1", "Rr"},
       .cluster = "01",
       .local = "0"},
      {.name = "a hintless endpoint that is not ready does not",
       .endpoints = {"Rr z1", "Rr z2", "Nr"},
       .cluster = "0"},
      {.name = "no hint means us", .endpoints = {"Rr z2", "Rr z3"}, .cluster = "01"},
      {.name = "node hints before zone hints",
       .endpoints = {"Rr z1 n2", "Rr z2 n1"},
       .cluster = "1"},
      {.name = "node hints for others: zone hints",
       .endpoints = {"Rr z1 n2", "Rr z2 n2"},
       .cluster = "0"},
      {.name = "several zones in one hint", .endpoints = {"Rr z2 z1", "Rr z2"}, .cluster = "0"},
      {.name = "fall back ignores hints", .endpoints = {"Sr z2", "Sr z1"}, .cluster = "01"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    model::Model model;
    std::vector<kube::Endpoint> endpoints;
    for (std::size_t i = 0; i < c.endpoints.size(); ++i) {
      endpoints.push_back(to_endpoint(c.endpoints[i], i));
    }
    model.put(make_slice("s", "web", endpoints));
    const auto all =
        candidates(*model.find({.namespace_ = "ns", .name = "web"}), {.name = "p"}, model, "n1");
    const Selection got = select(all, c.wanted, model, {.node = "n1", .zone = "z1"});
    EXPECT_EQ(indices(got.cluster), c.cluster);
    EXPECT_EQ(indices(got.local), c.local);
    EXPECT_EQ(got.any, c.any);
  }
}

TEST(Select, WithoutAZoneLabelZoneHintsAreIgnored) {
  model::Model model;
  kube::Endpoint hinted = make_endpoint("10.0.0.1");
  hinted.zone_hints = {""};
  model.put(make_slice("s", "web", {hinted}));
  const auto all =
      candidates(*model.find({.namespace_ = "ns", .name = "web"}), {.name = "p"}, model, "n1");
  EXPECT_EQ(topology_of(all, model, {.node = "n1", .zone = ""}), Topology::None);
}

TEST(Candidates, AreOrderedByTheirText) {
  model::Model model;
  model.put(make_slice("s", "web", {make_endpoint("10.0.0.9"), make_endpoint("10.0.0.10")}));
  const auto all =
      candidates(*model.find({.namespace_ = "ns", .name = "web"}), {.name = "p"}, model, "n1");
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].backend.address, addr("10.0.0.10"));
}

TEST(Candidates, LivelierClaimToAnAddressWinsWhicheverSliceHasIt) {
  for (const bool old_first : {true, false}) {
    SCOPED_TRACE(old_first);
    kube::Endpoint old_pod = make_endpoint("10.0.0.1", "n2");
    old_pod.ready = false;
    old_pod.terminating = true;
    model::Model model;
    model.put(make_slice(old_first ? "a" : "b", "web", {old_pod}));
    model.put(make_slice(old_first ? "b" : "a", "web", {make_endpoint("10.0.0.1", "n1")}));
    const auto all =
        candidates(*model.find({.namespace_ = "ns", .name = "web"}), {.name = "p"}, model, "n1");
    ASSERT_EQ(all.size(), 1U);
    EXPECT_TRUE(all[0].ready);
    EXPECT_TRUE(all[0].backend.local);
  }
}

TEST(Candidates, PortIsMatchedByNameAndProtocol) {
  model::Model model;
  auto slice = make_slice("s", "web", {make_endpoint("10.0.0.1")});
  slice.ports = {{.name = "p", .protocol = Protocol::Udp, .port = 53},
                 {.name = "http", .port = 8080}};
  model.put(slice);
  const auto& record = *model.find({.namespace_ = "ns", .name = "web"});
  EXPECT_TRUE(candidates(record, {.name = "p"}, model, "n1").empty());
  EXPECT_EQ(
      candidates(record, {.name = "p", .protocol = Protocol::Udp}, model, "n1").at(0).backend.port,
      Port{53});
  EXPECT_TRUE(candidates(record, {.name = "http", .family = IpFamily::V6}, model, "n1").empty());
}

}  // namespace
}  // namespace fairlead::plan
