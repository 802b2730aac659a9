#include "controllers/endpoints_mirror.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fairlead::controllers {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

kube::Service service() {
  kube::Service out;
  out.metadata.namespace_ = "default";
  out.metadata.name = "db";
  return out;
}

kube::Endpoints endpoints(const std::vector<std::string>& ready,
                          const std::vector<std::string>& not_ready = {}) {
  kube::Endpoints out;
  out.metadata.namespace_ = "default";
  out.metadata.name = "db";
  out.metadata.uid = "uid";
  kube::EndpointSubset& subset = out.subsets.emplace_back();
  for (const std::string& ip : ready) subset.addresses.push_back({.ip = ip});
  for (const std::string& ip : not_ready) subset.not_ready_addresses.push_back({.ip = ip});
  subset.ports = {{.name = "", .port = 5432}};
  return out;
}

MirrorOutcome mirror(const kube::Service* service, const kube::Endpoints* endpoints,
                     const std::vector<kube::EndpointSlice>& slices = {}) {
  std::vector<const kube::EndpointSlice*> pointers;
  for (const auto& slice : slices) pointers.push_back(&slice);
  return mirror_endpoints({.service = service, .endpoints = endpoints, .slices = pointers});
}

// What the server makes of created slices.
std::vector<kube::EndpointSlice> stored(std::vector<kube::EndpointSlice> created) {
  for (std::size_t i = 0; i < created.size(); ++i)
    created[i].metadata.name = fmt::format("db-{}", i);
  return created;
}

TEST(EndpointsMirror, SaysOfEachFamilyWhatTheEndpointsSay) {
  const kube::Service db = service();
  kube::Endpoints made = endpoints({"10.0.0.1", "fd00::1"}, {"10.0.0.2"});
  made.metadata.labels = {{"app", "db"}};
  made.metadata.annotations = {{"note", "kept"}, {kLastChangeTriggerTime, "dropped"}};
  const auto writes = mirror(&db, &made).writes;
  kube::EndpointSlice v4{.address_type = kube::AddressType::IPv4,
                         .endpoints = {{.addresses = {"10.0.0.1"}, .ready = true},
                                       {.addresses = {"10.0.0.2"}, .ready = false}},
                         .ports = {{.name = "", .port = 5432}}};
  v4.metadata.generate_name = "db-";
  v4.metadata.namespace_ = "default";
  v4.metadata.labels = {{"app", "db"},
                        {kube::label::kServiceName, "db"},
                        {kube::label::kManagedBy, kMirroringManager}};
  v4.metadata.annotations = {{"note", "kept"}};
  v4.metadata.owner_references = {{.api_version = "v1",
                                   .kind = "Endpoints",
                                   .name = "db",
                                   .uid = "uid",
                                   .controller = true,
                                   .block_owner_deletion = true}};
  kube::EndpointSlice v6 = v4;
  v6.address_type = kube::AddressType::IPv6;
  v6.endpoints = {{.addresses = {"fd00::1"}, .ready = true}};
  EXPECT_THAT(writes.create, ElementsAre(v4, v6));
  EXPECT_THAT(writes.update, IsEmpty());
  EXPECT_THAT(writes.remove, IsEmpty());
}

TEST(EndpointsMirror, WhatIsRightIsNotWrittenAgain) {
  const kube::Service db = service();
  const kube::Endpoints made = endpoints({"10.0.0.1"}, {"10.0.0.1", "10.0.0.2"});
  const auto slices = stored(mirror(&db, &made).writes.create);
  EXPECT_TRUE(mirror(&db, &made, slices).writes.empty());
  ASSERT_EQ(slices.size(), 1U);
  EXPECT_EQ(slices[0].endpoints.size(), 2U) << "an address in both lists is one endpoint";
  EXPECT_EQ(slices[0].endpoints[0].ready, true);
}

TEST(EndpointsMirror, APortWithoutNameHasTheEmptyOneInSlices) {
  const kube::Service db = service();
  kube::Endpoints made = endpoints({"10.0.0.1"});
  made.subsets[0].ports = {{.port = 5432}};
  const auto slices = stored(mirror(&db, &made).writes.create);
  ASSERT_EQ(slices.size(), 1U);
  EXPECT_THAT(slices[0].ports, ElementsAre(kube::EndpointPort{.name = "", .port = 5432}));
  EXPECT_TRUE(mirror(&db, &made, slices).writes.empty());
}

