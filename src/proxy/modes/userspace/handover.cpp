#include "proxy/modes/userspace/handover.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

#include "base/log.hpp"
#include "base/text.hpp"

namespace fairlead::userspace {
namespace {

using namespace std::chrono_literals;

// The protocol: messages of SOCK_SEQPACKET. Older: kHello, one message a socket with the socket,
// kAll. Newer: kTake. Older: kYours; or, when it has waited long enough, kKept.
constexpr std::string_view kName = "fairlead-userspace";
constexpr std::string_view kHello = "fairlead-userspace 1";
constexpr std::string_view kAll = "all";
constexpr std::string_view kTake = "take";
constexpr std::string_view kYours = "yours";
constexpr std::string_view kKept = "kept";
constexpr auto kPatience = 10s;
// For the newer one to program its rules.
constexpr auto kPreparation = 60s;
constexpr std::size_t kMostText = 1024;

struct Message {
  std::string text;
  io::UniqueFd socket;
};

struct Name {
  sockaddr_un address{};
  socklen_t size = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address); }
};
Name name() {
  Name out;
  out.address.sun_family = AF_UNIX;
  std::memcpy(out.address.sun_path + 1, kName.data(), kName.size());
  out.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + kName.size());
  return out;
}

Result<io::UniqueFd> unix_socket() {
  io::UniqueFd out(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!out) return errno_error(errno, "make a unix socket");
  const timeval patience{.tv_sec = kPatience.count(), .tv_usec = 0};
  setsockopt(out.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  setsockopt(out.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  return out;
}

// Anybody in this network namespace can reach an abstract name.
bool is_ours(const io::UniqueFd& connection) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return getsockopt(connection.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
         peer.uid == geteuid();
}

bool send_message(const io::UniqueFd& to, std::string_view text, int socket = -1) {
  std::string copy(text);
  iovec part{.iov_base = copy.data(), .iov_len = copy.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (socket >= 0) {
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    cmsghdr* c = CMSG_FIRSTHDR(&header);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(c), &socket, sizeof socket);
  }
  return sendmsg(to.get(), &header, MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
}

// An empty text: the other side has ended.
Result<Message> receive_message(const io::UniqueFd& from) {
  std::array<char, kMostText> text{};
  iovec part{.iov_base = text.data(), .iov_len = text.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  const ssize_t got = recvmsg(from.get(), &header, MSG_CMSG_CLOEXEC);
  if (got < 0) return errno_error(errno, "hear from the process that serves");
  Message out{.text = std::string(text.data(), static_cast<std::size_t>(got)), .socket = {}};
  for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(c), sizeof fd);
    out.socket = io::UniqueFd(fd);
  }
  return out;
}

// ---- What a socket is for, as text. No name of Kubernetes holds a blank.

std::string_view family_text(IpFamily family) { return family == IpFamily::V4 ? "4" : "6"; }

// "-" where there is no place.
std::string text_of(const TcpEntry& entry) {
  return fmt::format("tcp {} {} {} {}", family_text(entry.family),
                     entry.short_cut ? "short" : "pool", number(entry.port),
                     entry.address ? entry.address->to_string() : "-");
}

constexpr std::array<std::string_view, 3> kMasquerade = {"never", "off-cluster", "always"};
constexpr std::string_view kClusterIp = "cluster-ip", kShortCircuit = "short-circuit";

std::string text_of(const std::optional<SourceRule>& source) {
  if (!source) return "-";
  return fmt::format("{}+{}+{}", kMasquerade.at(static_cast<std::size_t>(source->masquerade)),
                     source->cluster_ip ? kClusterIp : "",
                     source->short_circuit ? kShortCircuit : "");
}

std::optional<SourceRule> source_of(std::string_view text) {
  const auto parts = split(text, '+');
  const auto* const found = std::ranges::find(kMasquerade, parts[0]);
  if (parts.size() != 3 || found == kMasquerade.end()) return std::nullopt;
  return SourceRule{.masquerade = static_cast<plan::Masquerade>(found - kMasquerade.begin()),
                    .cluster_ip = parts[1] == kClusterIp,
                    .short_circuit = parts[2] == kShortCircuit};
}

std::string text_of(const UdpEntry& entry) {
  const plan::ServicePortName& port = entry.key.service_port;
  return fmt::format("udp {} {} {} {} {} {} {}", family_text(entry.key.family),
                     entry.pool == PoolKind::Cluster ? "cluster" : "local", text_of(entry.source),
                     entry.place ? entry.place->to_string() : "-", port.namespace_, port.name,
                     port.port);
}

std::optional<TcpEntry> tcp_entry_of(const std::vector<std::string_view>& words) {
  if (words.size() != 5) return std::nullopt;
  const auto port = parse_port(words[3]);
  if (!port) return std::nullopt;
  TcpEntry out{.family = words[1] == "4" ? IpFamily::V4 : IpFamily::V6,
               .short_cut = words[2] == "short",
               .port = *port};
  if (words[4] == "-") return out;
  const auto address = IpAddress::parse(words[4]);
  if (!address) return std::nullopt;
  out.address = *address;
  return out;
}

std::optional<UdpEntry> udp_entry_of(const std::vector<std::string_view>& words) {
  if (words.size() != 8) return std::nullopt;
  UdpEntry out{.key = {.service_port = {.namespace_ = std::string(words[5]),
                                        .name = std::string(words[6]),
                                        .port = std::string(words[7]),
                                        .protocol = Protocol::Udp},
                       .family = words[1] == "4" ? IpFamily::V4 : IpFamily::V6},
               .pool = words[2] == "cluster" ? PoolKind::Cluster : PoolKind::Local,
               .source = source_of(words[3])};
  if (words[4] == "-") return out;
  const auto place = SocketAddress::parse(words[4]);
  if (!place) return std::nullopt;
  out.place = *place;
  return out;
}

// What is not understood is closed: the newer process makes its own.
void sort_in(Message message, Sockets& out) {
  const auto words = split(message.text, ' ');
  if (!message.socket) return;
  if (words[0] == "tcp") {
    if (const auto entry = tcp_entry_of(words))
      out.tcp[*entry].push_back(std::move(message.socket));
  } else if (words[0] == "udp") {
    if (const auto entry = udp_entry_of(words))
      out.udp[*entry].push_back(std::move(message.socket));
  }
}

bool send_all(const io::UniqueFd& to, const Sockets& sockets) {
  if (!send_message(to, kHello)) return false;
  const auto send_each = [&to](const auto& by_entry) {
    for (const auto& [entry, each] : by_entry) {
      for (const io::UniqueFd& socket : each) {
        if (!send_message(to, text_of(entry), socket.get())) return false;
      }
    }
    return true;
  };
  return send_each(sockets.tcp) && send_each(sockets.udp) && send_message(to, kAll);
}

}  // namespace

// ---- The newer process

Result<std::optional<Predecessor>> Predecessor::find() {
  FAIRLEAD_TRY(connection, unix_socket());
  const Name where = name();
  if (connect(connection.get(), where.get(), where.size) != 0) {
    if (errno == ECONNREFUSED) return std::nullopt;
    return errno_error(errno, "reach the process that serves in mode userspace");
  }
  if (!is_ours(connection)) {
    return make_error(ErrorCode::Forbidden,
                      "another user's process holds the name @{} of this network", kName);
  }
  Predecessor out(std::move(connection));
  FAIRLEAD_CHECK(out.receive());
  return std::optional(std::move(out));
}

Result<void> Predecessor::receive() {
  FAIRLEAD_TRY(hello, receive_message(connection_));
  if (hello.text != kHello) {
    return make_error(ErrorCode::Unavailable,
                      "the process that serves in mode userspace says \"{}\"", hello.text);
  }
  while (true) {
    FAIRLEAD_TRY(message, receive_message(connection_));
    if (message.text == kAll) return {};
    if (message.text.empty()) {
      return make_error(ErrorCode::Unavailable,
                        "the process that serves in mode userspace ended while it handed over");
    }
    sort_in(std::move(message), sockets_);
  }
}

Result<void> Predecessor::replace() {
  // If it does not arrive, what was said last tells whether it is gone or has given up.
  static_cast<void>(send_message(connection_, kTake));
  FAIRLEAD_TRY(answer, receive_message(connection_));
  if (answer.text == kYours || answer.text.empty()) return {};
  return make_error(ErrorCode::Unavailable,
                    "the process that serves in mode userspace goes on serving");
}

// ---- The older process

Result<std::unique_ptr<Handover>> Handover::start(Hooks hooks) {
  FAIRLEAD_TRY(listener, unix_socket());
  const Name where = name();
  if (bind(listener.get(), where.get(), where.size) != 0 || listen(listener.get(), 1) != 0) {
    return errno_error(errno, fmt::format("listen at @{}", kName));
  }
  io::UniqueFd stop(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!stop) return errno_error(errno, "create eventfd");
  return std::unique_ptr<Handover>(
      new Handover(std::move(listener), std::move(stop), std::move(hooks)));
}

Handover::Handover(io::UniqueFd listener, io::UniqueFd stop, Hooks hooks)
    : listener_(std::move(listener)),
      stop_(std::move(stop)),
      hooks_(std::move(hooks)),
      thread_([this] { run(); }) {}

Handover::~Handover() {
  const std::uint64_t one = 1;
  static_cast<void>(write(stop_.get(), &one, sizeof one));
  thread_.join();
}

bool Handover::wait_readable(int fd, std::chrono::milliseconds patience) const {
  std::array<pollfd, 2> waiting{{{.fd = fd, .events = POLLIN, .revents = 0},
                                 {.fd = stop_.get(), .events = POLLIN, .revents = 0}}};
  poll(waiting.data(), waiting.size(), static_cast<int>(patience.count()));
  return waiting[0].revents != 0 && waiting[1].revents == 0;
}

void Handover::run() {
  while (wait_readable(listener_.get(), std::chrono::milliseconds(-1))) {
    const io::UniqueFd connection(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!connection || !is_ours(connection)) continue;
    const timeval patience{.tv_sec = kPatience.count(), .tv_usec = 0};
    setsockopt(connection.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (serve(connection)) return;
  }
}

bool Handover::serve(const io::UniqueFd& connection) {
  const bool told = send_all(connection, hooks_.sockets());
  const bool heard = told && wait_readable(connection.get(), kPreparation);
  const auto answer = heard ? receive_message(connection) : Result<Message>(Message{});
  if (!answer || answer->text != kTake) {
    hooks_.keep();
    send_message(connection, kKept);
    return false;
  }
  hooks_.let_go();
  listener_.reset();
  send_message(connection, kYours);
  return true;
}

}  // namespace fairlead::userspace
