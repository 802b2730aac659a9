// Who did what when: one event of audit.k8s.io/v1 a line, for each stage of a request that the
// policy wants written. Nothing of a header but User-Agent or of a credential is in it. Bodies are,
// where the policy asks for them, of requests that were let in; those of Secrets, of TokenRequests
// and TokenReviews and of watches never are.
//
// An AuditedRequest lives in the exchange's coroutine and learns what is known when it is known;
// at the latest its end writes ResponseComplete, so that no request is without. Loop thread only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "apiserver/audit_log.hpp"
#include "apiserver/audit_policy.hpp"
#include "apiserver/policy_rule.hpp"
#include "apiserver/user.hpp"
#include "base/clock.hpp"
#include "io/http.hpp"

namespace fairlead::apiserver {

class Audit {
 public:
  // An event whose bodies make it longer than `longest` bytes is written without the answer's, and
  // if need be without the request's. The clock must outlive it.
  Audit(AuditPolicy policy, AuditLog log, std::size_t longest, const Clock& clock)
      : policy_(std::move(policy)), log_(std::move(log)), longest_(longest), clock_(clock) {}

  AuditDecision decide(const User& user, const Attributes& asked) const {
    return policy_.decide(user, asked);
  }
  void write(Document event);
  std::size_t longest() const { return longest_; }
  WallTime now() const { return clock_.wall(); }
  std::uint64_t lost() const { return log_.lost(); }

 private:
  AuditPolicy policy_;
  AuditLog log_;
  std::size_t longest_;
  const Clock& clock_;
};

class AuditedRequest {
 public:
  // `audit` null = nothing is written. Both must outlive it.
  AuditedRequest(Audit* audit, const io::HttpExchange& exchange);
  ~AuditedRequest() { complete(); }
  AuditedRequest(const AuditedRequest&) = delete;
  AuditedRequest& operator=(const AuditedRequest&) = delete;

  const std::string& id() const { return id_; }
  const Attributes& asked() const { return asked_; }
  const std::string& version() const { return version_; }  // of the API; empty: no resource's
  unsigned code() const { return code_; }

  void asks(Attributes asked, std::string version);
  void asked_by(const User& user);  // writes RequestReceived
  void acts_as(const User& user);
  // `reason` is in words; nullopt = refused.
  void decided(std::optional<std::string> reason);
  bool wants_reason() const { return decision_.stages.complete; }
  bool wants_answer() const;
  void made(std::string_view name);                // of an object that was created
  void started(unsigned code);                     // writes ResponseStarted
  void answers(const io::HttpResponse& response);  // as it is before it is compressed
  // What an answer in protobuf says that answers() cannot read: a list.
  void shows(boost::json::value object) { answer_ = std::move(object); }
  void fails(const StatusError& error);
  void complete();  // writes ResponseComplete, once

 private:
  AuditLevel level() const;
  bool is_too_long(std::string_view body) const;
  void add_bodies(Document& event) const;
  Document event(std::string_view stage) const;

  Audit* audit_;
  const io::HttpExchange& exchange_;
  const std::string id_;
  const WallTime received_;
  Attributes asked_;
  std::string version_;
  std::optional<User> user_, acting_;
  AuditDecision decision_;
  std::optional<bool> allowed_;
  std::string reason_;
  unsigned code_ = 0;  // 0: there was no answer
  std::optional<StatusError> error_;
  std::optional<boost::json::value> answer_;
  bool answer_too_long_ = false;
  bool completed_ = false;
};

// An exchange that tells of the start of a stream, and puts the Audit-Id into its headers.
class AuditedExchange final : public io::HttpExchange {
 public:
  // Both must outlive it.
  AuditedExchange(io::HttpExchange& inner, AuditedRequest& audited)
      : inner_(inner), audited_(audited) {}
  const io::HttpRequest& request() const override { return inner_.request(); }
  const io::Peer& peer() const override { return inner_.peer(); }
  io::Task<Result<void>> respond(io::HttpResponse response) override {
    return inner_.respond(std::move(response));
  }
  io::Task<Result<void>> start_stream(unsigned status, io::HttpHeaders headers) override;
  io::Task<Result<void>> write(std::span<const std::shared_ptr<const std::string>> parts) override {
    return inner_.write(parts);
  }
  io::Task<Result<void>> end_stream() override { return inner_.end_stream(); }
  io::Task<void> peer_gone() override { return inner_.peer_gone(); }

 private:
  io::HttpExchange& inner_;
  AuditedRequest& audited_;
};

}  // namespace fairlead::apiserver
