#include "apiserver/own_writes.hpp"

namespace fairlead::apiserver {

WriteRequest own_request(const Clock& clock, std::string ns, std::string name) {
  WriteRequest out;
  out.context = {.now = clock.wall(),
                 .dry_run = false,
                 .user = "system:apiserver",
                 .field_manager = "fairlead-apiserver"};
  out.ns = std::move(ns);
  out.name = std::move(name);
  return out;
}

Error to_error(const StatusError& error, std::string_view what) {
  const auto code = error.code == 503   ? ErrorCode::Unavailable
                    : error.code == 504 ? ErrorCode::Timeout
                                        : ErrorCode::Internal;
  return make_error(code, "{}: {}", what, error.message);
}

bool is_unreadable(const StatusError& error) { return error.reason == "StorageReadError"; }

io::Task<Result<void>> create_unless_there(Registry* registry, const Clock* clock,
                                           Resource* resource, std::string ns, Document object) {
  const std::string name(string_at(object, "metadata.name"));
  if (resource->cache.find(resource->key(ns, name)) != nullptr) co_return Result<void>();
  ObjectWriter writer(*registry);
  const auto written =
      co_await writer.create(*resource, own_request(*clock, ns), std::move(object));
  if (!written && written.error().reason != "AlreadyExists" && !is_unreadable(written.error())) {
    co_return to_error(written.error(), fmt::format("make {} {}", resource->info().kind, name));
  }
  co_return Result<void>();
}

}  // namespace fairlead::apiserver
