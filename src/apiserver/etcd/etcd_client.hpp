// Calls to an etcd cluster as coroutines: unary calls with deadlines that move on to the next
// member when one is gone, and the watch stream. Private to EtcdStore, which see.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "apiserver/etcd/etcd_store.hpp"
#include "etcd.grpc.pb.h"
#include "io/callback.hpp"

namespace fairlead::apiserver::etcd {

namespace pb = etcdserverpb;

// A watch in progress at one member. After start(), next() is to be called until it fails, also
// after cancel(): only then does gRPC let go of the stream.
class WatchStream final : public std::enable_shared_from_this<WatchStream>,
                          private grpc::ClientBidiReactor<pb::WatchRequest, pb::WatchResponse> {
 public:
  WatchStream(io::Executor loop, std::string endpoint, pb::WatchRequest request);
  void start(pb::Watch::Stub& stub);
  io::Task<Result<pb::WatchResponse>> next();  // one at a time
  void cancel() { context_.TryCancel(); }

 private:
  void OnReadDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

  io::Executor loop_;
  std::string endpoint_;
  pb::WatchRequest request_;
  grpc::ClientContext context_;
  pb::WatchResponse incoming_;
  io::Done<pb::WatchResponse> reader_;
  std::shared_ptr<WatchStream> self_;  // until gRPC is done with us
};

// etcd's quota is used up: it takes deletions alone until room was made.
bool is_out_of_space(const Error& error);

class Client {
 public:
  static Result<std::unique_ptr<Client>> create(io::Executor loop, const EtcdConfig& config);

  // Linearizable. Asks again, also other members, for a while (EtcdConfig::patience) while none is
  // available.
  io::Task<Result<pb::RangeResponse>> range(pb::RangeRequest request);
  // Unavailable and Timeout: it may or may not have happened.
  io::Task<Result<pb::TxnResponse>> txn(pb::TxnRequest request);
  // Expired: has been compacted further already. Invalid: the revision is in the future.
  io::Task<Result<pb::CompactionResponse>> compact(pb::CompactionRequest request);
  // At the member in turn.
  std::shared_ptr<WatchStream> watch(pb::WatchCreateRequest request);
  // The member in turn is of no use: the next one's turn.
  void rotate() { current_ = (current_ + 1) % members_.size(); }
  const std::string& endpoint() const { return members_[current_].endpoint; }

 private:
  struct Member {
    std::string endpoint;
    std::shared_ptr<grpc::Channel> channel;
    std::unique_ptr<pb::KV::Stub> kv;
    std::unique_ptr<pb::Watch::Stub> watch;
  };
  template <class Request, class Response>
  using Method = void (pb::KV::StubInterface::async_interface::*)(
      grpc::ClientContext*, const Request*, Response*, std::function<void(grpc::Status)>);
  enum class Repeat { Always, IfNotSent };

  Client(io::Executor loop, std::vector<Member> members, std::chrono::milliseconds patience)
      : loop_(std::move(loop)), members_(std::move(members)), patience_(patience) {}
  template <class Request, class Response>
  io::Task<Result<Response>> ask(Method<Request, Response> method, Request request, Repeat repeat);

  io::Executor loop_;
  std::vector<Member> members_;
  std::chrono::milliseconds patience_;
  std::size_t current_ = 0;
};

}  // namespace fairlead::apiserver::etcd
