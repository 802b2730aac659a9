// Netlink messages as bytes, and conversations with one netlink family: batches whose errors name
// the message, and dumps. libmnl's macros are C; this is what the mode needs of them.
#pragma once

#include <libmnl/libmnl.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "io/netlink.hpp"
#include "proxy/plan/mode.hpp"

namespace fairlead::ipvs {

using Bytes = std::span<const std::uint8_t>;

// One message under construction.
class MessageBuilder {
 public:
  // `header` follows the nlmsghdr.
  template <class Header>
  MessageBuilder(std::uint16_t type, std::uint16_t flags, const Header& header) : bytes_(512) {
    start(type, flags);
    auto* at = mnl_nlmsg_put_extra_header(message(), sizeof header);
    *static_cast<Header*>(at) = header;
  }

  MessageBuilder& u8(std::uint16_t type, std::uint8_t value);
  MessageBuilder& u16(std::uint16_t type, std::uint16_t value);
  MessageBuilder& u32(std::uint16_t type, std::uint32_t value);
  MessageBuilder& text(std::uint16_t type, std::string_view value);
  MessageBuilder& raw(std::uint16_t type, Bytes value);
  template <class Fill>
  MessageBuilder& nest(std::uint16_t type, Fill fill) {
    nlattr* start = mnl_attr_nest_start(message(), type);
    fill(*this);
    mnl_attr_nest_end(message(), start);
    return *this;
  }

  Bytes bytes() const;

 private:
  void start(std::uint16_t type, std::uint16_t flags);
  nlmsghdr* message() { return reinterpret_cast<nlmsghdr*>(bytes_.data()); }
  std::vector<std::uint8_t> bytes_;
};

// Attributes of one level by type; those beyond the last asked for are skipped.
class Attributes {
 public:
  // Of a message, after its header of `skip` bytes.
  static Attributes of_message(Bytes message, std::size_t skip);
  static Attributes of_nest(const nlattr* nest);

  const nlattr* find(std::uint16_t type) const;
  Bytes bytes(std::uint16_t type) const;  // empty if absent
  std::uint8_t u8(std::uint16_t type) const { return value<std::uint8_t>(type); }
  std::uint16_t u16(std::uint16_t type) const { return value<std::uint16_t>(type); }
  std::uint32_t u32(std::uint16_t type) const { return value<std::uint32_t>(type); }
  std::uint64_t u64(std::uint16_t type) const { return value<std::uint64_t>(type); }
  std::string_view text(std::uint16_t type) const;
  void each(const std::function<void(const nlattr*)>& visit) const;

 private:
  template <class T>
  T value(std::uint16_t type) const {
    const Bytes found = bytes(type);
    T out{};
    if (found.size() >= sizeof out)
      std::copy_n(found.data(), sizeof out, reinterpret_cast<std::uint8_t*>(&out));
    return out;
  }
  Bytes all_;
};

// Messages on their way, in one buffer.
class Batch {
 public:
  void add(const MessageBuilder& message) { add(message.bytes()); }
  void add(Bytes message);
  std::size_t size() const { return starts_.size(); }
  bool empty() const { return starts_.empty(); }

 private:
  friend class Channel;
  std::vector<std::uint8_t> bytes_;
  std::vector<std::size_t> starts_;
};

struct Refusal {
  Error error;
  std::size_t message = 0;  // its place in the batch
};

class Channel {
 public:
  // In the calling thread's network namespace, where it stays.
  static Result<Channel> open(int protocol);

  // Sends all; the first refusal of those that `pardoned` does not name. The kernel goes on after a
  // refusal, but what is not sent yet stays unsent.
  tl::expected<plan::ApplyStats, Refusal> execute(
      Batch batch, const std::function<bool(std::size_t message, int error)>& pardoned);
  tl::expected<plan::ApplyStats, Refusal> execute(Batch batch);
  // One message whose answer is one message.
  Result<void> ask(const MessageBuilder& request, const std::function<void(Bytes)>& each);
  // With NLM_F_DUMP: `each` for every message.
  Result<void> dump(const MessageBuilder& request, const std::function<void(Bytes)>& each) {
    return ask(request, each);
  }

 private:
  explicit Channel(io::NetlinkSocket socket) : socket_(std::move(socket)) {}
  tl::expected<void, Refusal> exchange(const Batch& batch, std::size_t from, std::size_t to,
                                       std::span<std::uint8_t> bytes,
                                       const std::function<bool(std::size_t, int)>& pardoned);
  io::NetlinkSocket socket_;
};

}  // namespace fairlead::ipvs
