// What a Service may say, address lists included (service_networking.hpp), reservations not: pure
// functions over documents that have their defaults (spec 4.8).
#pragma once

#include <string>
#include <vector>

#include "apiserver/status.hpp"

namespace fairlead::apiserver {

FieldErrors validate_service(const Document& service);
FieldErrors validate_service_update(const Document& old, const Document& service);
// Of an update through the subresource "status".
FieldErrors validate_service_status(const Document& service);

std::vector<std::string> service_warnings(const Document& service);

}  // namespace fairlead::apiserver
