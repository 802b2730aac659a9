#include "proxy/modes/ipvs/wire.hpp"

#include <algorithm>
#include <cerrno>

namespace fairlead::ipvs {
namespace {

// As much as goes into one datagram: below the usual limit of a socket's send buffer.
constexpr std::size_t kDatagram = std::size_t{96} * 1024;
constexpr int kRoom = 4 * 1024 * 1024;

const nlmsghdr* header_of(Bytes message) {
  return reinterpret_cast<const nlmsghdr*>(message.data());
}

}  // namespace

void MessageBuilder::start(std::uint16_t type, std::uint16_t flags) {
  nlmsghdr* header = mnl_nlmsg_put_header(bytes_.data());
  header->nlmsg_type = type;
  header->nlmsg_flags = flags | NLM_F_REQUEST;
}

MessageBuilder& MessageBuilder::u8(std::uint16_t type, std::uint8_t value) {
  mnl_attr_put_u8(message(), type, value);
  return *this;
}
MessageBuilder& MessageBuilder::u16(std::uint16_t type, std::uint16_t value) {
  mnl_attr_put_u16(message(), type, value);
  return *this;
}
MessageBuilder& MessageBuilder::u32(std::uint16_t type, std::uint32_t value) {
  mnl_attr_put_u32(message(), type, value);
  return *this;
}
MessageBuilder& MessageBuilder::text(std::uint16_t type, std::string_view value) {
  mnl_attr_put_strz(message(), type, std::string(value).c_str());
  return *this;
}
MessageBuilder& MessageBuilder::raw(std::uint16_t type, Bytes value) {
  mnl_attr_put(message(), type, value.size(), value.data());
  return *this;
}

Bytes MessageBuilder::bytes() const {
  const auto* header = reinterpret_cast<const nlmsghdr*>(bytes_.data());
  check(header->nlmsg_len <= bytes_.size(), "a message fits its buffer");
  return Bytes(bytes_).first(header->nlmsg_len);
}

Attributes Attributes::of_message(Bytes message, std::size_t skip) {
  Attributes out;
  const std::size_t start = MNL_NLMSG_HDRLEN + MNL_ALIGN(skip);
  if (message.size() > start) out.all_ = message.subspan(start);
  return out;
}

Attributes Attributes::of_nest(const nlattr* nest) {
  Attributes out;
  if (nest != nullptr) {
    out.all_ = Bytes(static_cast<const std::uint8_t*>(mnl_attr_get_payload(nest)),
                     mnl_attr_get_payload_len(nest));
  }
  return out;
}

void Attributes::each(const std::function<void(const nlattr*)>& visit) const {
  const std::uint8_t* const end = all_.data() + all_.size();
  const auto* at = reinterpret_cast<const nlattr*>(all_.data());
  const auto left = [&] {
    return static_cast<int>(end - reinterpret_cast<const std::uint8_t*>(at));
  };
  for (; mnl_attr_ok(at, left()); at = mnl_attr_next(at)) visit(at);
}

const nlattr* Attributes::find(std::uint16_t type) const {
  const nlattr* found = nullptr;
  each([&](const nlattr* attribute) {
    if (mnl_attr_get_type(attribute) == type) found = attribute;
  });
  return found;
}

Bytes Attributes::bytes(std::uint16_t type) const {
  const nlattr* found = find(type);
  if (found == nullptr) return {};
  return {static_cast<const std::uint8_t*>(mnl_attr_get_payload(found)),
          mnl_attr_get_payload_len(found)};
}

std::string_view Attributes::text(std::uint16_t type) const {
  const Bytes found = bytes(type);
  const std::string_view all(reinterpret_cast<const char*>(found.data()), found.size());
  return all.substr(0, all.find('\0'));
}

void Batch::add(Bytes message) {
  starts_.push_back(bytes_.size());
  bytes_.insert(bytes_.end(), message.begin(), message.end());
  bytes_.resize(MNL_ALIGN(bytes_.size()));
}

Result<Channel> Channel::open(int protocol) {
  FAIRLEAD_TRY(socket, io::NetlinkSocket::create(
                           {.protocol = protocol, .receive_buffer = kRoom, .send_buffer = kRoom}));
  return Channel(std::move(socket));
}

tl::expected<plan::ApplyStats, Refusal> Channel::execute(Batch batch) {
  return execute(std::move(batch), [](std::size_t, int) { return false; });
}

tl::expected<plan::ApplyStats, Refusal> Channel::execute(
    Batch batch, const std::function<bool(std::size_t, int)>& pardoned) {
  plan::ApplyStats stats;
  const auto start_of = [&](std::size_t message) {
    return message < batch.size() ? batch.starts_[message] : batch.bytes_.size();
  };
  std::size_t from = 0;
  while (from < batch.size()) {
    std::size_t to = from + 1;
    while (to < batch.size() && start_of(to + 1) - start_of(from) <= kDatagram) ++to;
    const std::size_t begin = start_of(from);
    const auto bytes = std::span(batch.bytes_).subspan(begin, start_of(to) - begin);
    if (auto done = exchange(batch, from, to, bytes, pardoned); !done)
      return tl::unexpected(std::move(done).error());
    stats += {.transactions = 1, .messages = to - from, .bytes = bytes.size()};
    from = to;
  }
  return stats;
}

// Only the last message asks for an answer; refusals come unasked, and before it.
tl::expected<void, Refusal> Channel::exchange(
    const Batch& batch, std::size_t from, std::size_t to, std::span<std::uint8_t> bytes,
    const std::function<bool(std::size_t, int)>& pardoned) {
  const auto fail = [](Error error, std::size_t message) {
    return tl::unexpected(Refusal{.error = std::move(error), .message = message});
  };
  std::uint32_t first = 0;
  std::uint32_t last = 0;
  for (std::size_t i = from; i < to; ++i) {
    auto* header = reinterpret_cast<nlmsghdr*>(&bytes[batch.starts_[i] - batch.starts_[from]]);
    last = socket_.next_sequence();
    if (i == from) first = last;
    header->nlmsg_seq = last;
    if (i + 1 == to) header->nlmsg_flags |= NLM_F_ACK;
  }
  if (auto sent = socket_.send(bytes); !sent) return fail(sent.error(), from);
  std::optional<Refusal> refusal;
  bool finished = false;
  while (!finished) {
    auto received = socket_.receive([&](Bytes message) {
      const nlmsghdr* header = header_of(message);
      const std::uint32_t place = header->nlmsg_seq - first;
      if (header->nlmsg_type != NLMSG_ERROR || place > last - first) return;
      const auto* answer = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(header));
      if (header->nlmsg_seq == last) finished = true;
      if (answer->error == 0 || refusal || pardoned(from + place, -answer->error)) return;
      refusal = Refusal{.error = errno_error(-answer->error, "netlink"), .message = from + place};
    });
    if (!received) return fail(received.error(), from);
    if (!*received) return fail(make_error(ErrorCode::Timeout, "the kernel did not answer"), from);
  }
  if (refusal) return tl::unexpected(*std::move(refusal));
  return {};
}

Result<void> Channel::ask(const MessageBuilder& request, const std::function<void(Bytes)>& each) {
  std::vector<std::uint8_t> bytes(request.bytes().begin(), request.bytes().end());
  auto* header = reinterpret_cast<nlmsghdr*>(bytes.data());
  const bool dump = (header->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
  if (!dump) header->nlmsg_flags |= NLM_F_ACK;
  const std::uint32_t sequence = socket_.next_sequence();
  header->nlmsg_seq = sequence;
  FAIRLEAD_CHECK(socket_.send(bytes));
  bool finished = false;
  int error = 0;
  while (!finished) {
    FAIRLEAD_TRY(received, socket_.receive([&](Bytes message) {
      const nlmsghdr* answer = header_of(message);
      if (answer->nlmsg_seq != sequence) return;
      if (answer->nlmsg_type == NLMSG_ERROR) {
        error = -static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(answer))->error;
        finished = true;
      } else if (answer->nlmsg_type == NLMSG_DONE) {
        finished = true;
      } else {
        each(message);
      }
    }));
    if (!received) return make_error(ErrorCode::Timeout, "the kernel did not answer");
  }
  if (error != 0) return errno_error(error, "netlink");
  return {};
}

}  // namespace fairlead::ipvs
