// The EndpointSlice controller against a real API server: what it writes as pods come, fail and go,
// what it leaves alone, and what it does after the server was away.
#include "controllers/controllers.hpp"

#include <algorithm>
#include <functional>
#include <set>

#include "client/reflector.hpp"
#include "faults/cluster.hpp"

namespace fairlead::faults {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr char kPods[] = "/api/v1/namespaces/default/pods";
constexpr char kServices[] = "/api/v1/namespaces/default/services";
constexpr char kSlices[] = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
constexpr char kMergePatch[] = "application/merge-patch+json";

using Lines = std::vector<std::string>;

// The cluster's slices, as a client sees them.
class Slices final : public client::ReflectorHandler<kube::EndpointSlice> {
 public:
  explicit Slices(io::Executor executor) : changed_(std::move(executor)) {}
  void upsert(kube::EndpointSlice slice) override {
    for (const kube::Endpoint& endpoint : slice.endpoints) ever_.insert(line(slice, endpoint));
    all_.insert_or_assign(slice.metadata.name, std::move(slice));
    changed_.notify();
  }
  void remove(const kube::NamespacedName& key) override {
    all_.erase(key.name);
    changed_.notify();
  }
  void synced() override { changed_.notify(); }

  // "address:port conditions", of all slices of a service.
  Lines of(const std::string& service) const {
    Lines out;
    for (const auto& [name, slice] : all_) {
      const auto label = slice.metadata.labels.find(kube::label::kServiceName);
      if (label == slice.metadata.labels.end() || label->second != service) continue;
      for (const kube::Endpoint& endpoint : slice.endpoints) out.push_back(line(slice, endpoint));
    }
    std::ranges::sort(out);
    return out;
  }
  // Whether any slice has ever held this.
  bool ever(const std::string& line) const { return ever_.contains(line); }
  // Names of the slices of a service.
  Lines names(const std::string& service) const {
    Lines out;
    for (const auto& [name, slice] : all_) {
      const auto label = slice.metadata.labels.find(kube::label::kServiceName);
      if (label != slice.metadata.labels.end() && label->second == service) out.push_back(name);
    }
    return out;
  }
  io::Task<bool> until(std::function<bool()> holds) {
    const auto deadline = std::chrono::steady_clock::now() + 15s;
    while (!holds()) {
      if (!co_await changed_.wait_until(deadline)) co_return holds();
    }
    co_return true;
  }

 private:
  static std::string line(const kube::EndpointSlice& slice, const kube::Endpoint& endpoint) {
    std::string out = fmt::format("{}:{}", endpoint.addresses.at(0),
                                  slice.ports.empty() ? 0 : slice.ports[0].port.value_or(0));
    if (endpoint.ready.value_or(true)) out += " ready";
    if (endpoint.serving.value_or(true)) out += " serving";
    if (endpoint.terminating.value_or(false)) out += " terminating";
    return out + " on " + endpoint.node_name.value_or("?");
  }

  std::map<std::string, kube::EndpointSlice> all_;
  std::set<std::string> ever_;
  io::Event changed_;
};

class ControllersTest : public ClusterTest {
 protected:
  void SetUp() override {
    ClusterTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    start_api();
    create_node();
    create_selecting_service("web");
    start_controllers();
    reflector_.emplace(
        client::Reflector<kube::EndpointSlice>::Config{.client = controllers_client_.get(),
                                                       .handler = &slices_,
                                                       .options = {.namespace_ = "default"}});
    tasks_.spawn(reflector_->run());
  }
  void TearDown() override {
    loop_.run(tasks_.close());
    if (controllers_) loop_.run(controllers_->close());
  }

  void start_controllers() {
    auto made = client::ApiClient::create(
        loop_.executor(), {.access = *client::load_kubeconfig(machine().kubeconfig())});
    ASSERT_TRUE(made);
    controllers_client_ = *std::move(made);
    controllers_.emplace(loop_.executor(),
                         controllers::Controllers::Config{.client = controllers_client_.get()});
    controllers_->start();
  }
  void create_selecting_service(const std::string& name) {
    create(
        kServices,
        fmt::format(R"({{"apiVersion":"v1","kind":"Service","metadata":{{"name":"{0}"}},"spec":)"
                    R"({{"selector":{{"app":"{0}"}},"ports":[{{"port":80,"targetPort":8080}}]}}}})",
                    name));
  }
  // A pod of the service web that its kubelet has started but not found ready.
  void create_pod(const std::string& name, const std::string& address) {
    create(
        kPods,
        fmt::format(
            R"({{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{}","labels":{{"app":"web"}},)"
            R"("finalizers":["test.example/hold"]}},"spec":{{"nodeName":"{}",)"
            R"("containers":[{{"name":"c","image":"i"}}]}}}})",
            name, kNode));
    patch(
        fmt::format("{}/{}/status", kPods, name),
        fmt::format(R"({{"status":{{"phase":"Running","podIP":"{0}","podIPs":[{{"ip":"{0}"}}]}}}})",
                    address));
  }
  void set_ready(const std::string& pod, bool ready) {
    patch(fmt::format("{}/{}/status", kPods, pod),
          fmt::format(R"({{"status":{{"conditions":[{{"type":"Ready","status":"{}"}}]}}}})",
                      ready ? "True" : "False"));
  }
  void patch(const std::string& path, const std::string& body) {
    const auto answer = *loop_.run(api().patch(path, kMergePatch, body));
    EXPECT_TRUE(answer) << (answer ? "" : answer.error().message);
  }
  void delete_pod(const std::string& name) { remove(fmt::format("{}/{}", kPods, name)); }
  void let_go(const std::string& pod) {  // its kubelet has stopped it
    patch(fmt::format("{}/{}", kPods, pod), R"({"metadata":{"finalizers":null}})");
    loop_.run(api().remove(fmt::format("{}/{}?gracePeriodSeconds=0", kPods, pod)));
  }

