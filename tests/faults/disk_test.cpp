// A disk that fills up under the API server: writes fail in words, nothing that was acknowledged is
// lost, and room that is made is used.
#include <csignal>
#include <filesystem>
#include <fstream>

#include "faults/cluster.hpp"

namespace fairlead::faults {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

constexpr char kServices[] = "/api/v1/namespaces/default/services";

// A process that does nothing but hold a small disk, which only it and those that enter its mount
// namespace see.
class SmallDisk {
 public:
  SmallDisk(const std::string& at, int megabytes)
      : at_(at),
        holder_({"unshare", "--mount", "sh", "-c",
                 fmt::format("mkdir -p {0} && mount -t tmpfs -o size={1}m none {0} && "
                             "echo mounted $$ >&2 && exec sleep 600",
                             at, megabytes)}) {
    mounted_ = holder_.says("mounted");
    const std::string& log = holder_.log();
    pid_ = log.substr(log.find("mounted ") + 8);
    pid_.erase(pid_.find_last_not_of('\n') + 1);
  }
  bool mounted() const { return mounted_; }
  std::vector<std::string> inside(std::vector<std::string> argv) const {
    argv.insert(argv.begin(), {"nsenter", "--mount", "--target", pid_});
    return argv;
  }
  // A file on it, as seen from here.
  std::string path(std::string_view name) const {
    return fmt::format("/proc/{}/root{}/{}", pid_, at_, name);
  }

 private:
  std::string at_;
  Program holder_;
  bool mounted_ = false;
  std::string pid_;
};

class DiskTest : public ClusterTest {
 protected:
  Program serve(const SmallDisk& disk) const {
    return Program(disk.inside(
        {program_path("fairlead-apiserver"), "--data-dir", machine().path("disk"), "--bind-address",
         "10.9.0.1", "--secure-port", "6443", "--write-kubeconfig", machine().kubeconfig()}));
  }
  Result<std::string> write(int number) {
    return *loop_.run(api().post(
        kServices,
        fmt::format(R"({{"apiVersion":"v1","kind":"Service","metadata":{{"name":"s{}",)"
                    R"("annotations":{{"note":"{}"}}}},"spec":{{"ports":[{{"port":80}}]}}}})",
                    number, std::string(100'000, 'x'))));
  }
  bool is_there(int number) { return get(fmt::format("{}/s{}", kServices, number)).has_value(); }
};

TEST_F(DiskTest, AFullDiskRefusesWritesLosesNoneAndHealsWithRoom) {
  const SmallDisk disk(machine().path("disk"), 16);
  ASSERT_TRUE(disk.mounted()) << "a tmpfs can be mounted";
  std::ofstream(disk.path("ballast")) << std::string(6'000'000, 'b') << std::flush;
  Program server = serve(disk);
  ASSERT_TRUE(server.says("Serving")) << server.log();

  std::vector<int> acknowledged;
  Result<std::string> answer;
  int next = 0;
  for (; next < 300; ++next) {
    answer = write(next);
    if (!answer) break;
    acknowledged.push_back(next);
  }
  ASSERT_FALSE(answer) << "the disk does not fill up";
  EXPECT_THAT(answer.error().message, HasSubstr("full")) << "says what is wrong";
  EXPECT_FALSE(is_there(next)) << "what was refused is not half there";
  ASSERT_FALSE(acknowledged.empty());
  EXPECT_TRUE(is_there(acknowledged.back())) << "reads go on";

  ASSERT_TRUE(std::filesystem::remove(disk.path("ballast")));
  EXPECT_TRUE(write(next)) << "room is used without a restart";
  acknowledged.push_back(next);

  server.signal(SIGKILL);
  ASSERT_TRUE(server.end(10s));
  Program again = serve(disk);
  ASSERT_TRUE(again.says("Serving")) << again.log();
  for (const int number : acknowledged) EXPECT_TRUE(is_there(number)) << number;
}

}  // namespace
}  // namespace fairlead::faults
