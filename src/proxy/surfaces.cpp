#include "proxy/surfaces.hpp"

#include "base/log.hpp"
#include "base/text.hpp"
#include "io/status_server.hpp"

namespace fairlead::proxy {

using io::metrics_response;
using io::not_found_response;
using io::text_response;

io::HttpResponse answer_health(const io::HttpRequest& request, const HealthInputs& inputs,
                               ProxyMetrics& metrics) {
  const auto url = io::parse_target(request.target);
  if (!url || (url->path != "/healthz" && url->path != "/livez")) return not_found_response();
  const bool livez = url->path == "/livez";
  auto out = health_response(inputs, livez ? Probe::Livez : Probe::Healthz);
  metrics.probed(livez ? "livez" : "healthz", out.status);
  return out;
}

io::HttpResponse MetricsSurface::answer(const io::HttpRequest& request) {
  const auto url = io::parse_target(request.target);
  if (!url) return not_found_response();
  if (url->path == "/healthz" || url->path == "/healthz/ping") return healthz(*url);
  if (url->path == "/proxyMode") return text_response(200, config_.mode);
  if (url->path == "/metrics") return metrics_response(config_.metrics());
  if (url->path == "/metrics/slis") return indicators();
  if (url->path == "/configz") {
    return {.headers = {{.name = "Content-Type", .value = "application/json"}},
            .body = fmt::format(R"({{"kubeproxy.config.k8s.io":{}}})", to_json(*config_.config))};
  }
  if (url->path == "/debug/flags/v" && config_.config->enable_profiling) {
    return set_verbosity(request);
  }
  return not_found_response();
}

io::HttpResponse MetricsSurface::healthz(const io::Url& url) {
  ++health_asked_;
  const bool verbose = url.path == "/healthz" && url.param("verbose").has_value();
  return text_response(200, verbose ? "[+]ping ok\nhealthz check passed\n" : "ok");
}

// Service level indicators: how the one check of /healthz fared.
io::HttpResponse MetricsSurface::indicators() const {
  metrics::Registry registry;
  if (health_asked_ > 0) {
    registry
        .gauge("kubernetes_healthcheck", "How a check of /healthz ended last",
               {{"name", "ping"}, {"type", "healthz"}})
        .set(1);
    registry
        .counter("kubernetes_healthchecks_total", "Checks of /healthz by their end",
                 {{"name", "ping"}, {"type", "healthz"}, {"status", "success"}})
        .add(static_cast<double>(health_asked_));
  }
  return metrics_response(registry.serialize());
}

io::HttpResponse MetricsSurface::set_verbosity(const io::HttpRequest& request) const {
  if (request.method != "PUT") {
    return text_response(405, "unrecognized http method: " + request.method + "\n");
  }
  const auto level = parse_int(trim(request.body));
  if (!level) {
    return text_response(400, "\"" + request.body + "\" is not a level of the log\n");
  }
  log::configure(
      {.format = config_.config->logging.format == "json" ? log::Format::Json : log::Format::Text,
       .verbosity = static_cast<int>(*level)});
  return text_response(200, fmt::format("set the level of the log to {}\n", *level));
}

}  // namespace fairlead::proxy
