// Kubernetes' protobuf to JSON objects and back: the magic "k8s\0", an envelope that names the
// kind, and the object; lists, and the frames of watches. Pure. The fields are those of
// protobuf_schema.hpp.
//
// Reading: fields that are not pointers in Go arrive even when empty; they are left out, as in
// JSON. Unknown fields are skipped, as protobuf has it. The work is bounded by the body's size.
// Writing: what the object does not have is not written; a reader takes that for empty. A member
// that is a misfit is left out: the server accepts none, its store may hold one.
#pragma once

#include <boost/json/fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace fairlead::kube {

inline constexpr std::string_view kProtobufMediaType = "application/vnd.kubernetes.protobuf";

struct KindName {
  std::string_view api_version, kind;
  bool operator==(const KindName&) const = default;
};

bool has_protobuf(const KindName& kind);

// The object of a body, apiVersion and kind first; `expected` stands in where the body does not
// say. BadRequest: truncated or malformed. Unsupported: of a kind that is not known.
Result<boost::json::object> protobuf_to_object(std::string_view body,
                                               const KindName& expected = {});

// Leaves out of an object in JSON what Go would not write of it either: members that are empty and
// no pointers. Who sends `"clusterIP": ""` sends nothing. Of kinds that are not known nothing.
void drop_empty_members(const KindName& kind, boost::json::object& object);

// ---- writing, only of kinds that has_protobuf()

// The first member that is not what its field says: "spec.volumes[0].emptyDir: expected an object";
// nullopt when all that is known of the object can be written.
std::optional<std::string> protobuf_misfit(const KindName& kind, const boost::json::object& object);

// The object's message alone: what lists and envelopes are made of.
std::string protobuf_message(const KindName& kind, const boost::json::object& object);
// The message of its metadata alone, a PartialObjectMetadata.
std::string_view protobuf_metadata(std::string_view message);

// What a message of `size` bytes stands between.
std::string protobuf_envelope(const KindName& kind, std::size_t size);
inline constexpr std::string_view kProtobufEnvelopeEnd("\x1a\0\"\0", 4);  // no encoding, no type

// A frame of a watch: this, the message, kProtobufEnvelopeEnd.
std::string protobuf_frame(std::string_view event_type, const KindName& kind, std::size_t size);

// The body that lists `items`, messages; `kind` is the list's.
std::string protobuf_list(const KindName& kind, const boost::json::object& metadata,
                          std::span<const std::string_view> items);

}  // namespace fairlead::kube
