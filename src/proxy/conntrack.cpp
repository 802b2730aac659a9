#include "proxy/conntrack.hpp"

#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <memory>

namespace fairlead::proxy {

StaleFlows::StaleFlows(std::vector<IpAddress> node_addresses)
    : node_addresses_(node_addresses.begin(), node_addresses.end()) {}

void StaleFlows::add(const plan::FlowReview& review) {
  for (const plan::Frontend& frontend : review.frontends) {
    if (frontend.kind == plan::FrontendKind::NodePort) {
      by_node_port_.insert_or_assign({.family = review.key.family, .port = frontend.port},
                                     review.serving);
    } else {
      by_address_.insert_or_assign({.address = frontend.address, .port = frontend.port},
                                   review.serving);
    }
  }
}

bool StaleFlows::concerns(IpFamily family) const {
  const auto of_address = [&](const auto& entry) { return entry.first.address.family() == family; };
  const auto of_port = [&](const auto& entry) { return entry.first.family == family; };
  return std::ranges::any_of(by_address_, of_address) ||
         std::ranges::any_of(by_node_port_, of_port);
}

bool StaleFlows::is_node_address(const IpAddress& address) const {
  return address.is_loopback() || node_addresses_.contains(address);
}

bool StaleFlows::is_stale(const Flow& flow) const {
  const auto leads_nowhere = [&](const plan::ServingSet& serving) {
    return !std::ranges::binary_search(serving, flow.reply_source);
  };
  if (const auto found = by_address_.find(flow.destination); found != by_address_.end()) {
    return leads_nowhere(found->second);
  }
  const auto found = by_node_port_.find(
      {.family = flow.destination.address.family(), .port = flow.destination.port});
  if (found == by_node_port_.end()) return false;
  const bool translated = flow.reply_source != flow.destination;
  if (!translated && !is_node_address(flow.destination.address)) return false;
  return leads_nowhere(found->second);
}

namespace {

struct HandleCloser {
  void operator()(nfct_handle* handle) const { nfct_close(handle); }
};
using Handle = std::unique_ptr<nfct_handle, HandleCloser>;
struct EntryDestroyer {
  void operator()(nf_conntrack* entry) const { nfct_destroy(entry); }
};
using Entry = std::unique_ptr<nf_conntrack, EntryDestroyer>;

Result<Handle> open_handle() {
  Handle out(nfct_open(CONNTRACK, 0));
  if (!out) return errno_error(errno, "open conntrack netlink");
  return out;
}

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

struct Walk {
  const StaleFlows* stale = nullptr;
  IpFamily family = IpFamily::V4;
  std::vector<Entry> found;
  std::uint64_t seen = 0;
};

int visit(nf_conntrack_msg_type, nf_conntrack* entry, void* data) {
  auto& walk = *static_cast<Walk*>(data);
  ++walk.seen;
  if (nfct_get_attr_u8(entry, ATTR_L4PROTO) == IPPROTO_UDP &&
      walk.stale->is_stale(read_flow(entry, walk.family))) {
    walk.found.emplace_back(nfct_clone(entry));
  }
  return NFCT_CB_CONTINUE;
}

// An interrupted dump has skipped entries: it is repeated, a few times.
Result<void> dump(Walk& walk) {
  FAIRLEAD_TRY(handle, open_handle());
  nfct_callback_register(handle.get(), NFCT_T_ALL, &visit, &walk);
  const std::uint32_t family = walk.family == IpFamily::V4 ? AF_INET : AF_INET6;
  for (int attempt = 0; attempt < 5; ++attempt) {
    walk.found.clear();
    if (nfct_query(handle.get(), NFCT_Q_DUMP, &family) == 0) return {};
    if (errno != EINTR) return errno_error(errno, "list conntrack entries");
  }
  return {};  // what was seen is worth acting on
}

Result<FlowStats> clean_family(const StaleFlows& stale, IpFamily family) {
  Walk walk{.stale = &stale, .family = family};
  FAIRLEAD_CHECK(dump(walk));
  FlowStats out{.seen = walk.seen};
  if (walk.found.empty()) return out;
  FAIRLEAD_TRY(handle, open_handle());
  for (const Entry& entry : walk.found) {
    if (nfct_query(handle.get(), NFCT_Q_DESTROY, entry.get()) == 0) {
      ++out.deleted;
    } else if (errno != ENOENT) {  // it may have expired meanwhile
      return errno_error(errno, "delete a conntrack entry");
    }
  }
  return out;
}

}  // namespace

Result<FlowStats> clean_flows(const StaleFlows& stale) {
  FlowStats out;
  for (const IpFamily family : {IpFamily::V4, IpFamily::V6}) {
    if (!stale.concerns(family)) continue;
    FAIRLEAD_TRY(stats, clean_family(stale, family));
    out.seen += stats.seen;
    out.deleted += stats.deleted;
  }
  return out;
}

}  // namespace fairlead::proxy
