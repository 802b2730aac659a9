// What a request asks for, read from its path, query and headers. Pure; nothing here knows which
// resources exist.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apiserver/object_cache.hpp"
#include "apiserver/object_writer.hpp"
#include "apiserver/status.hpp"
#include "io/http.hpp"

namespace fairlead::apiserver {

// ---- path
struct ApiPath {
  enum class Kind {
    Other,         // not below /api/v1 or /apis/{group}/{version}
    GroupVersion,  // exactly that
    Resource,
  };
  Kind kind = Kind::Other;
  std::string group, version, ns, resource, name, subresource;
  bool operator==(const ApiPath&) const = default;
};
// `path` is still percent-encoded. A path that can name nothing (empty segments, an encoded slash)
// is Other; "." and ".." as a name are BadRequest.
ApiResult<ApiPath> parse_api_path(std::string_view path);

// ---- Accept
struct AcceptClause {
  std::string type;                               // lower case, "application/json"
  std::map<std::string, std::string> parameters;  // without q
};
// By falling q, then wildcards last, then in the order given; clauses with q=0 are left out.
std::vector<AcceptClause> parse_accept(std::string_view text);

struct Representation {
  enum class Shape { Object, Table, PartialMetadata };
  Shape shape = Shape::Object;
  enum class Format { Json, Yaml, Protobuf };  // Yaml: the same JSON, which is YAML
  Format format = Format::Json;
  std::string meta_version = "v1";  // of Table and PartialObjectMetadata: "v1" or "v1beta1"
  bool operator==(const Representation&) const = default;
};
// 406 when nothing fits. Protobuf is for what has a message in it.
ApiResult<Representation> negotiate(std::string_view accept, bool has_protobuf = true);
// How a Status is written to who accepts `accept`: it has one shape, and JSON is always possible.
Representation::Format status_format(std::string_view accept);

// ---- list and watch options (spec 2.2 - 2.5)
struct ListOptions {
  Selection selection;  // ns is the path's
  std::size_t limit = 0;
  std::string continue_token;
  std::optional<Revision> resource_version;  // absent = unset
  enum class Match { Unset, Exact, NotOlderThan };
  Match match = Match::Unset;
  bool watch = false;
  bool allow_bookmarks = false;
  std::optional<bool> send_initial_events;
  std::optional<std::uint32_t> timeout_seconds;
};
ApiResult<ListOptions> parse_list_options(const io::Url& url, const Strategy& strategy,
                                          std::string_view ns);

// A place in a listing: the snapshot and the key to go on from. Revision 0 = the latest.
struct ContinueToken {
  Revision revision = 0;
  std::string start;          // relative to the resource's storage prefix
  std::size_t remaining = 0;  // objects from there on; 0 = not known
  bool operator==(const ContinueToken&) const = default;
};
std::string encode_continue(const ContinueToken& token);
ApiResult<ContinueToken> decode_continue(std::string_view text);

// ---- write options
struct WriteOptions {
  bool dry_run = false;
  FieldValidation field_validation = FieldValidation::Warn;
  std::string field_manager;
};
ApiResult<WriteOptions> parse_write_options(const io::Url& url, std::string_view kind);
// From the body if there is one, else from the query.
ApiResult<DeleteOptions> parse_delete_options(const io::Url& url, const Document* body);

bool wants_pretty(const io::Url& url, std::string_view user_agent);

}  // namespace fairlead::apiserver
