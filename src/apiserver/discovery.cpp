#include "apiserver/discovery.hpp"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include "apiserver/request.hpp"
#include "apiserver/review_kinds.hpp"

namespace fairlead::apiserver {
namespace {

using boost::json::array;

array strings(const std::vector<std::string>& list) {
  array out;
  for (const std::string& entry : list) out.emplace_back(entry);
  return out;
}

Document group_version_kind(std::string_view group, std::string_view version,
                            std::string_view kind) {
  return {
      {"group", text_value(group)}, {"version", text_value(version)}, {"kind", text_value(kind)}};
}

// ---- aggregated

Document aggregated_subresource(const ResourceInfo& info, const Subresource& sub) {
  const bool own = !sub.kind.empty();
  return {{"subresource", sub.name},
          {"responseKind",
           group_version_kind(own ? sub.group : info.group, own ? sub.version : info.version,
                              own ? sub.kind : info.kind)},
          {"verbs", strings(sub.verbs)}};
}

Document aggregated_resource(const ResourceInfo& info) {
  Document out{{"resource", info.resource},
               {"responseKind", group_version_kind(info.group, info.version, info.kind)},
               {"scope", info.namespaced ? "Namespaced" : "Cluster"},
               {"singularResource", info.singular},
               {"verbs", strings(info.verbs)}};
  if (!info.short_names.empty()) out["shortNames"] = strings(info.short_names);
  if (!info.categories.empty()) out["categories"] = strings(info.categories);
  if (!info.subresources.empty()) {
    array subresources;
    for (const Subresource& sub : info.subresources)
      subresources.emplace_back(aggregated_subresource(info, sub));
    out["subresources"] = std::move(subresources);
  }
  return out;
}

// group -> version -> the infos, in the strategies' order within.
using ByGroup = std::map<std::string, std::map<std::string, std::vector<const ResourceInfo*>>>;

ByGroup by_group(const Strategies& strategies) {
  ByGroup out;
  for (const auto& strategy : strategies) {
    out[strategy->info().group][strategy->info().version].push_back(&strategy->info());
  }
  for (const ReviewKind& review : review_kinds())
    out[review.info.group][review.info.version].push_back(&review.info);
  return out;
}

std::string aggregated(const ByGroup& groups, bool core, std::string_view discovery_version) {
  array items;
  for (const auto& [group, versions] : groups) {
    if (group.empty() != core) continue;
    array version_entries;
    for (const auto& [version, infos] : versions) {
      array resources;
      for (const ResourceInfo* info : infos) resources.emplace_back(aggregated_resource(*info));
      version_entries.emplace_back(Document{
          {"version", version}, {"resources", std::move(resources)}, {"freshness", "Current"}});
    }
    Document metadata;
    if (!group.empty()) metadata["name"] = group;
    metadata["creationTimestamp"] = nullptr;
    items.emplace_back(
        Document{{"metadata", std::move(metadata)}, {"versions", std::move(version_entries)}});
  }
  return boost::json::serialize(
      Document{{"kind", "APIGroupDiscoveryList"},
               {"apiVersion", fmt::format("apidiscovery.k8s.io/{}", discovery_version)},
               {"metadata", Document{}},
               {"items", std::move(items)}});
}

// ---- legacy

Document legacy_group(const std::string& group,
                      const std::map<std::string, std::vector<const ResourceInfo*>>& versions) {
  array entries;
  for (const auto& [version, infos] : versions) {
    entries.emplace_back(Document{{"groupVersion", group + "/" + version}, {"version", version}});
  }
  boost::json::value preferred = entries.front();
  return {{"name", group},
          {"versions", std::move(entries)},
          {"preferredVersion", std::move(preferred)}};
}

Document legacy_resource_list(const std::string& group_version,
                              const std::vector<const ResourceInfo*>& infos) {
  array resources;
  for (const ResourceInfo* info : infos) {
    Document entry{{"name", info->resource},
                   {"singularName", info->singular},
                   {"namespaced", info->namespaced},
                   {"kind", info->kind},
                   {"verbs", strings(info->verbs)}};
    if (!info->short_names.empty()) entry["shortNames"] = strings(info->short_names);
    if (!info->categories.empty()) entry["categories"] = strings(info->categories);
    resources.emplace_back(std::move(entry));
    for (const Subresource& sub : info->subresources) {
      Document below{{"name", info->resource + "/" + sub.name},
                     {"singularName", ""},
                     {"namespaced", info->namespaced},
                     {"kind", sub.kind.empty() ? info->kind : sub.kind},
                     {"verbs", strings(sub.verbs)}};
      if (!sub.kind.empty() && !sub.group.empty()) below["group"] = sub.group;
      if (!sub.kind.empty()) below["version"] = sub.version;
      resources.emplace_back(std::move(below));
    }
  }
  return {{"kind", "APIResourceList"},
          {"apiVersion", "v1"},
          {"groupVersion", group_version},
          {"resources", std::move(resources)}};
}

Document api_versions() {
  return {
      {"kind", "APIVersions"}, {"versions", array{"v1"}}, {"serverAddressByClientCIDRs", array{}}};
}

std::uint64_t fnv1a(std::string_view text) {
  std::uint64_t hash = 14695981039346656037U;
  for (const char c : text) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 1099511628211U;
  }
  return hash;
}

StaticDocument json_document(const Document& document) {
  return static_document(boost::json::serialize(document) + "\n", "application/json");
}

}  // namespace

