// The folder by which commands find a running lab: kubeconfigs, logs, control socket, pid.
//
// A lab lives exactly as long as its supervisor holds the lock on FOLDER/lock; the kernel drops it
// however the supervisor ends. So a folder whose lock is free is stale, whatever else it holds.
#pragma once

#include <string>

#include "base/error.hpp"
#include "io/fd.hpp"

namespace fairlead::lab {

struct StatePaths {
  std::string folder;
  std::string lock() const { return folder + "/lock"; }
  std::string pid() const { return folder + "/pid"; }
  std::string socket() const { return folder + "/control.sock"; }
  std::string kubeconfig() const { return folder + "/kubeconfig"; }
  std::string node_kubeconfig() const { return folder + "/node.kubeconfig"; }
  std::string logs() const { return folder + "/logs"; }
  std::string supervisor_log() const { return folder + "/lab.log"; }
};

// `flag` if given, else $FAIRLEAD_LAB, else /run/fairlead/lab as root, else $XDG_RUNTIME_DIR/...
std::string choose_state_folder(const std::string& flag);
// For labs that end with a command: a folder of its own beside the default one.
Result<std::string> make_temporary_state_folder();

// Makes the folder (0700) if need be and takes the lock. AlreadyExists: a lab runs there, with its
// pid in the message. What a dead lab left behind is removed.
Result<io::UniqueFd> take_state_folder(const StatePaths& paths);
// Removes what a lab put there, and the folder if that leaves it empty.
void remove_state(const StatePaths& paths);

Result<std::string> read_text_file(const std::string& path);
Result<void> write_text_file(const std::string& path, std::string_view text);

}  // namespace fairlead::lab
