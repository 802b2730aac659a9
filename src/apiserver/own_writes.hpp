// Writes the server makes for itself, as user system:apiserver.
#pragma once

#include <string>

#include "apiserver/object_writer.hpp"
#include "apiserver/registry.hpp"
#include "base/clock.hpp"

namespace fairlead::apiserver {

WriteRequest own_request(const Clock& clock, std::string ns, std::string name = {});
// The object a write was for is not there any more.
inline bool is_gone(const StatusError& error) { return error.code == 404; }
// What is stored there is not understood: it is left to whoever administers the store.
bool is_unreadable(const StatusError& error);
Error to_error(const StatusError& error, std::string_view what);
io::Task<Result<void>> create_unless_there(Registry* registry, const Clock* clock,
                                           Resource* resource, std::string ns, Document object);

}  // namespace fairlead::apiserver
