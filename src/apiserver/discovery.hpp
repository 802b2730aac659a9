// The discovery documents (spec 1.3), aggregated and legacy, made once from the strategies
// and the reviews.
// Immutable.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "apiserver/registry.hpp"
#include "io/http.hpp"

namespace fairlead::apiserver {

// A constant answer with its ETag.
struct StaticDocument {
  std::string body;
  std::string content_type;
  std::string etag;  // with quotes
};
StaticDocument static_document(std::string body, std::string content_type);
// 304 when the client has it already.
io::HttpResponse serve(const StaticDocument& document, const io::HttpRequest& request);

class Discovery {
 public:
  explicit Discovery(const Strategies& strategies);

  // /api and /apis choose between aggregated and legacy by Accept; null when the path is no
  // discovery document.
  const StaticDocument* find(std::string_view path, std::string_view accept) const;

 private:
  std::map<std::string, StaticDocument, std::less<>> legacy_;  // by path
  std::map<std::string, StaticDocument, std::less<>> aggregated_v2_,
      aggregated_v2beta1_;  // "/api", "/apis"
};

}  // namespace fairlead::apiserver
