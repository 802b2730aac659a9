// The kernel's side of conntrack.hpp, by ctnetlink.
#include <libmnl/libmnl.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>

#include "io/netlink.hpp"
#include "proxy/conntrack.hpp"

namespace fairlead::proxy {
namespace {

// A dump that something disturbed has gaps and is repeated.
constexpr int kDumpAttempts = 5;
// So many deletions go out before their answers are read: these fit into any receive buffer.
constexpr std::size_t kBatch = 64;
constexpr std::size_t kLargestMessage = 4096;

// Which parts of the tuple a dump is to be filtered by (net/netfilter/nf_internals.h, Linux 5.8).
// Older kernels ignore the filter and tell of everything, so each flow is looked at again.
constexpr std::uint32_t kAddress = 1U << 1U, kProtocol = 1U << 3U, kPort = 1U << 5U;

struct EntryDestroyer {
  void operator()(nf_conntrack* entry) const { nfct_destroy(entry); }
};
using Entry = std::unique_ptr<nf_conntrack, EntryDestroyer>;

struct Attributes {
  nf_conntrack_attr v4, v6, port;
};
SocketAddress read(const nf_conntrack* entry, IpFamily family, const Attributes& attributes) {
  const auto* bytes = static_cast<const std::uint8_t*>(
      nfct_get_attr(entry, family == IpFamily::V4 ? attributes.v4 : attributes.v6));
  if (bytes == nullptr) return {};
  return {.address = IpAddress::from_bytes({bytes, family == IpFamily::V4 ? 4U : 16U}),
          .port = Port{ntohs(nfct_get_attr_u16(entry, attributes.port))}};
}

Flow read_flow(const nf_conntrack* entry, IpFamily family) {
  return {
      .source = read(entry, family, {ATTR_ORIG_IPV4_SRC, ATTR_ORIG_IPV6_SRC, ATTR_ORIG_PORT_SRC}),
      .destination =
          read(entry, family, {ATTR_ORIG_IPV4_DST, ATTR_ORIG_IPV6_DST, ATTR_ORIG_PORT_DST}),
      .reply_source =
          read(entry, family, {ATTR_REPL_IPV4_SRC, ATTR_REPL_IPV6_SRC, ATTR_REPL_PORT_SRC})};
}

class Table {
 public:
  static Result<Table> open(IpFamily family) {
    FAIRLEAD_TRY(socket, io::NetlinkSocket::create({.protocol = NETLINK_NETFILTER}));
    return Table(std::move(socket), family);
  }

  // The stale ones among the entries that pass the filter; `stats` are those of this look.
  Result<std::vector<Entry>> find(const StaleFlows& stale, FlowStats& stats) {
    for (int attempt = 1;; ++attempt) {
      FAIRLEAD_TRY(whole, dump(stale, stats));
      // With gaps or not, what was seen is worth acting on.
      if (whole || attempt == kDumpAttempts) return std::move(found_);
    }
  }

  // How many are gone now. One that expired meanwhile is nobody's failure.
  Result<std::uint64_t> remove(std::span<const Entry> entries) {
    std::vector<std::uint8_t> messages;
    std::array<char, kLargestMessage> buffer{};
    for (const Entry& entry : entries) {
      nlmsghdr* header = start(buffer, IPCTNL_MSG_CT_DELETE, NLM_F_ACK);
      if (nfct_nlmsg_build(header, entry.get()) < 0) {
        return errno_error(errno, "describe a conntrack entry");
      }
      messages.insert(messages.end(), buffer.data(), buffer.data() + header->nlmsg_len);
    }
    FAIRLEAD_CHECK(socket_.send(messages));
    std::uint64_t removed = 0;
    std::size_t answers = 0;
    int failure = 0;
    const auto take = [&](std::span<const std::uint8_t> message) {
      const auto code = error_code(message);
      if (!code) return;
      ++answers;
      if (*code == 0) ++removed;
      if (*code != 0 && *code != ENOENT) failure = *code;
    };
    while (answers < entries.size()) FAIRLEAD_CHECK(receive(take));
    if (failure != 0) return errno_error(failure, "delete a conntrack entry");
    return removed;
  }

 private:
  Table(io::NetlinkSocket socket, IpFamily family) : socket_(std::move(socket)), family_(family) {}

  nlmsghdr* start(std::array<char, kLargestMessage>& buffer, int type, int flags) {
    nlmsghdr* header = mnl_nlmsg_put_header(buffer.data());
    header->nlmsg_type = static_cast<std::uint16_t>(NFNL_SUBSYS_CTNETLINK << 8 | type);
    header->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
    header->nlmsg_seq = socket_.next_sequence();
    auto* body = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(header, sizeof(nfgenmsg)));
    body->nfgen_family = family_ == IpFamily::V4 ? AF_INET : AF_INET6;
    body->version = NFNETLINK_V0;
    return header;
  }

