// A lab of the test's own, in a folder of its own, driven through the program.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "lab/program.hpp"

namespace fairlead::lab_test {

class RunningLab {
 public:
  explicit RunningLab(const Words& flags = {});
  ~RunningLab();
  RunningLab(const RunningLab&) = delete;
  RunningLab& operator=(const RunningLab&) = delete;

  const std::string& folder() const { return state_; }
  std::string kubeconfig() const { return state_ + "/kubeconfig"; }
  // FAIRLEAD_LAB and KUBECONFIG.
  std::map<std::string, std::string> env() const;

  std::string lab(Words words) const;  // fairlead lab WORDS..., must succeed
  std::string kubectl(Words words, std::string_view input = {}) const;
  void apply(std::string_view manifest) const { kubectl({"apply", "-f", "-"}, manifest); }
  // `condition` as for kubectl wait --for.
  void wait_for(const std::string& what, const std::string& condition) const;
  void wait_until_ready(const std::string& pod) const { wait_for("pod/" + pod, "condition=Ready"); }
  // One field of an object.
  std::string get(const std::string& what, const std::string& jsonpath) const;
  // Runs a command in a place; must succeed.
  std::string exec(const std::string& place, Words argv) const;
  // Connections from `place` until ten in a row are answered; who answered them.
  std::vector<std::string> who_answers(const std::string& place, const std::string& target,
                                       const std::string& protocol = "tcp") const;

  pid_t supervisor() const;
  pid_t init() const;

 private:
  test::TemporaryFolder parent_;
  std::string state_ = parent_.path() + "/lab";
};

class LabTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_not_here(); !why.empty()) GTEST_SKIP() << "SKIPPED: " << why;
  }
};

// Every process of the PID namespace that `member` is in, zombies left out.
std::vector<pid_t> processes_beside(pid_t member);
// Waits until all of them have ended.
bool all_end(const std::vector<pid_t>& processes, const std::function<void()>& cause);

}  // namespace fairlead::lab_test
