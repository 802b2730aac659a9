#include "controllers/selected_pods.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fairlead::controllers {
namespace {

using kube::NamespacedName;
using kube::Pod;
using testing::ElementsAre;
using testing::IsEmpty;

const NamespacedName kShop{.namespace_ = "ns", .name = "shop"};
const NamespacedName kBank{.namespace_ = "ns", .name = "bank"};

Pod pod_of(const std::string& app, const std::string& namespace_ = "ns") {
  Pod out;
  out.metadata = {.name = "web", .namespace_ = namespace_, .labels = {{"app", app}}};
  return out;
}

class SelectedPods : public testing::Test {
 protected:
  SelectedPods() {
    add("ns", "bank", {{"app", "bank"}});
    add("ns", "shop", {{"app", "shop"}});
    add("ns", "by-hand", {});
    add("ns", "outside", {{"app", "shop"}}, kube::ServiceType::ExternalName);
    add("n", "shop", {{"app", "shop"}});
    add("ns-2", "shop", {{"app", "shop"}});
  }
  void add(const std::string& namespace_, const std::string& name,
           const std::map<std::string, std::string>& selector,
           kube::ServiceType type = kube::ServiceType::ClusterIp) {
    kube::Service service;
    service.metadata = {.name = name, .namespace_ = namespace_};
    service.selector.insert(selector.begin(), selector.end());
    service.type = type;
    services_.upsert(std::move(service));
  }
  client::Store<kube::Service> services_;
};

TEST_F(SelectedPods, AreThoseOfServicesOfTheirNamespaceAlone) {
  EXPECT_THAT(services_selecting(pod_of("shop"), services_), ElementsAre(kShop));
  EXPECT_THAT(services_selecting(pod_of("none"), services_), IsEmpty());
  EXPECT_THAT(services_selecting(pod_of("shop", "elsewhere"), services_), IsEmpty());
}

TEST_F(SelectedPods, APodThatChangesHandsConcernsBothServices) {
  const Pod shop = pod_of("shop"), bank = pod_of("bank");
  EXPECT_THAT(services_concerned(&shop, &bank, services_), ElementsAre(kShop, kBank));
  EXPECT_THAT(services_concerned(nullptr, &bank, services_), ElementsAre(kBank));
  EXPECT_THAT(services_concerned(&shop, nullptr, services_), ElementsAre(kShop));
}

TEST_F(SelectedPods, NewsThatChangeNoEndpointConcernNobody) {
  const Pod before = pod_of("shop");
  Pod after = before;
  after.metadata.resource_version = "2";
  after.metadata.annotations["heard"] = "of";
  EXPECT_THAT(services_concerned(&before, &after, services_), IsEmpty());
  after.pod_ip = "10.0.0.1";
  EXPECT_THAT(services_concerned(&before, &after, services_), ElementsAre(kShop, kShop))
      << "marked twice is marked once";
}

TEST_F(SelectedPods, OfANamespaceAreThatOnesAlone) {
  client::Store<Pod> pods;
  for (const char* namespace_ : {"n", "ns", "ns-2", "nt"}) pods.upsert(pod_of("x", namespace_));
  const auto found = pods_in(pods, "ns");
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found.front()->metadata.namespace_, "ns");
}

}  // namespace
}  // namespace fairlead::controllers
