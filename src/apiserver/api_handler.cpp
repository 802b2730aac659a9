#include "apiserver/api_handler.hpp"

#include <algorithm>
#include <boost/json/serialize.hpp>

#include "apiserver/body.hpp"
#include "apiserver/impersonation.hpp"
#include "apiserver/openapi_v2.hpp"
#include "apiserver/request_attributes.hpp"
#include "base/log.hpp"
#include "base/text.hpp"
#include "base/version.hpp"
#include "io/gzip.hpp"

namespace fairlead::apiserver {
namespace {

constexpr std::size_t kSmallestCompressed = 128UL * 1024;  // kube-apiserver's

// What clients take us for: they choose their API versions and warnings by it.
StaticDocument version_document() {
  const Document version{{"major", kKubernetesMajor},
                         {"minor", kKubernetesMinor},
                         {"gitVersion", kKubernetesVersion},
                         {"gitCommit", ""},
                         {"gitTreeState", "clean"},
                         {"buildDate", "1970-01-01T00:00:00Z"},
                         {"goVersion", "none"},
                         {"compiler", "clang"},
                         {"platform", "linux/amd64"}};
  return static_document(boost::json::serialize(version) + "\n", "application/json");
}

io::HttpResponse text_response(unsigned status, std::string body) {
  io::HttpResponse out;
  out.status = status;
  out.headers = {{"Content-Type", "text/plain; charset=utf-8"},
                 {"X-Content-Type-Options", "nosniff"}};
  out.body = std::move(body);
  return out;
}

io::HttpResponse not_found() { return text_response(404, "404 page not found\n"); }

io::HttpResponse error_response(const StatusError& error, Representation::Format format) {
  io::HttpResponse out;
  out.status = error.code;
  out.headers = {{"Content-Type", std::string(content_type(format))}};
  if (error.retry_after_seconds > 0)
    out.headers.push_back({"Retry-After", std::to_string(error.retry_after_seconds)});
  if (error.code == 401) out.headers.push_back({"WWW-Authenticate", "Bearer"});
  out.body = encode_plain(error.to_json(), format);
  return out;
}

io::HttpResponse created_response(const Reviews::Answer& answer, Representation::Format format) {
  io::HttpResponse out;
  out.status = 201;
  out.headers = {{"Content-Type", std::string(content_type(format))}};
  for (const std::string& warning : answer.warnings) out.headers.push_back(warning_header(warning));
  out.body = encode_plain(answer.object, format);
  return out;
}

// Of what is never converted: a Status, a review.
Representation::Format plain_format(const io::HttpRequest& request) {
  return status_format(io::find_header(request.headers, "Accept").value_or(""));
}

bool offers(const std::vector<std::string>& verbs, Verb verb) {
  return std::ranges::find(verbs, to_string(verb)) != verbs.end();
}

ApiResult<void> check_verb(const ResourceInfo& info, const ApiPath& path, Verb verb) {
  if (path.subresource.empty()) {
    if (!offers(info.verbs, verb)) return method_not_allowed();
    return {};
  }
  const auto sub = std::ranges::find(info.subresources, path.subresource, &Subresource::name);
  if (sub == info.subresources.end()) return path_not_found();
  if (!offers(sub->verbs, verb)) return method_not_allowed();
  return {};
}

}  // namespace

ApiHandler::ApiHandler(Registry& registry, const Clock& clock, const Authenticator& authenticator,
                       const ServiceAccountTokens& tokens, const Authorizer& authorizer,
                       const Rules& rules, Audit* audit)
    : registry_(registry),
      audit_(audit),
      authenticator_(authenticator),
      authorizer_(authorizer),
      admission_(authorizer, rules.admission),
      limits_(rules.limits, clock),
      metrics_(registry),
      resources_(registry, clock, admission_),
      reviews_(tokens, authenticator, authorizer),
      discovery_(registry.strategies()),
      version_(version_document()),
      openid_configuration_(static_document(tokens.discovery_json(), "application/json")),
      key_set_(static_document(tokens.key_set_json(), "application/jwk-set+json")) {
  describe();
}

void ApiHandler::describe() {
  const std::vector<OpenApiDocument> documents = make_openapi_documents(registry_.strategies());
  const Document v2 = openapi_v2_of(documents);
  openapi_v2_ = static_document(boost::json::serialize(v2), "application/json");
  openapi_v2_protobuf_ = static_document(openapi_v2_protobuf(v2), std::string(kOpenApiV2Protobuf));
  // There are none, and kubectl asks before it validates what no PATCH is described of: reviews.
  custom_resources_ = static_document(
      R"({"kind":"CustomResourceDefinitionList","apiVersion":"apiextensions.k8s.io/v1",)"
      R"("metadata":{},"items":[]})",
      "application/json");
  Document paths;
  for (const OpenApiDocument& document : documents) {
    StaticDocument made =
        static_document(boost::json::serialize(document.content), "application/json");
    const std::string hash = made.etag.substr(1, made.etag.size() - 2);
    paths[document.path] =
        Document{{"serverRelativeURL", fmt::format("/openapi/v3/{}?hash={}", document.path, hash)}};
    openapi_.emplace(document.path, std::move(made));
  }
  openapi_index_ = static_document(
      boost::json::serialize(Document{{"paths", std::move(paths)}}) + "\n", "application/json");
}

io::Task<void> ApiHandler::handle(io::HttpExchange* exchange, bool trusted) {
  const io::HttpRequest& request = exchange->request();
  const MonoTime began = Clock::real().mono();
  const auto took = [began] { return Clock::real().mono() - began; };
  const Result<io::Url> url = io::parse_target(request.target);
  AuditedRequest audited(audit_, *exchange);
  AuditedExchange watched(*exchange, audited);
  audited.asks(attributes_of(request, request.target), "");
  Answer answered =
      url ? co_await answer(&watched, trusted, &*url, &audited)
          : Answer(bad_request(fmt::format("malformed request target: {}", url.error())));
  if (answered && !*answered) {  // streamed
    metrics_.answered(request, audited, took());
    co_return;
  }
  if (!answered) audited.fails(answered.error());

  io::HttpResponse response =
      answered ? **std::move(answered) : error_response(answered.error(), plain_format(request));
  audited.answers(response);
  const bool json = io::find_header(response.headers, "Content-Type") == "application/json";
  if (json && url &&
      wants_pretty(*url, io::find_header(request.headers, "User-Agent").value_or(""))) {
    response.body = pretty(response.body);
  }
  if (!io::find_header(response.headers, "Cache-Control")) {
    response.headers.push_back({"Cache-Control", "no-cache, private"});
  }
  co_await compress(&request, &response);
  response.headers.push_back({"Audit-Id", audited.id()});
  if (log::enabled(3)) {
    log::verbose(
        3, "HTTP",
        {{"verb", request.method},
         {"URI", request.target},
         {"code", response.status},
         {"microseconds", std::chrono::duration_cast<std::chrono::microseconds>(took()).count()},
         {"auditID", audited.id()}});
  }
  // Who has the answer may count on its being written down.
  audited.complete();
  static_cast<void>(
      co_await exchange->respond(std::move(response)));  // a peer that is gone needs no answer
  metrics_.answered(request, audited, took());
}

io::Task<void> ApiHandler::compress(const io::HttpRequest* request, io::HttpResponse* response) {
  if (response->body.size() < kSmallestCompressed) co_return;
  response->headers.push_back({"Vary", "Accept-Encoding"});
  if (!io::accepts_gzip(io::find_header(request->headers, "Accept-Encoding").value_or("")))
    co_return;
  response->headers.push_back({"Content-Encoding", "gzip"});
  response->body =
      co_await compressor_.run(co_await io::asio::this_coro::executor,
                               [body = std::move(response->body)] { return io::gzip(body); });
}

io::HttpResponse ApiHandler::answer_metrics() {
  io::HttpResponse out =
      text_response(200, metrics_.text({.limits = &limits_,
                                        .audit_lost = audit_ == nullptr ? 0 : audit_->lost(),
                                        .repair = repair_}));
  out.headers.front().value = "text/plain; version=0.0.4; charset=utf-8";
  return out;
}

io::Task<ApiHandler::Answer> ApiHandler::answer(io::HttpExchange* exchange, bool trusted,
                                                const io::Url* url, AuditedRequest* audited) {
  const io::HttpRequest& request = exchange->request();
  auto path = parse_api_path(url->path);
  const bool of_resource = path && path->kind == ApiPath::Kind::Resource &&
                           (registry_.has_group_version(path->group, path->version) ||
                            is_review_group(path->group, path->version));
  const Attributes asked =
      of_resource ? attributes_of(request, *url, *path) : attributes_of(request, url->path);
  audited->asks(asked, of_resource ? path->version : "");
  if (request.body.size() > kMaxBodyBytes) co_return too_large(kMaxBodyBytes);
  auto user = authenticator_.authenticate(request, exchange->peer(), trusted);
  const IpAddress from = exchange->peer().address.address;
  if (!user) {
    FAIRLEAD_CO_CHECK(limits_.admit_stranger(from));
    co_return std::move(user).error();
  }
  audited->asked_by(*user);
  FAIRLEAD_CO_CHECK(limits_.admit(*user, from));
  auto other = impersonated(*user, request.headers, authorizer_);
  if (!other) co_return std::move(other).error();
  if (*other) {
    audited->acts_as(**other);
    *user = **std::move(other);
  }
  if (!path) co_return std::move(path).error();
  if (of_resource && registry_.has_group_version(path->group, path->version)) {
    co_return co_await answer_resource(exchange, url, &*user, *std::move(path), audited);
  }
  if (of_resource) co_return answer_review(request, *url, *user, *path, *audited);
  auto allowed = authorize(*user, asked, *audited);
  if (!allowed) co_return std::move(allowed).error();
  if (const auto question = health_question(*url)) {
    if (!is_reading(request.method)) co_return method_not_allowed();
    co_return co_await answer_health(*question);
  }
  if (url->path == kMetricsPath) {
    if (!is_reading(request.method)) co_return method_not_allowed();
    co_return answer_metrics();
  }
  auto found = answer_static(request, *url);
  if (!found) co_return not_found();
  if (!is_reading(request.method)) co_return method_not_allowed();
  co_return found;
}

ApiResult<void> ApiHandler::authorize(const User& user, const Attributes& asked,
                                      AuditedRequest& audited) const {
  auto allowed = authorizer_.authorize(user, asked);
  if (!allowed) {
    audited.decided(std::nullopt);
  } else if (audited.wants_reason()) {
    audited.decided(authorizer_.reason(user, asked));
  }
  return allowed;
}

io::Task<io::HttpResponse> ApiHandler::answer_health(HealthQuestion question) {
  auto checks = checks_of(question);
  if (checks.empty()) co_return not_found();
  for (HealthCheck& check : checks) {
    if (check.name != kStoreCheck || check.excluded) continue;
    const auto current = co_await registry_.store().synchronize();
    check.passed = current.has_value();
    if (!current) log::warning("Not ready", {{"err", current.error()}});
  }
  co_return text_response(all_passed(checks) ? 200 : 500, health_text(question, checks));
}

std::optional<io::HttpResponse> ApiHandler::answer_static(const io::HttpRequest& request,
                                                          const io::Url& url) const {
  if (url.path == "/version" || url.path == "/version/") return serve(version_, request);
  if (url.path.starts_with("/openapi/")) return answer_openapi(request, url);
  if (url.path == "/apis/apiextensions.k8s.io/v1/customresourcedefinitions")
    return serve(custom_resources_, request);
  if (url.path == "/.well-known/openid-configuration") return serve(openid_configuration_, request);
  if (url.path == "/openid/v1/jwks" || url.path == "/openid/v1/jwks/")
    return serve(key_set_, request);
  const auto accept = io::find_header(request.headers, "Accept").value_or("");
  if (const StaticDocument* document = discovery_.find(url.path, accept))
    return serve(*document, request);
  return std::nullopt;
}

std::optional<io::HttpResponse> ApiHandler::answer_openapi(const io::HttpRequest& request,
                                                           const io::Url& url) const {
  constexpr std::string_view kV3 = "/openapi/v3";
  if (url.path == "/openapi/v2") {
    const auto protobuf =
        wants_openapi_protobuf(io::find_header(request.headers, "Accept").value_or(""));
    if (!protobuf) return text_response(406, "406 not acceptable\n");
    return serve(*protobuf ? openapi_v2_protobuf_ : openapi_v2_, request);
  }
  if (url.path == kV3 || url.path == "/openapi/v3/") return serve(openapi_index_, request);
  if (!url.path.starts_with("/openapi/v3/")) return std::nullopt;
  const auto found = openapi_.find(url.path.substr(kV3.size() + 1));
  if (found == openapi_.end()) return std::nullopt;
  const std::string current = found->second.etag.substr(1, found->second.etag.size() - 2);
  const auto hash = url.param("hash");
  if (hash && *hash != current) {
    io::HttpResponse moved = text_response(301, "");
    moved.headers.push_back({"Location", fmt::format("{}?hash={}", url.path, current)});
    return moved;
  }
  io::HttpResponse out = serve(found->second, request);
  if (hash) {
    std::erase_if(out.headers,
                  [](const io::HttpHeader& header) { return header.name == "Cache-Control"; });
    out.headers.push_back({"Cache-Control", "public, immutable"});
    out.headers.push_back({"Expires", "Fri, 31 Dec 2094 23:59:59 GMT"});
  }
  return out;
}

ApiResult<ResourceCall> ApiHandler::route(const io::HttpRequest& request, const io::Url& url,
                                          ApiPath path) const {
  Resource* resource = registry_.find(path.group, path.version, path.resource);
  if (resource == nullptr) return path_not_found();
  const ResourceInfo& info = resource->info();
  if (!info.namespaced && !path.ns.empty()) return path_not_found();
  FAIRLEAD_TRY(verb, verb_of(request, url, path));
  if (info.namespaced && path.ns.empty()) {  // all namespaces: can only be looked at
    if (!path.name.empty()) return path_not_found();
    if (verb != Verb::List && verb != Verb::Watch) return method_not_allowed();
  }
  if (path.version != info.version && (verb != Verb::Get || !path.subresource.empty()))
    return path_not_found();
  FAIRLEAD_CHECK(check_verb(info, path, verb));
  return ResourceCall{.verb = verb,
                      .resource = resource,
                      .path = std::move(path),
                      .request = &request,
                      .url = &url,
                      .user = nullptr,
                      .audited = nullptr};
}

// It waits for nothing, which is why it is not counted among the requests in progress.
ApiHandler::Answer ApiHandler::answer_review(const io::HttpRequest& request, const io::Url& url,
                                             const User& user, const ApiPath& path,
                                             AuditedRequest& audited) const {
  const ReviewKind* kind = find_review(path.group, path.version, path.resource);
  if (kind == nullptr || !path.name.empty() || kind->info.namespaced == path.ns.empty())
    return path_not_found();
  if (request.method != "POST") return method_not_allowed();
  FAIRLEAD_CHECK(authorize(user, attributes_of(request, url, path), audited));
  FAIRLEAD_TRY(
      answer,
      reviews_.answer(*kind, {.ns = path.ns, .request = &request, .url = &url, .user = &user}));
  return std::optional(created_response(answer, plain_format(request)));
}

io::Task<ApiHandler::Answer> ApiHandler::answer_resource(io::HttpExchange* exchange,
                                                         const io::Url* url, const User* user,
                                                         ApiPath path, AuditedRequest* audited) {
  auto call = route(exchange->request(), *url, std::move(path));
  if (!call) co_return std::move(call).error();
  const Attributes asked = attributes_of(exchange->request(), *url, call->path);
  FAIRLEAD_CO_CHECK(authorize(*user, asked, *audited));
  FAIRLEAD_CO_CHECK(limits_.admit_event(*user, asked));
  call->user = user;
  call->audited = audited;
  if (call->verb == Verb::Watch) {
    const auto counted = limits_.begin_watch(*user);
    if (!counted) co_return counted.error();
    auto watched = co_await resources_.watch(*std::move(call), exchange);
    if (!watched) co_return std::move(watched).error();
    co_return std::optional<io::HttpResponse>();
  }
  const auto counted = limits_.begin(is_reading(exchange->request().method));
  if (!counted) co_return counted.error();
  if (Reviews::wants_token(*call)) {
    // The account may have been made a moment ago, by another server.
    const auto current = co_await registry_.store().synchronize();
    if (!current) co_return to_status(current.error());
    const auto issued = reviews_.issue_token(*call);
    if (!issued) co_return issued.error();
    co_return std::optional(created_response(*issued, plain_format(exchange->request())));
  }
  const std::string& deprecation = call->resource->info().deprecation;
  auto response = co_await resources_.answer(*std::move(call));
  if (!response) co_return std::move(response).error();
  if (!deprecation.empty()) response->headers.push_back(warning_header(deprecation));
  co_return std::optional<io::HttpResponse>(*std::move(response));
}

}  // namespace fairlead::apiserver
