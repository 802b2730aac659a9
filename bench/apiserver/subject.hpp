// What bench_apiserver measures: an API server, ours or another, and the store below ours without
// one. Everything is on loopback and in a temporary folder. Thread rule: one loop.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/api_client.hpp"
#include "io/process.hpp"

namespace fairlead::bench {

// Removed with all that is in it.
class Folder {
 public:
  static Result<Folder> create();
  Folder(Folder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  Folder& operator=(Folder&&) = delete;
  ~Folder();
  const std::string& path() const { return path_; }

 private:
  explicit Folder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// A fairlead-apiserver of its own, from the build this program is in.
class OwnServer {
 public:
  // `flags` say which store it has; without any it has SQLite, in the folder.
  static Result<OwnServer> start(const Folder& folder, std::vector<std::string> flags = {});
  const std::string& kubeconfig() const { return kubeconfig_; }
  std::uint64_t resident_kilobytes() const;

 private:
  OwnServer(io::Child child, std::string kubeconfig)
      : child_(std::move(child)), kubeconfig_(std::move(kubeconfig)) {}
  io::Child child_;
  std::string kubeconfig_;
};

// So many writers, each with a connection of its own.
using Clients = std::vector<std::unique_ptr<client::ApiClient>>;
Result<Clients> connect(io::Executor executor, const client::ClusterAccess& access, int count);

// A Service as people write it; `number` makes name and selector.
std::string service_json(const std::string& prefix, int number);

// Rows with such a value in a table, each in a transaction of its own that is on the disk before
// the next begins: what the store costs without anything around it. Rows a second.
Result<double> raw_sqlite_rate(const Folder& folder, int rows);

}  // namespace fairlead::bench
