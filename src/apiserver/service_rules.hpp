// Defaults and validation of Services beyond addresses: pure functions over documents
// (spec 4.2, 4.7, 4.8).
#pragma once

#include <string>
#include <vector>

#include "apiserver/status.hpp"

namespace fairlead::apiserver {

void apply_service_defaults(Document& service);

// Fields that lose their meaning with the type are cleared, unless the user set them anew (4.7).
void clear_type_dependent_fields(const Document& old, Document& service);

FieldErrors validate_service(const Document& service);
FieldErrors validate_service_update(const Document& old, const Document& service);

std::vector<std::string> service_warnings(const Document& service);

}  // namespace fairlead::apiserver
