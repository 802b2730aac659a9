#include "churn/shapes.hpp"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <optional>
#include <span>

#include "io/sockaddr.hpp"

namespace fairlead::churn {
namespace {

using namespace std::chrono_literals;

constexpr timeval kPatience{.tv_sec = 20, .tv_usec = 0};
constexpr std::size_t kBlock = 32 * 1024;

enum class Kind : std::uint32_t {
  Both,         // both directions at once
  AnswerAtEnd,  // the server answers when the client has ended its side
  ClientResets,
  ServerResets,
};

// What a client asks for. Both ends are on one machine: its bytes go as they are.
struct Request {
  Kind kind = Kind::Both;
  std::uint32_t seed = 0;
  std::uint64_t up = 0, down = 0;  // bytes
};

// Bytes that differ everywhere and from seed to seed.
class Noise {
 public:
  explicit Noise(std::uint32_t seed) : state_(seed * 2654435761U + 1) {}
  char next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 17;
    state_ ^= state_ << 5;
    return static_cast<char>(state_ >> 11);
  }
  void fill(std::span<char> out) {
    for (char& c : out) c = next();
  }
  bool matches(std::span<const char> bytes) {
    bool same = true;
    for (const char c : bytes) same = (next() == c) && same;
    return same;
  }

 private:
  std::uint32_t state_;
};

void set_patience(int socket) {
  setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience);
}