StaticDocument static_document(std::string body, std::string content_type) {
  std::string etag = fmt::format("\"{:016X}\"", fnv1a(body));
  return {
      .body = std::move(body), .content_type = std::move(content_type), .etag = std::move(etag)};
}

io::HttpResponse serve(const StaticDocument& document, const io::HttpRequest& request) {
  io::HttpResponse out;
  out.headers = {{"Content-Type", document.content_type},
                 {"ETag", document.etag},
                 {"Vary", "Accept"},
                 {"Cache-Control", "public"}};
  if (io::find_header(request.headers, "If-None-Match") == document.etag) {
    out.status = 304;
    return out;
  }
  out.body = document.body;
  return out;
}

Discovery::Discovery(const Strategies& strategies) {
  const ByGroup groups = by_group(strategies);
  for (const bool core : {true, false}) {
    const std::string path = core ? "/api" : "/apis";
    const auto type = [](std::string_view version) {
      return fmt::format("application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList",
                         version);
    };
    aggregated_v2_.emplace(path,
                           static_document(aggregated(groups, core, "v2") + "\n", type("v2")));
    aggregated_v2beta1_.emplace(
        path, static_document(aggregated(groups, core, "v2beta1") + "\n", type("v2beta1")));
  }

  array group_entries;
  for (const auto& [group, versions] : groups) {
    for (const auto& [version, infos] : versions) {
      const std::string group_version = group.empty() ? version : group + "/" + version;
      const std::string path = (group.empty() ? "/api/" : "/apis/") + group_version;
      legacy_.emplace(path, json_document(legacy_resource_list(group_version, infos)));
    }
    if (group.empty()) continue;
    Document entry = legacy_group(group, versions);
    group_entries.emplace_back(entry);
    entry["kind"] = "APIGroup";
    entry["apiVersion"] = "v1";
    legacy_.emplace("/apis/" + group, json_document(entry));
  }
  legacy_.emplace("/api", json_document(api_versions()));
  legacy_.emplace("/apis", json_document({{"kind", "APIGroupList"},
                                          {"apiVersion", "v1"},
                                          {"groups", std::move(group_entries)}}));
}

const StaticDocument* Discovery::find(std::string_view path, std::string_view accept) const {
  if (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  if (path == "/api" || path == "/apis") {
    for (const AcceptClause& clause : parse_accept(accept)) {
      const auto as = clause.parameters.find("as");
      if (clause.type != "application/json" || as == clause.parameters.end()) {
        break;  // the client prefers plain JSON
      }
      if (as->second != "APIGroupDiscoveryList") continue;
      const auto version = clause.parameters.find("v");
      if (version == clause.parameters.end()) continue;
      if (version->second == "v2") return &aggregated_v2_.find(path)->second;
      if (version->second == "v2beta1") return &aggregated_v2beta1_.find(path)->second;
    }
  }
  const auto found = legacy_.find(path);
  return found == legacy_.end() ? nullptr : &found->second;
}

}  // namespace fairlead::apiserver
