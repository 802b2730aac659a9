// A Strategy is all the generic REST path knows of one kind: defaults, what clients may not set,
// validation, allocation, deletion, printing. One object a kind, made at start (kinds.hpp),
// immutable and without I/O, called on the loop's thread. Documents are whole JSON objects
// including kind and apiVersion, but never metadata.resourceVersion: that belongs to the store and
// is added on the way out.
//
// Order of calls (an error ends the request; nothing was stored):
//   create  conform -> apply_defaults -> [generic: name, uid, creationTimestamp] -> prepare_create
//   -> allocate
//           -> [generic metadata rules] validate_create -> warnings -> commit
//   update  (PUT, and PATCH on its result) conform -> apply_defaults -> [generic: metadata carried
//   over, RV compared]
//           -> carry_over -> prepare_update -> allocate -> [generic metadata rules] validate_update
//           -> [no change: nothing is written]
//           -> [generation] -> warnings -> commit
//   status  conform -> apply_defaults -> prepare_subresource_update -> validate_subresource_update
//   -> commit delete  deletion_rule -> (mark_deleting, commit) or (release, commit)
// prepare_* and allocate may therefore assume defaults, and must tolerate anything validate_* would
// refuse: types are right (conform), values need not be. When a commit loses a race, the whole
// sequence runs again on fresh state.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "apiserver/status.hpp"
#include "apiserver/user.hpp"
#include "base/clock.hpp"

namespace fairlead::apiserver {

struct Subresource {
  std::string name;                // "status"
  std::vector<std::string> verbs;  // alphabetical
  // Kind of its bodies when it differs from the resource's ("Binding", "v1"); empty = the same.
  std::string kind, group, version;
};

// What discovery says of a resource, and where its objects live in the store.
struct ResourceInfo {
  std::string group;    // "" for core
  std::string version;  // "v1"
  // An earlier version under which single objects can still be read, for clients that ask for it
  // without looking into discovery, where it does not appear; empty = none.
  std::string former_version = {};
  std::string resource;  // "services"
  std::string singular;  // "service"
  std::string kind;      // "Service"
  std::vector<std::string> short_names = {};
  std::vector<std::string> categories = {};
  bool namespaced = true;
  std::vector<std::string> verbs = {"create", "delete", "deletecollection", "get",
                                    "list",   "patch",  "update",           "watch"};
  std::vector<Subresource> subresources = {};
  std::string storage_prefix;    // "/registry/services/specs/": ends with '/'; then NS/NAME or NAME
  std::string deprecation = {};  // what a Warning header says with every answer; empty = nothing

  std::string api_version() const;  // "v1", "discovery.k8s.io/v1"
  Qualified qualified_resource() const { return {.group = group, .resource = resource}; }
  Qualified qualified_kind() const { return {.group = group, .resource = kind}; }
  // ns is ignored for cluster-scoped kinds.
  std::string storage_key(std::string_view ns, std::string_view name) const;
};

// Who asks, and when. `now` is read once per request, so that all its timestamps agree.
struct RequestContext {
  WallTime now;
  bool dry_run = false;
  std::string user;
  std::string field_manager;
  const User* asker = nullptr;  // null = the server itself; outlives the request
};

// Further keys of the store that are read and written together with the object: all or nothing.
// Reads see the state the commit will be checked against: if a key that was read or written has
// changed meanwhile, nothing is written and the request runs again. Within one transaction, later
// reads see earlier writes. In a dry run nothing is committed.
class Transaction {
 public:
  virtual ~Transaction() = default;

  virtual bool exists(std::string_view key) = 0;
  virtual std::optional<Document> get(std::string_view key) = 0;  // also absent: unreadable
  // Keys that start with prefix, in order, until `each` returns false. Does not guard against keys
  // appearing meanwhile: guard by reading or creating the very key that must be unique.
  virtual void for_each_key(std::string_view prefix,
                            const std::function<bool(std::string_view)>& each) = 0;

