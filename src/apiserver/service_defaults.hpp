// What the server adds to a Service and takes from it before its rules are checked: defaults, and
// fields that lose their meaning with the type (spec 4.2, 4.7). Pure functions over documents.
#pragma once

#include "apiserver/status.hpp"

namespace fairlead::apiserver {

void apply_service_defaults(Document& service);

// Fields that lose their meaning with the type are cleared, unless the user set them anew.
void clear_type_dependent_fields(const Document& old, Document& service);

}  // namespace fairlead::apiserver
