#include "apiserver/etcd/etcd_client.hpp"

#include <grpc/support/time.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <algorithm>
#include <boost/asio/post.hpp>

#include "base/ip.hpp"

namespace fairlead::apiserver::etcd {
namespace {

constexpr auto kCallTimeout = std::chrono::seconds(5);
constexpr auto kPause = std::chrono::milliseconds(100);
constexpr std::string_view kOutOfSpace = "database space exceeded";
constexpr int kKeepaliveMs = 10'000;
constexpr int kKeepaliveTimeoutMs = 5'000;
constexpr int kReconnectMostMs = 2'000;

// What a call ended with: for us to act upon, and in etcd's words.
ErrorCode code_of(const grpc::Status& status) {
  const auto says = [&status](std::string_view text) {
    return status.error_message().find(text) != std::string::npos;
  };
  using enum grpc::StatusCode;
  const auto code = status.error_code();
  if (code == OUT_OF_RANGE) return says("compacted") ? ErrorCode::Expired : ErrorCode::Invalid;
  if (code == INVALID_ARGUMENT && says("too large")) return ErrorCode::TooLarge;
  if (code == RESOURCE_EXHAUSTED) {
    if (says("larger than max")) return ErrorCode::TooLarge;
    // Its quota is used up: coming again soon does not help.
    return says(kOutOfSpace) ? ErrorCode::Internal : ErrorCode::Exhausted;
  }
  if (code == UNAVAILABLE) return ErrorCode::Unavailable;
  if (code == DEADLINE_EXCEEDED) return ErrorCode::Timeout;
  if (code == CANCELLED) return ErrorCode::Cancelled;
  if (code == UNAUTHENTICATED || code == PERMISSION_DENIED) return ErrorCode::Forbidden;
  return ErrorCode::Internal;
}

// gRPC's own clock that nobody sets: by the wall clock a call would last for hours when that is put
// back meanwhile, or fail at once.
gpr_timespec deadline_after(std::chrono::seconds patience) {
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                      gpr_time_from_seconds(patience.count(), GPR_TIMESPAN));
}

Error error_of(const grpc::Status& status, const std::string& endpoint) {
  return make_error(code_of(status), "etcd {}: {}", endpoint, status.error_message());
}

// gRPC's words for a connection that never came about.
bool was_not_sent(const Error& error) {
  return error.message.find("failed to connect to all addresses") != std::string::npos;
}

struct Endpoint {
  std::string target;  // HOST:PORT
  bool tls = false;
};

Result<Endpoint> parse_endpoint(std::string_view url) {
  for (const auto& [scheme, tls] :
       {std::pair<std::string_view, bool>{"http://", false}, {"https://", true}}) {
    if (!url.starts_with(scheme)) continue;
    std::string_view rest = url.substr(scheme.size());
    if (rest.ends_with('/')) rest.remove_suffix(1);
    const auto colon = rest.rfind(':');
    if (colon == std::string_view::npos || colon == 0 || !parse_port(rest.substr(colon + 1))) break;
    return Endpoint{.target = std::string(rest), .tls = tls};
  }
  return make_error(ErrorCode::Invalid,
                    "etcd endpoint \"{}\" is not http://HOST:PORT or https://HOST:PORT", url);
}

grpc::ChannelArguments channel_arguments() {
  grpc::ChannelArguments out;
  out.SetMaxReceiveMessageSize(-1);  // etcd answers what we ask for, and we ask in pages
  out.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  out.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  out.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  out.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kReconnectMostMs);
  out.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, static_cast<int>(kPause.count()));
  out.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, static_cast<int>(kPause.count()));
  // http_proxy is for the web, not for the way to one's own database.
  out.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return out;
}

}  // namespace

bool is_out_of_space(const Error& error) {
  return error.message.find(kOutOfSpace) != std::string::npos;
}

// ---- The watch stream

WatchStream::WatchStream(io::Executor loop, std::string endpoint, pb::WatchRequest request)
    : loop_(std::move(loop)), endpoint_(std::move(endpoint)), request_(std::move(request)) {
  // The member must end the watch when it is cut off from the others, instead of staying silent.
  context_.AddMetadata("hasleader", "true");
}

void WatchStream::start(pb::Watch::Stub& stub) {
  self_ = shared_from_this();
  stub.async()->Watch(&context_, this);
  AddHold();  // reads are started from outside gRPC's callbacks
  StartWrite(&request_);
  StartCall();
}

io::Task<Result<pb::WatchResponse>> WatchStream::next() {
  co_return co_await io::await_callback<pb::WatchResponse>(
      loop_, [this](io::Done<pb::WatchResponse> done) {
        reader_ = std::move(done);
        StartRead(&incoming_);
      });
}

