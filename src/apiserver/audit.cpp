#include "apiserver/audit.hpp"

#include <simdjson.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include "apiserver/audit_body.hpp"
#include "apiserver/metadata.hpp"

namespace fairlead::apiserver {
namespace {

// What a program says of itself is its own to choose; it need not fill the disk.
constexpr std::size_t kLongestAgent = 1024;

Document object_ref(const Attributes& asked, const std::string& version) {
  Document out;
  const auto add = [&out](std::string_view member, const std::string& text) {
    if (!text.empty()) out[member] = text;
  };
  add("resource", asked.resource);
  add("namespace", asked.ns);
  add("name", asked.name);
  add("apiGroup", asked.group);
  add("apiVersion", version);
  add("subresource", asked.subresource);
  return out;
}

Document response_status(unsigned code, const std::optional<StatusError>& error) {
  Document out{{"metadata", Document()}};
  if (error) {
    out["status"] = "Failure";
    out["message"] = error->message;
    out["reason"] = error->reason;
  }
  out["code"] = code;
  return out;
}

void say_truncated(Document& event) {
  ensure_object(event, "annotations")["audit.k8s.io/truncated"] = "true";
}

}  // namespace

// URLs and headers are any bytes; a line of JSON that is not UTF-8 could not be read.
void Audit::write(Document event) {
  std::string line = boost::json::serialize(event);
  for (const std::string_view body : {"responseObject", "requestObject"}) {
    if (line.size() <= longest_ || event.erase(body) == 0) continue;
    say_truncated(event);
    line = boost::json::serialize(event);
  }
  if (!simdjson::validate_utf8(line)) {
    std::ranges::replace_if(
        line, [](char c) { return static_cast<unsigned char>(c) >= 0x80; }, '?');
  }
  log_.write(std::move(line));
}

AuditedRequest::AuditedRequest(Audit* audit, const io::HttpExchange& exchange)
    : audit_(audit),
      exchange_(exchange),
      id_(new_uid()),
      received_(audit == nullptr ? WallTime() : audit->now()) {}

void AuditedRequest::asks(Attributes asked, std::string version) {
  asked_ = std::move(asked);
  version_ = std::move(version);
}

void AuditedRequest::asked_by(const User& user) {
  if (audit_ == nullptr) return;
  user_ = user;
  decision_ = audit_->decide(user, asked_);
  if (decision_.stages.received) audit_->write(event("RequestReceived"));
}

void AuditedRequest::acts_as(const User& user) {
  if (audit_ != nullptr) acting_ = user;
}

void AuditedRequest::decided(std::optional<std::string> reason) {
  allowed_ = reason.has_value();
  reason_ = std::move(reason).value_or("");
}

void AuditedRequest::made(std::string_view name) {
  if (asked_.name.empty()) asked_.name = name;
}

void AuditedRequest::started(unsigned code) {
  code_ = code;
  if (audit_ != nullptr && decision_.stages.started) audit_->write(event("ResponseStarted"));
}

void AuditedRequest::answers(const io::HttpResponse& response) {
  code_ = response.status;
  if (!wants_answer() || answer_) return;
  answer_too_long_ = is_too_long(response.body);
  if (answer_too_long_) return;
  const auto type = io::find_header(response.headers, "Content-Type");
  answer_ = readable_body(type.value_or(""), response.body);
}

void AuditedRequest::fails(const StatusError& error) {
  code_ = error.code;
  if (audit_ != nullptr) error_ = error;
}

void AuditedRequest::complete() {
  if (audit_ == nullptr || std::exchange(completed_, true)) return;
  // Who was not let in is nobody; that somebody tried is worth a line all the same.
  if (!user_) decision_ = audit_->decide(User(), asked_);
  if (decision_.stages.complete) audit_->write(event("ResponseComplete"));
}

// What is not written is not claimed.
AuditLevel AuditedRequest::level() const {
  return is_secret(asked_) ? std::min(decision_.level, AuditLevel::Metadata) : decision_.level;
}

bool AuditedRequest::wants_answer() const {
  return audit_ != nullptr && level() == AuditLevel::RequestResponse && allowed_.value_or(false) &&
         asked_.path.empty() && asked_.verb != "watch";
}

// Whatever it is made into would not fit.
bool AuditedRequest::is_too_long(std::string_view body) const {
  return body.size() > audit_->longest();
}

// Of who was not let in nothing was read, and nothing is kept.
void AuditedRequest::add_bodies(Document& event) const {
  if (!allowed_.value_or(false) || level() < AuditLevel::Request) return;
  const auto add = [this, &event](std::string_view member, boost::json::value body) {
    if (decision_.omit_managed_fields) remove_managed_fields(body);
    event[member] = std::move(body);
  };
  const io::HttpRequest& request = exchange_.request();
  bool truncated = answer_too_long_;
  if (sends_body(asked_) && !request.body.empty()) {
    const auto type = io::find_header(request.headers, "Content-Type");
    if (is_too_long(request.body)) {
      truncated = true;
    } else if (auto sent = readable_body(type.value_or(""), request.body)) {
      add("requestObject", *std::move(sent));
    }
  }
  if (answer_) add("responseObject", *answer_);
  if (truncated) say_truncated(event);
}

Document AuditedRequest::event(std::string_view stage) const {
  const io::HttpRequest& request = exchange_.request();
  Document out{{"kind", "Event"},
               {"apiVersion", "audit.k8s.io/v1"},
               {"level", text_value(to_string(level()))},
               {"auditID", id_},
               {"stage", text_value(stage)},
               {"requestURI", request.target},
               {"verb", asked_.verb},
               {"user", user_ ? user_info(*user_) : Document()}};
  if (acting_) out["impersonatedUser"] = user_info(*acting_);
  out["sourceIPs"] = boost::json::array{exchange_.peer().address.address.to_string()};
  if (const auto agent = io::find_header(request.headers, "User-Agent"))
    out["userAgent"] = text_value(agent->substr(0, kLongestAgent));
  if (asked_.path.empty()) out["objectRef"] = object_ref(asked_, version_);
  if (code_ != 0) out["responseStatus"] = response_status(code_, error_);
  out["requestReceivedTimestamp"] = format_rfc3339(received_, 6);
  out["stageTimestamp"] = format_rfc3339(audit_->now(), 6);
  if (!allowed_) return out;
  out["annotations"] = Document{{"authorization.k8s.io/decision", *allowed_ ? "allow" : "forbid"},
                                {"authorization.k8s.io/reason", reason_}};
  if (stage == "ResponseComplete") add_bodies(out);
  return out;
}

io::Task<Result<void>> AuditedExchange::start_stream(unsigned status, io::HttpHeaders headers) {
  headers.push_back({"Audit-Id", audited_.id()});
  audited_.started(status);
  co_return co_await inner_.start_stream(status, std::move(headers));
}

}  // namespace fairlead::apiserver