  // Waits for the slices of web to hold exactly these.
  void expect_endpoints(const Lines& wanted) {
    loop_.run(slices_.until([&] { return slices_.of("web") == wanted; }));
    EXPECT_EQ(slices_.of("web"), wanted);
  }

  std::unique_ptr<client::ApiClient> controllers_client_;
  std::optional<controllers::Controllers> controllers_;
  Slices slices_{loop_.executor()};
  std::optional<client::Reflector<kube::EndpointSlice>> reflector_;
  io::TaskGroup tasks_{loop_.executor(), "watch of slices"};
};

TEST_F(ControllersTest, PodsAreEndpointsFromReadyToGone) {
  create_pod("a", "10.0.0.1");
  expect_endpoints({"10.0.0.1:8080 on node-a"});
  set_ready("a", true);
  create_pod("b", "10.0.0.2");
  set_ready("b", true);
  expect_endpoints(
      {"10.0.0.1:8080 ready serving on node-a", "10.0.0.2:8080 ready serving on node-a"});
  set_ready("a", false);
  expect_endpoints({"10.0.0.1:8080 on node-a", "10.0.0.2:8080 ready serving on node-a"});
  delete_pod("b");
  expect_endpoints({"10.0.0.1:8080 on node-a", "10.0.0.2:8080 serving terminating on node-a"});
  let_go("b");
  expect_endpoints({"10.0.0.1:8080 on node-a"});
}

TEST_F(ControllersTest, SlicesGoWithTheirServiceAndHandMadeOnesStay) {
  create_pod("a", "10.0.0.1");
  set_ready("a", true);
  expect_endpoints({"10.0.0.1:8080 ready serving on node-a"});
  create(kSlices,
         R"({"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","addressType":"IPv4",)"
         R"("metadata":{"name":"by-hand","labels":{"kubernetes.io/service-name":"web"}},)"
         R"("endpoints":[{"addresses":["192.0.2.1"]}],"ports":[{"port":9}]})");
  expect_endpoints({"10.0.0.1:8080 ready serving on node-a", "192.0.2.1:9 ready serving on ?"});
  remove(std::string(kServices) + "/web");
  expect_endpoints({"192.0.2.1:9 ready serving on ?"});
  EXPECT_THAT(slices_.names("web"), ElementsAre("by-hand"));
}

TEST_F(ControllersTest, EditsByOthersAreUndone) {
  create_pod("a", "10.0.0.1");
  set_ready("a", true);
  expect_endpoints({"10.0.0.1:8080 ready serving on node-a"});
  const std::string slice = slices_.names("web").at(0);
  patch(fmt::format("{}/{}", kSlices, slice), R"({"endpoints":[{"addresses":["192.0.2.66"]}]})");
  loop_.run(slices_.until([&] { return slices_.ever("192.0.2.66:8080 ready serving on ?"); }));
  expect_endpoints({"10.0.0.1:8080 ready serving on node-a"});
  remove(fmt::format("{}/{}", kSlices, slice));
  loop_.run(slices_.until([&] {
    const Lines names = slices_.names("web");
    return names.size() == 1 && names[0] != slice;
  }));
  expect_endpoints({"10.0.0.1:8080 ready serving on node-a"});
}

TEST_F(ControllersTest, ServerThatWasAwayIsFollowedAgain) {
  create_pod("a", "10.0.0.1");
  set_ready("a", true);
  expect_endpoints({"10.0.0.1:8080 ready serving on node-a"});
  stop_api(SIGKILL);
  start_api();
  create_pod("b", "10.0.0.2");
  set_ready("b", true);
  expect_endpoints(
      {"10.0.0.1:8080 ready serving on node-a", "10.0.0.2:8080 ready serving on node-a"});
}

// What happened while nobody was looking is put right at the start.
TEST_F(ControllersTest, StartFindsWhatWasMissed) {
  create_pod("a", "10.0.0.1");
  set_ready("a", true);
  expect_endpoints({"10.0.0.1:8080 ready serving on node-a"});
  loop_.run(controllers_->close());
  controllers_.reset();
  create_pod("b", "10.0.0.2");
  set_ready("a", false);
  create_selecting_service("other");
  remove(std::string(kServices) + "/other");
  controllers_.emplace(loop_.executor(),
                       controllers::Controllers::Config{.client = controllers_client_.get()});
  controllers_->start();
  expect_endpoints({"10.0.0.1:8080 on node-a", "10.0.0.2:8080 on node-a"});
  EXPECT_THAT(slices_.names("other"), IsEmpty());
}

}  // namespace
}  // namespace fairlead::faults
