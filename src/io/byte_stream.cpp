#include "io/byte_stream.hpp"

#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/ssl/stream.hpp>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <memory>
#include <string>
#include <utility>

#include "io/socket.hpp"

namespace fairlead::io {

namespace {

using asio::ip::tcp;
using TlsSocket = asio::ssl::stream<tcp::socket>;
using boost::system::error_code;

// Closes a socket when the deadline of its read or of its write passes. One timer serves every
// operation: moving a deadline later costs nothing, the timer finds out when it fires.
class Watchdog : public std::enable_shared_from_this<Watchdog> {
 public:
  enum Direction : std::size_t { Read = 0, Write = 1 };

  explicit Watchdog(tcp::socket* socket) : timer_(socket->get_executor()), socket_(socket) {}

  void set(Direction direction, Deadline deadline) {
    deadlines_[direction] = deadline;
    if (deadline < scheduled_) schedule(deadline);
  }
  void clear(Direction direction) { deadlines_[direction] = kNoDeadline; }
  bool expired(Direction direction) const { return expired_[direction]; }
  // The socket goes away.
  void stop() {
    socket_ = nullptr;
    timer_.cancel();
  }

 private:
  void schedule(Deadline deadline) {
    scheduled_ = deadline;
    timer_.expires_at(deadline);
    timer_.async_wait([self = shared_from_this()](error_code ec) {
      if (!ec) self->fire();
    });
  }
  void fire() {
    if (socket_ == nullptr) return;
    const auto now = std::chrono::steady_clock::now();
    bool late = false;
    for (const auto direction : {Read, Write}) {
      if (deadlines_[direction] > now) continue;
      expired_[direction] = true;
      late = true;
    }
    scheduled_ = kNoDeadline;
    if (late) {
      error_code ignored;
      socket_->close(ignored);
      return;
    }
    const auto next = std::min(deadlines_[Read], deadlines_[Write]);
    if (next != kNoDeadline) schedule(next);
  }

  asio::steady_timer timer_;
  tcp::socket* socket_;
  std::array<Deadline, 2> deadlines_{kNoDeadline, kNoDeadline};
  std::array<bool, 2> expired_{false, false};
  Deadline scheduled_ = kNoDeadline;
};

bool is_certificate_alert(int reason) {
  switch (reason) {
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
    case SSL_R_TLSV1_ALERT_DECRYPT_ERROR:
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
      return true;
    default:
      return false;
  }
}

Error to_error(error_code ec, std::string_view what) {
  if (ec == asio::error::operation_aborted) {
    return make_error(ErrorCode::Cancelled, "{}: cancelled", what);
  }
  if (ec == asio::error::eof || ec == asio::ssl::error::stream_truncated) {
    return make_error(ErrorCode::Unavailable, "{}: connection closed by peer", what);
  }
  if (ec.category() == boost::system::system_category()) return errno_error(ec.value(), what);
  if (ec.category() == asio::error::get_ssl_category()) {
    const bool certificate =
        is_certificate_alert(ERR_GET_REASON(static_cast<unsigned long>(ec.value())));
    return make_error(certificate ? ErrorCode::Unauthorized : ErrorCode::Unavailable, "{}: TLS: {}",
                      what, ec.message());
  }
  return make_error(ErrorCode::Unavailable, "{}: {}", what, ec.message());
}

tcp::socket& socket_of(tcp::socket& stream) { return stream; }
tcp::socket& socket_of(TlsSocket& stream) { return stream.next_layer(); }

std::string name_entry_text(X509_NAME_ENTRY* entry) {
  unsigned char* utf8 = nullptr;
  const int size = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(entry));
  if (size < 0) return {};
  std::string text(reinterpret_cast<const char*>(utf8), static_cast<std::size_t>(size));
  OPENSSL_free(utf8);
  return text;
}

using CertificateOwner = std::unique_ptr<X509, decltype(&X509_free)>;

Peer::Certificate subject_of(const X509* certificate) {
  Peer::Certificate out;
  std::tm end{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) == 1)
    out.valid_until = std::chrono::system_clock::from_time_t(::timegm(&end));
  const X509_NAME* subject = X509_get_subject_name(certificate);
  for (int i = 0; i < X509_NAME_entry_count(subject); ++i) {
    X509_NAME_ENTRY* entry = X509_NAME_get_entry(subject, i);
    const int kind = OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry));
    if (kind == NID_commonName) out.common_name = name_entry_text(entry);
    if (kind == NID_organizationName) out.organizations.push_back(name_entry_text(entry));
  }
  return out;
}

