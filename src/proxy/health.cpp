#include "proxy/health.hpp"

namespace fairlead::proxy {
namespace {

io::HttpHeaders json_headers() {
  return {{.name = "Content-Type", .value = "application/json"},
          {.name = "X-Content-Type-Options", .value = "nosniff"}};
}

}  // namespace

bool is_healthy(const HealthInputs& inputs) {
  const auto& pending = inputs.sync.pending_since;
  return !pending || inputs.now - *pending <= 2 * inputs.sync_period;
}

io::HttpResponse health_response(const HealthInputs& inputs, Probe probe) {
  const bool synced = is_healthy(inputs);
  const bool eligible = probe == Probe::Livez || inputs.node_eligible;
  const std::string now = format_rfc3339(inputs.wall, 9);
  const std::string updated = synced ? now : format_rfc3339(inputs.sync.last_updated, 9);
  std::string body = fmt::format(R"({{"lastUpdated":"{}","currentTime":"{}",)", updated, now);
  if (probe == Probe::Healthz) {
    body += fmt::format(R"("nodeEligible":{},)", inputs.node_eligible);
  }
  body += fmt::format(R"("healthy":{},"status":{{)", synced && eligible);
  // One sync programs all families, so they are up to date together.
  for (std::size_t i = 0; i < inputs.families.size(); ++i) {
    body += fmt::format(R"({}"{}":{{"lastUpdated":"{}","healthy":{}}})", i == 0 ? "" : ",",
                        inputs.families[i], updated, synced);
  }
  body += "}}";
  return {.status = synced && eligible ? 200U : 503U,
          .headers = json_headers(),
          .body = std::move(body)};
}

io::HttpResponse service_health_response(const ServiceHealthInputs& inputs) {
  io::HttpResponse out{
      .status = inputs.local_endpoints > 0 && inputs.healthy ? 200U : 503U,
      .headers = json_headers(),
      .body = fmt::format(
          "{{\n\t\"service\": {{\n\t\t\"namespace\": \"{}\",\n\t\t\"name\": \"{}\"\n"
          "\t}},\n\t\"localEndpoints\": {},\n\t\"serviceProxyHealthy\": {}\n}}",
          inputs.service.namespace_, inputs.service.name, inputs.local_endpoints, inputs.healthy)};
  out.headers.push_back({.name = "X-Load-Balancing-Endpoint-Weight",
                         .value = fmt::format("{}", inputs.local_endpoints)});
  return out;
}

}  // namespace fairlead::proxy
