#include "controllers/load_balancer_controller.hpp"

#include <gtest/gtest.h>

namespace fairlead::controllers {
namespace {

TEST(IngressPatch, ReplacesTheAddressesOfTheVersionItWasDecidedFrom) {
  kube::Service service;
  service.metadata.resource_version = "42";
  EXPECT_EQ(ingress_patch(service, {*IpAddress::parse("192.0.2.1"), *IpAddress::parse("fd00::1")}),
            R"({"metadata":{"resourceVersion":"42"},"status":{"loadBalancer":)"
            R"({"ingress":[{"ip":"192.0.2.1"},{"ip":"fd00::1"}]}}})");
  EXPECT_EQ(ingress_patch(service, {}),
            R"({"metadata":{"resourceVersion":"42"},"status":{"loadBalancer":{"ingress":[]}}})");
}

}  // namespace
}  // namespace fairlead::controllers
