// The program `fairlead` as its users run it, and kubectls pointed at what it started.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "io/process.hpp"
#include "support/folder.hpp"

namespace fairlead::lab_test {

using Words = std::vector<std::string>;

std::string fairlead_program();
// From FAIRLEAD_KUBECTL and FAIRLEAD_KUBECTL_OLD, else .cache/tools of the source tree.
std::string kubectl_program();
std::string old_kubectl_program();

// Why this machine cannot run these tests; empty if it can.
std::string why_not_here();

// Runs to the end; a program that hangs fails the test.
io::Output run(Words argv, std::map<std::string, std::string> env = {},
               std::string_view input = {});
// Must succeed; what it printed.
std::string must(Words argv, std::map<std::string, std::string> env = {},
                 std::string_view input = {});
// Must fail, with one line on stderr and nothing else; that line.
std::string refusal(Words argv, std::map<std::string, std::string> env = {});

// Looks again and again, until `holds` or twenty seconds are over. For what has no event to wait
// for; everything that has one is waited for by kubectl wait, a pidfd or an answer.
template <class F>
bool eventually(F holds) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{20};
  while (!holds()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
  }
  return true;
}

}  // namespace fairlead::lab_test
