// ApiHandler: one HTTP request from its first look to its last byte: who asks, what for, may they,
// and what to say. Serves health, metrics, version, discovery and OpenAPI itself and hands
// resources to the ResourceHandler. Loop thread only.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "apiserver/admission.hpp"
#include "apiserver/api_metrics.hpp"
#include "apiserver/audit.hpp"
#include "apiserver/auth.hpp"
#include "apiserver/authorizer.hpp"
#include "apiserver/discovery.hpp"
#include "apiserver/health.hpp"
#include "apiserver/kinds.hpp"
#include "apiserver/request_limits.hpp"
#include "apiserver/resource_handler.hpp"
#include "apiserver/reviews.hpp"
#include "apiserver/service_repair.hpp"
#include "io/http.hpp"
#include "io/worker.hpp"

namespace fairlead::apiserver {

class ApiHandler {
 public:
  struct Rules {
    RequestLimitsConfig limits;
    AdmissionPlugins admission;
  };
  // All must outlive the handler; without `audit` nothing is written down.
  ApiHandler(Registry& registry, const Clock& clock, const Authenticator& authenticator,
             const ServiceAccountTokens& tokens, const Authorizer& authorizer, const Rules& rules,
             Audit* audit = nullptr);

  // What the metrics say of reservations; must outlive the handler.
  void tell_of(const ServiceRepair& repair) { repair_ = &repair; }

  // `trusted`: the listener is plain HTTP on loopback, whose peers without credentials are
  // administrators.
  io::Task<void> handle(io::HttpExchange* exchange, bool trusted);

 private:
  // nullopt: the answer was streamed.
  using Answer = ApiResult<std::optional<io::HttpResponse>>;
  void describe();  // makes the OpenAPI documents
  io::Task<Answer> answer(io::HttpExchange* exchange, bool trusted, const io::Url* url,
                          AuditedRequest* audited);
  io::Task<Answer> answer_resource(io::HttpExchange* exchange, const io::Url* url, const User* user,
                                   ApiPath path, AuditedRequest* audited);
  Answer answer_review(const io::HttpRequest& request, const io::Url& url, const User& user,
                       const ApiPath& path, AuditedRequest& audited) const;
  ApiResult<void> authorize(const User& user, const Attributes& asked,
                            AuditedRequest& audited) const;
  // Packs the answer where it is large and its client can unpack it.
  io::Task<void> compress(const io::HttpRequest* request, io::HttpResponse* response);
  io::HttpResponse answer_metrics();
  io::Task<io::HttpResponse> answer_health(HealthQuestion question);
  std::optional<io::HttpResponse> answer_static(const io::HttpRequest& request,
                                                const io::Url& url) const;
  std::optional<io::HttpResponse> answer_openapi(const io::HttpRequest& request,
                                                 const io::Url& url) const;
  ApiResult<ResourceCall> route(const io::HttpRequest& request, const io::Url& url,
                                ApiPath path) const;

  Registry& registry_;
  Audit* audit_;
  const Authenticator& authenticator_;
  const Authorizer& authorizer_;
  const Admission admission_;
  RequestLimits limits_;
  ApiMetrics metrics_;
  ResourceHandler resources_;
  Reviews reviews_;
  Discovery discovery_;
  const ServiceRepair* repair_ = nullptr;
  StaticDocument version_, openapi_v2_, openapi_v2_protobuf_, openapi_index_;
  StaticDocument custom_resources_;
  StaticDocument openid_configuration_, key_set_;
  std::map<std::string, StaticDocument, std::less<>> openapi_;  // by "api/v1"
  io::Worker compressor_;
};

}  // namespace fairlead::apiserver
