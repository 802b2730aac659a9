#include "faults/cluster.hpp"

#include <filesystem>

namespace fairlead::faults {

using namespace std::chrono_literals;

namespace {
// Pods must be able to reach the API server, so loopback will not do.
constexpr char kApiAddress[] = "10.9.0.1";
constexpr char kSlices[] = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
}  // namespace

void ClusterTest::SetUp() {
  auto made = Machine::create();
  if (!made && made.error().code == ErrorCode::Forbidden) {
    GTEST_SKIP() << "SKIPPED: fault tests need network namespaces: " << made.error().message;
  }
  ASSERT_TRUE(made) << made.error().message;
  machine_ = *std::move(made);
  ASSERT_TRUE(
      run({"ip", "addr", "add", std::string(kApiAddress) + "/32", "dev", "lo"}).status.ok());
}

void ClusterTest::start_api() {
  api_.reset();
  api_server_.emplace(std::vector<std::string>{
      program_path("fairlead-apiserver"), "--data-dir", machine_->path("data"), "--bind-address",
      kApiAddress, "--secure-port", "6443", "--write-kubeconfig", machine_->kubeconfig()});
  ASSERT_TRUE(api_server_->says("Serving")) << api_server_->log();
}

void ClusterTest::stop_api(int signal) {
  api_server_->signal(signal);
  ASSERT_TRUE(api_server_->end(10s)) << "the API server does not end";
  api_server_.reset();
}

void ClusterTest::forget_api_data() {
  for (const auto& entry : std::filesystem::directory_iterator(machine_->path("data"))) {
    if (entry.path().filename().string().find(".db") == std::string::npos) continue;
    std::filesystem::remove(entry.path());
  }
}

std::vector<std::string> ClusterTest::proxy_command(std::vector<std::string> flags) const {
  std::vector<std::string> out = {
      program_path("fairlead-proxy"), "--kubeconfig", machine_->kubeconfig(),
      "--hostname-override",          kNode,          "-v=4"};
  out.insert(out.end(), flags.begin(), flags.end());
  return out;
}

Program ClusterTest::start_proxy(std::vector<std::string> flags) const {
  return Program(proxy_command(std::move(flags)));
}

client::ApiClient& ClusterTest::api() {
  if (!api_) {
    auto access = client::load_kubeconfig(machine_->kubeconfig());
    check(access.has_value(), "the API server writes a kubeconfig that can be read");
    auto made = client::ApiClient::create(loop_.executor(), {.access = *std::move(access)});
    check(made.has_value(), "its kubeconfig is good for a client");
    api_ = *std::move(made);
  }
  return *api_;
}

std::string ClusterTest::create(const std::string& collection, const std::string& json) {
  const auto answer = *loop_.run(api().post(collection, json));
  EXPECT_TRUE(answer) << (answer ? "" : answer.error().message);
  return answer.value_or("");
}

void ClusterTest::replace(const std::string& path, const std::string& json) {
  const auto answer = *loop_.run(api().put(path, json));
  EXPECT_TRUE(answer) << (answer ? "" : answer.error().message);
}

void ClusterTest::remove(const std::string& path) {
  const auto answer = *loop_.run(api().remove(path));
  EXPECT_TRUE(answer) << (answer ? "" : answer.error().message);
}

Result<std::string> ClusterTest::get(const std::string& path) {
  return *loop_.run(api().get(path));
}

void ClusterTest::create_service(const std::string& name, const std::string& cluster_ip) {
  create("/api/v1/namespaces/default/services",
         fmt::format(R"({{"apiVersion":"v1","kind":"Service","metadata":{{"name":"{}"}},)"
                     R"("spec":{{"clusterIP":"{}","ports":[{{"name":"http","port":80}}]}}}})",
                     name, cluster_ip));
}

void ClusterTest::put_endpoints(const std::string& service,
                                const std::vector<std::string>& addresses) {
  std::string endpoints;
  for (const std::string& address : addresses) {
    endpoints += fmt::format(R"({}{{"addresses":["{}"],"conditions":{{"ready":true}}}})",
                             endpoints.empty() ? "" : ",", address);
  }
  const std::string slice = fmt::format(
      R"({{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","addressType":"IPv4",)"
      R"("metadata":{{"name":"{0}-1","labels":{{"kubernetes.io/service-name":"{0}"}},)"
      R"("annotations":{{"endpoints.kubernetes.io/last-change-trigger-time":"{1}"}}}},)"
      R"("endpoints":[{2}],"ports":[{{"name":"http","port":8080,"protocol":"TCP"}}]}})",
      service, format_rfc3339(Clock::real().wall(), 9), endpoints);
  if (std::exchange(has_slice_[service], true)) {
    replace(fmt::format("{}/{}-1", kSlices, service), slice);
  } else {
    create(kSlices, slice);
  }
}

void ClusterTest::create_node() {
  create("/api/v1/nodes",
         fmt::format(R"({{"apiVersion":"v1","kind":"Node","metadata":{{"name":"{}"}},"status":)"
                     R"({{"addresses":[{{"type":"InternalIP","address":"{}"}}]}}}})",
                     kNode, kApiAddress));
}

Result<io::HttpResponse> ClusterTest::ask(std::uint16_t port, const std::string& path) {
  FAIRLEAD_TRY(http,
               io::HttpClient::create(loop_.executor(), {.host = "127.0.0.1", .port = Port{port}}));
  return *loop_.run(http->send({.target = path}, 5s));
}

bool has_table() { return run({"nft", "list", "table", "ip", "fairlead"}).status.ok(); }

std::vector<std::string> backends(const std::string& cluster_ip) {
  const std::string map = run({"nft", "list", "map", "ip", "fairlead", "slots"}).out;
  const std::string key = cluster_ip + " . tcp . 80 . ";
  std::map<std::string, std::string> by_slot;
  for (std::size_t at = map.find(key); at != std::string::npos; at = map.find(key, at + 1)) {
    const auto colon = map.find(" : ", at);
    const auto slot = map.substr(at + key.size(), colon - at - key.size());
    const auto end = map.find_first_of(", \n", map.find(" . ", colon) + 3);
    std::string backend = map.substr(colon + 3, end - colon - 3);
    backend.replace(backend.find(" . "), 3, ":");
    by_slot[slot.substr(0, slot.find(' '))] = backend;
  }
  std::vector<std::string> out;
  for (const auto& [slot, backend] : by_slot) out.push_back(backend);
  return out;
}

}  // namespace fairlead::faults
