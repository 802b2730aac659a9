// Real etcd processes on loopback, with their data in a temporary folder; all gone with the object.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "io/process.hpp"

namespace fairlead::etcd_test {

// The program: $FAIRLEAD_ETCD, else the one that ./dev setup unpacked; empty when there is none.
std::string etcd_program();
// Its client for operators: $FAIRLEAD_ETCDCTL, else the same.
std::string etcdctl_program();

std::uint16_t free_port();  // of loopback
// Whether `child` takes connections at that port of loopback before it ends and within twenty
// seconds.
bool listens(const io::Child& child, std::uint16_t port);

// Paths of PEM files; empty = plain HTTP.
struct ServerTls {
  std::string ca, certificate, key;
};

class EtcdCluster {
 public:
  // `flags` are given to every member besides what is needed.
  explicit EtcdCluster(std::size_t members, ServerTls tls = {},
                       std::vector<std::string> flags = {});
  ~EtcdCluster();
  EtcdCluster(const EtcdCluster&) = delete;
  EtcdCluster& operator=(const EtcdCluster&) = delete;

  // All serve. False: they did not within twenty seconds; log() may tell why.
  bool start();
  bool start(std::size_t member);
  bool spawn(std::size_t member);            // the same, but does not wait until it serves
  void end(std::size_t member, int signal);  // and waits for its end
  // Lets a member that is not running serve clients at another port from now on; answers the
  // former one. 0 = any free one.
  std::uint16_t move(std::size_t member, std::uint16_t port = 0);
  std::uint16_t port(std::size_t member) const { return members_[member].client_port; }
  std::vector<std::string> endpoints() const;
  std::string endpoint(std::size_t member) const;
  std::string log() const;
  // etcdctl with these arguments at the first member.
  Result<io::Output> ctl(std::vector<std::string> arguments) const;
  // Of a member that is not running: what it kept becomes what `snapshot` has, made by
  // `ctl snapshot save`.
  Result<io::Output> restore(std::size_t member, const std::string& snapshot) const;
  const std::string& folder() const { return folder_; }

 private:
  struct Member {
    std::uint16_t client_port = 0, peer_port = 0;
    std::optional<io::Child> child;
  };
  bool serves(std::size_t member) const {
    return members_[member].child && listens(*members_[member].child, members_[member].client_port);
  }

  std::string peer(std::size_t member) const;
  std::string initial_cluster() const;

  std::string folder_;
  ServerTls tls_;
  std::vector<std::string> flags_;
  std::vector<Member> members_;
};

}  // namespace fairlead::etcd_test
