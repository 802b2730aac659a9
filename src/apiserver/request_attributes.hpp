// What a request is about, read from its method, path and query alone: what authorization and the
// audit log go by. Pure.
#pragma once

#include "apiserver/policy_rule.hpp"
#include "apiserver/request.hpp"
#include "apiserver/resource_handler.hpp"
#include "io/http.hpp"

namespace fairlead::apiserver {

bool is_reading(std::string_view method);  // HEAD is a GET without the answer's body

// What probes ask, and everybody may.
bool is_health(std::string_view path);

// 405 when the method means nothing there.
ApiResult<Verb> verb_of(const io::HttpRequest& request, const io::Url& url, const ApiPath& path);

// Of a resource; a method that means nothing there is the verb itself, in lower case.
Attributes attributes_of(const io::HttpRequest& request, const io::Url& url, const ApiPath& path);
// Of a path that is no resource's.
Attributes attributes_of(const io::HttpRequest& request, std::string_view path);

}  // namespace fairlead::apiserver
