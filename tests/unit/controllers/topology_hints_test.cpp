#include "controllers/topology_hints.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace fairlead::controllers {
namespace {

using kube::Node;
using testing::HasSubstr;

Node node_in(const std::string& zone, std::int64_t millis, bool ready = true) {
  Node node;
  if (!zone.empty()) node.metadata.labels[kube::label::kTopologyZone] = zone;
  if (millis > 0) node.allocatable_cpu = kube::MilliCpu{millis};
  node.conditions = {{.type = "Ready", .status = ready ? "True" : "False"}};
  return node;
}

std::map<kube::NamespacedName, Node> named(const std::vector<Node>& nodes) {
  std::map<kube::NamespacedName, Node> out;
  for (const Node& node : nodes) out[{"", fmt::format("n{}", out.size())}] = node;
  return out;
}

TEST(WantsTopologyHints, WhenTheAnnotationSaysAuto) {
  const struct {
    std::string_view name;
    kube::StringMap annotations;
    bool wanted;
  } cases[] = {
      {.name = "nothing", .annotations = {}, .wanted = false},
      {.name = "Auto",
       .annotations = {{"service.kubernetes.io/topology-mode", "Auto"}},
       .wanted = true},
      {.name = "auto",
       .annotations = {{"service.kubernetes.io/topology-mode", "auto"}},
       .wanted = true},
      {.name = "another mode",
       .annotations = {{"service.kubernetes.io/topology-mode", "example.com/mine"}},
       .wanted = false},
      {.name = "the old name",
       .annotations = {{"service.kubernetes.io/topology-aware-hints", "Auto"}},
       .wanted = true},
      {.name = "the old name wins",
       .annotations = {{"service.kubernetes.io/topology-aware-hints", "Disabled"},
                       {"service.kubernetes.io/topology-mode", "Auto"}},
       .wanted = false},
  };
  for (const auto& row : cases) {
    kube::Service service;
    service.metadata.annotations = row.annotations;
    EXPECT_EQ(wants_topology_hints(service), row.wanted) << row.name;
  }
}

TEST(ZoneCpu, IsTheSumOfReadyNodesThatRunWorkloads) {
  Node control_plane = node_in("c", 8000);
  control_plane.metadata.labels["node-role.kubernetes.io/control-plane"] = "";
  const auto cpu =
      zone_cpu(named({node_in("a", 1000), node_in("b", 500), node_in("a", 2500),
                      node_in("b", 4000, false), node_in("", 0, false), control_plane}));
  ASSERT_TRUE(cpu) << cpu.error().message;
  EXPECT_EQ(cpu->by_zone, (std::map<std::string, kube::MilliCpu>{{"a", {3500}}, {"b", {500}}}));
}

TEST(ZoneCpu, SaysWhyItCannotBeTold) {
  const struct {
    std::vector<Node> nodes;
    std::string_view why;
  } cases[] = {
      {.nodes = {}, .why = "nodes are ready in no zone"},
      {.nodes = {node_in("a", 1000), node_in("b", 1000, false)},
       .why = "nodes are ready in one zone only"},
      {.nodes = {node_in("a", 1000), node_in("b", 0)}, .why = "node \"n1\" does not say its CPU"},
      {.nodes = {node_in("a", 1000), node_in("", 1000)},
       .why = "node \"n1\" does not say its zone"},
  };
  for (const auto& row : cases) {
    const auto cpu = zone_cpu(named(row.nodes));
    ASSERT_FALSE(cpu) << row.why;
    EXPECT_EQ(cpu.error().message, row.why);
  }
}

TEST(ZoneCpu, DiffersOnlyWhereItCounts) {
  const Node node = node_in("a", 1000);
  Node heartbeat = node;
  heartbeat.metadata.resource_version = "2";
  heartbeat.conditions.push_back({.type = "DiskPressure", .status = "True"});
  EXPECT_FALSE(zone_cpu_differs(&node, &heartbeat));
  const Node others[] = {node_in("b", 1000), node_in("a", 2000), node_in("a", 1000, false)};
  for (const Node& other : others) EXPECT_TRUE(zone_cpu_differs(&node, &other));
  EXPECT_TRUE(zone_cpu_differs(nullptr, &node));
  EXPECT_TRUE(zone_cpu_differs(&node, nullptr));
  EXPECT_FALSE(zone_cpu_differs(nullptr, &others[2])) << "one that is not ready";
}

ZoneCpu cpu_of(const std::vector<std::int64_t>& millis) {
  ZoneCpu out;
  char zone = 'a';
  for (const std::int64_t amount : millis)
    out.by_zone[std::string(1, zone++)] = kube::MilliCpu{amount};
  return out;
}
// "a a b>a" is two endpoints in zone a and one in zone b that was for zone a until now.
std::vector<ZonedEndpoint> endpoints_of(std::string_view text) {
  std::vector<ZonedEndpoint> out;
  std::string word;
  for (const char c : std::string(text) + " ") {
    if (c != ' ') {
      word += c;
      continue;
    }
    if (word.empty()) continue;
    const auto arrow = word.find('>');
    out.push_back({.zone = word.substr(0, arrow),
                   .hint = arrow == std::string::npos ? "" : word.substr(arrow + 1)});
    word.clear();
  }
  return out;
}
std::string hints_of(const ZoneCpu& cpu, const std::vector<ZonedEndpoint>& endpoints) {
  const auto hints = allocate_hints(cpu, endpoints);
  if (!hints) return hints.error().message;
  return fmt::format("{}", fmt::join(*hints, " "));
}

TEST(AllocateHints, GiveEachZoneItsShare) {
  const struct {
    std::string_view name;
    std::vector<std::int64_t> cpu;  // of zones a, b, c
    std::string_view endpoints, hints;
  } cases[] = {
      {.name = "everybody at home",
       .cpu = {1000, 1000},
       .endpoints = "a b a b",
       .hints = "a b a b"},
      {.name = "by half an endpoint nothing moves",
       .cpu = {1000, 1000},
       .endpoints = "a a a a a a b b b b b",
       .hints = "a a a a a a b b b b b"},
      {.name = "a zone without endpoints gets its share",
       .cpu = {1000, 1000, 1000},
       .endpoints = "a a a b b b",
       .hints = "c a a c b b"},
      {.name = "shares follow the CPU",
       .cpu = {3000, 1000},
       .endpoints = "a a b b b b b b",
       .hints = "a a a a a a b b"},
      {.name = "endpoints of a zone without CPU go where they are needed",
       .cpu = {1000, 1000},
       .endpoints = "c a c a b c",
       .hints = "b a a a b b"},
      {.name = "hints are kept although others would be even",
       .cpu = {1000, 1000},
       .endpoints = "a>a a>a a>a a>a a>a a>a b>b b>b b>b b>b b>b",
       .hints = "a a a a a a b b b b b"},
      {.name = "a newcomer moves nobody",
       .cpu = {1000, 1000},
       .endpoints = "a>b a>a a>a a>a a>a a>a a b>b b>b b>b b>b",
       .hints = "b a a a a a a b b b b"},
      {.name = "who leaves overloaded ones behind is replaced by one",
       .cpu = {1000, 1000},
       .endpoints = "a>a a>a a>a a>a a>a b>b",
       .hints = "b b a a a b"},
      {.name = "who is abroad without need goes home",
       .cpu = {1000, 1000},
       .endpoints = "a>b a>a a>a b>b b>b b b",
       .hints = "a a a b b b b"},
      {.name = "who comes home is asked first",
       .cpu = {1000, 1000},
       .endpoints = "a>a a>a b>a a>a a>a b>b",
       .hints = "b a b a a b"},
      {.name = "a hint for a zone that is no more does not count",
       .cpu = {1000, 1000},
       .endpoints = "a>c b>c",
       .hints = "a b"},
      {.name = "a zone with hardly any CPU has one, too",
       .cpu = {10'000, 1},
       .endpoints = "a a a a a a",
       .hints = "b a a a a a"},
  };
  for (const auto& row : cases)
    EXPECT_EQ(hints_of(cpu_of(row.cpu), endpoints_of(row.endpoints)), row.hints) << row.name;
}

TEST(AllocateHints, SayWhyThereAreNone) {
  EXPECT_EQ(hints_of(cpu_of({1000, 1000, 1000}), endpoints_of("a b")),
            "2 ready endpoints are too few for 3 zones");
  std::vector<ZonedEndpoint> unknown = endpoints_of("a b");
  unknown[0].zone.clear();
  EXPECT_EQ(hints_of(cpu_of({1000, 1000}), unknown), "a ready endpoint has no zone");
  // The one is due 1.75, 1.46 at least, hence two; the other one.
  EXPECT_THAT(hints_of(cpu_of({7000, 1000}), endpoints_of("a b")),
              HasSubstr("2 ready endpoints cannot be divided among 2 zones"));
}

// Whatever the zones and wherever the endpoints are: nobody is overloaded by more than 20 %, and
// hints computed again from themselves stay.
TEST(AllocateHints, HoldTheLimitAndStayWhateverTheCluster) {
  std::mt19937 random(1);
  const auto up_to = [&random](int most) {
    return std::uniform_int_distribution<int>(0, most)(random);
  };
  int hinted = 0;
  for (int round = 0; round < 3000; ++round) {
    std::vector<std::int64_t> cpu(static_cast<std::size_t>(2 + up_to(4)));
    for (std::int64_t& amount : cpu) amount = 1 + up_to(8000);
    const ZoneCpu zones = cpu_of(cpu);
    std::vector<ZonedEndpoint> endpoints(static_cast<std::size_t>(up_to(60)));
    for (ZonedEndpoint& endpoint : endpoints) {
      endpoint.zone = std::string(1, static_cast<char>('a' + up_to(6)));
      if (up_to(2) == 0) endpoint.hint = std::string(1, static_cast<char>('a' + up_to(6)));
    }
    const auto hints = allocate_hints(zones, endpoints);
    if (!hints) continue;
    ++hinted;
    std::map<std::string, std::int64_t> has;
    std::int64_t total = 0;
    for (const std::string& hint : *hints) ++has[hint];
    for (const auto& [zone, amount] : zones.by_zone) total += amount.value;
    for (const auto& [zone, amount] : zones.by_zone) {
      EXPECT_GE(12 * has[zone] * total,
                10 * static_cast<std::int64_t>(endpoints.size()) * amount.value)
          << "zone " << zone << " in round " << round;
    }
    for (std::size_t i = 0; i < endpoints.size(); ++i) endpoints[i].hint = (*hints)[i];
    EXPECT_EQ(*allocate_hints(zones, endpoints), *hints) << "round " << round;

    // One endpoint goes: no more than one in each zone moves for it.
    endpoints.erase(endpoints.begin() + up_to(static_cast<int>(endpoints.size()) - 1));
    const auto after = allocate_hints(zones, endpoints);
    if (!after) continue;
    std::size_t moved = 0;
    for (std::size_t i = 0; i < endpoints.size(); ++i) {
      if (endpoints[i].hint != (*after)[i]) ++moved;
    }
    EXPECT_LE(moved, zones.by_zone.size()) << "round " << round;
  }
  EXPECT_GT(hinted, 1000);
}

}  // namespace
}  // namespace fairlead::controllers
