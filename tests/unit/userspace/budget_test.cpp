#include "proxy/modes/userspace/budget.hpp"

#include <gtest/gtest.h>

#include <thread>

namespace fairlead::userspace {
namespace {

using namespace std::chrono_literals;

TEST(Budget, EachKindHasItsLimitAndAllShareTheFiles) {
  Budget budget({.files = 6, .connections = 2, .flows = 3, .pipes = 0});
  EXPECT_TRUE(budget.take_connection());
  EXPECT_TRUE(budget.take_connection());
  EXPECT_FALSE(budget.take_connection()) << "the third of two";
  EXPECT_TRUE(budget.take_flow());
  EXPECT_TRUE(budget.take_files(1));
  EXPECT_FALSE(budget.take_flow()) << "no file is left";
  budget.give_files(1);
  EXPECT_TRUE(budget.take_flow());
  EXPECT_EQ(budget.connections(), 2U);
  EXPECT_EQ(budget.flows(), 2U);
  EXPECT_EQ(budget.files(), 6U);
}

TEST(Budget, WhatIsRefusedTakesNothing) {
  Budget budget({.files = 3, .connections = 5, .flows = 5, .pipes = 0});
  EXPECT_TRUE(budget.take_connection());
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(budget.take_connection());
  EXPECT_EQ(budget.files(), 2U);
  EXPECT_EQ(budget.connections(), 1U);
  budget.give_connection();
  EXPECT_EQ(budget.files(), 0U);
  EXPECT_TRUE(budget.take_connection());
}

TEST(Budget, WaitsForTheLastConnection) {
  Budget budget({.files = 4, .connections = 2, .flows = 0, .pipes = 0});
  EXPECT_TRUE(budget.wait_for_the_last(std::chrono::steady_clock::now()));
  ASSERT_TRUE(budget.take_connection());
  EXPECT_FALSE(budget.wait_for_the_last(std::chrono::steady_clock::now() + 1ms));
  std::thread other([&budget] { budget.give_connection(); });
  EXPECT_TRUE(budget.wait_for_the_last(std::chrono::steady_clock::now() + 10s));
  other.join();
}

TEST(Limits, AreDividedSoThatEverythingFitsIntoTheOpenFiles) {
  const auto limits = limits_here(0, 0);
  ASSERT_TRUE(limits);
  EXPECT_EQ(limits->connections, limits->files / 2);
  EXPECT_EQ(limits->flows, limits->files / 2);
  EXPECT_GT(limits->pipes, 0U);
  const auto fewer = limits_here(7, 9);
  ASSERT_TRUE(fewer);
  EXPECT_EQ(fewer->connections, 7U);
  EXPECT_EQ(fewer->flows, 9U);
  EXPECT_LT(most_memory(*fewer), most_memory(*limits));
}

}  // namespace
}  // namespace fairlead::userspace
