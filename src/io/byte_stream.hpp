// A connected TCP stream, plain or TLS, behind one interface; internal to io/.
//
// Loop thread only. One read and one write may be under way at the same time. Every operation has a
// deadline; when one passes, the socket is closed: a stream that timed out is of no further use.
// Errors: Timeout, Cancelled (the task was asked to stop), Unavailable (peer closed or reset),
// Unauthorized (TLS: either side refused the other's certificate).
#pragma once

#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "io/http.hpp"
#include "io/task.hpp"
#include "io/tls.hpp"

namespace fairlead::io {

using Deadline = std::chrono::steady_clock::time_point;
inline constexpr Deadline kNoDeadline = Deadline::max();
Deadline deadline_after(std::chrono::nanoseconds d);  // now + d, kNoDeadline on overflow

class ByteStream {
 public:
  virtual ~ByteStream() = default;

  // At least one byte, or 0 when the peer ended the stream in an orderly way.
  virtual Task<Result<std::size_t>> read_some(std::span<char> into, Deadline deadline) = 0;
  // All of the buffers. Fails when no byte at all could be written for `stall`.
  virtual Task<Result<void>> write_all(std::vector<asio::const_buffer> buffers,
                                       std::chrono::nanoseconds stall) = 0;
  // Ends our direction (TLS close_notify, FIN), then throws away what the peer still sends until it
  // ends its own or the deadline passes. Closing while unread input waits would make the kernel
  // send a reset, which can destroy what we wrote last on its way. Nothing else may be done with
  // the stream afterwards.
  virtual Task<void> finish(Deadline deadline) = 0;
  // False when the peer has closed or sent something nobody asked for: not fit for another request.
  virtual bool quiet() = 0;
  // TLS server side: the client certificate's subject, if one was presented and verified; and why
  // it did not, "" otherwise.
  virtual std::optional<Peer::Certificate> peer_certificate() const = 0;
  virtual std::string refused_certificate() const = 0;
  // What the TLS handshake agreed on (RFC 7301), "" for nothing.
  virtual std::string_view protocol() const = 0;
};

std::unique_ptr<ByteStream> make_plain_stream(asio::ip::tcp::socket socket);
Task<Result<std::unique_ptr<ByteStream>>> accept_tls(asio::ip::tcp::socket socket, TlsServer tls,
                                                     Deadline deadline);
// Resolves `host` unless it is an address, tries its addresses in turn, then does the TLS handshake
// if asked to.
Task<Result<std::unique_ptr<ByteStream>>> connect_stream(std::string host, Port port,
                                                         std::optional<TlsClient> tls,
                                                         Deadline deadline);

// Bytes received and not yet consumed, contiguous. Holds no memory while empty after release().
class InputBuffer {
 public:
  std::string_view view() const { return std::string_view(data_).substr(begin_, end_ - begin_); }
  std::size_t size() const { return end_ - begin_; }
  // Room for one read, whose result is then committed. It grows while reads fill it (4 to 64 KiB),
  // so that ten thousand idle connections cost little and a large body few system calls.
  std::span<char> prepare();
  void commit(std::size_t n);
  void consume(std::size_t n);
  void release();

 private:
  static constexpr std::size_t kSmallestRead = 4UL * 1024;
  static constexpr std::size_t kLargestRead = 64UL * 1024;

  std::size_t read_size_ = kSmallestRead;
  std::string data_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

}  // namespace fairlead::io
