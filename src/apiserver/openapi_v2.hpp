// OpenAPI v2 for clients from before v3 (kubectl up to 1.26 explains, validates and merges by it,
// and asks it whether dry runs are known): one document that says of every kind what the v3
// documents say, as JSON and as the protobuf message that kubectl asks for. Pure.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "apiserver/kinds.hpp"

namespace fairlead::apiserver {

inline constexpr std::string_view kOpenApiV2Protobuf =
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

Document openapi_v2_of(std::span<const OpenApiDocument> documents);

// As the message openapi.v2.Document of github.com/google/gnostic, with the fields that documents
// made above have. Extensions and defaults in it are YAML, of which JSON is a part.
std::string openapi_v2_protobuf(const Document& document);

// Whether a client with this Accept header wants the protobuf; nullopt when it takes neither.
std::optional<bool> wants_openapi_protobuf(std::string_view accept);

}  // namespace fairlead::apiserver
