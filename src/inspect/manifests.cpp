#include "inspect/manifests.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <system_error>
#include <vector>

#include "inspect/object_rules.hpp"

namespace fairlead::inspect {
namespace {

namespace fs = std::filesystem;

Result<std::string> read_file(const std::string& path) {
  std::error_code ec;
  if (fs::is_directory(path, ec)) return errno_error(EISDIR, "read " + path);
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) return errno_error(errno == 0 ? ENOENT : errno, "read " + path);
  std::string out(std::istreambuf_iterator<char>(file), {});
  if (file.bad()) return errno_error(EIO, "read " + path);
  return out;
}

bool is_manifest(const fs::path& path) {
  const auto extension = path.extension();
  return extension == ".yaml" || extension == ".yml" || extension == ".json";
}

std::string text_member(const boost::json::object& object, std::string_view name) {
  const auto* found = object.if_contains(name);
  return found != nullptr && found->is_string() ? std::string(found->get_string()) : std::string();
}

std::string describe(const boost::json::object& object) {
  const std::string kind = text_member(object, "kind");
  const auto* metadata = object.if_contains("metadata");
  if (metadata == nullptr || !metadata->is_object()) return kind;
  const std::string namespace_ = text_member(metadata->get_object(), "namespace");
  const std::string name = text_member(metadata->get_object(), "name");
  if (name.empty()) return kind;
  return fmt::format("{} {}{}{}", kind, namespace_, namespace_.empty() ? "" : "/", name);
}

// Items of a typed list (ServiceList) may go without a kind of their own.
boost::json::value with_kind_of_list(boost::json::value item, const boost::json::object& list) {
  const std::string kind = text_member(list, "kind");
  auto* fields = item.if_object();
  if (fields == nullptr || kind == "List") return item;
  if (!fields->contains("kind")) (*fields)["kind"] = kind.substr(0, kind.size() - 4);
  if (!fields->contains("apiVersion")) (*fields)["apiVersion"] = list.at("apiVersion");
  return item;
}

struct Kind {
  std::string kind, api_version;
};
std::string_view group_of(std::string_view api_version) {
  const auto slash = api_version.find('/');
  return slash == std::string_view::npos ? "" : api_version.substr(0, slash);
}
// Other groups have kinds of the same names.
template <class T>
bool is_a(const Kind& kind) {
  return kind.kind == kube::KindOf<T>::kKind &&
         group_of(kind.api_version) == group_of(kube::KindOf<T>::kApiVersion);
}

}  // namespace

Result<void> ManifestReader::add_path(const std::string& path) {
  if (path == "-") {
    const std::string text(std::istreambuf_iterator<char>(std::cin), {});
    return add("standard input", text);
  }
  std::error_code ec;
  if (fs::is_directory(path, ec)) return add_folder(path);
  FAIRLEAD_TRY(text, read_file(path));
  return add(path, text);
}

Result<void> ManifestReader::add_folder(const std::string& path) {
  std::vector<std::string> files;
  std::error_code ec;
  auto walk = fs::recursive_directory_iterator(path, ec);
  for (; !ec && walk != fs::recursive_directory_iterator(); walk.increment(ec)) {
    if (is_manifest(walk->path()) && !walk->is_directory(ec)) files.push_back(walk->path());
  }
  if (ec) return errno_error(ec.value(), "read folder " + path);
  if (files.empty()) {
    return make_error(ErrorCode::NotFound, "{}: no .yaml, .yml or .json file in this folder", path);
  }
  std::ranges::sort(files);
  for (const std::string& file : files) {
    FAIRLEAD_TRY(text, read_file(file));
    FAIRLEAD_CHECK(add(file, text));
  }
  return {};
}

Result<void> ManifestReader::add(std::string_view source, std::string_view text) {
  auto documents = kube::manifest_documents(text);
  if (!documents) return documents.error().with_context(source);
  for (std::size_t i = 0; i < documents->size(); ++i) {
    FAIRLEAD_CHECK(add_document(fmt::format("{}: document {}", source, i + 1), documents->at(i)));
  }
  return {};
}

