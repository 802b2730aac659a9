#include "nftables/cluster.hpp"

#include <fmt/format.h>

#include "kube/codec.hpp"

namespace fairlead::bench {
namespace {

constexpr int kNodes = 100;
constexpr int kZones = 3;

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }

std::string address(std::string_view first, int number) {
  return ip(first).plus(static_cast<std::uint64_t>(number)).to_string();
}

std::string node_name(int node) { return fmt::format("node-{:03}", node); }
std::string service_name(int service) { return fmt::format("service-{:05}", service); }

kube::ObjectMeta metadata(std::string name) {
  kube::ObjectMeta out{.name = std::move(name), .namespace_ = "shop"};
  out.uid = "7b1f6a0e-5c1d-4c7e-9d0b-3a5f2f6f4c11";
  out.resource_version = "1048576";
  out.creation_timestamp = WallTime{std::chrono::seconds{1'700'000'000}};
  return out;
}

kube::Endpoint endpoint(int service, int index, int endpoints) {
  const int pod = service * endpoints + index;
  const int node = pod % kNodes;
  return {.addresses = {address("10.128.0.0", pod + 1)},
          .ready = true,
          .serving = true,
          .terminating = false,
          .node_name = node_name(node),
          .zone = fmt::format("zone-{}", node % kZones),
          .target_ref =
              kube::ObjectReference{.kind = "Pod",
                                    .namespace_ = "shop",
                                    .name = fmt::format("{}-{:07}", service_name(service), pod),
                                    .uid = "0d9b3a5f-2f6f-4c11-7b1f-6a0e5c1d4c7e"}};
}

std::string line(Change change, const std::string& object) {
  static constexpr std::array<std::string_view, 3> kTypes = {"ADDED", "MODIFIED", "DELETED"};
  return fmt::format(R"({{"type":"{}","object":{}}})", kTypes[static_cast<std::size_t>(change)],
                     object);
}

}  // namespace

std::string service_line(Change change, int service) {
  const std::string cluster_ip = address("10.96.0.0", service + 1);
  kube::Service out{.metadata = metadata(service_name(service))};
  out.ports = {{.name = "http", .port = 80, .target_port = 8080}};
  out.selector = {{"app", service_name(service)}};
  out.cluster_ip = cluster_ip;
  out.cluster_ips = {cluster_ip};
  out.ip_families = {IpFamily::V4};
  return line(change, kube::encode(out));
}

std::string slice_line(Change change, int service, int endpoints, std::optional<int> without) {
  kube::EndpointSlice out{.metadata = metadata(service_name(service) + "-x7k2p")};
  out.metadata.labels = {
      {kube::label::kServiceName, service_name(service)},
      {kube::label::kManagedBy, "endpointslice-controller.k8s.io"},
  };
  out.metadata.owner_references = {{.api_version = "v1",
                                    .kind = "Service",
                                    .name = service_name(service),
                                    .uid = "7b1f6a0e-5c1d-4c7e-9d0b-3a5f2f6f4c11",
                                    .controller = true}};
  out.ports = {{.name = "http", .port = 8080}};
  for (int i = 0; i < endpoints; ++i) {
    if (i != without) out.endpoints.push_back(endpoint(service, i, endpoints));
  }
  return line(change, kube::encode(out));
}

plan::NodeContext first_node() {
  const auto settings = [](std::string_view pods, std::string_view services) {
    return plan::NodePlan{.detector = {.source_prefix = IpPrefix::parse(pods).value()},
                          .service_cidrs = {IpPrefix::parse(services).value()}};
  };
  return {.name = node_name(0),
          .zone = "zone-0",
          .addresses = {{IpFamily::V4, ip("192.168.0.10")}, {IpFamily::V6, ip("fd00:50::10")}},
          .families = {{IpFamily::V4, settings("10.128.0.0/9", "10.96.0.0/12")},
                       {IpFamily::V6, settings("fd00:10::/64", "fd00:96::/112")}}};
}

}  // namespace fairlead::bench
