// ObjectWriter::remove of what is stored but cannot be read: the way to be rid of it.
#include "apiserver/object_writer.hpp"
#include "apiserver/transaction.hpp"

namespace fairlead::apiserver {
namespace {

// Whether anything is in the namespace, readable or not.
bool is_empty(const Registry& registry, std::string_view ns) {
  bool empty = true;
  for (const auto& resource : registry.resources()) {
    if (!resource->info().namespaced) continue;
    const std::string prefix = fmt::format("{}{}/", resource->info().storage_prefix, ns);
    registry.for_each_key(prefix, [&empty](std::string_view) { return empty = false; });
  }
  return empty;
}

}  // namespace

// Nobody knows its finalizers and its grace period: who asks for it by name wants it gone. What was
// reserved for it is given back. A namespace must be empty: what is in it would never be reached.
ApiResult<ObjectWriter::Plan> ObjectWriter::plan_remove_unreadable(Resource& resource,
                                                                   const WriteRequest& request,
                                                                   Revision revision,
                                                                   const DeleteOptions& options) {
  const ResourceInfo& info = resource.info();
  const auto refuse = [&](std::string why) {
    return conflict(info.qualified_resource(), request.name, std::move(why));
  };
  if (options.uid) return refuse("Precondition failed: its UID cannot be read");
  if (options.resource_version && *options.resource_version != std::to_string(revision)) {
    return refuse(fmt::format(
        "Precondition failed: ResourceVersion in precondition: {}, ResourceVersion in store: {}",
        *options.resource_version, revision));
  }
  if (&resource == &registry_.namespaces() && !is_empty(registry_, request.name))
    return refuse("it cannot be read, and it is not empty: delete what is in it first");
  Plan plan;
  plan.key = resource.key(request.ns, request.name);
  PendingTransaction look(registry_, request.context.now);
  PendingTransaction transaction(registry_, request.context.now);
  for (const std::string& key : resource.strategy.reservations(look, request.ns, request.name))
    transaction.remove(key);
  transaction.expect(plan.key, revision);
  transaction.remove(plan.key);
  plan.transaction = transaction.build();
  plan.written.revision = revision;
  plan.written.removed = true;
  plan.nothing_to_do = request.context.dry_run;
  return plan;
}

}  // namespace fairlead::apiserver
