#include "client/kubeconfig.hpp"

#include <yaml-cpp/yaml.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <utility>

#include "base/ip.hpp"
#include "base/log.hpp"
#include "base/text.hpp"
#include "client/files.hpp"

namespace fairlead::client {

namespace {

// One file's named entries. Nodes are kept as YAML until a context says which of them are needed,
// because an entry nobody uses may be broken or unsupported without harm.
struct Entry {
  YAML::Node node;
  std::string file;   // where it came from, for messages and relative paths
  std::string field;  // e.g. `users "admin"`
};
struct Document {
  std::map<std::string, Entry> clusters, users, contexts;
  std::string current_context;
  std::string file;
};

Error wrong(const Entry& entry, std::string_view field, std::string_view what) {
  return make_error(ErrorCode::Invalid, "kubeconfig {}: {}: {}: {}", entry.file, entry.field, field,
                    what);
}

// yaml-cpp throws on most misuse; the calls below are the whole surface that touches it.
Result<YAML::Node> parse_yaml(const std::string& text, const std::string& file) {
  try {
    return YAML::Load(text);
  } catch (const YAML::Exception& e) {
    return make_error(ErrorCode::Invalid, "kubeconfig {}: line {}: {}", file, e.mark.line + 1,
                      trim(e.msg));
  }
}

// A scalar member as text; "" when absent or null.
Result<std::string> text_of(const Entry& entry, const char* name) {
  if (!entry.node.IsMap()) return std::string();
  const YAML::Node value = entry.node[name];
  if (!value.IsDefined() || value.IsNull()) return std::string();
  if (!value.IsScalar()) return wrong(entry, name, "is not a string");
  return value.Scalar();
}

Result<bool> flag_of(const Entry& entry, const char* name) {
  FAIRLEAD_TRY(text, text_of(entry, name));
  if (text.empty() || text == "false") return false;
  if (text == "true") return true;
  return wrong(entry, name, fmt::format("\"{}\" is neither true nor false", text));
}

Result<std::vector<std::string>> texts_of(const Entry& entry, const char* name) {
  std::vector<std::string> out;
  if (!entry.node.IsMap()) return out;
  const YAML::Node value = entry.node[name];
  if (!value.IsDefined() || value.IsNull()) return out;
  if (!value.IsSequence()) return wrong(entry, name, "is not a list");
  for (const auto& item : value) {
    if (!item.IsScalar()) return wrong(entry, name, "holds something that is not a string");
    out.push_back(item.Scalar());
  }
  return out;
}

Result<void> refuse(const Entry& entry, const char* name, std::string_view why) {
  if (entry.node.IsMap() && entry.node[name].IsDefined() && !entry.node[name].IsNull()) {
    return wrong(entry, name, why);
  }
  return {};
}

// clusters, users and contexts are lists of {name, <kind>: {...}}.
Result<std::map<std::string, Entry>> entries_of(const YAML::Node& root, const char* list,
                                                const char* kind, const std::string& file) {
  std::map<std::string, Entry> out;
  const YAML::Node items = root[list];
  if (!items.IsDefined() || items.IsNull()) return out;
  const Entry whole{.node = root, .file = file, .field = list};
  if (!items.IsSequence())
    return make_error(ErrorCode::Invalid, "kubeconfig {}: {}: is not a list", file, list);
  for (std::size_t i = 0; i < items.size(); ++i) {
    const Entry item{.node = items[i], .file = file, .field = fmt::format("{}[{}]", list, i)};
    if (!item.node.IsMap())
      return make_error(ErrorCode::Invalid, "kubeconfig {}: {}: is not a map", file, item.field);
    FAIRLEAD_TRY(name, text_of(item, "name"));
    const YAML::Node body = item.node[kind];
    if (body.IsDefined() && !body.IsNull() && !body.IsMap())
      return wrong(item, kind, "is not a map");
    out.emplace(name, Entry{.node = body.IsDefined() ? body : YAML::Node(YAML::NodeType::Map),
                            .file = file,
                            .field = fmt::format("{} \"{}\"", list, name)});
  }
  return out;
}

Result<Document> parse_document(const std::string& text, const std::string& file) {
  FAIRLEAD_TRY(root, parse_yaml(text, file));
  Document out{.file = file};
  if (root.IsNull()) return out;  // an empty file is an empty kubeconfig
  if (!root.IsMap())
    return make_error(ErrorCode::Invalid, "kubeconfig {}: is not a YAML map", file);
  const Entry top{.node = root, .file = file, .field = "kubeconfig"};
  FAIRLEAD_TRY(kind, text_of(top, "kind"));
  if (!kind.empty() && kind != "Config")
    return wrong(top, "kind", fmt::format("\"{}\" is not Config", kind));
  FAIRLEAD_TRY(clusters, entries_of(root, "clusters", "cluster", file));
  FAIRLEAD_TRY(users, entries_of(root, "users", "user", file));
  FAIRLEAD_TRY(contexts, entries_of(root, "contexts", "context", file));
  FAIRLEAD_TRY(current, text_of(top, "current-context"));
  out.clusters = std::move(clusters);
  out.users = std::move(users);
  out.contexts = std::move(contexts);
  out.current_context = std::move(current);
  return out;
}

Result<Document> read_document(const std::string& path) {
  auto text = read_file(path);
  if (!text) return text.error().with_context("kubeconfig");
  return parse_document(*text, path);
}

// `name`-data (base64) or else the file `name`, relative to the kubeconfig's folder.
Result<std::string> inline_or_file(const Entry& entry, const std::string& name) {
  const auto data_name = name + "-data";
  FAIRLEAD_TRY(data, text_of(entry, data_name.c_str()));
  if (!data.empty()) {
    auto decoded = base64_decode(trim(data));
    if (!decoded) return wrong(entry, data_name, "is not base64");
    return *std::move(decoded);
  }
  FAIRLEAD_TRY(path, text_of(entry, name.c_str()));
  if (path.empty()) return std::string();
  auto content = read_file(std::filesystem::path(entry.file).parent_path() / path);
  if (!content) return wrong(entry, name, content.error().message);
  return content;
}

Result<void> read_cluster(const Entry& entry, ClusterAccess* access) {
  FAIRLEAD_CHECK(refuse(entry, "proxy-url", "connecting through a proxy is not supported"));
  FAIRLEAD_TRY(server, text_of(entry, "server"));
  if (server.empty()) return wrong(entry, "server", "is missing");
  FAIRLEAD_TRY(ca, inline_or_file(entry, "certificate-authority"));
  FAIRLEAD_TRY(name, text_of(entry, "tls-server-name"));
  FAIRLEAD_TRY(insecure, flag_of(entry, "insecure-skip-tls-verify"));
  if (insecure && !ca.empty()) {
    return wrong(entry, "insecure-skip-tls-verify",
                 "may not be true while a certificate-authority is given");
  }
  access->server = std::move(server);
  if (!ca.empty()) access->ca_pem = std::move(ca);
  access->tls_server_name = std::move(name);
  access->insecure_skip_tls_verify = insecure;
  return {};
}

Result<void> read_user(const Entry& entry, ClusterAccess* access) {
  FAIRLEAD_CHECK(refuse(
      entry, "exec", "credential plugins are not supported; use a token or a client certificate"));
  FAIRLEAD_CHECK(refuse(entry, "auth-provider",
                        "auth providers are not supported; use a token or a client certificate"));
  FAIRLEAD_TRY(certificate, inline_or_file(entry, "client-certificate"));
  FAIRLEAD_TRY(key, inline_or_file(entry, "client-key"));
  if (certificate.empty() != key.empty()) {
    return wrong(entry, certificate.empty() ? "client-certificate" : "client-key",
                 "is missing beside its other half");
  }
  if (!key.empty()) {
    access->identity =
        io::KeyPair{.certificate_pem = std::move(certificate), .private_key_pem = std::move(key)};
  }
  FAIRLEAD_TRY(token, text_of(entry, "token"));
  FAIRLEAD_TRY(token_file, text_of(entry, "tokenFile"));
  FAIRLEAD_TRY(username, text_of(entry, "username"));
  FAIRLEAD_TRY(password, text_of(entry, "password"));
  FAIRLEAD_TRY(impersonate, text_of(entry, "as"));
  FAIRLEAD_TRY(groups, texts_of(entry, "as-groups"));
  access->token = std::move(token);
  if (!token_file.empty())
    access->token_file = std::filesystem::path(entry.file).parent_path() / token_file;
  access->username = std::move(username);
  access->password = std::move(password);
  access->impersonate_user = std::move(impersonate);
  access->impersonate_groups = std::move(groups);
  return {};
}

Result<Entry> find(const std::map<std::string, Entry>& entries, const std::string& name,
                   const Entry& context, const char* field) {
  const auto it = entries.find(name);
  if (it == entries.end()) return wrong(context, field, fmt::format("\"{}\" is not defined", name));
  return it->second;
}

Result<ClusterAccess> access_of(const Document& document, const std::string& wanted) {
  const auto& name = wanted.empty() ? document.current_context : wanted;
  if (name.empty()) {
    return make_error(ErrorCode::Invalid, "kubeconfig {}: current-context: is missing",
                      document.file);
  }
  const auto context = document.contexts.find(name);
  if (context == document.contexts.end()) {
    return make_error(ErrorCode::Invalid,
                      "kubeconfig {}: current-context: \"{}\" is not defined in contexts",
                      document.file, name);
  }
  ClusterAccess access;
  FAIRLEAD_TRY(cluster_name, text_of(context->second, "cluster"));
  FAIRLEAD_TRY(cluster, find(document.clusters, cluster_name, context->second, "cluster"));
  FAIRLEAD_CHECK(read_cluster(cluster, &access));
  FAIRLEAD_TRY(user_name, text_of(context->second, "user"));
  if (!user_name.empty()) {
    FAIRLEAD_TRY(user, find(document.users, user_name, context->second, "user"));
    FAIRLEAD_CHECK(read_user(user, &access));
  }
  FAIRLEAD_TRY(namespace_name, text_of(context->second, "namespace"));
  access.namespace_ = std::move(namespace_name);
  return access;
}

std::string environment(const char* name) {
  const char* value =
      std::getenv(name);  // NOLINT(concurrency-mt-unsafe): read before any thread starts
  return value == nullptr ? std::string() : std::string(value);
}

std::string base64_of(const std::string& text) {
  return base64_encode({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

}  // namespace

Surroundings Surroundings::of_process() {
  Surroundings out;
  out.service_host = environment("KUBERNETES_SERVICE_HOST");
  out.service_port = environment("KUBERNETES_SERVICE_PORT");
  out.kubeconfig = environment("KUBECONFIG");
  out.home = environment("HOME");
  return out;
}

Result<ClusterAccess> load_kubeconfig(const std::string& path, const std::string& context) {
  FAIRLEAD_TRY(document, read_document(path));
  return access_of(document, context);
}

Result<ClusterAccess> load_kubeconfigs(const std::vector<std::string>& paths,
                                       const std::string& context) {
  Document merged;
  std::string all;
  bool found = false;
  for (const auto& path : paths) {
    all += (all.empty() ? "" : ":") + path;
    auto document = read_document(path);
    if (!document && document.error().code == ErrorCode::NotFound) continue;
    if (!document) return std::move(document).error();
    found = true;
    merged.clusters.merge(document->clusters);
    merged.users.merge(document->users);
    merged.contexts.merge(document->contexts);
    if (merged.current_context.empty()) merged.current_context = document->current_context;
  }
  if (!found) return make_error(ErrorCode::NotFound, "kubeconfig {}: no such file", all);
  merged.file = all;
  return access_of(merged, context);
}

Result<ClusterAccess> access_for_user(const std::string& path, const Surroundings& surroundings) {
  if (!path.empty()) return load_kubeconfig(path);
  std::vector<std::string> paths;
  for (const auto part : split(surroundings.kubeconfig, ':')) {
    if (!part.empty()) paths.emplace_back(part);
  }
  if (paths.empty()) paths.push_back(surroundings.home + "/.kube/config");
  return load_kubeconfigs(paths);
}

Result<ClusterAccess> access_for_node(const std::string& kubeconfig, const std::string& master,
                                      const Surroundings& surroundings) {
  if (kubeconfig.empty() && master.empty()) return in_cluster_access(surroundings);
  ClusterAccess access;
  if (!kubeconfig.empty()) {
    FAIRLEAD_TRY(loaded, load_kubeconfig(kubeconfig));
    access = std::move(loaded);
  }
  if (!master.empty()) access.server = master;
  return access;
}

Result<ClusterAccess> in_cluster_access(const Surroundings& surroundings) {
  if (surroundings.service_host.empty() || surroundings.service_port.empty()) {
    return make_error(ErrorCode::Invalid,
                      "no kubeconfig and no master were given, and this is not a pod of a cluster: "
                      "KUBERNETES_SERVICE_HOST is \"{}\", KUBERNETES_SERVICE_PORT is \"{}\"",
                      surroundings.service_host, surroundings.service_port);
  }
  const bool v6 = surroundings.service_host.find(':') != std::string::npos;
  ClusterAccess access;
  access.server =
      v6 ? fmt::format("https://[{}]:{}", surroundings.service_host, surroundings.service_port)
         : fmt::format("https://{}:{}", surroundings.service_host, surroundings.service_port);
  access.token_file = surroundings.service_account + "/token";
  if (const auto token = read_file(access.token_file); !token) {
    return token.error().with_context("in-cluster credentials");
  }
  if (auto ca = read_file(surroundings.service_account + "/ca.crt")) {
    access.ca_pem = *std::move(ca);
  } else {
    log::warning("cannot read the cluster's CA, trusting the system's roots instead",
                 {{"error", ca.error()}});
  }
  return access;
}

std::string format_kubeconfig(const ClusterAccess& access, std::string_view name) {
  YAML::Emitter out;
  const std::string id(name);
  out << YAML::BeginMap << YAML::Key << "apiVersion" << YAML::Value << "v1" << YAML::Key << "kind"
      << YAML::Value << "Config" << YAML::Key << "current-context" << YAML::Value << id;
  out << YAML::Key << "clusters" << YAML::Value << YAML::BeginSeq << YAML::BeginMap << YAML::Key
      << "name" << YAML::Value << id << YAML::Key << "cluster" << YAML::Value << YAML::BeginMap;
  const auto put = [&out](const char* key, const std::string& value) {
    if (!value.empty()) out << YAML::Key << key << YAML::Value << YAML::DoubleQuoted << value;
  };
  put("server", access.server);
  if (access.ca_pem) put("certificate-authority-data", base64_of(*access.ca_pem));
  put("tls-server-name", access.tls_server_name);
  if (access.insecure_skip_tls_verify)
    out << YAML::Key << "insecure-skip-tls-verify" << YAML::Value << true;
  out << YAML::EndMap << YAML::EndMap << YAML::EndSeq;

  out << YAML::Key << "users" << YAML::Value << YAML::BeginSeq << YAML::BeginMap << YAML::Key
      << "name" << YAML::Value << id << YAML::Key << "user" << YAML::Value << YAML::BeginMap;
  if (access.identity) {
    put("client-certificate-data", base64_of(access.identity->certificate_pem));
    put("client-key-data", base64_of(access.identity->private_key_pem));
  }
  put("token", access.token);
  put("tokenFile", access.token_file);
  put("username", access.username);
  put("password", access.password);
  put("as", access.impersonate_user);
  if (!access.impersonate_groups.empty()) {
    out << YAML::Key << "as-groups" << YAML::Value << access.impersonate_groups;
  }
  out << YAML::EndMap << YAML::EndMap << YAML::EndSeq;

  out << YAML::Key << "contexts" << YAML::Value << YAML::BeginSeq << YAML::BeginMap << YAML::Key
      << "name" << YAML::Value << id << YAML::Key << "context" << YAML::Value << YAML::BeginMap;
  put("cluster", id);
  put("user", id);
  put("namespace", access.namespace_);
  out << YAML::EndMap << YAML::EndMap << YAML::EndSeq << YAML::EndMap;
  return std::string(out.c_str()) + "\n";
}

Result<void> write_kubeconfig(const std::string& path, const ClusterAccess& access,
                              std::string_view name) {
  auto written = write_private_file(path, format_kubeconfig(access, name));
  if (!written) return written.error().with_context("kubeconfig");
  return written;
}

}  // namespace fairlead::client
