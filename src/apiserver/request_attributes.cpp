#include "apiserver/request_attributes.hpp"

#include <algorithm>

#include "base/text.hpp"

namespace fairlead::apiserver {
namespace {

// A list or watch of one name is about that object.
std::string selected_name(const io::Url& url) {
  const auto terms = kube::parse_field_selector(url.param("fieldSelector").value_or(""));
  if (!terms) return {};  // refused later, with the reason
  const auto by_name = std::ranges::find_if(*terms, [](const kube::FieldTerm& term) {
    return term.field == "metadata.name" && !term.negated;
  });
  return by_name == terms->end() ? std::string() : by_name->value;
}

}  // namespace

bool is_reading(std::string_view method) { return method == "GET" || method == "HEAD"; }

bool is_health(std::string_view path) {
  return path == "/healthz" || path == "/livez" || path == "/readyz";
}

ApiResult<Verb> verb_of(const io::HttpRequest& request, const io::Url& url, const ApiPath& path) {
  const bool named = !path.name.empty();
  if (is_reading(request.method)) {
    const std::string_view watch = url.param("watch").value_or("");
    if (path.subresource.empty() && !watch.empty() && watch != "0" && watch != "false")
      return Verb::Watch;
    return named ? Verb::Get : Verb::List;
  }
  if (request.method == "POST" && named == !path.subresource.empty()) return Verb::Create;
  if (request.method == "PUT" && named) return Verb::Update;
  if (request.method == "PATCH" && named) return Verb::Patch;
  if (request.method == "DELETE" && path.subresource.empty())
    return named ? Verb::Delete : Verb::DeleteCollection;
  return method_not_allowed();
}

Attributes attributes_of(const io::HttpRequest& request, const io::Url& url, const ApiPath& path) {
  const auto verb = verb_of(request, url, path);
  Attributes out{.verb = verb ? std::string(to_string(*verb)) : to_lower_ascii(request.method),
                 .path = {},
                 .group = path.group,
                 .resource = path.resource,
                 .subresource = path.subresource,
                 .ns = path.ns,
                 .name = path.name};
  // A namespace is in itself: who is bound in it may be allowed to look at it.
  if (path.group.empty() && path.resource == "namespaces") out.ns = path.name;
  const bool selects = verb && (*verb == Verb::List || *verb == Verb::Watch);
  if (selects && out.name.empty()) out.name = selected_name(url);
  return out;
}

Attributes attributes_of(const io::HttpRequest& request, std::string_view path) {
  return {.verb = request.method == "HEAD" ? "get" : to_lower_ascii(request.method),
          .path = std::string(path),
          .group = {},
          .resource = {},
          .subresource = {},
          .ns = {},
          .name = {}};
}

}  // namespace fairlead::apiserver
