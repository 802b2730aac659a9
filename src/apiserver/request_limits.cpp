#include "apiserver/request_limits.hpp"

#include <algorithm>

#include "apiserver/rbac_bootstrap.hpp"
#include "io/http.hpp"

namespace fairlead::apiserver {
namespace {

using namespace std::chrono_literals;
using Reason = RequestLimits::Reason;

constexpr double kBurstSeconds = 2;

TokenBuckets::Rate rate_of(double per_second) {
  return {.per_second = per_second, .burst = std::max(1.0, per_second * kBurstSeconds)};
}

bool is_exempt(const User& user) {
  return user.in_group(kMasters) || user.name == kProxyUser || user.name == kControllerUser;
}

std::string_view told(Reason reason) {
  switch (reason) {
    case Reason::Concurrency:
      return "Too many requests, please try again later.";
    case Reason::UserRate:
      return "Too many requests of this user, please try again later.";
    case Reason::AddressRate:
      return "Too many requests without valid credentials from this address, please try again "
             "later.";
    case Reason::EventRate:
      return "Too many events of this user in this namespace, please try again later.";
    case Reason::Watches:
      return "Too many watches of this user, please end some or try again later.";
  }
  return "";
}

}  // namespace

std::string_view to_string(Reason reason) {
  switch (reason) {
    case Reason::Concurrency:
      return "concurrency-limit";
    case Reason::UserRate:
      return "user-rate";
    case Reason::AddressRate:
      return "address-rate";
    case Reason::EventRate:
      return "event-rate";
    case Reason::Watches:
      return "watches";
  }
  return "";
}

RequestLimits::RequestLimits(const RequestLimitsConfig& config, const Clock& clock)
    : clock_(clock),
      users_(rate_of(config.requests_per_user), kMostNames),
      addresses_(rate_of(config.requests_per_address), kMostNames),
      events_(rate_of(config.events_per_source), kMostNames),
      watches_per_user_(config.watches_per_user) {}

StatusError RequestLimits::refuse(Reason reason, std::chrono::nanoseconds wait) {
  ++refused_[static_cast<std::size_t>(reason)];
  const auto seconds = std::max(1s, std::chrono::ceil<std::chrono::seconds>(wait));
  return too_many_requests(std::string(told(reason)), static_cast<int>(seconds.count()));
}

ApiResult<void> RequestLimits::take(TokenBuckets& buckets, std::string_view name, Reason reason) {
  if (const auto wait = buckets.take(name, clock_.mono())) return refuse(reason, *wait);
  return {};
}

ApiResult<void> RequestLimits::admit(const User& user, const IpAddress& from) {
  if (user.name == kAnonymous) return admit_stranger(from);
  if (is_exempt(user)) return {};
  return take(users_, user.name, Reason::UserRate);
}

ApiResult<void> RequestLimits::admit_stranger(const IpAddress& from) {
  return take(addresses_, io::source_of(from).to_string(), Reason::AddressRate);
}

ApiResult<void> RequestLimits::admit_event(const User& user, const Attributes& asked) {
  const bool writes = asked.verb == "create" || asked.verb == "update" || asked.verb == "patch";
  if (asked.resource != "events" || !writes || is_exempt(user)) return {};
  return take(events_, asked.ns + "/" + user.name, Reason::EventRate);
}

ApiResult<RequestLimits::InProgress> RequestLimits::begin(bool reads) {
  std::size_t& count = reads ? reading_ : writing_;
  if (count >= (reads ? kMostReading : kMostWriting)) return refuse(Reason::Concurrency, 1s);
  return InProgress(&count);
}

// ---- watches

RequestLimits::OpenWatch::OpenWatch(std::map<std::string, std::size_t>& watches,
                                    const std::string& user)
    : watches_(&watches), mine_(watches.try_emplace(user, 0).first) {
  ++mine_->second;
}

RequestLimits::OpenWatch::OpenWatch(OpenWatch&& other) noexcept
    : watches_(std::exchange(other.watches_, nullptr)), mine_(other.mine_) {}

RequestLimits::OpenWatch::~OpenWatch() {
  if (watches_ != nullptr && --mine_->second == 0) watches_->erase(mine_);
}

ApiResult<RequestLimits::OpenWatch> RequestLimits::begin_watch(const User& user) {
  const auto open = watches_.find(user.name);
  if (watches_per_user_ != 0 && !is_exempt(user) && open != watches_.end() &&
      open->second >= watches_per_user_) {
    return refuse(Reason::Watches, 1s);
  }
  return OpenWatch(watches_, user.name);
}

}  // namespace fairlead::apiserver