void WatchStream::OnReadDone(bool ok) {
  if (!ok) return RemoveHold();  // OnDone follows, and answers the reader
  io::asio::post(loop_,
                 [done = std::exchange(reader_, nullptr),
                  message = std::exchange(incoming_, {})]() mutable { done(std::move(message)); });
}

void WatchStream::OnDone(const grpc::Status& status) {
  const io::Executor loop = loop_;
  Error error = status.ok()
                    ? make_error(ErrorCode::Unavailable, "etcd {}: the watch was ended", endpoint_)
                    : error_of(status, endpoint_);
  // The loop lets go of us, for with the last context the channel may go: not from gRPC's thread.
  io::asio::post(loop,
                 [self = std::exchange(self_, nullptr), done = std::exchange(reader_, nullptr),
                  error = std::move(error)] { done(error); });
}

// ---- The client

Result<std::unique_ptr<Client>> Client::create(io::Executor loop, const EtcdConfig& config) {
  if (config.endpoints.empty()) return make_error(ErrorCode::Invalid, "no etcd endpoint is given");
  std::vector<Member> members;
  for (const std::string& url : config.endpoints) {
    FAIRLEAD_TRY(endpoint, parse_endpoint(url));
    const auto credentials = endpoint.tls
                                 ? grpc::SslCredentials({.pem_root_certs = config.ca_pem,
                                                         .pem_private_key = config.key_pem,
                                                         .pem_cert_chain = config.certificate_pem})
                                 : grpc::InsecureChannelCredentials();
    auto channel = grpc::CreateCustomChannel(endpoint.target, credentials, channel_arguments());
    members.push_back({.endpoint = url,
                       .channel = channel,
                       .kv = pb::KV::NewStub(channel),
                       .watch = pb::Watch::NewStub(channel)});
  }
  return std::unique_ptr<Client>(new Client(std::move(loop), std::move(members), config.patience));
}

template <class Request, class Response>
io::Task<Result<Response>> Client::ask(Method<Request, Response> method, Request request,
                                       Repeat repeat) {
  struct Call {
    Request request;
    grpc::ClientContext context;
    Response response;
  };
  const auto give_up = std::chrono::steady_clock::now() + patience_;
  while (true) {
    const Member& member = members_[current_];
    auto call = std::make_unique<Call>();
    call->request = request;
    call->context.set_deadline(deadline_after(kCallTimeout));
    auto start = [this, &member, method, &call](io::Done<Response> done) {
      Call* const started = call.release();
      auto answer = [loop = loop_, &member, started,
                     done = std::move(done)](const grpc::Status& status) mutable {
        // The loop destroys the call, for with the last context the channel may go: gRPC's threads
        // would wait for themselves then.
        io::asio::post(loop, [&member, status, done = std::move(done),
                              finished = std::unique_ptr<Call>(started)] {
          done(status.ok() ? Result<Response>(std::move(finished->response))
                           : Result<Response>(error_of(status, member.endpoint)));
        });
      };
      (member.kv->async()->*method)(&started->context, &started->request, &started->response,
                                    std::move(answer));
    };
    auto result = co_await io::await_callback<Response>(loop_, std::move(start));
    if (result || (result.error().code != ErrorCode::Unavailable &&
                   result.error().code != ErrorCode::Timeout)) {
      co_return result;
    }
    if (&member == &members_[current_]) rotate();  // unless somebody else did
    const bool again = repeat == Repeat::Always || was_not_sent(result.error());
    if (!again || std::chrono::steady_clock::now() > give_up) co_return result;
    if (!co_await io::sleep_for(kPause)) co_return result;
  }
}

io::Task<Result<pb::RangeResponse>> Client::range(pb::RangeRequest request) {
  return ask<pb::RangeRequest, pb::RangeResponse>(&pb::KV::StubInterface::async_interface::Range,
                                                  std::move(request), Repeat::Always);
}

io::Task<Result<pb::TxnResponse>> Client::txn(pb::TxnRequest request) {
  return ask<pb::TxnRequest, pb::TxnResponse>(&pb::KV::StubInterface::async_interface::Txn,
                                              std::move(request), Repeat::IfNotSent);
}

io::Task<Result<pb::CompactionResponse>> Client::compact(pb::CompactionRequest request) {
  return ask<pb::CompactionRequest, pb::CompactionResponse>(
      &pb::KV::StubInterface::async_interface::Compact, std::move(request), Repeat::Always);
}

std::shared_ptr<WatchStream> Client::watch(pb::WatchCreateRequest request) {
  pb::WatchRequest message;
  *message.mutable_create_request() = std::move(request);
  const Member& member = members_[current_];
  auto out = std::make_shared<WatchStream>(loop_, member.endpoint, std::move(message));
  out->start(*member.watch);
  return out;
}

}  // namespace fairlead::apiserver::etcd
