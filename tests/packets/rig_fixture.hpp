// A rig for each test; where namespaces cannot be made the test is skipped and says so.
#pragma once

#include <gtest/gtest.h>

#include "packets/rig.hpp"

namespace fairlead::packets {

class RigTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto created = Rig::create();
    if (!created && created.error().code == ErrorCode::Forbidden)
      GTEST_SKIP() << "packet tests need network namespaces: " << created.error().message;
    ASSERT_TRUE(created) << created.error().message;
    rig_ = *std::move(created);
  }
  Rig& rig() { return *rig_; }

 private:
  std::unique_ptr<Rig> rig_;
};

}  // namespace fairlead::packets
