// The verbs on resources: an HTTP request that has been routed and authorised in, an HTTP response
// (or a watch) out. Owned by the ApiHandler; loop thread only.
#pragma once

#include <chrono>
#include <string>

#include "apiserver/auth.hpp"
#include "apiserver/encode.hpp"
#include "apiserver/object_writer.hpp"
#include "apiserver/registry.hpp"
#include "apiserver/request.hpp"
#include "base/clock.hpp"
#include "io/http.hpp"

namespace fairlead::apiserver {

enum class Verb { Get, List, Watch, Create, Update, Patch, Delete, DeleteCollection };
std::string_view to_string(Verb verb);  // as in authorization and discovery

// A warning for who reads the answer (RFC 7234, 5.5); kubectl prints it.
io::HttpHeader warning_header(std::string_view text);

class AuditedRequest;

// One request on a resource. Lives in the exchange's coroutine.
struct ResourceCall {
  Verb verb = Verb::Get;
  Resource* resource = nullptr;
  ApiPath path;
  const io::HttpRequest* request = nullptr;
  const io::Url* url = nullptr;
  const User* user = nullptr;  // who asks
  AuditedRequest* audited = nullptr;
};

class ResourceHandler {
 public:
  // All must outlive the handler.
  ResourceHandler(Registry& registry, const Clock& clock, const WriteGuard& guard)
      : registry_(registry), clock_(clock), writer_(registry, &guard) {}

  // Every verb but Watch.
  io::Task<ApiResult<io::HttpResponse>> answer(ResourceCall call);
  // An error before the first byte comes back to be answered; afterwards the stream is the answer.
  io::Task<ApiResult<void>> watch(ResourceCall call, io::HttpExchange* exchange);

 private:
  io::Task<ApiResult<io::HttpResponse>> get(ResourceCall call, View view);
  io::Task<ApiResult<io::HttpResponse>> list(ResourceCall call, View view);
  io::Task<ApiResult<io::HttpResponse>> create(ResourceCall call, View view);
  io::Task<ApiResult<io::HttpResponse>> update(ResourceCall call, View view);
  io::Task<ApiResult<io::HttpResponse>> patch(ResourceCall call, View view);
  io::Task<ApiResult<io::HttpResponse>> remove(ResourceCall call, View view);
  io::Task<ApiResult<io::HttpResponse>> remove_collection(ResourceCall call, View view);

  ApiResult<View> view_of(const ResourceCall& call) const;
  ApiResult<WriteRequest> write_request(const ResourceCall& call,
                                        std::string_view options_kind) const;
  io::HttpResponse written_response(const ResourceCall& call, const Written& written,
                                    const View& view) const;
  // Waits until the cache is at least at `revision`; 504 when it does not come within three
  // seconds.
  io::Task<ApiResult<void>> be_current();
  io::Task<ApiResult<void>> wait_for(Resource* resource, Revision revision);
  io::Task<ApiResult<ObjectCache::Page>> page_at(Resource* resource, Selection selection,
                                                 std::string from, std::size_t limit,
                                                 Revision revision);

  Registry& registry_;
  const Clock& clock_;
  ObjectWriter writer_;
};

}  // namespace fairlead::apiserver
