// What Services hold and what is reserved for them, after somebody has meddled with the store.
#include "apiserver/service_repair.hpp"

#include <functional>

#include "unit/apiserver/kinds_fixture.hpp"

namespace fairlead::apiserver {

// NOLINTNEXTLINE(readability-identifier-naming): GoogleTest asks for this name
void PrintTo(const ReservationFault& fault, std::ostream* out) {
  *out << fmt::format("{} {} {} of {}/{}",
                      fault.of == ReservationFault::Of::ClusterIp ? "IP" : "port",
                      static_cast<int>(fault.what), fault.value, fault.ns, fault.name);
}

namespace {

using namespace std::chrono_literals;
using Of = ReservationFault::Of;
using What = ReservationFault::What;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::string_view kAddresses = "/registry/ipaddresses/";
constexpr std::string_view kPorts = "/registry/ranges/servicenodeports/";

class ServiceRepairTest : public KindsTest {
 protected:
  void SetUp() override {
    KindsTest::SetUp();
    repair_ = std::make_unique<ServiceRepair>(*registry_, clock_, loop_.get_executor(),
                                              dual_stack_cluster());
    repair_->load();
    registry_->on_change([this](const Resource& resource, const StoreEvent& event) {
      repair_->changed(resource, event);
    });
    tasks_.emplace(loop_.get_executor(), "test");
    ASSERT_TRUE(create("services", R"({"metadata":{"name":"web"},"spec":{"type":"NodePort",
        "clusterIP":"10.96.0.7","ports":[{"port":80,"nodePort":30007}]}})"));
    clock_.advance(5min);
  }
  void TearDown() override {
    run_task(loop_, tasks_->close());
    tasks_.reset();
    repair_.reset();
    KindsTest::TearDown();
  }

  // Past the API, as an operator would.
  void write(const std::string& key, SharedBytes value) {
    const auto done = run_task(
        loop_, registry_->store().commit(
                   {.compares = {}, .operations = {{.key = key, .value = std::move(value)}}}));
    ASSERT_TRUE(done && done->succeeded);
  }
  void remove_key(const std::string& key) { write(key, nullptr); }
  void edit(const std::string& key, const std::function<void(Document&)>& change) {
    Document document = parse_document(*registry_->read(key).json);
    change(document);
    write(key, stored_bytes(document));
  }
  // Another Service with what this one has.
  void copy_service(const std::string& name, const std::function<void(Document&)>& change) {
    Document document = parse_document(*registry_->read(kServices + "web").json);
    document["metadata"].get_object()["name"] = name;
    document["metadata"].get_object()["uid"] = "uid-of-" + name;
    change(document["spec"].get_object());
    write(kServices + name, stored_bytes(document));
  }
  std::vector<ReservationFault> repair() {
    auto found = run_task(loop_, repair_->repair());
    EXPECT_TRUE(found);
    return found ? *std::move(found) : std::vector<ReservationFault>();
  }
  // What is reserved, and for whom.
  std::map<std::string, std::string> reserved() {
    std::map<std::string, std::string> out;
    for (const std::string& ip : names_of("ipaddresses")) {
      const Document address = parse_document(*registry_->read(std::string(kAddresses) + ip).json);
      out.emplace(ip, fmt::format("{}/{}", string_at(address, "spec.parentRef.namespace"),
                                  string_at(address, "spec.parentRef.name")));
    }
    for (const std::string& port : keys_below(std::string(kPorts))) {
      const Document held = parse_document(*registry_->read(std::string(kPorts) + port).json);
      out.emplace(port, string_at(held, "service"));
    }
    return out;
  }
  std::vector<std::string> reasons() {
    std::vector<std::string> out;
    for (const auto& [key, event] : find("events").cache.objects()) {
      const Document document = event->document();
      out.push_back(fmt::format("{} {}", string_at(document, "involvedObject.name"),
                                string_at(document, "reason")));
    }
    std::ranges::sort(out);
    return out;
  }

