// A fairlead-apiserver and the program fairlead-controller, which comes as the user made for it:
// it knows of the cluster only what it is told over HTTPS, and may do only what that user may.
#pragma once

#include <functional>
#include <map>
#include <optional>

#include "api/http_fixture.hpp"
#include "io/process.hpp"

namespace fairlead::api_test {

inline constexpr std::string_view kPods = "/api/v1/namespaces/default/pods";
inline constexpr std::string_view kEndpoints = "/api/v1/namespaces/default/endpoints";
inline constexpr std::string_view kNodes = "/api/v1/nodes";

using Slices = std::map<std::string, boost::json::value>;  // by name
// "10.0.0.1 10.0.0.2" in order, of all slices; of those with a hint "10.0.0.1>zone".
std::string addresses(const Slices& slices);

struct PodOfTest {
  std::string_view ip = "";
  std::string_view ports = "";  // of its container
  std::string_view phase = "Running";
  std::string_view node = "n1";  // "" = none
};

class ControllerTest : public HttpTest {
 protected:
  void TearDown() override;
  void start_controllers(const std::vector<std::string>& flags = {});  // after the server
  void start_with_controllers(const std::vector<std::string>& flags = {}) {
    start();
    start_controllers(flags);
  }
  std::string controller_log() const { return folder_.read("controller.log"); }

  // The first event of a watch for which `holds`; null when there is none within ten seconds.
  boost::json::value event_when(std::string_view watch_target,
                                const std::function<bool(const Answer&)>& holds);
  // The first state of the slices of a service for which `holds`, seen by a watch; nothing when
  // there is none within ten seconds. Deleted slices are not in it.
  Slices slices_when(std::string_view service, const std::function<bool(const Slices&)>& holds);
  Slices slices_when(std::string_view service, std::string_view addresses_wanted);
  // What was told of an object, as an Event of this reason; "" when nothing within ten seconds.
  std::string event_note(std::string_view name, std::string_view reason);

  void create_pod(std::string_view name, const PodOfTest& pod);  // labelled app=web, ready
  // With this zone, and ready if it has a CPU.
  void create_node(std::string_view name, std::string_view zone = "", std::string_view cpu = "");
  void patch_node_status(std::string_view name, std::string_view status);

 private:
  std::optional<io::Child> controller_;
};

}  // namespace fairlead::api_test
