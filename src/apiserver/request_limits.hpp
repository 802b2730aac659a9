// How much one asker may have of the server: requests and events by rate, requests in progress and
// watches by number. What is refused is 429 with the time after which to come again, and counted.
//
// Who has shown good credentials is limited by name and never suffers from what others at the same
// address do; who has none, or wrong ones, is limited by address. Never limited by name: members
// of system:masters and this project's own programs, without which nothing would get better. For
// all together there are the limits of requests in progress. Owned by the ApiHandler; loop thread
// only. Not here: connections, which io/http.hpp bounds before there is a request.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "apiserver/policy_rule.hpp"
#include "apiserver/status.hpp"
#include "apiserver/token_buckets.hpp"
#include "apiserver/user.hpp"
#include "base/clock.hpp"
#include "base/ip.hpp"

namespace fairlead::apiserver {

// Numbers a second, of which twice as many may come at once; 0 = no limit.
struct RequestLimitsConfig {
  double requests_per_user = 500;
  double requests_per_address = 50;  // without credentials, or with wrong ones
  double events_per_source = 100;    // of one user in one namespace
  std::size_t watches_per_user = 5'000;
};

class RequestLimits {
 public:
  static constexpr std::size_t kMostReading = 400;
  static constexpr std::size_t kMostWriting = 200;
  static constexpr std::size_t kMostNames = 4'096;  // of users, addresses, sources of events

  enum class Reason { Concurrency, UserRate, AddressRate, EventRate, Watches };
  static constexpr std::array kReasons = {Reason::Concurrency, Reason::UserRate,
                                          Reason::AddressRate, Reason::EventRate, Reason::Watches};

  // The clock must outlive it.
  RequestLimits(const RequestLimitsConfig& config, const Clock& clock);

  // One more request of that user from that address.
  ApiResult<void> admit(const User& user, const IpAddress& from);
  // One more of somebody whose credentials are none: what there is to say is 401 otherwise.
  ApiResult<void> admit_stranger(const IpAddress& from);
  // A write of an Event, if it is one.
  ApiResult<void> admit_event(const User& user, const Attributes& asked);

  // Counts a request while it lives.
  class InProgress {
   public:
    explicit InProgress(std::size_t* count) : count_(count) { ++*count_; }
    ~InProgress() {
      if (count_ != nullptr) --*count_;
    }
    InProgress(InProgress&& other) noexcept : count_(std::exchange(other.count_, nullptr)) {}
    InProgress& operator=(InProgress&&) = delete;
    InProgress(const InProgress&) = delete;
    InProgress& operator=(const InProgress&) = delete;

   private:
    std::size_t* count_;
  };
  ApiResult<InProgress> begin(bool reads);  // a request that is no watch
  std::size_t reading() const { return reading_; }
  std::size_t writing() const { return writing_; }

  // One of the user's watches while it lives.
  class OpenWatch {
   public:
    OpenWatch(std::map<std::string, std::size_t>& watches, const std::string& user);
    ~OpenWatch();
    OpenWatch(OpenWatch&& other) noexcept;
    OpenWatch& operator=(OpenWatch&&) = delete;
    OpenWatch(const OpenWatch&) = delete;
    OpenWatch& operator=(const OpenWatch&) = delete;

   private:
    std::map<std::string, std::size_t>* watches_;
    std::map<std::string, std::size_t>::iterator mine_;
  };
  ApiResult<OpenWatch> begin_watch(const User& user);

  std::uint64_t refused(Reason reason) const { return refused_[static_cast<std::size_t>(reason)]; }

 private:
  ApiResult<void> take(TokenBuckets& buckets, std::string_view name, Reason reason);
  StatusError refuse(Reason reason, std::chrono::nanoseconds wait);

  const Clock& clock_;
  TokenBuckets users_, addresses_, events_;
  std::size_t watches_per_user_;
  std::size_t reading_ = 0, writing_ = 0;
  std::map<std::string, std::size_t> watches_;  // by user, of those who have any
  std::array<std::uint64_t, kReasons.size()> refused_{};
};

// As metrics name it: "concurrency-limit", "user-rate", ...
std::string_view to_string(RequestLimits::Reason reason);

}  // namespace fairlead::apiserver