template <class Stream>
class SocketStream final : public ByteStream {
 public:
  template <class... Args>
  explicit SocketStream(Args&&... args)
      : stream_(std::forward<Args>(args)...),
        watchdog_(std::make_shared<Watchdog>(&socket_of(stream_))) {}
  SocketStream(const SocketStream&) = delete;
  SocketStream& operator=(const SocketStream&) = delete;
  ~SocketStream() override { watchdog_->stop(); }

  Stream& stream() { return stream_; }

  Task<Result<std::size_t>> read_some(std::span<char> into, Deadline deadline) override {
    if (co_await cancelled()) co_return make_error(ErrorCode::Cancelled, "read: cancelled");
    watchdog_->set(Watchdog::Read, deadline);
    const auto [ec, size] =
        co_await stream_.async_read_some(asio::buffer(into.data(), into.size()), kNoThrow);
    watchdog_->clear(Watchdog::Read);
    if (ec == asio::error::eof) co_return std::size_t{0};
    if (ec) co_return failure(Watchdog::Read, ec, "read");
    co_return size;
  }

  Task<Result<void>> write_all(std::vector<asio::const_buffer> buffers,
                               std::chrono::nanoseconds stall) override {
    std::span<asio::const_buffer> rest(buffers);
    while (true) {
      while (!rest.empty() && rest.front().size() == 0) rest = rest.subspan(1);
      if (rest.empty()) co_return Result<void>{};
      if (co_await cancelled()) co_return make_error(ErrorCode::Cancelled, "write: cancelled");
      watchdog_->set(Watchdog::Write, deadline_after(stall));
      auto [ec, size] = co_await stream_.async_write_some(rest, kNoThrow);
      watchdog_->clear(Watchdog::Write);
      if (ec) co_return failure(Watchdog::Write, ec, "write");
      while (size > 0) {
        const auto part = std::min(size, rest.front().size());
        rest.front() += part;
        size -= part;
        if (rest.front().size() == 0) rest = rest.subspan(1);
      }
    }
  }

  Task<void> finish(Deadline deadline) override {
    watchdog_->set(Watchdog::Write, deadline);
    if constexpr (std::is_same_v<Stream, TlsSocket>) co_await stream_.async_shutdown(kNoThrow);
    auto& socket =
        socket_of(stream_);  // below TLS: after close_notify nothing is decrypted any more
    error_code ec;
    socket.shutdown(tcp::socket::shutdown_send, ec);
    std::array<char, 4096> discarded;
    while (!ec && !co_await cancelled()) {
      const auto [read_ec, size] =
          co_await socket.async_read_some(asio::buffer(discarded), kNoThrow);
      ec = read_ec;
    }
    watchdog_->clear(Watchdog::Write);
  }

