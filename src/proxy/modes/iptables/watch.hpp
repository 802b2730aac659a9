// How the mode learns that somebody else has changed its rules. nft: the kernel tells; legacy: a
// timer says when to look for the canary chains. Thread rule: as plan::Mode.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "base/error.hpp"
#include "base/ip.hpp"
#include "proxy/modes/iptables/tools.hpp"

namespace fairlead::iptables {

class Watch {
 public:
  virtual ~Watch() = default;
  virtual int fd() const = 0;
  // Takes what there is to be told; whether it was about rules of ours.
  virtual Result<bool> take(Tools& tools, const std::vector<IpFamily>& families) = 0;
  // Runs `change`, which is ours, without being told of it.
  virtual Result<void> ignoring(const std::function<Result<void>()>& change) = 0;
};

Result<std::unique_ptr<Watch>> watch_notifications();
Result<std::unique_ptr<Watch>> watch_canary(std::chrono::milliseconds interval);

}  // namespace fairlead::iptables
