// The kinds this server offers. Adding a kind is writing its Strategy and naming it in
// make_strategies().
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "apiserver/strategy.hpp"
#include "base/ip.hpp"

namespace fairlead::apiserver {

struct PortRange {
  std::uint16_t first = 30000, last = 32767;
  bool operator==(const PortRange&) const = default;
};

struct KindsConfig {
  std::vector<IpPrefix>
      service_cidrs;  // one or two, of different families; the first is the primary
  PortRange node_ports;
};

// One strategy a kind, in the order discovery lists them. `config` was checked by the caller
// (ApiServer::create).
std::vector<std::unique_ptr<const Strategy>> make_strategies(const KindsConfig& config);

// The OpenAPI v3 documents: for every group-version of the strategies and the reviews. Each lists
// the kinds' paths with a patch operation that takes fieldValidation (kubectl's test for
// server-side validation) and their schemas.
struct OpenApiDocument {
  std::string path;  // "api/v1", "apis/discovery.k8s.io/v1"
  Document content;
};
std::vector<OpenApiDocument> make_openapi_documents(
    const std::vector<std::unique_ptr<const Strategy>>& strategies);

}  // namespace fairlead::apiserver