  // Raw documents, for bookkeeping that is no API object (node-port reservations).
  virtual void put(std::string_view key, Document value) = 0;
  virtual void remove(std::string_view key) = 0;  // absent is fine

  // An API object of another kind (an IPAddress): uid and creationTimestamp are filled in when
  // absent. The key must not exist (checked at commit). Kind and apiVersion must be set.
  virtual void create_object(const ResourceInfo& info, Document object) = 0;
};

struct DeleteOptions {
  std::optional<std::int64_t> grace_period_seconds;
  std::optional<std::string> propagation_policy;  // "Background", "Foreground", "Orphan"
  std::optional<bool> orphan_dependents;
  std::optional<std::string> uid, resource_version;  // preconditions
  bool dry_run = false;
};

// What DELETE does to an object that no finalizer holds.
struct DeletionRule {
  enum class How {
    Remove,    // gone at once
    Graceful,  // deletionTimestamp = now + grace, deletionGracePeriodSeconds = grace, until DELETE
               // with grace 0
    Mark,      // deletionTimestamp = now, mark_deleting(); removed when is_held() turns false
               // (Namespace)
  };
  How how = How::Remove;
  std::int64_t grace_seconds = 0;  // Graceful only, > 0
};

struct TableColumn {
  std::string name;
  std::string type = "string";  // "string", "integer", "date"
  std::string format;           // "name" for the first column
  std::string description;
  int priority = 0;  // 1 = only with -o wide
};

class Strategy {
 public:
  explicit Strategy(ResourceInfo info) : info_(std::move(info)) {}
  virtual ~Strategy() = default;
  Strategy(const Strategy&) = delete;
  Strategy& operator=(const Strategy&) = delete;

  const ResourceInfo& info() const { return info_; }

  // ---- Storage. Two kinds can be two views of the same stored objects (the Events of v1 and of
  // events.k8s.io/v1): they share a storage_prefix; one of them is what is stored, the other
  // translates, losing nothing. Default: the document is what is stored.
  virtual void from_stored(Document& document) const;
  virtual void to_stored(Document& document) const;

  // ---- Decoding. The document is what the client sent. Refuses wrong types (BadRequest naming the
  // path), removes unknown fields and returns their paths ("spec.foo", "spec.ports[0].bar"), sorted
  // as found. Removes nulls, which mean "absent". Default: keeps everything.
  virtual ApiResult<std::vector<std::string>> conform(Document& document) const;

  // ---- Names: the reasons why a name is refused; empty = fine. Default: RFC 1123 subdomain.
  virtual std::vector<std::string> name_errors(std::string_view name) const;

  // ---- Writes
  virtual void apply_defaults(Document& document) const = 0;
  // Wipes what clients may not set on create (status). metadata is complete.
  virtual void prepare_create(const RequestContext& context, Document& document) const = 0;
  // Puts back what may be left out of an update without being given up: it is not the writer's and
  // nobody loses it. metadata is complete. Default: nothing.
  virtual void carry_over(const Document& old, Document& document) const;
  // Carries over or wipes (status := old status). metadata is complete.
  virtual void prepare_update(const RequestContext& context, const Document& old,
                              Document& document) const = 0;
  // Fills in what must be unique (cluster IPs, node ports) and releases what the update gave up.
  // `old` is null on create. In a dry run fill in placeholders and reserve nothing (spec 3.4).
  // Default: nothing.
  virtual ApiResult<void> allocate(const RequestContext& context, Transaction& transaction,
                                   const Document* old, Document& document) const;
  // Gives back everything `allocate` reserved for this object; called in the transaction that
  // removes it.
  virtual void release(Transaction& transaction, const Document& document) const;
  // Keys of all that `allocate` has reserved for the object of that name, found without the object,
  // which cannot be read. Reads `state` alone. Default: none.
  virtual std::vector<std::string> reservations(Transaction& state, std::string_view ns,
                                                std::string_view name) const;
  // Rules of the kind only; the generic path checks metadata.
  virtual FieldErrors validate_create(const RequestContext& context,
                                      const Document& document) const = 0;
  virtual FieldErrors validate_update(const RequestContext& context, const Document& old,
                                      const Document& document) const = 0;
  virtual std::vector<std::string> warnings(
      const Document& document) const;  // texts of Warning headers