  const std::string kServices = "/registry/services/specs/default/";
  const std::map<std::string, std::string> kRight = {{"10.96.0.7", "default/web"},
                                                     {"30007", "default/web"}};
  std::unique_ptr<ServiceRepair> repair_;
  std::optional<io::TaskGroup> tasks_;
};

ReservationFault fault(Of of, What what, std::string value, std::string name = "web") {
  return {
      .of = of, .what = what, .value = std::move(value), .ns = "default", .name = std::move(name)};
}

TEST_F(ServiceRepairTest, AfterWritesOfOurOwnNothingIsFound) {
  ASSERT_TRUE(create("services", R"({"metadata":{"name":"lb"},"spec":{"type":"LoadBalancer",
      "ipFamilyPolicy":"RequireDualStack","externalTrafficPolicy":"Local",
      "ports":[{"name":"a","port":1},{"name":"b","port":2}]}})"));
  ASSERT_TRUE(create("services", R"({"metadata":{"name":"none"},"spec":{"clusterIP":"None",
      "ports":[{"port":1}]}})"));
  ASSERT_TRUE(create("services", R"({"metadata":{"name":"gone"},"spec":{"ports":[{"port":1}]}})"));
  ASSERT_TRUE(patch("services", "web", R"({"spec":{"type":"ExternalName","externalName":"a.b"}})"));
  ASSERT_TRUE(remove("services", "gone"));
  clock_.advance(5min);
  const auto before = reserved();
  EXPECT_EQ(before.size(), 5U) << "two addresses, two node ports and one for health checks";
  EXPECT_THAT(repair(), IsEmpty());
  EXPECT_EQ(reserved(), before);
  EXPECT_THAT(repair_->found(), IsEmpty());
}

TEST_F(ServiceRepairTest, WhatAServiceHoldsIsReservedAgain) {
  remove_key(std::string(kAddresses) + "10.96.0.7");
  remove_key(std::string(kPorts) + "30007");
  EXPECT_THAT(reserved(), IsEmpty());
  EXPECT_THAT(repair(), ElementsAre(fault(Of::ClusterIp, What::Missing, "10.96.0.7"),
                                    fault(Of::NodePort, What::Missing, "30007")));
  EXPECT_EQ(reserved(), kRight);
  EXPECT_THAT(reasons(), ElementsAre("web ClusterIPNotAllocated", "web PortNotAllocated"));
  EXPECT_THAT(repair(), IsEmpty());
  const auto taken = create("services", R"({"metadata":{"name":"b"},"spec":{"type":"NodePort",
      "clusterIP":"10.96.0.7","ports":[{"port":80}]}})");
  EXPECT_THAT(refusals(taken), ElementsAre("FieldValueInvalid spec.clusterIPs"));
}

TEST_F(ServiceRepairTest, AReservationForNobodyBecomesItsHolders) {
  edit(std::string(kAddresses) + "10.96.0.7", [](Document& address) {
    address["spec"].get_object()["parentRef"].get_object()["name"] = "nobody";
    address["metadata"].get_object().erase("labels");
  });
  edit(std::string(kAddresses) + "10.96.0.7", [](Document& address) {
    address["metadata"].get_object()["labels"] =
        Document{{"ipaddress.kubernetes.io/managed-by", "ipallocator.k8s.io"}};
  });
  edit(std::string(kPorts) + "30007", [](Document& held) { held["service"] = "default/nobody"; });
  EXPECT_THAT(repair(), ElementsAre(fault(Of::ClusterIp, What::Missing, "10.96.0.7"),
                                    fault(Of::NodePort, What::Missing, "30007")));
  EXPECT_EQ(reserved(), kRight);
  const Document address =
      parse_document(*registry_->read(std::string(kAddresses) + "10.96.0.7").json);
  EXPECT_EQ(object_at(address, "metadata.labels")->at("ipaddress.kubernetes.io/ip-family"), "IPv4");
  EXPECT_THAT(repair(), IsEmpty());
}

TEST_F(ServiceRepairTest, WhatNobodyHoldsIsFreeAgain) {
  remove_key(kServices + "web");
  EXPECT_EQ(reserved(), kRight);
  EXPECT_THAT(repair(), ElementsAre(fault(Of::ClusterIp, What::Leaked, "10.96.0.7"),
                                    fault(Of::NodePort, What::Leaked, "30007")));
  EXPECT_THAT(reserved(), IsEmpty());
  EXPECT_EQ((repair_->found().at({Of::ClusterIp, What::Leaked})), 1U);
}

TEST_F(ServiceRepairTest, AnAddressMayPrecedeItsServiceForAMinute) {
  const std::string address =
      R"({"metadata":{"name":"10.96.0.9","labels":{"ipaddress.kubernetes.io/managed-by":)"
      R"("ipallocator.k8s.io","ipaddress.kubernetes.io/ip-family":"IPv4"}},"spec":{"parentRef":)"
      R"({"resource":"services","namespace":"default","name":"coming"}}})";
  ASSERT_TRUE(create("ipaddresses", address));
  clock_.advance(59s);
  EXPECT_THAT(repair(), IsEmpty());
  clock_.advance(2s);
  EXPECT_THAT(repair(), ElementsAre(fault(Of::ClusterIp, What::Leaked, "10.96.0.9", "coming")));
  EXPECT_EQ(reserved(), kRight);
}

