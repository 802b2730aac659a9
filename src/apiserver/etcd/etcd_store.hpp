// EtcdStore: the Store over an etcd cluster (API v3, gRPC), shared by any number of API servers.
//
// What makes several servers one API: every commit compares the revisions of all it looked at, so
// nothing is given out twice; and every commit also writes one key of ours, the marker, so that its
// revision is the last one committed by anybody. Who needs to know that its caches are current
// (synchronize()) reads that key and waits until the one watch of this store has come so far.
//
// Owner: the ApiServer; loop thread only, gRPC's threads only hand results over. Members of the
// cluster are tried in turn: reads until one answers, writes only where it is certain that the
// former attempt was not carried out. An error of a commit with code Unavailable or Timeout leaves
// open whether it happened, as with any database behind a network. All operations of one commit
// have the same revision.
//
// Invariants: one watch feeds all subscribers, in revision order. If etcd compacts what it has not
// delivered yet (a server cut off for longer than history is kept), the net change is delivered as
// a batch with a gap.
// Not here: running etcd, its users and roles, defragmentation (operators' work).
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "apiserver/store/store.hpp"

namespace fairlead::apiserver {

struct EtcdConfig {
  std::vector<std::string> endpoints;    // "http://HOST:PORT" or "https://HOST:PORT", all alike
  std::string ca_pem;                    // whom to trust; empty = the system's certificates
  std::string certificate_pem, key_pem;  // who we are; both or none
  std::string prefix = "/registry/";     // everything the API server keeps is below; ends with '/'
  // How long a call is tried while no member is available: longer than an election (a second by
  // default), shorter than the patience of API clients.
  std::chrono::milliseconds patience{8'000};
};

// Connects and catches up. Invalid: a config value is wrong, named in the message. Unavailable,
// Timeout: no member answers.
io::Task<Result<std::unique_ptr<Store>>> open_etcd_store(EtcdConfig config);

}  // namespace fairlead::apiserver
