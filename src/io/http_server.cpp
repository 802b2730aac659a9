// HttpServer: accepts, counts and ends connections; HttpConnection or, where TLS agreed on it,
// Http2Connection does the talking.
#include <sys/socket.h>

#include <boost/asio/ip/tcp.hpp>
#include <cerrno>
#include <map>
#include <utility>

#include "base/log.hpp"
#include "io/byte_stream.hpp"
#include "io/http.hpp"
#include "io/http2_connection.hpp"
#include "io/http_connection.hpp"
#include "io/sockaddr.hpp"
#include "io/socket.hpp"

namespace fairlead::io {

using namespace std::chrono_literals;

namespace {

using asio::ip::tcp;

// What accept4 gives: a connection, or the errno.
struct Accepted {
  UniqueFd fd;
  sockaddr_storage from{};
  int error = 0;
};

Accepted accept_one(int listener) {
  Accepted out;
  socklen_t size = sizeof out.from;
  out.fd = UniqueFd(::accept4(listener, reinterpret_cast<sockaddr*>(&out.from), &size,
                              SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!out.fd) out.error = errno;
  return out;
}

// The connection died before we took it, or the kernel passes on a network error: the next one may
// be fine.
bool concerns_one_connection(int error) {
  switch (error) {
    case ECONNABORTED:
    case EINTR:
    case EPROTO:
    case EPERM:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
      return true;
    default:
      return false;
  }
}

class Server final : public HttpServer {
 public:
  Server(Executor executor, Config config, SocketAddress local)
      : acceptor_(executor),
        config_(std::move(config)),
        local_(local),
        group_(executor, config_.name) {}

  Result<void> adopt_listener() {
    boost::system::error_code ec;
    acceptor_.assign(local_.address.is_v4() ? tcp::v4() : tcp::v6(), config_.listener.get(), ec);
    if (ec)
      return make_error(ErrorCode::Invalid, "listening socket of {}: {}", config_.name,
                        ec.message());
    static_cast<void>(config_.listener.release());
    return {};
  }

  SocketAddress local_address() const override { return local_; }
  void start() override { group_.spawn(accept_loop()); }
  Task<void> close() override {
    boost::system::error_code ignored;
    acceptor_.close(ignored);
    co_await group_.close();
  }

 private:
  Task<void> accept_loop() {
    bool complained = false;
    while (acceptor_.is_open() && !co_await cancelled()) {
      const auto [ec] = co_await acceptor_.async_wait(tcp::acceptor::wait_read, kNoThrow);
      if (ec) continue;
      auto accepted = accept_one(acceptor_.native_handle());
      if (accepted.error == 0) {
        complained = false;
        admit(std::move(accepted));
      } else if (accepted.error != EAGAIN && !concerns_one_connection(accepted.error)) {
        // Out of descriptors or memory: the pending connection stays pending, so pause instead of
        // spinning.
        if (!std::exchange(complained, true)) {
          log::warning(
              "cannot accept connections, retrying",
              {{"server", config_.name}, {"error", errno_error(accepted.error, "accept")}});
        }
        co_await sleep_for(100ms);
      }
    }
  }

  void admit(Accepted accepted) {
    const auto from = from_kernel(accepted.from);
    if (!from || open_ >= config_.limits.connections) return;
    if (has_too_many(*from)) return;
    tune_connection(accepted.fd.get());
    tcp::socket socket(acceptor_.get_executor());
    boost::system::error_code ec;
    socket.assign(accepted.from.ss_family == AF_INET ? tcp::v4() : tcp::v6(), accepted.fd.get(),
                  ec);
    if (ec) return;
    static_cast<void>(accepted.fd.release());
    group_.spawn(serve(std::move(socket), *from));
  }

  // Told once until it gets better.
  bool has_too_many(const SocketAddress& from) {
    const auto mine = open_from_.find(source_of(from.address));
    const bool out =
        mine != open_from_.end() && mine->second >= config_.limits.connections_per_source;
    if (out && !std::exchange(refusing_, true)) {
      log::warning("connections of one address are refused",
                   {{"server", config_.name},
                    {"from", mine->first},
                    {"open", mine->second},
                    {"limit", config_.limits.connections_per_source}});
    }
    return out;
  }

  Task<void> serve(tcp::socket socket, SocketAddress from) {
    const auto mine = open_from_.try_emplace(source_of(from.address), 0).first;
    ++mine->second;
    ++open_;
    co_await converse(std::move(socket), from);
    --open_;
    refusing_ = refusing_ && mine->second > config_.limits.connections_per_source / 2;
    if (--mine->second == 0) open_from_.erase(mine);
  }

  Task<void> converse(tcp::socket socket, SocketAddress from) {
    std::unique_ptr<ByteStream> stream;
    if (config_.tls) {
      auto secured = co_await accept_tls(std::move(socket), *config_.tls,
                                         deadline_after(config_.limits.header_timeout));
      if (!secured) {
        log::verbose(2, "TLS handshake failed",
                     {{"server", config_.name}, {"peer", from}, {"error", secured.error()}});
        co_return;
      }
      stream = *std::move(secured);
    } else {
      stream = make_plain_stream(std::move(socket));
    }
    Peer peer{.address = from,
              .certificate = stream->peer_certificate(),
              .refused_certificate = stream->refused_certificate()};
    const bool http2 = stream->protocol() == kHttp2;
    HttpConnection::Config talk{.stream = std::move(stream),
                                .peer = std::move(peer),
                                .limits = &config_.limits,
                                .handler = &config_.handler};
    if (http2) {
      Http2Connection connection(group_.executor(), std::move(talk));
      co_await connection.run();
    } else {
      HttpConnection connection(std::move(talk));
      co_await connection.run();
    }
  }

  tcp::acceptor acceptor_;
  Config config_;
  SocketAddress local_;
  std::size_t open_ = 0;
  std::map<IpPrefix, std::size_t> open_from_;  // of sources that have any
  bool refusing_ = false;                      // some source has too many
  TaskGroup group_;                            // last: its tasks use the rest
};

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::create(Executor executor, Config config) {
  FAIRLEAD_TRY(local, io::local_address(config.listener));
  auto server = std::make_unique<Server>(std::move(executor), std::move(config), local);
  FAIRLEAD_CHECK(server->adopt_listener());
  return std::unique_ptr<HttpServer>(std::move(server));
}

}  // namespace fairlead::io