TEST(EndpointsMirror, ChangesGoIntoTheSliceThatIsThere) {
  const kube::Service db = service();
  const kube::Endpoints before = endpoints({"10.0.0.1", "10.0.0.2"});
  const kube::Endpoints after = endpoints({"10.0.0.3", "10.0.0.2"});
  const auto writes = mirror(&db, &after, stored(mirror(&db, &before).writes.create)).writes;
  EXPECT_THAT(writes.create, IsEmpty());
  EXPECT_THAT(writes.remove, IsEmpty());
  ASSERT_EQ(writes.update.size(), 1U);
  EXPECT_THAT(writes.update[0].endpoints,
              ElementsAre(kube::Endpoint{.addresses = {"10.0.0.2"}, .ready = true},
                          kube::Endpoint{.addresses = {"10.0.0.3"}, .ready = true}));
}

TEST(EndpointsMirror, ASliceHoldsASubsetOfAThousandAtMost) {
  const kube::Service db = service();
  std::vector<std::string> addresses;
  for (int i = 0; i < 1001; ++i) addresses.push_back(fmt::format("10.0.{}.{}", i / 250, i % 250));
  const kube::Endpoints made = endpoints(addresses);
  const auto outcome = mirror(&db, &made);
  ASSERT_EQ(outcome.writes.create.size(), 1U);
  EXPECT_EQ(outcome.writes.create[0].endpoints.size(), 1000U);
  EXPECT_THAT(outcome.findings,
              ElementsAre(MirrorFinding{
                  .reason = "TooManyAddressesToMirror",
                  .note = "1000 addresses of a subset are mirrored, 1 are left out"}));
}

TEST(EndpointsMirror, AnAddressThatIsNoneIsToldOfAndLeftOut) {
  const kube::Service db = service();
  const kube::Endpoints made = endpoints({"db.example", "db2.example"});
  const auto outcome = mirror(&db, &made);
  EXPECT_TRUE(outcome.writes.empty());
  EXPECT_THAT(outcome.findings, ElementsAre(MirrorFinding{
                                    .reason = "InvalidIPAddress",
                                    .note = "2 addresses are none, the first is \"db.example\""}));
}

TEST(EndpointsMirror, SlicesGoWhenThereIsNothingToMirrorAnyMore) {
  const kube::Service db = service();
  const kube::Endpoints made = endpoints({"10.0.0.1"});
  const auto slices = stored(mirror(&db, &made).writes.create);
  kube::Service selecting = db;
  selecting.selector = {{"app", "db"}};
  kube::Endpoints skipped = made, managed = made, elected = made, another = made;
  skipped.metadata.labels["endpointslice.kubernetes.io/skip-mirror"] = "true";
  managed.metadata.labels["endpoints.kubernetes.io/managed-by"] = "endpoint-controller";
  elected.metadata.annotations["control-plane.alpha.kubernetes.io/leader"] = "{}";
  struct Row {
    std::string name;
    const kube::Service* service;
    const kube::Endpoints* endpoints;
  };
  const Row rows[] = {
      {.name = "no Service", .service = nullptr, .endpoints = &made},
      {.name = "no Endpoints", .service = &db, .endpoints = nullptr},
      {.name = "a selector", .service = &selecting, .endpoints = &made},
      {.name = "skip-mirror", .service = &db, .endpoints = &skipped},
      {.name = "made by a controller", .service = &db, .endpoints = &managed},
      {.name = "a leader's record", .service = &db, .endpoints = &elected},
  };
  for (const Row& row : rows) {
    const auto writes = mirror(row.service, row.endpoints, slices).writes;
    EXPECT_THAT(writes.create, IsEmpty()) << row.name;
    EXPECT_THAT(writes.remove, ElementsAre(slices[0])) << row.name;
  }
  another.metadata.uid = "another";
  const auto writes = mirror(&db, &another, slices).writes;
  EXPECT_EQ(writes.create.size(), 1U) << "slices of Endpoints that went are not taken over";
  EXPECT_THAT(writes.remove, ElementsAre(slices[0]));
}

TEST(EndpointsMirror, SlicesOfOthersAreLeftAlone) {
  const kube::Endpoints made = endpoints({"10.0.0.1"});
  const kube::Service db = service();
  auto slices = stored(mirror(&db, &made).writes.create);
  slices[0].metadata.labels[kube::label::kManagedBy] = "somebody";
  EXPECT_TRUE(mirror(nullptr, nullptr, slices).writes.empty());
}

}  // namespace
}  // namespace fairlead::controllers
