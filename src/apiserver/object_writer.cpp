#include "apiserver/object_writer.hpp"

#include <boost/json/parse.hpp>

#include "apiserver/field_owners.hpp"
#include "apiserver/metadata.hpp"
#include "base/text.hpp"
#include "kube/protobuf.hpp"

namespace fairlead::apiserver {
namespace {

constexpr int kTries = 8;  // of a write that keeps losing races

// Not of a configuration that is applied: what it wants empty it owns.
void drop_empty(const ResourceInfo& info, const WriteRequest& request, Document& document) {
  if (request.is_apply) return;
  const std::string api_version = info.api_version();
  kube::drop_empty_members({.api_version = api_version, .kind = info.kind}, document);
}

// Types, unknown fields, defaults: what every document passes before anything looks at it.
ApiResult<std::vector<std::string>> decode(const Strategy& strategy, const WriteRequest& request,
                                           Document& document) {
  const auto refuse = [&](std::string text) -> StatusError {
    if (!request.is_patch) return bad_request(std::move(text));
    return invalid_status(strategy.info().qualified_kind(), request.name,
                          {invalid("patch", "", std::move(text))});
  };
  FAIRLEAD_CHECK(conform_type_and_metadata(strategy.info(), document));
  auto unknown = strategy.conform(document);
  if (!unknown) return refuse(unknown.error().message);
  drop_empty(strategy.info(), request, document);
  std::vector<std::string> texts;
  for (const std::string& path : *unknown)
    texts.push_back(fmt::format("unknown field \"{}\"", path));
  strategy.apply_defaults(document);
  if (request.field_validation == FieldValidation::Ignore) texts.clear();
  if (request.field_validation == FieldValidation::Strict && !texts.empty()) {
    return refuse(fmt::format("strict decoding error: {}", fmt::join(texts, ", ")));
  }
  return texts;
}

void append(std::vector<std::string>& to, std::vector<std::string> more) {
  to.insert(to.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

Document with_revision(Document document, Revision revision) {
  ensure_object(document, "metadata")["resourceVersion"] = std::to_string(revision);
  return document;
}

Document as_stored(const Strategy& strategy, Document document) {
  strategy.to_stored(document);
  return document;
}

std::string name_of(const Document& document) {
  return std::string(string_at(document, "metadata.name"));
}

// The managedFields this write leaves.
boost::json::array owners_of_write(const Strategy& strategy, const WriteRequest& request,
                                   const Document* live, const Document& next) {
  if (request.is_apply) {
    const auto* made = array_at(next, "metadata.managedFields");
    return made == nullptr ? boost::json::array{} : *made;
  }
  const FieldWriter writer{.manager = request.context.field_manager,
                           .subresource = request.subresource,
                           .now = request.context.now};
  return owners_after_update(strategy.info(), writer, live, next);
}

void set_owners(Document& document, boost::json::array owners) {
  Document& metadata = ensure_object(document, "metadata");
  if (owners.empty()) {
    metadata.erase("managedFields");
  } else {
    metadata["managedFields"] = std::move(owners);
  }
}

// A write that only says again, later, what was there changes nothing.
bool changes_nothing(const Document& old, Document& next) {
  if (next == old) return true;
  const auto* before = array_at(old, "metadata.managedFields");
  const auto* after = array_at(next, "metadata.managedFields");
  if (before == nullptr || after == nullptr || !same_owners(*before, *after)) return false;
  boost::json::value& held = ensure_object(next, "metadata")["managedFields"];
  boost::json::value made = std::exchange(held, *before);
  if (next == old) return true;
  held = std::move(made);
  return false;
}

StatusError too_many_races(const Resource& resource, std::string_view name) {
  return conflict(resource.info().qualified_resource(), name,
                  "it keeps being modified; please try again");
}

}  // namespace

// ---- create

io::Task<ApiResult<Written>> ObjectWriter::create(Resource& resource, WriteRequest request,
                                                  Document body) {
  auto warnings = decode(resource.strategy, request, body);
  if (!warnings) co_return std::move(warnings).error();
  const std::string base(string_at(body, "metadata.generateName"));
  const bool generate = name_of(body).empty() && !base.empty();
  Sight sight;
  for (int attempt = 0; attempt < kTries; ++attempt) {
    Document document = body;
    if (generate)
      ensure_object(document, "metadata")["name"] = generated_name(base, random_suffix());
    const std::string name = name_of(document);
    ApiResult<Plan> plan = plan_create(resource, request, std::move(document));
    if (!plan && generate && plan.error().reason == "AlreadyExists") continue;
    if (plan) append(plan->written.warnings, *warnings);
    auto written = co_await carry_out(std::move(plan), &sight);
    if (!written) co_return std::move(written).error();
    if (*written) co_return std::move(**written);
  }
  if (!generate) co_return too_many_races(resource, name_of(body));
  StatusError error = already_exists(resource.info().qualified_resource(), base);
  error.retry_after_seconds = 1;
  co_return error;
}

ApiResult<void> ObjectWriter::check_namespace(const Resource& resource, std::string_view ns,
                                              std::string_view name,
                                              PendingTransaction& transaction) const {
  if (!resource.info().namespaced) return {};
  const Resource& namespaces = registry_.namespaces();
  const std::string key = namespaces.key({}, ns);
  FAIRLEAD_TRY(found, namespaces.get({}, ns));
  if (found->terminating) {
    StatusError error = forbidden_status(
        resource.info().qualified_resource(), name,
        fmt::format("unable to create new content in namespace {} because it is being terminated",
                    ns));
    error.causes.push_back({.reason = "NamespaceTerminating",
                            .message = fmt::format("namespace {} is being terminated", ns),
                            .field = "metadata.namespace"});
    return error;
  }
  transaction.expect(key, found->revision);  // it must not begin to terminate meanwhile
  return {};
}

ApiResult<void> ObjectWriter::check_guard(const Resource& resource, const WriteRequest& request,
                                          const Document* old, const Document& next) const {
  const User* user = request.context.asker;
  if (guard_ == nullptr || user == nullptr) return {};
  if (old == nullptr && !request.name.empty()) {
    FAIRLEAD_CHECK(guard_->may_create(*user, resource.info(), request.ns, request.name));
  }
  return guard_->may_write(*user, resource.info(), request.ns, old, next);
}

ApiResult<ObjectWriter::Plan> ObjectWriter::plan_create(Resource& resource,
                                                        const WriteRequest& request,
                                                        Document document) {
  const Strategy& strategy = resource.strategy;
  const ResourceInfo& info = strategy.info();
  PendingTransaction transaction(registry_, request.context.now);
  FAIRLEAD_CHECK(
      prepare_metadata_for_create(strategy, request.ns, request.context, new_uid(), document));
  const std::string name = name_of(document);
  // Before anything builds a key of it: a name with a '/' would be another object's key.
  const FieldErrors metadata_errors = validate_metadata(strategy, document);
  if (!metadata_errors.empty()) return invalid_status(info.qualified_kind(), name, metadata_errors);
  FAIRLEAD_CHECK(check_namespace(resource, request.ns, name, transaction));
  const std::string key = resource.key(request.ns, name);
  if (const ObjectPtr existing = resource.cache.find(key)) {
    return already_exists(info.qualified_resource(), name, existing->terminating);
  }
  if (const auto* unreadable = resource.cache.find_unreadable(key)) {
    StatusError error = already_exists(info.qualified_resource(), name);
    error.message += fmt::format(", but cannot be read: {}", unreadable->why);
    return error;
  }
  boost::json::array owners = owners_of_write(strategy, request, nullptr, document);
  strategy.prepare_create(request.context, document);
  FAIRLEAD_CHECK(strategy.allocate(request.context, transaction, nullptr, document));
  set_owners(document, std::move(owners));
  const FieldErrors errors = strategy.validate_create(request.context, document);
  if (!errors.empty()) return invalid_status(info.qualified_kind(), name, errors);
  FAIRLEAD_CHECK(check_guard(resource, request, nullptr, document));

  transaction.expect(key, 0);
  transaction.put(key, as_stored(strategy, document));
  Plan plan;
  plan.written.warnings = strategy.warnings(document);
  plan.written.object = std::move(document);
  plan.written.created = true;
  plan.transaction = transaction.build();
  plan.key = key;
  plan.nothing_to_do = request.context.dry_run;
  return plan;
}

// ---- update

io::Task<ApiResult<Written>> ObjectWriter::update(Resource& resource, WriteRequest request,
                                                  Change change) {
  const bool may_create =
      request.subresource.empty() &&
      (request.is_apply || (!request.is_patch && resource.strategy.put_may_create()));
  Sight sight;
  for (int attempt = 0; attempt < kTries; ++attempt) {
    const ApiResult<ObjectPtr> current = resource.get(request.ns, request.name);
    if (!current && current.error().code == 404 && may_create) {
      ApiResult<Document> body = change({});
      if (!body) co_return std::move(body).error();
      if (name_of(*body) != request.name) {
        co_return bad_request(
            fmt::format("the name of the object ({}) does not match the name on the URL ({})",
                        name_of(*body), request.name));
      }
      auto created = co_await create(resource, request, *std::move(body));
      const bool overtaken = !created && created.error().reason == "AlreadyExists";
      if (!overtaken) co_return created;
      continue;
    }
    ApiResult<Plan> plan =
        current ? plan_update(resource, request, **current, change) : current.error();
    auto written = co_await carry_out(std::move(plan), &sight);
    if (!written) co_return std::move(written).error();
    if (*written) co_return std::move(**written);
  }
  co_return too_many_races(resource, request.name);
}

ApiResult<ObjectWriter::Plan> ObjectWriter::plan_update(Resource& resource,
                                                        const WriteRequest& request,
                                                        const CachedObject& current,
                                                        const Change& change) {
  const Strategy& strategy = resource.strategy;
  const ResourceInfo& info = strategy.info();
  Document old = current.document();
  drop_empty(info, request, old);  // as `next` will be
  FAIRLEAD_TRY(next, change(with_revision(old, current.revision)));
  FAIRLEAD_TRY(warnings, decode(strategy, request, next));
  const UpdateTarget target{
      .ns = request.ns,
      .name = request.name,
      .revision = current.revision,
      .is_patch = request.is_patch,
      .needs_resource_version = strategy.put_needs_resource_version() && !request.is_patch};
  FAIRLEAD_CHECK(prepare_metadata_for_update(strategy, target, old, next));
  if (request.subresource.empty()) strategy.carry_over(old, next);

  boost::json::array owners = owners_of_write(strategy, request, &old, next);
  PendingTransaction transaction(registry_, request.context.now);
  FieldErrors errors;
  if (request.subresource.empty()) {
    strategy.prepare_update(request.context, old, next);
    FAIRLEAD_CHECK(strategy.allocate(request.context, transaction, &old, next));
    errors = validate_metadata(strategy, next);
    append(errors, validate_metadata_update(old, next));
    append(errors, strategy.validate_update(request.context, old, next));
  } else {
    strategy.prepare_subresource_update(request.context, request.subresource, old, next);
    errors = validate_metadata(strategy, next);
    append(errors, validate_metadata_update(old, next));
    append(errors,
           strategy.validate_subresource_update(request.context, request.subresource, old, next));
  }
  if (!errors.empty()) return invalid_status(info.qualified_kind(), request.name, errors);
  FAIRLEAD_CHECK(check_guard(resource, request, &old, next));
  append(warnings, strategy.warnings(next));
  set_owners(next, std::move(owners));
  return store_changed(resource, request, current, transaction, std::move(old), std::move(next),
                       std::move(warnings));
}

// Writes `next` unless it equals `old`; an object whose last hold went while it is being deleted is
// removed instead.
ApiResult<ObjectWriter::Plan> ObjectWriter::store_changed(Resource& resource,
                                                          const WriteRequest& request,
                                                          const CachedObject& current,
                                                          PendingTransaction& transaction,
                                                          Document old, Document next,
                                                          std::vector<std::string> warnings) {
  const Strategy& strategy = resource.strategy;
  Plan plan;
  plan.key = current.key;
  plan.written.warnings = std::move(warnings);
  plan.written.revision = current.revision;
  if (changes_nothing(old, next)) {
    plan.nothing_to_do = true;
    plan.written.object = std::move(next);
    return plan;
  }
  if (is_terminating(next) && !has_finalizers(next) && !strategy.is_held(next) &&
      int_at(next, "metadata.deletionGracePeriodSeconds").value_or(0) == 0) {
    return remove_now(resource, request, current, transaction, std::move(next));
  }
  if (strategy.has_generation() && strategy.bumps_generation(old, next)) {
    ensure_object(next, "metadata")["generation"] =
        int_at(old, "metadata.generation").value_or(0) + 1;
  }
  transaction.expect(current.key, current.revision);
  transaction.put(current.key, as_stored(strategy, next));
  plan.transaction = transaction.build();
  plan.written.object = std::move(next);
  plan.nothing_to_do = request.context.dry_run;
  return plan;
}

ApiResult<ObjectWriter::Plan> ObjectWriter::plan_create_subresource(Resource& resource,
                                                                    const WriteRequest& request,
                                                                    const Document& body) {
  FAIRLEAD_TRY(current, resource.get(request.ns, request.name));
  Document old = current->document();
  Document next = old;
  FAIRLEAD_CHECK(
      resource.strategy.create_subresource(request.context, request.subresource, body, next));
  PendingTransaction transaction(registry_, request.context.now);
  return store_changed(resource, request, *current, transaction, std::move(old), std::move(next),
                       {});
}

io::Task<ApiResult<Written>> ObjectWriter::create_subresource(Resource& resource,
                                                              WriteRequest request, Document body) {
  Sight sight;
  for (int attempt = 0; attempt < kTries; ++attempt) {
    auto written = co_await carry_out(plan_create_subresource(resource, request, body), &sight);
    if (!written) co_return std::move(written).error();
    if (*written) co_return std::move(**written);
  }
  co_return too_many_races(resource, request.name);
}

// ---- delete

io::Task<ApiResult<Written>> ObjectWriter::remove(Resource& resource, WriteRequest request,
                                                  DeleteOptions options) {
  const std::string key = resource.key(request.ns, request.name);
  Sight sight;
  for (int attempt = 0; attempt < kTries; ++attempt) {
    const ObjectPtr current = resource.cache.find(key);
    const auto* unreadable = resource.cache.find_unreadable(key);
    ApiResult<Plan> plan = not_found(resource.info().qualified_resource(), request.name);
    if (current != nullptr) {
      plan = plan_remove(resource, request, *current, options);
    } else if (unreadable != nullptr) {
      plan = plan_remove_unreadable(resource, request, unreadable->revision, options);
    }
    auto written = co_await carry_out(std::move(plan), &sight);
    if (!written) co_return std::move(written).error();
    if (*written) co_return std::move(**written);
  }
  co_return too_many_races(resource, request.name);
}

namespace {

ApiResult<void> check_preconditions(const ResourceInfo& info, const CachedObject& current,
                                    const Document& object, const DeleteOptions& options) {
  const auto refuse = [&](std::string_view what, std::string_view wanted, std::string_view found) {
    return conflict(
        info.qualified_kind(), current.name,
        fmt::format("Precondition failed: {} in precondition: {}, {} in object meta: {}", what,
                    wanted, what, found));
  };
  const std::string_view uid = string_at(object, "metadata.uid");
  if (options.uid && *options.uid != uid) return refuse("UID", *options.uid, uid);
  const std::string revision = std::to_string(current.revision);
  if (options.resource_version && *options.resource_version != revision) {
    return refuse("ResourceVersion", *options.resource_version, revision);
  }
  return {};
}

// Sets or shortens the grace; false when there is nothing to change.
bool begin_grace(const Strategy& strategy, const RequestContext& context, std::int64_t grace,
                 Document& object) {
  Document& metadata = ensure_object(object, "metadata");
  WallTime start = context.now;
  if (is_terminating(object)) {
    const std::int64_t before = int_at(metadata, "deletionGracePeriodSeconds").value_or(0);
    if (grace >= before) return false;
    const auto ends = parse_rfc3339(string_at(metadata, "deletionTimestamp"));
    if (ends) start = *ends - std::chrono::seconds(before);
  } else if (strategy.has_generation()) {
    metadata["generation"] = int_at(metadata, "generation").value_or(0) + 1;
  }
  metadata["deletionTimestamp"] = format_rfc3339(start + std::chrono::seconds(grace));
  metadata["deletionGracePeriodSeconds"] = grace;
  return true;
}

// What is to become of the dependents is left to the garbage collector, which takes the finalizer
// off when it is done. A later DELETE may decide otherwise.
void ask_collector(const DeleteOptions& options, Document& object) {
  std::string policy = options.propagation_policy.value_or("");
  if (options.orphan_dependents) policy = *options.orphan_dependents ? "Orphan" : "Background";
  if (policy.empty()) return;
  remove_finalizer(object, kOrphanFinalizer);
  remove_finalizer(object, kForegroundFinalizer);
  if (policy == "Orphan") add_finalizer(object, kOrphanFinalizer);
  if (policy == "Foreground") add_finalizer(object, kForegroundFinalizer);
}

}  // namespace

ApiResult<ObjectWriter::Plan> ObjectWriter::plan_remove(Resource& resource,
                                                        const WriteRequest& request,
                                                        const CachedObject& current,
                                                        const DeleteOptions& options) {
  const Strategy& strategy = resource.strategy;
  Document old = current.document();
  FAIRLEAD_CHECK(check_preconditions(resource.info(), current, old, options));
  FAIRLEAD_TRY(rule, strategy.deletion_rule(old, options));
  PendingTransaction transaction(registry_, request.context.now);
  Document next = old;
  if (rule.how != DeletionRule::How::Mark) ask_collector(options, next);
  if (rule.how == DeletionRule::How::Graceful) {
    begin_grace(strategy, request.context, rule.grace_seconds, next);
    return store_changed(resource, request, current, transaction, std::move(old), std::move(next),
                         {});
  }
  if (rule.how == DeletionRule::How::Mark && !is_terminating(next)) {
    ensure_object(next, "metadata")["deletionTimestamp"] = format_rfc3339(request.context.now);
    strategy.mark_deleting(next);
  }
  if (has_finalizers(next) || (rule.how == DeletionRule::How::Mark && strategy.is_held(next))) {
    if (rule.how == DeletionRule::How::Remove) begin_grace(strategy, request.context, 0, next);
    return store_changed(resource, request, current, transaction, std::move(old), std::move(next),
                         {});
  }
  return remove_now(resource, request, current, transaction, std::move(next));
}

ApiResult<ObjectWriter::Plan> ObjectWriter::remove_now(Resource& resource,
                                                       const WriteRequest& request,
                                                       const CachedObject& current,
                                                       PendingTransaction& transaction,
                                                       Document object) {
  resource.strategy.release(transaction, object);
  transaction.expect(current.key, current.revision);
  transaction.remove(current.key);
  Plan plan;
  plan.key = current.key;
  plan.transaction = transaction.build();
  plan.written.object = std::move(object);
  plan.written.revision = current.revision;
  plan.written.removed = true;
  plan.nothing_to_do = request.context.dry_run;
  return plan;
}

// ---- commit

// A commit proves that what its plan looked at is as it was. A refusal, and that there is nothing
// to do, have no such proof: they count once it is known that others have not written meanwhile.
io::Task<ApiResult<std::optional<Written>>> ObjectWriter::carry_out(ApiResult<Plan> plan,
                                                                    Sight* sight) {
  const bool ends_here = !plan || plan->nothing_to_do;
  if (ends_here && !sight->is_current) {
    const Revision seen = registry_.store().current_revision();
    const auto now = co_await registry_.store().synchronize();
    if (!now) co_return to_status(now.error());
    sight->is_current = true;
    if (*now != seen) co_return std::optional<Written>();
  }
  if (!plan) co_return std::move(plan).error();
  if (plan->nothing_to_do) co_return std::optional<Written>(std::move(plan->written));
  auto written = co_await commit(*std::move(plan));
  sight->is_current = true;  // one that lost its race has looked again
  co_return written;
}

io::Task<ApiResult<std::optional<Written>>> ObjectWriter::commit(Plan plan) {
  std::vector<std::string> keys;
  for (const Operation& operation : plan.transaction.operations) keys.push_back(operation.key);
  auto result = co_await registry_.store().commit(std::move(plan.transaction));
  if (!result) {
    // Full queue: the client may come again at once.
    if (result.error().code == ErrorCode::Exhausted)
      co_return too_many_requests(result.error().message, 1);
    co_return to_status(result.error());
  }
  if (!result->succeeded) {
    // Somebody was quicker, perhaps another server: the next try starts from what they wrote.
    if (const auto current = co_await registry_.store().synchronize(); !current) {
      co_return to_status(current.error());
    }
    co_return std::optional<Written>();
  }
  const auto own = std::ranges::find(keys, plan.key);
  check(own != keys.end(), "a plan writes its own object");
  plan.written.revision = result->revisions[static_cast<std::size_t>(own - keys.begin())];
  co_return std::optional<Written>(std::move(plan.written));
}

}  // namespace fairlead::apiserver
