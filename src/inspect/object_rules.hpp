// What must hold of the objects of a manifest, which no API server has looked at, for the proxy to
// mean what their author means. Errors read "field: value: what is wrong". Pure.
#pragma once

#include <string>

#include "base/error.hpp"
#include "kube/objects.hpp"

namespace fairlead::inspect {

// Fields with a closed set of words, of a document still in JSON: decoding, which serves newer API
// servers too, keeps the default for a word it does not know.
Result<void> check_words(std::string_view kind, const std::string& json);

// The object with what can be filled in.
Result<kube::Service> complete(kube::Service object);
Result<kube::EndpointSlice> complete(kube::EndpointSlice object);
Result<kube::Pod> complete(kube::Pod object);
Result<kube::Node> complete(kube::Node object);
Result<kube::ServiceCidr> complete(kube::ServiceCidr object);

}  // namespace fairlead::inspect
