// Runs a test's body inside a fresh, private network namespace, on a thread that ends with it.
#pragma once

#include <sched.h>

#include <functional>
#include <thread>

namespace fairlead::nftables::testing {

// False when this process may not make namespaces.
inline bool in_private_network(const std::function<void()>& body) {
  bool entered = false;
  std::thread([&] {
    if (::unshare(CLONE_NEWNET) != 0) return;
    entered = true;
    body();
  }).join();
  return entered;
}

}  // namespace fairlead::nftables::testing

// GoogleTest's fatal assertions work inside; a skipped test says why.
#define FAIRLEAD_IN_PRIVATE_NETWORK(...)                                          \
  if (!::fairlead::nftables::testing::in_private_network(__VA_ARGS__)) {          \
    GTEST_SKIP() << "needs CAP_SYS_ADMIN to make a network namespace of its own"; \
  }
