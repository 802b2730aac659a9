// ObjectWriter: create, update and delete of any kind: the sequence of strategy.hpp around one
// compare-and-swap, run again on fresh state when it loses a race, or would be refused by what may
// be stale. Callers need not see to current caches. HTTP, patch formats and encodings are theirs.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "apiserver/registry.hpp"
#include "apiserver/strategy.hpp"
#include "apiserver/user.hpp"

namespace fairlead::apiserver {

enum class FieldValidation { Ignore, Warn, Strict };

struct WriteRequest {
  RequestContext context;
  std::string ns, name;     // of the URL; name is empty for create
  std::string subresource;  // "" = the object itself
  FieldValidation field_validation = FieldValidation::Warn;
  bool is_patch = false;
  // Server-side apply: the change says who owns what, and may be of nothing.
  bool is_apply = false;
};

struct Written {
  Document object;        // without resourceVersion
  Revision revision = 0;  // 0 in a dry run of a create
  bool created = false;
  bool removed = false;  // a DELETE that left nothing; of what could not be read `object` is empty
  std::vector<std::string> warnings;
};

// The wanted object, from the current one (with its metadata.resourceVersion). Runs again after a
// lost race.
using Change = std::function<ApiResult<Document>(const Document& current)>;

// Who may write what, where that depends on what is written. Asked for requests of users, not for
// what the server writes itself.
class WriteGuard {
 public:
  virtual ~WriteGuard() = default;
  // By a PUT or an apply, which was authorized as an update.
  virtual ApiResult<void> may_create(const User& user, const ResourceInfo& info,
                                     std::string_view ns, std::string_view name) const = 0;
  // `old` is null on create.
  virtual ApiResult<void> may_write(const User& user, const ResourceInfo& info, std::string_view ns,
                                    const Document* old, const Document& next) const = 0;
};

class ObjectWriter {
 public:
  // Both must outlive the writer; without a guard everything may be written.
  explicit ObjectWriter(Registry& registry, const WriteGuard* guard = nullptr)
      : registry_(registry), guard_(guard) {}

  io::Task<ApiResult<Written>> create(Resource& resource, WriteRequest request, Document body);
  // PUT (change ignores its argument) and PATCH. For a missing object of a kind that allows it, a
  // PUT creates, and so does a configuration that is applied: the change is then of an empty one.
  io::Task<ApiResult<Written>> update(Resource& resource, WriteRequest request, Change change);
  // POST of another kind to a subresource (binding).
  io::Task<ApiResult<Written>> create_subresource(Resource& resource, WriteRequest request,
                                                  Document body);
  io::Task<ApiResult<Written>> remove(Resource& resource, WriteRequest request,
                                      DeleteOptions options);

 private:
  // What one try came to: an answer, or a plan to commit.
  struct Plan {
    Written written;
    StoreTransaction transaction;
    std::string key;
    bool nothing_to_do = false;  // no change, or a dry run
  };
  ApiResult<Plan> plan_create(Resource& resource, const WriteRequest& request, Document document);
  ApiResult<Plan> plan_update(Resource& resource, const WriteRequest& request,
                              const CachedObject& current, const Change& change);
  ApiResult<Plan> plan_remove(Resource& resource, const WriteRequest& request,
                              const CachedObject& current, const DeleteOptions& options);
  ApiResult<Plan> plan_remove_unreadable(Resource& resource, const WriteRequest& request,
                                         Revision revision, const DeleteOptions& options);
  ApiResult<Plan> plan_create_subresource(Resource& resource, const WriteRequest& request,
                                          const Document& body);
  ApiResult<Plan> store_changed(Resource& resource, const WriteRequest& request,
                                const CachedObject& current, PendingTransaction& transaction,
                                Document old, Document next, std::vector<std::string> warnings);
  ApiResult<Plan> remove_now(Resource& resource, const WriteRequest& request,
                             const CachedObject& current, PendingTransaction& transaction,
                             Document object);
  ApiResult<void> check_namespace(const Resource& resource, std::string_view ns,
                                  std::string_view name, PendingTransaction& transaction) const;
  // What one request knows of the caches it plans from.
  struct Sight {
    bool is_current = false;  // they had everything that was committed before it came
  };
  // nullopt: others have written meanwhile; to be planned anew.
  io::Task<ApiResult<std::optional<Written>>> carry_out(ApiResult<Plan> plan, Sight* sight);
  io::Task<ApiResult<std::optional<Written>>> commit(Plan plan);

  ApiResult<void> check_guard(const Resource& resource, const WriteRequest& request,
                              const Document* old, const Document& next) const;

  Registry& registry_;
  const WriteGuard* guard_;
};

}  // namespace fairlead::apiserver