  // ---- Subresources of info().subresources whose bodies are the kind itself ("status",
  // "finalize"). Default of prepare for "status": everything is the old object but status and
  // metadata's labels and annotations.
  virtual void prepare_subresource_update(const RequestContext& context,
                                          std::string_view subresource, const Document& old,
                                          Document& document) const;
  virtual FieldErrors validate_subresource_update(const RequestContext& context,
                                                  std::string_view subresource, const Document& old,
                                                  const Document& document) const;
  // POST on a subresource with a body of another kind ("binding"): changes `object`. Default: 405.
  virtual ApiResult<void> create_subresource(const RequestContext& context,
                                             std::string_view subresource, const Document& body,
                                             Document& object) const;

  // ---- Update rules (spec 3.2)
  virtual bool put_may_create() const { return false; }
  virtual bool put_needs_resource_version() const { return false; }

  // ---- metadata.generation: absent unless has_generation(). 1 on create; +1 when an update bumps
  // it. Graceful deletion adds 1 too. Default: not kept.
  virtual bool has_generation() const { return false; }
  virtual bool bumps_generation(const Document& old, const Document& document) const;

  // ---- Deletion (spec 3.3)
  // An error refuses (403 for the namespace "default").
  virtual ApiResult<DeletionRule> deletion_rule(const Document& document,
                                                const DeleteOptions& options) const;
  virtual void mark_deleting(Document& document) const;  // e.g. status.phase = Terminating
  virtual bool is_held(
      const Document& document) const;  // by more than metadata.finalizers (spec.finalizers)
  virtual bool delete_returns_object() const { return false; }  // else a Success Status

  // ---- Reading
  // Field labels a field selector may use, with this object's values; always the same labels,
  // absent values are "". metadata.name and metadata.namespace are added by the generic path.
  // Default: none.
  virtual std::vector<std::pair<std::string, std::string>> selectable_fields(
      const Document& document) const;
  // Says the same in the words of former_version; apiVersion is not this one's to change.
  virtual void to_former_version(Document& document) const;
  virtual const std::vector<TableColumn>& table_columns() const = 0;  // the same ones every time
  virtual boost::json::array table_cells(const Document& document, WallTime now) const = 0;

 private:
  ResourceInfo info_;
};

// ---- Small readers that every strategy needs. A missing or differently typed member is "not
// there".
const boost::json::value* find_path(const Document& document,
                                    std::string_view dotted);  // "spec.type"; no indices
std::string_view string_at(const Document& document, std::string_view dotted);  // "" when absent
const Document* object_at(const Document& document, std::string_view dotted);
const boost::json::array* array_at(const Document& document, std::string_view dotted);
std::optional<std::int64_t> int_at(const Document& document, std::string_view dotted);
std::optional<bool> bool_at(const Document& document, std::string_view dotted);
// Texts of a list of strings; empty when it is absent.
std::vector<std::string> texts_at(const Document& document, std::string_view path);
// Objects of a list; what is no object is left out.
std::vector<const Document*> objects_at(const Document& document, std::string_view path);
// The object at `key`, made (or made an object) if need be.
Document& ensure_object(Document& parent, std::string_view key);

// The text of an age column (spec 2.11): "5s", "2m10s", "3h", "<unknown>", "<invalid>".
std::string age_text(const Document& document, WallTime now);
std::string age_since(std::string_view time, WallTime now);  // of an RFC 3339 time

}  // namespace fairlead::apiserver
