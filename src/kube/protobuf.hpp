// Kubernetes' protobuf, as clients send it in request bodies: the magic "k8s\0", an envelope that
// names the kind, and the object. One direction only: to the JSON the server works with. Pure.
//
// Fields that are not pointers in Go arrive even when empty; they are left out, as in JSON. Unknown
// fields are skipped, as protobuf has it, but a field we know and do not carry over is an error: a
// Pod must not lose its volumes silently.
#pragma once

#include <string>
#include <string_view>

#include "base/error.hpp"

namespace fairlead::kube {

inline constexpr std::string_view kProtobufMediaType = "application/vnd.kubernetes.protobuf";

// BadRequest: truncated or malformed. Unsupported: of a kind, or with a field, that is not read
// from protobuf.
Result<std::string> protobuf_to_json(std::string_view body);

}  // namespace fairlead::kube
