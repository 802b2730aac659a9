// OpenAPI v3 documents, made from the same schemas that drive decoding: what kubectl needs for
// create, apply and explain.
#include <boost/json/array.hpp>
#include <map>

#include "apiserver/field_notes.hpp"
#include "apiserver/kinds.hpp"
#include "apiserver/patch.hpp"
#include "apiserver/review_kinds.hpp"
#include "apiserver/schema.hpp"
#include "base/text.hpp"

namespace fairlead::apiserver {
namespace {

using boost::json::array;
using boost::json::value;

Document group_version_kind(const ResourceInfo& info) {
  return {{"group", info.group}, {"version", info.version}, {"kind", info.kind}};
}

// "io.k8s.api.core.v1.Service", as kube-apiserver names them.
std::string schema_name(const ResourceInfo& info) {
  const std::string group =
      info.group.empty() ? "core" : info.group.substr(0, info.group.find('.'));
  return fmt::format("io.k8s.api.{}.{}.{}", group, info.version, info.kind);
}

Document reference_to(const ResourceInfo& info) {
  return {{"$ref", "#/components/schemas/" + schema_name(info)}};
}

Document content(std::string_view media_type, Document schema) {
  Document out;
  out[media_type] = Document{{"schema", std::move(schema)}};
  return out;
}

Document operation(const ResourceInfo& info, std::string_view action) {
  return {
      {"x-kubernetes-action", boost::json::string(action.data(), action.size())},
      {"x-kubernetes-group-version-kind", group_version_kind(info)},
      {"responses",
       Document{{"200", Document{{"description", "OK"},
                                 {"content", content("application/json", reference_to(info))}}}}}};
}

Document parameter(std::string_view name, std::string_view in, std::string_view type = "string") {
  return {{"name", text_value(name)},
          {"in", text_value(in)},
          {"schema", Document{{"type", text_value(type)}}}};
}

// kubectl looks among these for what the server can do: validate, and run dry.
Document with_write_parameters(Document operation) {
  operation["parameters"] = array{parameter("fieldValidation", "query"),
                                  parameter("dryRun", "query"), parameter("fieldManager", "query")};
  return operation;
}

Document with_path_parameters(Document item, std::initializer_list<std::string_view> names) {
  array parameters;
  for (const std::string_view name : names) {
    Document described = parameter(name, "path");
    described["required"] = true;
    parameters.push_back(std::move(described));
  }
  if (!parameters.empty()) item["parameters"] = std::move(parameters);
  return item;
}

Document patch_operation(const ResourceInfo& info) {
  Document bodies;
  for (const std::string_view type :
       {"application/json-patch+json", "application/merge-patch+json",
        "application/strategic-merge-patch+json", "application/apply-patch+yaml"}) {
    bodies[type] = Document{{"schema", Document{{"type", "object"}}}};
  }
  Document out = with_write_parameters(operation(info, "patch"));
  out["requestBody"] = Document{{"content", std::move(bodies)}};
  out.at("parameters").as_array().push_back(parameter("force", "query", "boolean"));
  return out;
}

Document write_operation(const ResourceInfo& info, std::string_view action) {
  Document out = with_write_parameters(operation(info, action));
  out["requestBody"] = Document{{"content", content("application/json", reference_to(info))}};
  return out;
}

// Without these, kubectl apply takes every list for one that is replaced whole.
void describe_merging(Document& schema, std::string_view kind) {
  for (const MergeRule& rule : merge_rules()) {
    Document* list = rule.is_of(kind) ? find_field(schema, rule.path) : nullptr;
    if (list == nullptr) continue;
    (*list)["x-kubernetes-patch-strategy"] = "merge";
    if (!rule.key.empty()) (*list)["x-kubernetes-patch-merge-key"] = text_value(rule.key);
  }
}

struct GroupVersion {
  Document paths, schemas;
};

std::string base_of(const ResourceInfo& info) {
  return (info.group.empty() ? "api/" : "apis/") + info.api_version();
}

std::string collection_of(const ResourceInfo& info) {
  return fmt::format("/{}/{}{}", base_of(info), info.namespaced ? "namespaces/{namespace}/" : "",
                     info.resource);
}

void describe_schema(const ResourceInfo& info, GroupVersion& out) {
  const Schema* schema = schema_of_kind(info.group, info.kind);
  check(schema != nullptr, "every kind served has a schema");
  Document described = schema->to_openapi();
  described["x-kubernetes-group-version-kind"] = array{group_version_kind(info)};
  describe_merging(described, info.kind);
  describe_fields(described, info.group, info.kind);
  out.schemas[schema_name(info)] = std::move(described);
}

void describe(const ResourceInfo& info, GroupVersion& out) {
  const std::string collection = collection_of(info);
  Document of_all{{"get", operation(info, "list")}, {"post", write_operation(info, "post")}};
  Document of_one{{"get", operation(info, "get")},
                  {"put", write_operation(info, "put")},
                  {"patch", patch_operation(info)},
                  {"delete", operation(info, "delete")}};
  if (info.namespaced) {
    of_all = with_path_parameters(std::move(of_all), {"namespace"});
    of_one = with_path_parameters(std::move(of_one), {"name", "namespace"});
  } else {
    of_one = with_path_parameters(std::move(of_one), {"name"});
  }
  out.paths[collection] = std::move(of_all);
  out.paths[collection + "/{name}"] = std::move(of_one);
  describe_schema(info, out);
}

}  // namespace

std::vector<OpenApiDocument> make_openapi_documents(
    const std::vector<std::unique_ptr<const Strategy>>& strategies) {
  std::map<std::string, GroupVersion> versions;
  for (const auto& strategy : strategies) {
    describe(strategy->info(), versions[base_of(strategy->info())]);
  }
  for (const ReviewKind& review : review_kinds()) {
    GroupVersion& version = versions[base_of(review.info)];
    Document of_all{{"post", write_operation(review.info, "post")}};
    version.paths[collection_of(review.info)] =
        review.info.namespaced ? with_path_parameters(std::move(of_all), {"namespace"})
                               : std::move(of_all);
    describe_schema(review.info, version);
  }
  std::vector<OpenApiDocument> out;
  for (auto& [path, version] : versions) {
    Document document{{"openapi", "3.0.0"},
                      {"info", Document{{"title", "Fairlead"}, {"version", "v1"}}},
                      {"paths", std::move(version.paths)},
                      {"components", Document{{"schemas", std::move(version.schemas)}}}};
    out.push_back({.path = path, .content = std::move(document)});
  }
  return out;
}

}  // namespace fairlead::apiserver