void reset(io::UniqueFd socket) {
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

bool send_bytes(int socket, std::span<const char> bytes) {
  while (!bytes.empty()) {
    const ssize_t put = send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (put <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(put));
  }
  return true;
}

// `pause` after each of `piece` bytes.
struct Manner {
  std::size_t piece = kBlock;
  std::chrono::milliseconds pause{0};
};

bool send_noise(int socket, std::uint32_t seed, std::uint64_t count, Manner manner = {}) {
  Noise noise(seed);
  std::vector<char> block(manner.piece);
  while (count > 0) {
    const std::span<char> now(block.data(), std::min<std::uint64_t>(count, block.size()));
    noise.fill(now);
    if (!send_bytes(socket, now)) return false;
    count -= now.size();
    if (manner.pause > 0ms) std::this_thread::sleep_for(manner.pause);  // sleeps: dawdling
  }
  return true;
}

enum class End : std::uint8_t { Orderly, Lost };
struct Received {
  std::uint64_t count = 0;
  bool right = true;  // as far as it came
  End end = End::Orderly;
};

// Up to the end of what the peer sends, or to `most`.
Received receive_noise(int socket, std::uint32_t seed, std::optional<std::uint64_t> most = {}) {
  Noise noise(seed);
  std::vector<char> block(kBlock);
  Received out;
  while (!most || out.count < *most) {
    const std::size_t want =
        most ? std::min<std::uint64_t>(*most - out.count, block.size()) : block.size();
    const ssize_t got = recv(socket, block.data(), want, 0);
    if (got == 0) return out;
    if (got < 0) {
      out.end = End::Lost;
      return out;
    }
    const auto size = static_cast<std::size_t>(got);
    out.right = noise.matches({block.data(), size}) && out.right;
    out.count += size;
  }
  return out;
}

std::string text_of(const Received& received, std::uint64_t wanted) {
  return fmt::format("{} of {} bytes, {}, {}", received.count, wanted,
                     received.right ? "right" : "CHANGED",
                     received.end == End::Orderly ? "ended in order" : "lost");
}

// ---- The server's side

std::optional<std::string> answer(io::UniqueFd socket) {
  Request request;
  std::array<char, sizeof request> raw{};
  std::size_t have = 0;
  while (have < raw.size()) {
    const ssize_t got = recv(socket.get(), raw.data() + have, raw.size() - have, 0);
    // A client's reset may come before its request.
    if (got <= 0) return std::nullopt;
    have += static_cast<std::size_t>(got);
  }
  std::memcpy(&request, raw.data(), raw.size());
  const int fd = socket.get();
  if (request.kind == Kind::ServerResets) {
    send_noise(fd, request.seed + 1, request.down);
    reset(std::move(socket));
    return std::nullopt;
  }
  std::thread writer;
  if (request.kind == Kind::Both) {
    writer = std::thread([fd, request] {
      send_noise(fd, request.seed + 1, request.down);
      shutdown(fd, SHUT_WR);
    });
  }
  const Received up = receive_noise(fd, request.seed);
  if (request.kind == Kind::AnswerAtEnd) {
    send_noise(fd, request.seed + 1, request.down);
    shutdown(fd, SHUT_WR);
  }
  if (writer.joinable()) writer.join();
  if (request.kind == Kind::ClientResets) {
    if (up.right && up.count <= request.up && up.end == End::Lost) return std::nullopt;
    return "server, of a client that resets: " + text_of(up, request.up);
  }
  if (up.right && up.count == request.up && up.end == End::Orderly) return std::nullopt;
  return "server: " + text_of(up, request.up);
}

// ---- The clients' side

struct Shape {
  std::string_view name;
  Request request;
  Manner writes;
  std::chrono::milliseconds before_reading{0};
  std::chrono::milliseconds between{0};
};

constexpr std::uint64_t kMega = 1'000'000;

std::vector<Shape> shapes() {
  return {
      {.name = "tiny", .request = {.up = 10, .down = 10}, .between = 1ms},
      {.name = "bulk", .request = {.up = 3 * kMega + 1, .down = 2 * kMega + 7}, .between = 40ms},
      {.name = "half-closed",
       .request = {.kind = Kind::AnswerAtEnd, .up = 70'001, .down = 90'001},
       .between = 5ms},
      {.name = "reset by the client",
       .request = {.kind = Kind::ClientResets, .up = 300'000},
       .between = 5ms},
      {.name = "reset by the server",
       .request = {.kind = Kind::ServerResets, .down = 300'000},
       .between = 5ms},
      {.name = "stalled reader",
       .request = {.up = 10, .down = 12 * kMega},
       .before_reading = 300ms,
       .between = 20ms},
      {.name = "slow writer",
       .request = {.up = 400, .down = 4'000},
       .writes = {.piece = 7, .pause = 5ms}},
  };
}

Result<io::UniqueFd> connect_from(const packets::Host& host, const SocketAddress& to) {
  io::UniqueFd out;
  FAIRLEAD_CHECK(host.network.run([&]() -> Result<void> {
    const io::KernelAddress address = io::to_kernel(to);
    out = io::UniqueFd(socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    set_patience(out.get());
    if (connect(out.get(), address.get(), address.size) != 0) return errno_error(errno, "connect");
    return {};
  }));
  return out;
}

// The complaint, if there is one; counts what was checked.
std::optional<std::string> one_connection(io::UniqueFd socket, const Shape& shape,
                                          std::uint32_t seed, std::atomic<std::uint64_t>& bytes) {
  Request request = shape.request;
  request.seed = seed;
  const int fd = socket.get();
  std::array<char, sizeof request> raw{};
  std::memcpy(raw.data(), &request, raw.size());
  if (!send_bytes(fd, raw)) return fmt::format("the request was not taken: errno {}", errno);
  if (request.kind == Kind::ClientResets) {
    // It takes along what is on its way; the server checks what arrived.
    send_noise(fd, seed, request.up);
    reset(std::move(socket));
    return std::nullopt;
  }
  std::thread writer([&] {
    send_noise(fd, seed, request.up, shape.writes);
    if (request.kind != Kind::ServerResets) shutdown(fd, SHUT_WR);
  });
  if (shape.before_reading > 0ms)
    std::this_thread::sleep_for(shape.before_reading);  // sleeps: stalling
  const Received down = receive_noise(fd, seed + 1);
  writer.join();
  bytes += down.count + request.up;
  const bool whole = down.count == request.down && down.end == End::Orderly;
  const bool part = down.count <= request.down && down.end == End::Lost;
  const bool fits = request.kind == Kind::ServerResets ? part : whole;
  if (down.right && fits) return std::nullopt;
  return text_of(down, request.down);
}

}  // namespace

void Complaints::add(std::string text) {
  const std::scoped_lock lock(mutex_);
  if (texts_.size() < 20) texts_.push_back(std::move(text));
}

std::vector<std::string> Complaints::all() const {
  const std::scoped_lock lock(mutex_);
  return texts_;
}

Result<std::unique_ptr<ShapeServer>> ShapeServer::start(
    const std::vector<const packets::Host*>& hosts, Port port, Complaints& complaints) {
  std::unique_ptr<ShapeServer> out(new ShapeServer(complaints));
  for (const packets::Host* host : hosts) {
    FAIRLEAD_CHECK(host->network.run([&]() -> Result<void> {
      io::UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      const auto any = io::to_kernel({.address = IpAddress::any(IpFamily::V4), .port = port});
      if (bind(listener.get(), any.get(), any.size) != 0 || listen(listener.get(), 128) != 0) {
        return errno_error(errno, "listen");
      }
      out->listeners_.push_back(std::move(listener));
      return {};
    }));
  }
  for (const io::UniqueFd& listener : out->listeners_) {
    out->threads_.emplace_back([server = out.get(), &listener] { server->accept_all(listener); });
  }
  return out;
}

ShapeServer::~ShapeServer() {
  for (const io::UniqueFd& listener : listeners_) shutdown(listener.get(), SHUT_RDWR);
  for (std::thread& thread : threads_) thread.join();
}

void ShapeServer::accept_all(const io::UniqueFd& listener) {
  std::mutex mutex;
  std::vector<std::thread> connections;
  std::vector<std::thread::id> ended;
  while (true) {
    io::UniqueFd socket(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!socket && errno != ECONNABORTED) break;
    if (!socket) continue;
    set_patience(socket.get());
    const std::scoped_lock lock(mutex);
    for (std::thread& thread : connections) {
      if (std::ranges::find(ended, thread.get_id()) != ended.end()) thread.join();
    }
    std::erase_if(connections, [](const std::thread& thread) { return !thread.joinable(); });
    ended.clear();
    connections.emplace_back([&, owned = socket.release()] {
      if (auto complaint = answer(io::UniqueFd(owned))) complaints_.add(*std::move(complaint));
      const std::scoped_lock end_lock(mutex);
      ended.push_back(std::this_thread::get_id());
    });
  }
  for (std::thread& thread : connections) thread.join();
}

ShapeClients::ShapeClients(const packets::Rig& rig, SocketAddress server,
                           const std::atomic<bool>& over, Complaints& complaints) {
  std::uint32_t first_seed = 0;
  for (const Shape& shape : shapes()) {
    workers_.push_back(std::make_unique<Worker>());
    Worker& worker = *workers_.back();
    worker.shape = shape.name;
    first_seed += 1'000'000;
    worker.thread = std::thread(
        [&rig, server, &over, &complaints, shape, first_seed, &worker, &bytes = bytes_] {
          const std::array hosts = {"pod1", "outside", "node1"};
          for (std::uint32_t n = 0; !over; ++n) {
            const char* from = hosts[n % hosts.size()];
            auto socket = connect_from(rig.host(from), server);
            const auto complaint =
                socket ? one_connection(*std::move(socket), shape, first_seed + 2 * n, bytes)
                       : std::optional(socket.error().message);
            if (complaint)
              complaints.add(fmt::format("{} from {}: {}", shape.name, from, *complaint));
            ++worker.connections;
            std::this_thread::sleep_for(shape.between);  // sleeps: leaves the machine to others
          }
        });
  }
}

void ShapeClients::join() {
  for (auto& worker : workers_) worker->thread.join();
}

std::map<std::string, std::uint64_t> ShapeClients::connections() const {
  std::map<std::string, std::uint64_t> out;
  for (const auto& worker : workers_) out.emplace(worker->shape, worker->connections);
  return out;
}

}  // namespace fairlead::churn