  bool quiet() override {
    char byte = 0;
    const auto n = ::recv(socket_of(stream_).native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
  }

  std::optional<Peer::Certificate> peer_certificate() const override {
    if constexpr (std::is_same_v<Stream, TlsSocket>) {
      auto* ssl = const_cast<TlsSocket&>(stream_).native_handle();
      const CertificateOwner certificate(SSL_get1_peer_certificate(ssl), &X509_free);
      if (certificate && SSL_get_verify_result(ssl) == X509_V_OK)
        return subject_of(certificate.get());
    }
    return std::nullopt;
  }

  std::string refused_certificate() const override {
    if constexpr (std::is_same_v<Stream, TlsSocket>) {
      auto* ssl = const_cast<TlsSocket&>(stream_).native_handle();
      const CertificateOwner certificate(SSL_get1_peer_certificate(ssl), &X509_free);
      const auto verdict = SSL_get_verify_result(ssl);
      if (certificate && verdict != X509_V_OK) return X509_verify_cert_error_string(verdict);
    }
    return {};
  }

  std::string_view protocol() const override {
    const unsigned char* name = nullptr;
    unsigned size = 0;
    if constexpr (std::is_same_v<Stream, TlsSocket>) {
      SSL_get0_alpn_selected(const_cast<TlsSocket&>(stream_).native_handle(), &name, &size);
    }
    return {reinterpret_cast<const char*>(name), size};
  }

  Task<Result<void>> handshake(asio::ssl::stream_base::handshake_type type, Deadline deadline) {
    watchdog_->set(Watchdog::Read, deadline);
    const auto [ec] = co_await stream_.async_handshake(type, kNoThrow);
    watchdog_->clear(Watchdog::Read);
    if (!ec) co_return Result<void>{};
    auto error = failure(Watchdog::Read, ec, "TLS handshake");
    const auto verdict = SSL_get_verify_result(stream_.native_handle());
    if (error.code == ErrorCode::Unauthorized && verdict != X509_V_OK) {
      error.message = fmt::format("TLS handshake: certificate refused: {}",
                                  X509_verify_cert_error_string(verdict));
    }
    co_return error;
  }

 private:
  Error failure(Watchdog::Direction direction, error_code ec, std::string_view what) const {
    if (watchdog_->expired(direction)) return make_error(ErrorCode::Timeout, "{}: timed out", what);
    // Closed under this operation by the other direction's deadline.
    if (watchdog_->expired(Watchdog::Read) || watchdog_->expired(Watchdog::Write)) {
      return make_error(ErrorCode::Unavailable, "{}: connection closed after a time-out", what);
    }
    return to_error(ec, what);
  }

  Stream stream_;
  std::shared_ptr<Watchdog> watchdog_;
};

using TlsStream = SocketStream<TlsSocket>;

// Name verification and SNI for a client's session (RFC 6125, RFC 6066: SNI never carries an
// address).
Result<void> expect_server(SSL* ssl, const std::string& name) {
  bool ok = true;
  if (IpAddress::parse(name)) {
    ok = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name.c_str()) == 1;
  } else {
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    ok = SSL_set1_host(ssl, name.c_str()) == 1 && SSL_set_tlsext_host_name(ssl, name.c_str()) == 1;
  }
  if (!ok) return make_error(ErrorCode::Invalid, "TLS server name \"{}\" is not usable", name);
  return {};
}

// Asio's own sockets are not close-on-exec from the first syscall.
Result<tcp::socket> open_socket(const Executor& executor, IpFamily family) {
  const bool v4 = family == IpFamily::V4;
  UniqueFd fd(
      ::socket(v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP));
  if (!fd) return errno_error(errno, "create a socket");
  tune_connection(fd.get());
  tcp::socket socket(executor);
  error_code ec;
  socket.assign(v4 ? tcp::v4() : tcp::v6(), fd.get(), ec);
  if (ec) return to_error(ec, "create a socket");
  static_cast<void>(fd.release());
  return socket;
}

Task<Result<std::vector<tcp::endpoint>>> resolve(std::string host, Port port, Deadline deadline) {
  error_code ec;
  const auto literal = asio::ip::make_address(host, ec);
  if (!ec) co_return std::vector<tcp::endpoint>{{literal, number(port)}};

  const auto executor = co_await asio::this_coro::executor;
  auto resolver = std::make_shared<tcp::resolver>(executor);
  auto late = std::make_shared<bool>(false);
  asio::steady_timer timer(executor, deadline);
  timer.async_wait([resolver, late](error_code timer_ec) {
    if (timer_ec) return;
    *late = true;
    resolver->cancel();
  });
  const auto [resolve_ec, found] =
      co_await resolver->async_resolve(host, std::to_string(number(port)), kNoThrow);
  if (*late) co_return make_error(ErrorCode::Timeout, "resolve \"{}\": timed out", host);
  if (resolve_ec == asio::error::operation_aborted) {
    co_return make_error(ErrorCode::Cancelled, "resolve \"{}\": cancelled", host);
  }
  if (resolve_ec)
    co_return make_error(ErrorCode::Unavailable, "resolve \"{}\": {}", host, resolve_ec.message());
  std::vector<tcp::endpoint> endpoints;
  for (const auto& entry : found) endpoints.push_back(entry.endpoint());
  co_return endpoints;
}

