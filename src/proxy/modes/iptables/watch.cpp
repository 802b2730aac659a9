#include "proxy/modes/iptables/watch.hpp"

#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>

#include "io/fd.hpp"
#include "io/netlink.hpp"
#include "proxy/modes/iptables/chain_names.hpp"

namespace fairlead::iptables {
namespace {

using namespace std::chrono_literals;

std::string_view attribute(const nlmsghdr* message, std::uint16_t type) {
  const auto* end = static_cast<const char*>(mnl_nlmsg_get_payload_tail(message));
  const auto* at =
      static_cast<const nlattr*>(mnl_nlmsg_get_payload_offset(message, sizeof(nfgenmsg)));
  for (; mnl_attr_ok(at, static_cast<int>(end - reinterpret_cast<const char*>(at)));
       at = mnl_attr_next(at)) {
    if (mnl_attr_get_type(at) == type) return mnl_attr_get_str(at);
  }
  return {};
}

// Of a chain that is not ours only the loss of rules matters: the jumps to us may be among them.
bool concerns_us(const nlmsghdr* message) {
  if (NFNL_SUBSYS_ID(message->nlmsg_type) != NFNL_SUBSYS_NFTABLES) return false;
  const auto* header = static_cast<const nfgenmsg*>(mnl_nlmsg_get_payload(message));
  if (header->nfgen_family != NFPROTO_IPV4 && header->nfgen_family != NFPROTO_IPV6) return false;
  switch (NFNL_MSG_TYPE(message->nlmsg_type)) {
    case NFT_MSG_DELTABLE: {
      const std::string_view table = attribute(message, NFTA_TABLE_NAME);
      return table == "nat" || table == "filter" || table == "mangle";
    }
    case NFT_MSG_NEWCHAIN:
    case NFT_MSG_DELCHAIN:
      return is_ours(attribute(message, NFTA_CHAIN_TABLE), attribute(message, NFTA_CHAIN_NAME));
    case NFT_MSG_NEWRULE:
      return is_ours(attribute(message, NFTA_RULE_TABLE), attribute(message, NFTA_RULE_CHAIN));
    case NFT_MSG_DELRULE: {
      const std::string_view table = attribute(message, NFTA_RULE_TABLE);
      return table == "nat" || table == "filter";
    }
    default:
      return false;
  }
}

class NotificationWatch final : public Watch {
 public:
  explicit NotificationWatch(io::NetlinkSocket listener) : listener_(std::move(listener)) {}

  int fd() const override { return listener_.fd(); }

  Result<bool> take(Tools&, const std::vector<IpFamily>&) override {
    bool ours = false;
    while (true) {
      auto more = listener_.receive_within(0ms, [&](std::span<const std::uint8_t> message) {
        ours = ours || concerns_us(reinterpret_cast<const nlmsghdr*>(message.data()));
      });
      if (!more) {
        if (more.error().sys_errno != ENOBUFS) return std::move(more).error();
        ours = true;  // too much happened to hear it all
        continue;
      }
      if (!*more) return ours;
    }
  }

  // A change by others in just this while goes unheard, and is found by the next audit.
  Result<void> ignoring(const std::function<Result<void>()>& change) override {
    const bool deaf = listener_.leave(NFNLGRP_NFTABLES).has_value();
    Result<void> done = change();
    if (deaf) (void)listener_.join(NFNLGRP_NFTABLES);  // it worked when the socket was made
    return done;
  }

 private:
  io::NetlinkSocket listener_;
};

class CanaryWatch final : public Watch {
 public:
  explicit CanaryWatch(io::UniqueFd timer) : timer_(std::move(timer)) {}

  int fd() const override { return timer_.get(); }

  Result<bool> take(Tools& tools, const std::vector<IpFamily>& families) override {
    std::uint64_t expirations = 0;
    if (::read(timer_.get(), &expirations, sizeof expirations) < 0 && errno != EAGAIN) {
      return errno_error(errno, "read the canary's timer");
    }
    for (const IpFamily family : families) {
      FAIRLEAD_TRY(alive, tools.has_canary(family));
      if (!alive) return true;
    }
    return false;
  }

  Result<void> ignoring(const std::function<Result<void>()>& change) override { return change(); }

 private:
  io::UniqueFd timer_;
};

}  // namespace

Result<std::unique_ptr<Watch>> watch_notifications() {
  FAIRLEAD_TRY(listener, io::NetlinkSocket::create(
                             {.protocol = NETLINK_NETFILTER, .groups = {NFNLGRP_NFTABLES}}));
  return std::unique_ptr<Watch>(std::make_unique<NotificationWatch>(std::move(listener)));
}

Result<std::unique_ptr<Watch>> watch_canary(std::chrono::milliseconds interval) {
  io::UniqueFd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  if (!timer) return errno_error(errno, "make the canary's timer");
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(interval);
  const auto rest = std::chrono::nanoseconds(interval - seconds);
  const timespec period{.tv_sec = seconds.count(), .tv_nsec = rest.count()};
  const itimerspec times{.it_interval = period, .it_value = period};
  if (::timerfd_settime(timer.get(), 0, &times, nullptr) != 0) {
    return errno_error(errno, "start the canary's timer");
  }
  return std::unique_ptr<Watch>(std::make_unique<CanaryWatch>(std::move(timer)));
}

}  // namespace fairlead::iptables