TEST_F(ServiceRepairTest, AddressesOfOthersAreTheirs) {
  ASSERT_TRUE(create("ipaddresses", R"({"metadata":{"name":"10.96.0.9"},"spec":{"parentRef":
      {"group":"gateway.networking.k8s.io","resource":"gateways","namespace":"default","name":"g"}}})"));
  clock_.advance(1h);
  EXPECT_THAT(repair(), IsEmpty());
  EXPECT_EQ(reserved().size(), 3U);
}

TEST_F(ServiceRepairTest, WhatTwoServicesHoldIsToldAndLeft) {
  copy_service("twin", [](Document&) {});
  EXPECT_THAT(repair(), ElementsAre(fault(Of::ClusterIp, What::Duplicate, "10.96.0.7", "twin"),
                                    fault(Of::NodePort, What::Duplicate, "30007", "twin")));
  EXPECT_EQ(reserved(), kRight) << "whose it was first";
  EXPECT_THAT(reasons(),
              ElementsAre("twin ClusterIPAlreadyAllocated", "twin PortAlreadyAllocated"));
  EXPECT_EQ(repair().size(), 2U) << "for as long as it lasts";
  EXPECT_EQ(reasons().size(), 2U) << "with one Event each";
  // The first one gives way.
  ASSERT_TRUE(remove("services", "web"));
  EXPECT_THAT(repair(), ElementsAre(fault(Of::ClusterIp, What::Missing, "10.96.0.7", "twin"),
                                    fault(Of::NodePort, What::Missing, "30007", "twin")));
  EXPECT_EQ(reserved().at("10.96.0.7"), "default/twin");
}

TEST_F(ServiceRepairTest, WhatIsInNoRangeIsToldAndReserved) {
  copy_service("far", [](Document& spec) {
    spec["clusterIP"] = "192.0.2.1";
    spec["clusterIPs"] = boost::json::array{"192.0.2.1", "no address"};
    spec["ports"].get_array()[0].get_object()["nodePort"] = 29999;
  });
  EXPECT_THAT(repair(), ElementsAre(fault(Of::ClusterIp, What::OutOfRange, "192.0.2.1", "far"),
                                    fault(Of::ClusterIp, What::Missing, "192.0.2.1", "far"),
                                    fault(Of::ClusterIp, What::Invalid, "no address", "far"),
                                    fault(Of::NodePort, What::OutOfRange, "29999", "far"),
                                    fault(Of::NodePort, What::Missing, "29999", "far")));
  EXPECT_THAT(repair(), ElementsAre(fault(Of::ClusterIp, What::OutOfRange, "192.0.2.1", "far"),
                                    fault(Of::ClusterIp, What::Invalid, "no address", "far"),
                                    fault(Of::NodePort, What::OutOfRange, "29999", "far")));
}

TEST_F(ServiceRepairTest, AnAddressDeletedByHandIsReservedAtOnce) {
  tasks_->spawn(repair_->run());
  ASSERT_TRUE(remove("ipaddresses", "10.96.0.7"));
  ASSERT_TRUE(run_until(loop_, [this] { return reserved() == kRight; }));
  edit(std::string(kAddresses) + "10.96.0.7", [](Document& address) {
    address["spec"].get_object()["parentRef"].get_object()["name"] = "nobody";
  });
  ASSERT_TRUE(run_until(loop_, [this] { return reserved() == kRight; }));
  EXPECT_EQ((repair_->found().at({Of::ClusterIp, What::Missing})), 2U);
}

// Nobody but who reserved it holds it: the address goes with its Service, and nothing is mended.
TEST_F(ServiceRepairTest, AServiceThatGoesIsNoFault) {
  tasks_->spawn(repair_->run());
  ASSERT_TRUE(remove("services", "web"));
  ASSERT_TRUE(create("services", R"({"metadata":{"name":"next"},"spec":{
      "clusterIP":"10.96.0.7","ports":[{"port":80}]}})"));
  EXPECT_THAT(repair(), IsEmpty());
  EXPECT_THAT(repair_->found(), IsEmpty());
  EXPECT_EQ(reserved(), (std::map<std::string, std::string>{{"10.96.0.7", "default/next"}}));
}

}  // namespace
}  // namespace fairlead::apiserver