Task<Result<tcp::socket>> connect_one(tcp::endpoint endpoint, Deadline deadline) {
  const auto family = endpoint.address().is_v4() ? IpFamily::V4 : IpFamily::V6;
  FAIRLEAD_CO_TRY(socket, open_socket(co_await asio::this_coro::executor, family));
  const auto watchdog = std::make_shared<Watchdog>(&socket);
  watchdog->set(Watchdog::Write, deadline);
  const auto [ec] = co_await socket.async_connect(endpoint, kNoThrow);
  watchdog->stop();
  if (!ec) co_return std::move(socket);
  const auto what =
      fmt::format("connect to {}:{}", endpoint.address().to_string(), endpoint.port());
  if (watchdog->expired(Watchdog::Write))
    co_return make_error(ErrorCode::Timeout, "{}: timed out", what);
  auto error = to_error(ec, what);
  // Whatever keeps us from connecting (no route, refused, no permission) may pass: the caller
  // retries.
  if (error.code != ErrorCode::Cancelled) error.code = ErrorCode::Unavailable;
  co_return error;
}

Task<Result<std::unique_ptr<ByteStream>>> connect_tls(tcp::socket socket, TlsClient tls,
                                                      std::string name, Deadline deadline) {
  SSL* ssl = SSL_new(tls.context().get());
  if (ssl == nullptr) co_return make_error(ErrorCode::Internal, "create a TLS session");
  auto stream = std::make_unique<TlsStream>(std::move(socket), ssl);  // owns ssl from here on
  FAIRLEAD_CO_CHECK(expect_server(ssl, name));
  FAIRLEAD_CO_CHECK(co_await stream->handshake(asio::ssl::stream_base::client, deadline));
  co_return std::unique_ptr<ByteStream>(std::move(stream));
}

}  // namespace

Deadline deadline_after(std::chrono::nanoseconds d) {
  const auto now = std::chrono::steady_clock::now();
  return d >= kNoDeadline - now ? kNoDeadline : now + d;
}

std::unique_ptr<ByteStream> make_plain_stream(tcp::socket socket) {
  return std::make_unique<SocketStream<tcp::socket>>(std::move(socket));
}

Task<Result<std::unique_ptr<ByteStream>>> accept_tls(tcp::socket socket, TlsServer tls,
                                                     Deadline deadline) {
  SSL* ssl = SSL_new(tls.context().get());
  if (ssl == nullptr) co_return make_error(ErrorCode::Internal, "create a TLS session");
  auto stream = std::make_unique<TlsStream>(std::move(socket), ssl);
  FAIRLEAD_CO_CHECK(co_await stream->handshake(asio::ssl::stream_base::server, deadline));
  co_return std::unique_ptr<ByteStream>(std::move(stream));
}

Task<Result<std::unique_ptr<ByteStream>>> connect_stream(std::string host, Port port,
                                                         std::optional<TlsClient> tls,
                                                         Deadline deadline) {
  FAIRLEAD_CO_TRY(endpoints, co_await resolve(host, port, deadline));
  Error last = make_error(ErrorCode::Unavailable, "resolve \"{}\": no address", host);
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    // An address that swallows packets must not use up the time of the next one.
    const auto left = deadline - std::chrono::steady_clock::now();
    const auto share = left / static_cast<std::int64_t>(endpoints.size() - i);
    auto socket = co_await connect_one(endpoints[i], deadline_after(share));
    if (socket) {
      if (!tls) co_return make_plain_stream(*std::move(socket));
      // A certificate is never accepted without looking at its name.
      auto name = tls->server_name().empty() ? host : tls->server_name();
      co_return co_await connect_tls(*std::move(socket), *std::move(tls), std::move(name),
                                     deadline);
    }
    last = std::move(socket).error();
    if (last.code == ErrorCode::Cancelled) break;
  }
  co_return last;
}

std::span<char> InputBuffer::prepare() {
  if (begin_ > 0 && data_.size() - end_ < read_size_) {
    data_.erase(0, begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (data_.size() - end_ < read_size_) data_.resize(end_ + read_size_);
  return std::span(data_).subspan(end_, read_size_);
}

void InputBuffer::commit(std::size_t n) {
  end_ += n;
  if (n == read_size_) read_size_ = std::min(read_size_ * 2, kLargestRead);
}

void InputBuffer::consume(std::size_t n) {
  begin_ += n;
  if (begin_ == end_) begin_ = end_ = 0;
}

void InputBuffer::release() {
  if (size() == 0) {
    data_ = std::string();
    begin_ = end_ = 0;
    read_size_ = kSmallestRead;
  }
}

}  // namespace fairlead::io