  Result<void> receive(const std::function<void(std::span<const std::uint8_t>)>& take) {
    FAIRLEAD_TRY(arrived, socket_.receive(take));
    if (!arrived) return make_error(ErrorCode::Timeout, "conntrack netlink does not answer");
    return {};
  }

  // What an error or acknowledgement says, nothing for other messages.
  static std::optional<int> error_code(std::span<const std::uint8_t> message) {
    const auto* header = reinterpret_cast<const nlmsghdr*>(message.data());
    if (header->nlmsg_type != NLMSG_ERROR) return std::nullopt;
    return -static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(header))->error;
  }

  static void put_filter(nlmsghdr* header, const FlowFilter& filter) {
    std::uint32_t flags = kProtocol;
    nlattr* tuple = mnl_attr_nest_start(header, CTA_TUPLE_ORIG);
    // For IPv6 the kernel's comparison is the wrong way round (seen up to Linux 6.18): it tells of
    // all but the address asked for.
    if (filter.destination && filter.destination->family() == IpFamily::V4) {
      flags |= kAddress;
      const auto bytes = filter.destination->bytes();
      nlattr* ip = mnl_attr_nest_start(header, CTA_TUPLE_IP);
      mnl_attr_put(header, CTA_IP_V4_DST, bytes.size(), bytes.data());
      mnl_attr_nest_end(header, ip);
    }
    nlattr* protocol = mnl_attr_nest_start(header, CTA_TUPLE_PROTO);
    mnl_attr_put_u8(header, CTA_PROTO_NUM, IPPROTO_UDP);
    if (filter.port) {
      flags |= kPort;
      mnl_attr_put_u16(header, CTA_PROTO_DST_PORT, htons(static_cast<std::uint16_t>(*filter.port)));
    }
    mnl_attr_nest_end(header, protocol);
    mnl_attr_nest_end(header, tuple);
    nlattr* parts = mnl_attr_nest_start(header, CTA_FILTER);
    mnl_attr_put_u32(header, CTA_FILTER_ORIG_FLAGS, flags);
    mnl_attr_put_u32(header, CTA_FILTER_REPLY_FLAGS, 0);
    mnl_attr_nest_end(header, parts);
  }

  void look_at(const nlmsghdr* header, const StaleFlows& stale, FlowStats& stats) {
    ++stats.seen;
    Entry entry(nfct_new());
    if (!entry || nfct_nlmsg_parse(header, entry.get()) < 0) return;
    if (nfct_get_attr_u8(entry.get(), ATTR_L4PROTO) == IPPROTO_UDP &&
        stale.is_stale(read_flow(entry.get(), family_))) {
      found_.push_back(std::move(entry));
    }
  }

  // Whether it was told without gaps.
  Result<bool> dump(const StaleFlows& stale, FlowStats& stats) {
    std::array<char, kLargestMessage> buffer{};
    nlmsghdr* request = start(buffer, IPCTNL_MSG_CT_GET, NLM_F_DUMP);
    put_filter(request, stale.filter(family_));
    FAIRLEAD_CHECK(
        socket_.send({reinterpret_cast<const std::uint8_t*>(request), request->nlmsg_len}));
    found_.clear();
    stats = {};
    bool done = false;
    bool whole = true;
    int failure = 0;
    const auto take = [&](std::span<const std::uint8_t> message) {
      const auto* header = reinterpret_cast<const nlmsghdr*>(message.data());
      if (header->nlmsg_seq != request->nlmsg_seq) return;
      if ((header->nlmsg_flags & NLM_F_DUMP_INTR) != 0) whole = false;
      const auto code = error_code(message);
      if (code) failure = *code;
      done |= code || header->nlmsg_type == NLMSG_DONE;
      if (!done) look_at(header, stale, stats);
    };
    while (!done) FAIRLEAD_CHECK(receive(take));
    if (failure != 0) return errno_error(failure, "list conntrack entries");
    return whole;
  }

  io::NetlinkSocket socket_;
  IpFamily family_;
  std::vector<Entry> found_;
};

}  // namespace

Result<FlowStats> clean_flows(const StaleFlows& stale, IpFamily family) {
  FlowStats stats;
  FAIRLEAD_TRY(table, Table::open(family));
  FAIRLEAD_TRY(found, table.find(stale, stats));
  for (std::size_t at = 0; at < found.size(); at += kBatch) {
    const std::span batch(found.data() + at, std::min(kBatch, found.size() - at));
    FAIRLEAD_TRY(removed, table.remove(batch));
    stats.deleted += removed;
  }
  return stats;
}

}  // namespace fairlead::proxy
