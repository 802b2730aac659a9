// Makes the process tree of a lab and enters it from outside.
//
//   caller ── init (PID 1 of a new PID and mount namespace; only reaps) ── supervisor (runs Lab)
//                                                                            └─ pods, proxies
//
// Whichever of init and supervisor dies first, the kernel kills every process of the PID namespace;
// with them go the anonymous network namespaces. Nothing is left to clean up but the state folder,
// which the next start does. Call from a process without other threads.
#pragma once

#include <string>
#include <vector>

#include "base/error.hpp"
#include "io/process.hpp"
#include "lab/lab.hpp"

namespace fairlead::lab {

enum class Lifetime {
  Detached,  // until `lab down`
  Caller,    // at most as long as the calling process
};

// Returns when the lab is ready, or with what it failed of. Forbidden: privileges are missing.
Result<void> launch(const LabConfig& config, Lifetime lifetime);

// Ends the lab and waits until its last process is gone. NotFound: none runs.
Result<void> shut_down(const StatePaths& paths);

// Collects what ended below the calling process, such as the init of a lab with Lifetime::Caller.
void reap_children();

// A table of nodes and pods.
Result<std::string> status(const StatePaths& paths);

// What a container of `pod` ("NAME" or "NAMESPACE/NAME") wrote, also when it runs no more.
// Container may be empty if the pod has one. NotFound: nothing was written under these names.
Result<std::string> read_logs(const StatePaths& paths, const std::string& pod,
                              const std::string& container);

// Runs a command in a place of the lab ("POD", "NAMESPACE/POD", "node/NAME", "client") with our
// standard streams, working directory and signals.
Result<io::ExitStatus> run_inside(const StatePaths& paths, const std::string& place,
                                  std::vector<std::string> argv);

// Runs a command on our standard streams; SIGTERM, SIGHUP and SIGINT sent to us reach it and do not
// end us.
Result<io::ExitStatus> run_in_foreground(io::Command command);

}  // namespace fairlead::lab
