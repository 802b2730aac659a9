#include "apiserver/resource_handler.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "apiserver/audit.hpp"
#include "apiserver/body.hpp"
#include "apiserver/field_owners.hpp"
#include "apiserver/patch.hpp"
#include "base/text.hpp"

namespace fairlead::apiserver {
namespace {

using namespace std::chrono_literals;

constexpr auto kFreshnessWait = 3s;
constexpr std::size_t kSnapshotChunk = 500;  // objects read from the store at a time

io::HttpResponse response_of(unsigned status, std::string body, const View& view) {
  io::HttpResponse out;
  out.status = status;
  out.headers = {{"Content-Type", std::string(content_type(view.representation.format))}};
  out.body = std::move(body);
  return out;
}

// What the audit log cannot read out of the answer's bytes.
void show_list(const ResourceCall& call, const std::vector<ObjectPtr>& items, const ListMeta& meta,
               View view) {
  const bool binary = view.representation.format == Representation::Format::Protobuf;
  if (!binary || call.audited == nullptr || !call.audited->wants_answer()) return;
  view.representation.format = Representation::Format::Json;
  boost::json::error_code failed;
  call.audited->shows(
      boost::json::parse(encode_list(call.resource->strategy, items, meta, view), failed));
}

std::string_view header(const io::HttpRequest& request, std::string_view name) {
  return io::find_header(request.headers, name).value_or("");
}

}  // namespace

io::HttpHeader warning_header(std::string_view text) {
  return {"Warning", fmt::format("299 - {}", boost::json::serialize(text_value(text)))};
}

std::string_view to_string(Verb verb) {
  switch (verb) {
    case Verb::Get:
      return "get";
    case Verb::List:
      return "list";
    case Verb::Watch:
      return "watch";
    case Verb::Create:
      return "create";
    case Verb::Update:
      return "update";
    case Verb::Patch:
      return "patch";
    case Verb::Delete:
      return "delete";
    case Verb::DeleteCollection:
      return "deletecollection";
  }
  return "";
}

io::Task<ApiResult<io::HttpResponse>> ResourceHandler::answer(ResourceCall call) {
  auto view = view_of(call);
  if (!view) co_return std::move(view).error();
  // What writes one object sees to that itself, most often by its commit alone.
  const bool reads = call.verb == Verb::Get || call.verb == Verb::List;
  if ((reads && call.url->param("resourceVersion").value_or("").empty()) ||
      call.verb == Verb::DeleteCollection) {
    FAIRLEAD_CO_CHECK(co_await be_current());
  }
  switch (call.verb) {
    case Verb::Get:
      co_return co_await get(std::move(call), *std::move(view));
    case Verb::List:
      co_return co_await list(std::move(call), *std::move(view));
    case Verb::Create:
      co_return co_await create(std::move(call), *std::move(view));
    case Verb::Update:
      co_return co_await update(std::move(call), *std::move(view));
    case Verb::Patch:
      co_return co_await patch(std::move(call), *std::move(view));
    case Verb::Delete:
      co_return co_await remove(std::move(call), *std::move(view));
    case Verb::DeleteCollection:
      co_return co_await remove_collection(std::move(call), *std::move(view));
    case Verb::Watch:
      break;
  }
  co_return internal_error("a watch is no plain answer");
}

ApiResult<View> ResourceHandler::view_of(const ResourceCall& call) const {
  const bool has_protobuf = call.path.version == call.resource->info().version &&
                            kube::has_protobuf({.api_version = call.resource->info().api_version(),
                                                .kind = call.resource->info().kind});
  FAIRLEAD_TRY(representation, negotiate(header(*call.request, "Accept"), has_protobuf));
  View view{.representation = std::move(representation),
            .include = IncludeObject::Metadata,
            .now = clock_.wall()};
  const std::string_view include = call.url->param("includeObject").value_or("");
  if (include == "None") {
    view.include = IncludeObject::None;
  } else if (include == "Object") {
    view.include = IncludeObject::Object;
  } else if (!include.empty() && include != "Metadata") {
    return bad_request(
        fmt::format("includeObject: \"{}\" is none of None, Metadata, Object", include));
  }
  return view;
}

// ---- reading

// Who names no revision is to see everything that was committed before, by other servers too.
io::Task<ApiResult<void>> ResourceHandler::be_current() {
  const auto current = co_await registry_.store().synchronize();
  if (!current) co_return to_status(current.error());
  co_return ApiResult<void>();
}

io::Task<ApiResult<void>> ResourceHandler::wait_for(Resource* resource, Revision revision) {
  if (revision <= resource->cache.revision()) co_return ApiResult<void>();
  const bool there = co_await resource->cache.wait_for(
      revision, std::chrono::steady_clock::now() + kFreshnessWait);
  if (!there) co_return too_large_resource_version(revision, resource->cache.revision());
  co_return ApiResult<void>();
}

io::Task<ApiResult<io::HttpResponse>> ResourceHandler::get(ResourceCall call, View view) {
  const std::string_view asked = call.url->param("resourceVersion").value_or("");
  const auto revision = asked.empty() ? Revision{0} : parse_uint(asked);
  if (!revision)
    co_return bad_request(fmt::format("resourceVersion: \"{}\" is not an unsigned integer", asked));
  FAIRLEAD_CO_CHECK(co_await wait_for(call.resource, *revision));
  const auto object = call.resource->get(call.path.ns, call.path.name);
  if (!object) co_return object.error();
  const ObjectPtr& found = *object;
  const bool former = call.path.version != call.resource->info().version;
  if (view.representation.shape == Representation::Shape::Object && !former) {
    co_return response_of(
        200, encode_cached(*found, call.resource->strategy, view.representation.format), view);
  }
  Document document = found->document();
  ensure_object(document, "metadata")["resourceVersion"] = std::to_string(found->revision);
  if (former) {
    call.resource->strategy.to_former_version(document);
    document["apiVersion"] = fmt::format("{}/{}", call.path.group, call.path.version);
  }
  co_return response_of(200, encode_object(call.resource->strategy, document, view), view);
}

// The state at a past revision: from the cache when nothing has changed since, else from the
// store's history.
io::Task<ApiResult<ObjectCache::Page>> ResourceHandler::page_at(Resource* resource,
                                                                Selection selection,
                                                                std::string from, std::size_t limit,
                                                                Revision revision) {
  if (revision >= resource->cache.last_change())
    co_return resource->cache.list(selection, from, limit);
  const ResourceInfo& info = resource->info();
  ObjectCache::Page out;
  ListRequest request{.prefix = info.namespaced && !selection.ns.empty()
                                    ? info.storage_prefix + selection.ns + "/"
                                    : info.storage_prefix,
                      .from = std::move(from),
                      .limit = kSnapshotChunk,
                      .revision = revision};
  while (true) {
    auto chunk = co_await registry_.store().list(request);
    if (!chunk) co_return to_status(chunk.error());
    for (const KeyValue& item : chunk->items) {
      auto object =
          make_cached_object(resource->strategy, item.key, *item.value, item.mod_revision);
      if (!object) continue;  // as of the present: told when it was noticed
      if (!selection.matches(**object)) continue;
      if (limit != 0 && out.items.size() == limit) {
        out.next = item.key;
        co_return out;
      }
      out.items.push_back(*std::move(object));
    }
    if (!chunk->more) co_return out;
    request.from = chunk->items.back().key + '\0';
  }
}

namespace {

// What to read: which snapshot (0 = the latest) and from where.
struct ListPlan {
  Revision exactly = 0;
  Revision at_least = 0;
  std::string from;
  std::size_t limit = 0;
  std::size_t expected = 0;  // objects from there on, as the page before has counted; 0 = not known
};

ApiResult<ListPlan> plan_list(const ResourceInfo& info, const ListOptions& options) {
  ListPlan plan{.exactly = 0, .at_least = 0, .from = {}, .limit = options.limit, .expected = 0};
  if (!options.continue_token.empty()) {
    FAIRLEAD_TRY(token, decode_continue(options.continue_token));
    plan.exactly = token.revision;
    plan.from = info.storage_prefix + token.start;
    if (!options.selection.selects()) plan.expected = token.remaining;
    return plan;
  }
  const Revision asked = options.resource_version.value_or(0);
  const bool legacy_exact = options.match == ListOptions::Match::Unset && options.limit > 0;
  if (asked != 0 && (options.match == ListOptions::Match::Exact || legacy_exact)) {
    plan.exactly = asked;
  }
  if (options.resource_version == Revision{0})
    plan.limit = 0;  // as the real server: all from the cache
  plan.at_least = asked;
  return plan;
}

// 410 for a continued list whose snapshot is gone; the token in it goes on at the latest state.
StatusError expired_list(const ListOptions& options, const ListPlan& plan,
                         const ResourceInfo& info) {
  StatusError error = expired(
      "The provided continue parameter is too old to display a consistent list result. You can "
      "start a new list without "
      "the continue parameter, or use the continue token in this response to retrieve the "
      "remainder of the results.");
  if (options.continue_token.empty()) {
    error.message =
        fmt::format("The resourceVersion for the provided list is too old: {}", plan.exactly);
  } else {
    // How many there are of the latest state is not known.
    error.continue_token = encode_continue(
        {.revision = 0, .start = plan.from.substr(info.storage_prefix.size()), .remaining = 0});
  }
  return error;
}

}  // namespace

io::Task<ApiResult<io::HttpResponse>> ResourceHandler::list(ResourceCall call, View view) {
  const ResourceInfo& info = call.resource->info();
  auto options = parse_list_options(*call.url, call.resource->strategy, call.path.ns);
  if (!options) co_return std::move(options).error();
  auto plan = plan_list(info, *options);
  if (!plan) co_return std::move(plan).error();
  FAIRLEAD_CO_CHECK(co_await wait_for(call.resource, std::max(plan->at_least, plan->exactly)));

  const Revision revision = plan->exactly != 0 ? plan->exactly : call.resource->cache.revision();
  auto page =
      co_await page_at(call.resource, options->selection, plan->from, plan->limit, revision);
  if (!page && page.error().code == 410) co_return expired_list(*options, *plan, info);
  if (!page) co_return std::move(page).error();
  ListMeta meta{.revision = revision, .continue_token = {}, .remaining = page->remaining};
  if (!page->next.empty()) {
    // A page of the past is read without counting what follows: the first page has.
    if (meta.remaining == 0 && plan->expected > page->items.size())
      meta.remaining = plan->expected - page->items.size();
    meta.continue_token = encode_continue({.revision = revision,
                                           .start = page->next.substr(info.storage_prefix.size()),
                                           .remaining = meta.remaining});
  }
  show_list(call, page->items, meta, view);
  co_return response_of(200, encode_list(call.resource->strategy, page->items, meta, view), view);
}

// ---- writing

ApiResult<WriteRequest> ResourceHandler::write_request(const ResourceCall& call,
                                                       std::string_view options_kind) const {
  FAIRLEAD_TRY(options, parse_write_options(*call.url, options_kind));
  WriteRequest out;
  out.context = {.now = clock_.wall(),
                 .dry_run = options.dry_run,
                 .user = call.user->name,
                 .field_manager =
                     field_manager_name(options.field_manager, header(*call.request, "User-Agent")),
                 .asker = call.user};
  out.ns = call.path.ns;
  out.name = call.path.name;
  out.subresource = call.path.subresource;
  out.field_validation = options.field_validation;
  return out;
}

io::HttpResponse ResourceHandler::written_response(const ResourceCall& call, const Written& written,
                                                   const View& view) const {
  Document document = written.object;
  if (written.created && call.audited != nullptr)
    call.audited->made(string_at(document, "metadata.name"));
  if (written.revision != 0) {
    ensure_object(document, "metadata")["resourceVersion"] = std::to_string(written.revision);
  }
  io::HttpResponse out = response_of(written.created ? 201 : 200,
                                     encode_object(call.resource->strategy, document, view), view);
  for (const std::string& warning : written.warnings)
    out.headers.push_back(warning_header(warning));
  return out;
}

namespace {

// The body as an object, with duplicate keys treated like unknown fields.
ApiResult<Document> object_body(const ResourceCall& call, WriteRequest& request,
                                std::vector<std::string>& warnings) {
  const ResourceInfo& info = call.resource->info();
  FAIRLEAD_TRY(decoded, decode_body(header(*call.request, "Content-Type"), call.request->body,
                                    {.api_version = info.api_version(),
                                     .kind = call.path.subresource.empty() ? info.kind : ""}));
  if (!decoded.value.is_object()) return bad_request("the body must be a JSON object");
  std::vector<std::string> texts;
  for (const std::string& path : decoded.duplicate_fields)
    texts.push_back(fmt::format("duplicate field \"{}\"", path));
  if (request.field_validation == FieldValidation::Strict && !texts.empty()) {
    return bad_request(fmt::format("strict decoding error: {}", fmt::join(texts, ", ")));
  }
  if (request.field_validation == FieldValidation::Warn) warnings = std::move(texts);
  return std::move(decoded.value.get_object());
}

}  // namespace

io::Task<ApiResult<io::HttpResponse>> ResourceHandler::create(ResourceCall call, View view) {
  auto request = write_request(call, "CreateOptions");
  if (!request) co_return std::move(request).error();
  std::vector<std::string> warnings;
  auto body = object_body(call, *request, warnings);
  if (!body) co_return std::move(body).error();
  auto written =
      call.path.subresource.empty()
          ? co_await writer_.create(*call.resource, *request, *std::move(body))
          : co_await writer_.create_subresource(*call.resource, *request, *std::move(body));
  if (!written) co_return std::move(written).error();
  written->warnings.insert(written->warnings.begin(), warnings.begin(), warnings.end());
  if (!call.path.subresource.empty()) {
    const Document status{{"kind", "Status"},
                          {"apiVersion", "v1"},
                          {"metadata", Document{}},
                          {"status", "Success"},
                          {"code", 201}};
    co_return response_of(201, encode_plain(status, view.representation.format), view);
  }
  co_return written_response(call, *written, view);
}

io::Task<ApiResult<io::HttpResponse>> ResourceHandler::update(ResourceCall call, View view) {
  auto request = write_request(call, "UpdateOptions");
  if (!request) co_return std::move(request).error();
  std::vector<std::string> warnings;
  auto body = object_body(call, *request, warnings);
  if (!body) co_return std::move(body).error();
  Change change = [document = *std::move(body)](const Document&) -> ApiResult<Document> {
    return document;
  };
  auto written = co_await writer_.update(*call.resource, *request, std::move(change));
  if (!written) co_return std::move(written).error();
  written->warnings.insert(written->warnings.begin(), warnings.begin(), warnings.end());
  co_return written_response(call, *written, view);
}

namespace {

enum class PatchType { Json, Merge, StrategicMerge, Apply };

ApiResult<PatchType> patch_type(std::string_view content_type) {
  const std::string type = media_type(content_type);
  if (type == "application/json-patch+json") return PatchType::Json;
  if (type == "application/merge-patch+json") return PatchType::Merge;
  if (type == "application/strategic-merge-patch+json") return PatchType::StrategicMerge;
  if (type == "application/apply-patch+yaml") return PatchType::Apply;
  return unsupported_media_type(
      "application/json-patch+json, application/merge-patch+json, "
      "application/strategic-merge-patch+json, application/apply-patch+yaml");
}

ApiResult<Document> apply_patch(PatchType type, std::string_view kind, const Document& current,
                                const boost::json::value& patch) {
  switch (type) {
    case PatchType::Json:
      return apply_json_patch(current, patch);
    case PatchType::Merge:
      return apply_merge_patch(current, patch);
    case PatchType::StrategicMerge:
      return apply_strategic_merge_patch(kind, current, patch);
    case PatchType::Apply:
      break;  // of a whole object, not of its JSON
  }
  return internal_error("unknown patch type");
}

StatusError bad_patch_option(FieldError error) {
  return invalid_status({.group = "meta.k8s.io", .resource = "PatchOptions"}, "",
                        {std::move(error)});
}

ApiResult<Change> json_change(const ResourceCall& call, PatchType type) {
  if (const auto force = call.url->param("force"); force && !force->empty())
    return bad_patch_option(forbidden("force", "may not be specified for non-apply patch"));
  FAIRLEAD_TRY(patch, parse_json(call.request->body));
  return Change([type, kind = call.resource->info().kind,
                 document = std::move(patch.value)](const Document& current) {
    return apply_patch(type, kind, current, document);
  });
}

// Of YAML, which JSON is too: as that it is read exactly.
ApiResult<Document> configuration(const ResourceCall& call) {
  const bool is_json = trim(call.request->body).starts_with('{');
  FAIRLEAD_TRY(decoded,
               decode_body(is_json ? "application/json" : "application/yaml", call.request->body));
  if (!decoded.value.is_object()) return bad_request("the body must be an object");
  if (!decoded.duplicate_fields.empty()) {
    return bad_request(fmt::format("error decoding YAML: duplicate field \"{}\"",
                                   decoded.duplicate_fields.front()));
  }
  return conform_configuration(call.resource->strategy, call.path.subresource,
                               std::move(decoded.value.get_object()));
}

ApiResult<Change> apply_change(const ResourceCall& call, const WriteRequest& request) {
  if (call.url->param("fieldManager").value_or("").empty())
    return bad_patch_option(required("fieldManager", "is required for apply patch"));
  FAIRLEAD_TRY(config, configuration(call));
  const std::string_view force = call.url->param("force").value_or("");
  return Change([resource = call.resource, config = std::move(config),
                 writer = FieldWriter{.manager = request.context.field_manager,
                                      .subresource = request.subresource,
                                      .now = request.context.now},
                 forced = force == "true" || force == "1"](const Document& current) {
    return apply_configuration(resource->info(), writer, current.empty() ? nullptr : &current,
                               config, forced);
  });
}

}  // namespace

io::Task<ApiResult<io::HttpResponse>> ResourceHandler::patch(ResourceCall call, View view) {
  auto type = patch_type(header(*call.request, "Content-Type"));
  if (!type) co_return std::move(type).error();
  auto request = write_request(call, "PatchOptions");
  if (!request) co_return std::move(request).error();
  request->is_patch = true;
  request->is_apply = *type == PatchType::Apply;
  auto change = request->is_apply ? apply_change(call, *request) : json_change(call, *type);
  if (!change) co_return std::move(change).error();
  auto written = co_await writer_.update(*call.resource, *request, *std::move(change));
  if (!written) co_return std::move(written).error();
  co_return written_response(call, *written, view);
}

// ---- deleting

namespace {

ApiResult<DeleteOptions> delete_options(const ResourceCall& call) {
  if (call.request->body.empty()) return parse_delete_options(*call.url, nullptr);
  FAIRLEAD_TRY(body, decode_object_body(header(*call.request, "Content-Type"), call.request->body,
                                        {.api_version = "v1", .kind = "DeleteOptions"}));
  return parse_delete_options(*call.url, &body);
}

WriteRequest delete_request(const ResourceCall& call, const DeleteOptions& options, WallTime now) {
  WriteRequest out;
  out.context = {.now = now,
                 .dry_run = options.dry_run,
                 .user = call.user->name,
                 .field_manager = {},
                 .asker = call.user};
  out.ns = call.path.ns;
  out.name = call.path.name;
  return out;
}

}  // namespace

io::Task<ApiResult<io::HttpResponse>> ResourceHandler::remove(ResourceCall call, View view) {
  auto options = delete_options(call);
  if (!options) co_return std::move(options).error();
  auto written = co_await writer_.remove(*call.resource,
                                         delete_request(call, *options, clock_.wall()), *options);
  if (!written) co_return std::move(written).error();
  const Strategy& strategy = call.resource->strategy;
  if (written->removed && (!strategy.delete_returns_object() || written->object.empty())) {
    const Document status = success_status(strategy.info().qualified_resource(), call.path.name,
                                           string_at(written->object, "metadata.uid"));
    co_return response_of(200, encode_plain(status, view.representation.format), view);
  }
  co_return written_response(call, *written, view);
}

io::Task<ApiResult<io::HttpResponse>> ResourceHandler::remove_collection(ResourceCall call,
                                                                         View view) {
  auto options = delete_options(call);
  if (!options) co_return std::move(options).error();
  auto selected = parse_list_options(*call.url, call.resource->strategy, call.path.ns);
  if (!selected) co_return std::move(selected).error();
  auto page = call.resource->cache.list(selected->selection, {}, 0);
  std::vector<ObjectPtr> removed;
  for (const ObjectPtr& object : page.items) {
    WriteRequest request = delete_request(call, *options, clock_.wall());
    request.ns = object->ns;
    request.name = object->name;
    auto written = co_await writer_.remove(*call.resource, std::move(request), *options);
    if (!written && written.error().code == 404) continue;  // somebody else was quicker
    if (!written) co_return std::move(written).error();
    removed.push_back(object);
  }
  const ListMeta meta{
      .revision = call.resource->cache.revision(), .continue_token = {}, .remaining = 0};
  show_list(call, removed, meta, view);
  co_return response_of(200, encode_list(call.resource->strategy, removed, meta, view), view);
}

}  // namespace fairlead::apiserver
