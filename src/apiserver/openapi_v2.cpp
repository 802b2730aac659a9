#include "apiserver/openapi_v2.hpp"

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include "base/text.hpp"
#include "kube/protobuf_wire.hpp"

namespace fairlead::apiserver {
namespace {

using boost::json::array;
using boost::json::value;
using kube::append_bytes_field;
using kube::append_varint_field;

// ---- from v3 to v2

constexpr std::string_view kExtension = "x-";
constexpr std::string_view kV3Reference = "#/components/schemas/";
constexpr std::string_view kV2Reference = "#/definitions/";

std::string_view view(boost::json::string_view text) { return {text.data(), text.size()}; }

bool is_extension(boost::json::string_view name) { return view(name).starts_with(kExtension); }

// A schema is the same in both but for where its references lead; here only whole schemas are
// references.
Document schema_v2(const Document& schema) {
  const std::string_view reference = string_at(schema, "$ref");
  if (!reference.starts_with(kV3Reference)) return schema;
  return {{"$ref",
           text_value(fmt::format("{}{}", kV2Reference, reference.substr(kV3Reference.size())))}};
}

// {"schema":{"type":"string"}} becomes {"type":"string"}.
Document parameter_v2(const Document& parameter) {
  Document out;
  for (const auto& [name, member] : parameter) {
    if (name != "schema") {
      out[name] = member;
      continue;
    }
    for (const auto& [key, part] : member.as_object()) out[key] = part;
  }
  return out;
}

array parameters_v2(const Document& owner) {
  array out;
  const value* parameters = owner.if_contains("parameters");
  if (parameters == nullptr) return out;
  for (const value& parameter : parameters->as_array())
    out.push_back(parameter_v2(parameter.as_object()));
  return out;
}

// The media types of a body or an answer, and its schema, which is the same for all of them.
struct Content {
  array media_types;
  Document schema;
};
Content content_of(const Document& owner) {
  Content out;
  const Document* content = object_at(owner, "content");
  if (content == nullptr) return out;
  for (const auto& [type, described] : *content) {
    out.media_types.emplace_back(type);
    out.schema = schema_v2(described.at("schema").as_object());
  }
  return out;
}

Document operation_v2(const Document& operation) {
  Document out;
  for (const auto& [name, member] : operation) {
    if (is_extension(name)) out[name] = member;
  }
  array parameters = parameters_v2(operation);
  if (const Document* body = object_at(operation, "requestBody")) {
    Content content = content_of(*body);
    out["consumes"] = std::move(content.media_types);
    parameters.insert(parameters.begin(), Document{{"name", "body"},
                                                   {"in", "body"},
                                                   {"required", true},
                                                   {"schema", std::move(content.schema)}});
  }
  if (!parameters.empty()) out["parameters"] = std::move(parameters);
  Document responses;
  for (const auto& [code, described] : operation.at("responses").as_object()) {
    Content content = content_of(described.as_object());
    out["produces"] = std::move(content.media_types);
    responses[code] = Document{{"description", described.at("description")},
                               {"schema", std::move(content.schema)}};
  }
  out["responses"] = std::move(responses);
  return out;
}

Document path_item_v2(const Document& item) {
  Document out;
  for (const auto& [name, member] : item) {
    if (name == "parameters") {
      out[name] = parameters_v2(item);
    } else {
      out[name] = operation_v2(member.as_object());
    }
  }
  return out;
}

// ---- from v2 to protobuf; the numbers are those of gnostic's OpenAPIv2.proto

std::string text_of(const Document& from, std::string_view name) {
  return std::string(string_at(from, name));
}

void append_text(std::string& out, std::uint32_t number, const Document& from,
                 std::string_view name) {
  const std::string_view text = string_at(from, name);
  if (!text.empty()) append_bytes_field(out, number, text);
}

void append_texts(std::string& out, std::uint32_t number, const Document& from,
                  std::string_view name) {
  const value* texts = from.if_contains(name);
  if (texts == nullptr) return;
  for (const value& text : texts->as_array())
    append_bytes_field(out, number, view(text.as_string()));
}

std::string any(const value& of) {
  std::string out;
  append_bytes_field(out, 2, boost::json::serialize(of) + "\n");
  return out;
}

// The NamedX messages: a name and what it names.
void append_named(std::string& out, std::uint32_t number, boost::json::string_view name,
                  std::string_view message) {
  std::string named;
  append_bytes_field(named, 1, view(name));
  append_bytes_field(named, 2, message);
  append_bytes_field(out, number, named);
}

void append_extensions(std::string& out, std::uint32_t number, const Document& of) {
  for (const auto& [name, member] : of) {
    if (is_extension(name)) append_named(out, number, name, any(member));
  }
}

std::string schema_message(const Document& schema) {
  std::string out;
  append_text(out, 1, schema, "$ref");
  append_text(out, 2, schema, "format");
  append_text(out, 4, schema, "description");
  if (const value* fallback = schema.if_contains("default"))
    append_bytes_field(out, 5, any(*fallback));
  if (const Document* values = object_at(schema, "additionalProperties")) {
    std::string item;
    append_bytes_field(item, 1, schema_message(*values));
    append_bytes_field(out, 21, item);
  }
  if (const std::string type = text_of(schema, "type"); !type.empty()) {
    std::string item;
    append_bytes_field(item, 1, type);
    append_bytes_field(out, 22, item);
  }
  if (const Document* items = object_at(schema, "items")) {
    std::string item;
    append_bytes_field(item, 1, schema_message(*items));
    append_bytes_field(out, 23, item);
  }
  if (const Document* properties = object_at(schema, "properties")) {
    std::string all;
    for (const auto& [name, property] : *properties)
      append_named(all, 1, name, schema_message(property.as_object()));
    append_bytes_field(out, 25, all);
  }
  append_extensions(out, 31, schema);
  return out;
}

// In the body, in the path or in the query; each is a message of its own.
std::string parameter_message(const Document& parameter) {
  std::string inner;
  std::string out;
  const value* required = parameter.if_contains("required");
  const bool is_required = required != nullptr && required->as_bool();
  if (string_at(parameter, "in") == "body") {
    append_text(inner, 2, parameter, "name");
    append_text(inner, 3, parameter, "in");
    if (is_required) append_varint_field(inner, 4, 1);
    append_bytes_field(inner, 5, schema_message(parameter.at("schema").as_object()));
    append_bytes_field(out, 1, inner);
    return out;
  }
  const bool in_path = string_at(parameter, "in") == "path";
  if (is_required) append_varint_field(inner, 1, 1);
  append_text(inner, 2, parameter, "in");
  append_text(inner, 4, parameter, "name");
  append_text(inner, in_path ? 5 : 6, parameter, "type");
  std::string placed;
  append_bytes_field(placed, in_path ? 4 : 3, inner);
  append_bytes_field(out, 2, placed);
  return out;
}

void append_parameters(std::string& out, std::uint32_t number, const Document& owner) {
  const value* parameters = owner.if_contains("parameters");
  if (parameters == nullptr) return;
  for (const value& parameter : parameters->as_array()) {
    std::string item;
    append_bytes_field(item, 1, parameter_message(parameter.as_object()));
    append_bytes_field(out, number, item);
  }
}

std::string responses_message(const Document& responses) {
  std::string out;
  for (const auto& [code, described] : responses) {
    std::string schema;
    append_bytes_field(schema, 1, schema_message(described.at("schema").as_object()));
    std::string response;
    append_text(response, 1, described.as_object(), "description");
    append_bytes_field(response, 2, schema);
    std::string value;
    append_bytes_field(value, 1, response);
    append_named(out, 1, code, value);
  }
  return out;
}

std::string operation_message(const Document& operation) {
  std::string out;
  append_texts(out, 6, operation, "produces");
  append_texts(out, 7, operation, "consumes");
  append_parameters(out, 8, operation);
  append_bytes_field(out, 9, responses_message(operation.at("responses").as_object()));
  append_extensions(out, 13, operation);
  return out;
}

std::string path_item_message(const Document& item) {
  struct Method {
    std::string_view name;
    std::uint32_t number;
  };
  constexpr Method kMethods[] = {{.name = "get", .number = 2},
                                 {.name = "put", .number = 3},
                                 {.name = "post", .number = 4},
                                 {.name = "delete", .number = 5},
                                 {.name = "patch", .number = 8}};
  std::string out;
  for (const Method& method : kMethods) {
    if (const Document* operation = object_at(item, method.name))
      append_bytes_field(out, method.number, operation_message(*operation));
  }
  append_parameters(out, 9, item);
  return out;
}

}  // namespace

Document openapi_v2_of(std::span<const OpenApiDocument> documents) {
  Document paths;
  Document definitions;
  for (const OpenApiDocument& document : documents) {
    for (const auto& [path, item] : document.content.at("paths").as_object())
      paths[path] = path_item_v2(item.as_object());
    for (const auto& [name, schema] : *object_at(document.content, "components.schemas"))
      definitions[name] = schema;
  }
  return {{"swagger", "2.0"},
          {"info", Document{{"title", "Fairlead"}, {"version", "v1"}}},
          {"paths", std::move(paths)},
          {"definitions", std::move(definitions)}};
}

std::string openapi_v2_protobuf(const Document& document) {
  std::string info;
  append_text(info, 1, document.at("info").as_object(), "title");
  append_text(info, 2, document.at("info").as_object(), "version");
  std::string paths;
  for (const auto& [path, item] : document.at("paths").as_object())
    append_named(paths, 2, path, path_item_message(item.as_object()));
  std::string definitions;
  for (const auto& [name, schema] : document.at("definitions").as_object())
    append_named(definitions, 1, name, schema_message(schema.as_object()));
  std::string out;
  append_text(out, 1, document, "swagger");
  append_bytes_field(out, 2, info);
  append_bytes_field(out, 8, paths);
  append_bytes_field(out, 9, definitions);
  return out;
}

std::optional<bool> wants_openapi_protobuf(std::string_view accept) {
  if (accept.empty()) return false;
  for (const std::string_view clause : split(accept, ',')) {
    const std::string_view type = trim(split(clause, ';').front());
    // Spelt with "@v1.0" by clients from before that was seen to be no media type.
    if (type == kOpenApiV2Protobuf ||
        type == "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")
      return true;
    if (type == "application/json" || type == "application/*" || type == "*/*") return false;
  }
  return std::nullopt;
}

}  // namespace fairlead::apiserver
