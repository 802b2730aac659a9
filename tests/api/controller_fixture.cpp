#include "api/controller_fixture.hpp"

#include <boost/json/serialize.hpp>
#include <csignal>
#include <set>

#include "support/process.hpp"

namespace fairlead::api_test {

std::string addresses(const Slices& slices) {
  std::set<std::string> all;
  for (const auto& [name, slice] : slices) {
    if (!slice.as_object().contains("endpoints") || !slice.at("endpoints").is_array()) continue;
    for (const auto& endpoint : slice.at("endpoints").as_array()) {
      const Answer read{.body = endpoint};
      const std::string hint = read.at("/hints/forZones/0/name");
      all.insert(read.at("/addresses/0") + (hint.empty() ? "" : ">" + hint));
    }
  }
  return fmt::format("{}", fmt::join(all, " "));
}

void ControllerTest::TearDown() {
  if (controller_) {
    EXPECT_TRUE(controller_->signal(SIGTERM));
    EXPECT_TRUE(controller_->wait_blocking());
    EXPECT_EQ(controller_log().find("forbidden"), std::string::npos) << controller_log();
  }
  HttpTest::TearDown();
}

void ControllerTest::start_controllers(const std::vector<std::string>& flags) {
  io::Command command;
  command.argv = {std::string(FAIRLEAD_BINARY_DIR) + "/src/cli/fairlead-controller", "--kubeconfig",
                  folder_.path() + "/data/controller.kubeconfig", "--no-leader-elect"};
  command.argv.insert(command.argv.end(), flags.begin(), flags.end());
  auto child = test::spawn_logging(std::move(command), folder_.path() + "/controller.log");
  ASSERT_TRUE(child);
  controller_ = *std::move(child);
}

boost::json::value ControllerTest::event_when(std::string_view watch_target,
                                              const std::function<bool(const Answer&)>& holds) {
  WatchStream changes =
      watch(fmt::format("{}{}watch=true&timeoutSeconds=10", watch_target,
                        watch_target.find('?') == std::string_view::npos ? "?" : "&"));
  std::string last;
  while (true) {
    boost::json::value event = next_event(changes);
    if (event.is_null()) {
      ADD_FAILURE() << watch_target << " never came to be as expected; last: " << last << "\n"
                    << controller_log();
      return event;
    }
    if (holds(Answer{.body = event})) return event;
    last = boost::json::serialize(event);
  }
}

Slices ControllerTest::slices_when(std::string_view service,
                                   const std::function<bool(const Slices&)>& holds) {
  Slices slices;
  const auto event = event_when(
      fmt::format("{}?labelSelector=kubernetes.io%2Fservice-name%3D{}", kSlices, service),
      [&](const Answer& change) {
        const std::string name = change.at("/object/metadata/name");
        if (change.at("/type") == "DELETED") {
          slices.erase(name);
        } else {
          slices.insert_or_assign(name, change.value_at("/object"));
        }
        return holds(slices);
      });
  if (event.is_null()) return {};
  return slices;
}

Slices ControllerTest::slices_when(std::string_view service, std::string_view addresses_wanted) {
  return slices_when(service, [addresses_wanted](const Slices& all) {
    return addresses(all) == addresses_wanted;
  });
}

std::string ControllerTest::event_note(std::string_view name, std::string_view reason) {
  const auto event =
      event_when("/apis/events.k8s.io/v1/namespaces/default/events", [&](const Answer& told) {
        return told.at("/object/regarding/name") == name && told.at("/object/reason") == reason;
      });
  return Answer{.body = event}.at("/object/note");
}

void ControllerTest::create_pod(std::string_view name, const PodOfTest& pod) {
  const std::string node = pod.node.empty() ? "" : fmt::format(R"("nodeName":"{}",)", pod.node);
  const Answer made =
      call("POST", kPods,
           fmt::format(R"({{"metadata":{{"name":"{}","labels":{{"app":"web"}}}},"spec":{{{})"
                       R"("containers":[{{"name":"c","image":"i","ports":[{}]}}]}}}})",
                       name, node, pod.ports));
  ASSERT_EQ(made.status, 201U) << made.text;
  const std::string ips =
      pod.ip.empty() ? "" : fmt::format(R"("podIP":"{0}","podIPs":[{{"ip":"{0}"}}],)", pod.ip);
  const Answer status = patch(
      fmt::format("{}/{}/status", kPods, name),
      fmt::format(
          R"({{"status":{{{}"phase":"{}","conditions":[{{"type":"Ready","status":"True"}}]}}}})",
          ips, pod.phase));
  ASSERT_EQ(status.status, 200U) << status.text;
}

void ControllerTest::create_node(std::string_view name, std::string_view zone,
                                 std::string_view cpu) {
  const std::string labels =
      zone.empty() ? "" : fmt::format(R"("topology.kubernetes.io/zone":"{}")", zone);
  const Answer made =
      call("POST", kNodes,
           fmt::format(R"({{"metadata":{{"name":"{}","labels":{{{}}}}}}})", name, labels));
  ASSERT_EQ(made.status, 201U) << made.text;
  if (!cpu.empty())
    patch_node_status(name, fmt::format(R"("allocatable":{{"cpu":"{}"}},)"
                                        R"("conditions":[{{"type":"Ready","status":"True"}}])",
                                        cpu));
}

void ControllerTest::patch_node_status(std::string_view name, std::string_view status) {
  const Answer changed = patch(fmt::format("{}/{}/status", kNodes, name),
                               fmt::format(R"({{"status":{{{}}}}})", status), kStrategicPatch);
  ASSERT_EQ(changed.status, 200U) << changed.text;
}

}  // namespace fairlead::api_test