Result<void> ManifestReader::add_document(const std::string& place, const std::string& json) {
  boost::system::error_code ec;
  const auto document = boost::json::parse(json, ec);
  if (ec) return make_error(ErrorCode::BadRequest, "{}: {}", place, ec.message());
  const auto* object = document.if_object();
  if (object == nullptr) return make_error(ErrorCode::BadRequest, "{}: not an object", place);
  const std::string kind = text_member(*object, "kind");
  if (kind.empty()) return make_error(ErrorCode::BadRequest, "{}: kind: missing", place);
  if (text_member(*object, "apiVersion").empty())
    return make_error(ErrorCode::BadRequest, "{}: {}: apiVersion: missing", place, kind);
  if (const auto* items = object->if_contains("items");
      kind.ends_with("List") && items != nullptr) {
    if (!items->is_array())
      return make_error(ErrorCode::BadRequest, "{}: {}: items: not a list", place, kind);
    std::size_t i = 0;
    for (const auto& item : items->get_array()) {
      FAIRLEAD_CHECK(add_document(fmt::format("{}, item {}", place, ++i),
                                  boost::json::serialize(with_kind_of_list(item, *object))));
    }
    return {};
  }
  const std::string named = fmt::format("{}: {}", place, describe(*object));
  const Kind of{.kind = kind, .api_version = text_member(*object, "apiVersion")};
  if (is_a<kube::Service>(of)) return keep<kube::Service>(named, of.api_version, json);
  if (is_a<kube::EndpointSlice>(of)) return keep<kube::EndpointSlice>(named, of.api_version, json);
  if (is_a<kube::Pod>(of)) return keep<kube::Pod>(named, of.api_version, json);
  if (is_a<kube::Node>(of)) return keep<kube::Node>(named, of.api_version, json);
  if (is_a<kube::ServiceCidr>(of)) return keep<kube::ServiceCidr>(named, of.api_version, json);
  return {};
}

template <class T>
Result<void> ManifestReader::keep(const std::string& place, const std::string& api_version,
                                  const std::string& json) {
  if (api_version != kube::KindOf<T>::kApiVersion) {
    return make_error(ErrorCode::Unsupported, "{}: apiVersion: \"{}\" is not {}", place,
                      api_version, kube::KindOf<T>::kApiVersion);
  }
  if (auto words = check_words(kube::KindOf<T>::kKind, json); !words)
    return words.error().with_context(place);
  auto decoded = decoder_.object<T>(json);
  if (!decoded) return decoded.error().with_context(place);
  auto object = complete(*std::move(decoded));
  if (!object) return object.error().with_context(place);
  const kube::NamespacedName key{.namespace_ = object->metadata.namespace_,
                                 .name = object->metadata.name};
  FAIRLEAD_CHECK(once(place, fmt::format("{} {}", kube::KindOf<T>::kKind, key.to_string())));
  if constexpr (std::is_same_v<T, kube::Service>) {
    snapshot_.services.emplace(key, *std::move(object));
  } else if constexpr (std::is_same_v<T, kube::EndpointSlice>) {
    snapshot_.slices.emplace(key, *std::move(object));
  } else if constexpr (std::is_same_v<T, kube::Pod>) {
    snapshot_.pods.emplace(key, *std::move(object));
  } else if constexpr (std::is_same_v<T, kube::Node>) {
    snapshot_.nodes.emplace(key.name, *std::move(object));
  } else {
    snapshot_.ranges.emplace(key.name, *std::move(object));
  }
  return {};
}

Result<void> ManifestReader::once(const std::string& place, const std::string& what) {
  const auto [first, is_new] = places_.emplace(what, place);
  if (is_new) return {};
  return make_error(ErrorCode::AlreadyExists, "{}: given before, in {}", place, first->second);
}

}  // namespace fairlead::inspect
