#include "apiserver/subject.hpp"

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "apiserver/store/sqlite_db.hpp"

namespace fairlead::bench {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kPatience = std::chrono::seconds(20);

Result<std::string> own_program() {
  std::error_code ec;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", ec);
  const auto program = self.parent_path().parent_path() / "src/cli/fairlead-apiserver";
  if (ec || !std::filesystem::exists(program)) {
    return make_error(ErrorCode::NotFound, "{} is not built", program.string());
  }
  return program.string();
}

}  // namespace

Result<Folder> Folder::create() {
  std::string path = (std::filesystem::temp_directory_path() / "bench-apiserver-XXXXXX").string();
  if (::mkdtemp(path.data()) == nullptr) return errno_error(errno, "make a temporary folder");
  return Folder(std::move(path));
}

Folder::~Folder() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

Result<OwnServer> OwnServer::start(const Folder& folder, std::vector<std::string> flags) {
  FAIRLEAD_TRY(program, own_program());
  const std::string kubeconfig = folder.path() + "/kubeconfig";
  io::Command command{.argv = {program, "--data-dir", folder.path() + "/data", "--bind-address",
                               "127.0.0.1", "--secure-port", "0", "--write-kubeconfig",
                               kubeconfig}};
  command.argv.insert(command.argv.end(), flags.begin(), flags.end());
  FAIRLEAD_TRY(child, io::Child::spawn(command));
  OwnServer out(std::move(child), kubeconfig);
  // It is written once the server listens.
  const auto deadline = Clock::now() + kPatience;
  while (!std::filesystem::exists(kubeconfig)) {
    if (Clock::now() > deadline || out.child_.ends_before(Clock::now())) {
      return make_error(ErrorCode::Unavailable, "fairlead-apiserver does not start");
    }
  }
  return std::move(out);
}

std::uint64_t OwnServer::resident_kilobytes() const {
  std::ifstream status(fmt::format("/proc/{}/status", child_.pid()));
  std::string word;
  while (status >> word && word != "VmRSS:") {
  }
  std::uint64_t out = 0;
  status >> out;
  return out;
}

Result<Clients> connect(io::Executor executor, const client::ClusterAccess& access, int count) {
  Clients out;
  for (int i = 0; i < count; ++i) {
    FAIRLEAD_TRY(one, client::ApiClient::create(
                          executor, {.access = access, .timeout = std::chrono::minutes(1)}));
    out.push_back(std::move(one));
  }
  return std::move(out);
}

std::string service_json(const std::string& prefix, int number) {
  return fmt::format(
      R"({{"apiVersion":"v1","kind":"Service","metadata":{{"name":"{0}-{1}",)"
      R"("labels":{{"app":"{0}-{1}","team":"bench"}}}},"spec":{{"selector":{{"app":"{0}-{1}"}},)"
      R"("ports":[{{"name":"http","port":80,"targetPort":8080}},)"
      R"({{"name":"metrics","port":9090}}]}}}})",
      prefix, number);
}

Result<double> raw_sqlite_rate(const Folder& folder, int rows) {
  FAIRLEAD_TRY(database, apiserver::Database::open(folder.path() + "/raw.db"));
  FAIRLEAD_CHECK(
      database.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                       "CREATE TABLE objects(key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID"));
  FAIRLEAD_TRY(insert, database.prepare("INSERT INTO objects VALUES(?, ?)"));
  const auto start = Clock::now();
  for (int i = 0; i < rows; ++i) {
    const std::string key = fmt::format("/registry/services/specs/default/raw-{}", i);
    const std::string value = service_json("raw", i);
    FAIRLEAD_CHECK(insert.bind(1, key).bind_blob(2, value).run());
  }
  return rows / std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace fairlead::bench
