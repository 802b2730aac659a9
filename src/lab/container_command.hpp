// How a container of a pod becomes a process; pure.
//
// The image is not looked at: the command runs from the host's file system, so it is required. The
// environment is the supervisor's with HOSTNAME, the API server's address and the container's own
// variables; PATH begins with the folder of the fairlead programs. $(NAME) in commands, arguments
// and values is replaced as in Kubernetes.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/ip.hpp"
#include "io/process.hpp"
#include "kube/objects.hpp"

namespace fairlead::lab {

struct ContainerSurroundings {
  std::string program_directory;  // of the fairlead programs
  std::string path;               // PATH of the supervisor
  std::string hostname;
  std::string service_host, service_port;  // of Service default/kubernetes
};

// Invalid, with the field's name, when there is no command. Descriptors and namespaces are the
// caller's to add.
Result<io::Command> container_command(const kube::Container& container,
                                      const ContainerSurroundings& surroundings);

// The number of a probe's port, which may be named. Invalid: no such port.
Result<Port> probe_port(const kube::IntOrString& port, const kube::Container& container);

// $(NAME) -> its value; $$ -> $; an unknown name stays as it is.
std::string expand_variables(std::string_view text, const std::map<std::string, std::string>& env);

}  // namespace fairlead::lab
