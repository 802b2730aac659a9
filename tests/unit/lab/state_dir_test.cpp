#include "lab/state_dir.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "support/folder.hpp"
#include "support/result.hpp"

namespace fairlead::lab {
namespace {

class StateFolder : public testing::Test {
 protected:
  test::TemporaryFolder parent_;
  StatePaths paths_{.folder = parent_.path() + "/a/lab"};
};

TEST_F(StateFolder, IsMadeForItsOwnerOnly) {
  const auto lock = take_state_folder(paths_);
  ASSERT_TRUE(lock) << lock.error().message;
  struct stat made{};
  ASSERT_EQ(::stat(paths_.folder.c_str(), &made), 0);
  EXPECT_EQ(made.st_mode & 0777U, 0700U);
}

TEST_F(StateFolder, IsHeldByOneLabOnlyWhichIsNamed) {
  const auto lock = take_state_folder(paths_);
  ASSERT_TRUE(lock);
  ASSERT_TRUE(write_text_file(paths_.pid(), "42\n"));
  const auto second = take_state_folder(paths_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error(),
            (Error{.code = ErrorCode::AlreadyExists,
                   .message = fmt::format("a lab is already running in {} (supervisor 42)",
                                          paths_.folder)}));
}

TEST_F(StateFolder, OfADeadLabIsEmptiedAndTaken) {
  {
    const auto lock = take_state_folder(paths_);
    ASSERT_TRUE(lock);
    for (const std::string& path : {paths_.pid(), paths_.socket(), paths_.kubeconfig(),
                                    paths_.logs() + "/default_web_main.log"})
      ASSERT_TRUE(write_text_file(path, "old"));
  }
  const auto lock = take_state_folder(paths_);
  ASSERT_TRUE(lock) << lock.error().message;
  std::vector<std::string> left;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(paths_.folder))
    left.push_back(entry.path());
  EXPECT_THAT(left, testing::UnorderedElementsAre(paths_.lock(), paths_.logs()));
}

TEST_F(StateFolder, KeepsWhatIsNotOurs) {
  std::filesystem::create_directories(paths_.folder);
  ASSERT_TRUE(write_text_file(paths_.folder + "/notes", "mine"));
  const auto lock = take_state_folder(paths_);
  ASSERT_TRUE(lock);
  remove_state(paths_);
  EXPECT_THAT(read_text_file(paths_.folder + "/notes"), Holds("mine"));
  EXPECT_FALSE(std::filesystem::exists(paths_.lock()));
}

TEST_F(StateFolder, IsGoneAfterAnOrderlyEnd) {
  const auto lock = take_state_folder(paths_);
  ASSERT_TRUE(lock);
  remove_state(paths_);
  EXPECT_FALSE(std::filesystem::exists(paths_.folder));
}

TEST_F(StateFolder, ThatCannotBeMadeIsNamed) {
  ASSERT_TRUE(write_text_file(parent_.path() + "/a", "a file"));
  const auto lock = take_state_folder(paths_);
  ASSERT_FALSE(lock);
  EXPECT_THAT(lock.error().message, testing::HasSubstr(parent_.path() + "/a"));
}

TEST_F(StateFolder, AFlagIsMadeAbsolute) {
  EXPECT_EQ(choose_state_folder("/x/y"), "/x/y");
  EXPECT_EQ(choose_state_folder("y"), std::filesystem::current_path().string() + "/y");
}

}  // namespace
}  // namespace fairlead::lab
