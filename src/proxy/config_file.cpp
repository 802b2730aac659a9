#include "proxy/config_file.hpp"

#include <yaml-cpp/yaml.h>

#include <cerrno>
#include <fstream>
#include <optional>
#include <set>
#include <sstream>

#include "base/clock.hpp"
#include "base/text.hpp"

namespace fairlead::proxy {
namespace {

constexpr std::string_view kApiVersion = "kubeproxy.config.k8s.io/v1alpha1";
constexpr std::string_view kKind = "KubeProxyConfiguration";
// Accepted and without effect here: Windows, and log plumbing that our logger does not have.
constexpr std::string_view kIgnored[] = {"winkernel", "windowsRunAsService", "logging.vmodule",
                                         "logging.options"};

// What a plain (unquoted) scalar means in YAML as Kubernetes reads it.
bool is_plain(const YAML::Node& node) { return node.Tag() != "!"; }
bool is_null(const YAML::Node& node) {
  if (!node.IsDefined() || node.IsNull()) return true;
  return node.IsScalar() && is_plain(node) && (node.Scalar() == "~" || node.Scalar() == "null");
}
std::optional<bool> as_bool(const YAML::Node& node) {
  if (!node.IsScalar() || !is_plain(node)) return std::nullopt;
  const std::string text = to_lower_ascii(node.Scalar());
  if (text == "true" || text == "yes" || text == "on") return true;
  if (text == "false" || text == "no" || text == "off") return false;
  return std::nullopt;
}
std::optional<double> as_number(const YAML::Node& node) {
  if (!node.IsScalar() || !is_plain(node) || node.Scalar().empty()) return std::nullopt;
  char* end = nullptr;
  const double value = std::strtod(node.Scalar().c_str(), &end);
  if (*end != '\0') return std::nullopt;
  return value;
}
std::string shown(const YAML::Node& node) {
  if (node.IsScalar()) return fmt::format("\"{}\"", node.Scalar());
  return node.IsSequence() ? "a list" : "a map";
}

class Reader {
 public:
  explicit Reader(const YAML::Node& root) : at_{{.node = root}} {
    known_.insert("apiVersion");
    known_.insert("kind");
    known_.insert(std::begin(kIgnored), std::end(kIgnored));
    known_.insert("logging");
  }

  template <class T>
  void field(std::string_view name, T& value) {
    const std::string path = at_.back().prefix + std::string(name);
    known_.insert(path);
    const YAML::Node node = child(name);
    if (error_ || is_null(node)) return;
    if (!read(node, value)) {
      error_ =
          make_error(ErrorCode::Invalid, "{}: {} is not {}", path, shown(node), kind_of(value));
    }
  }

  template <class F>
  void section(std::string_view name, F fields) {
    const std::string path = at_.back().prefix + std::string(name);
    known_.insert(path);
    const YAML::Node node = child(name);
    if (!error_ && !is_null(node) && !node.IsMap()) {
      error_ = make_error(ErrorCode::Invalid, "{}: {} is not a map", path, shown(node));
    }
    at_.push_back(
        {.node = is_null(node) ? YAML::Node(YAML::NodeType::Map) : node, .prefix = path + "."});
    fields();
    at_.pop_back();
  }

  const std::optional<Error>& error() const { return error_; }

  // Unknown and duplicate fields below `node`.
  std::vector<std::string> complaints() const {
    std::vector<std::string> out;
    complain(at_.front().node, "", out);
    return out;
  }

 private:
  struct Level {
    YAML::Node node;
    std::string prefix;
  };

  YAML::Node child(std::string_view name) const {
    const YAML::Node& map = at_.back().node;
    if (!map.IsMap()) return YAML::Node(YAML::NodeType::Undefined);
    for (const auto& entry : map) {  // of duplicates the first; operator[] would insert
      if (entry.first.IsScalar() && entry.first.Scalar() == name) return entry.second;
    }
    return YAML::Node(YAML::NodeType::Undefined);
  }

  void complain(const YAML::Node& map, const std::string& prefix,
                std::vector<std::string>& out) const {
    std::set<std::string> seen;
    for (const auto& entry : map) {
      const std::string path = prefix + (entry.first.IsScalar() ? entry.first.Scalar() : "?");
      if (!seen.insert(path).second) out.push_back(fmt::format("duplicate field \"{}\"", path));
      if (!known_.contains(path)) {
        out.push_back(fmt::format("unknown field \"{}\"", path));
      } else if (entry.second.IsMap() && has_fields(path)) {
        complain(entry.second, path + ".", out);
      }
    }
  }
  bool has_fields(const std::string& path) const {
    const auto next = known_.lower_bound(path + ".");
    return next != known_.end() && next->starts_with(path + ".");
  }

  static bool read(const YAML::Node& node, std::string& value) {
    if (!node.IsScalar()) return false;
    if (is_plain(node) && (as_bool(node) || as_number(node))) return false;  // as Go's decoder
    value = node.Scalar();
    return true;
  }
  static bool read(const YAML::Node& node, bool& value) {
    const auto parsed = as_bool(node);
    value = parsed.value_or(value);
    return parsed.has_value();
  }
  static bool read(const YAML::Node& node, std::int32_t& value) {
    if (!node.IsScalar() || !is_plain(node)) return false;
    const auto parsed = parse_int(node.Scalar());
    if (!parsed || *parsed < INT32_MIN || *parsed > INT32_MAX) return false;
    value = static_cast<std::int32_t>(*parsed);
    return true;
  }
  static bool read(const YAML::Node& node, double& value) {
    const auto parsed = as_number(node);
    value = parsed.value_or(value);
    return parsed.has_value();
  }
  static bool read(const YAML::Node& node, Duration& value) {
    if (!node.IsScalar()) return false;
    // A bare number is nanoseconds in logging.flushFrequency, and 0 is 0 everywhere.
    if (const auto bare = parse_int(node.Scalar()); bare && is_plain(node)) {
      value = Duration{*bare};
      return true;
    }
    const auto parsed = parse_duration(node.Scalar());
    if (parsed) value = *parsed;
    return parsed.has_value();
  }
  static bool read(const YAML::Node& node, std::vector<std::string>& values) {
    if (!node.IsSequence()) return false;
    values.clear();
    for (const auto& item : node) {
      if (!read(item, values.emplace_back())) return false;
    }
    return true;
  }
  static bool read(const YAML::Node& node, std::map<std::string, bool>& values) {
    if (!node.IsMap()) return false;
    values.clear();
    for (const auto& entry : node) {
      const auto value = as_bool(entry.second);
      if (!entry.first.IsScalar() || !value) return false;
      values[entry.first.Scalar()] = *value;
    }
    return true;
  }

  static std::string_view kind_of(const std::string&) { return "a string"; }
  static std::string_view kind_of(bool) { return "true or false"; }
  static std::string_view kind_of(std::int32_t) { return "a 32-bit integer"; }
  static std::string_view kind_of(double) { return "a number"; }
  static std::string_view kind_of(Duration) { return "a duration such as 30s or 1h15m"; }
  static std::string_view kind_of(const std::vector<std::string>&) { return "a list of strings"; }
  static std::string_view kind_of(const std::map<std::string, bool>&) {
    return "a map from names to true or false";
  }

  std::vector<Level> at_;
  std::set<std::string> known_;
  std::optional<Error> error_;
};

Result<void> check_kind(const YAML::Node& root) {
  if (!root.IsMap()) {
    return make_error(ErrorCode::Invalid, "a {} is a map, this is {}", kKind,
                      is_null(root) ? "empty" : shown(root));
  }
  for (const auto& [name, wanted] :
       {std::pair{"apiVersion", kApiVersion}, std::pair{"kind", kKind}}) {
    const YAML::Node node = root[name];
    const std::string value = node.IsDefined() && node.IsScalar() ? node.Scalar() : "";
    if (value != wanted) {
      return make_error(ErrorCode::Invalid, "{}: \"{}\" is not {}", name, value, wanted);
    }
  }
  return {};
}

template <class T>
void default_if_zero(T& value, const T& fallback) {
  if (value == T{}) value = fallback;
}

// "10.0.0.1" -> "10.0.0.1:port"; what is more than an address is left for validation.
std::string with_port(const std::string& address, unsigned port) {
  const auto ip = IpAddress::parse_sloppy(address);
  if (!ip) return address;
  return SocketAddress{.address = *ip, .port = Port{static_cast<std::uint16_t>(port)}}.to_string();
}

// A zero value in a file is an absent one (spec/kube-proxy 1.3). That holds for the server
// addresses too: kubeadm writes them empty and counts on the defaults.
void replace_zero_values(Config& c) {
  const Config d;
  default_if_zero(c.bind_address, d.bind_address);
  const auto bind = IpAddress::parse_sloppy(c.bind_address);
  const bool v6 = bind && !bind->is_v4();
  default_if_zero(c.healthz_bind_address, std::string(v6 ? "::" : "0.0.0.0"));
  default_if_zero(c.metrics_bind_address, std::string(v6 ? "::1" : "127.0.0.1"));
  c.healthz_bind_address = with_port(c.healthz_bind_address, 10256);
  c.metrics_bind_address = with_port(c.metrics_bind_address, 10249);
  default_if_zero(c.client_connection.content_type, d.client_connection.content_type);
  default_if_zero(c.client_connection.qps, d.client_connection.qps);
  default_if_zero(c.client_connection.burst, d.client_connection.burst);
  default_if_zero(c.logging.format, d.logging.format);
  default_if_zero(c.logging.flush_frequency, d.logging.flush_frequency);
  default_if_zero(c.iptables.sync_period, d.iptables.sync_period);
  default_if_zero(c.iptables.min_sync_period, d.iptables.min_sync_period);
  default_if_zero(c.ipvs.sync_period, d.ipvs.sync_period);
  default_if_zero(c.nftables.sync_period, d.nftables.sync_period);
  default_if_zero(c.nftables.min_sync_period, d.nftables.min_sync_period);
  default_if_zero(c.userspace.way_in, d.userspace.way_in);
  default_if_zero(c.userspace.choice, d.userspace.choice);
  default_if_zero(c.userspace.udp_timeout, d.userspace.udp_timeout);
  default_if_zero(c.userspace.drain_timeout, d.userspace.drain_timeout);
  default_if_zero(c.config_sync_period, d.config_sync_period);
}

Result<ConfigFile> decode(const YAML::Node& root) {
  FAIRLEAD_CHECK(check_kind(root));
  ConfigFile out;
  out.config.healthz_bind_address.clear();
  out.config.metrics_bind_address.clear();
  Reader reader(root);
  for_each_field(out.config, reader);
  if (reader.error()) return *reader.error();
  out.complaints = reader.complaints();
  replace_zero_values(out.config);
  return out;
}

class YamlWriter {
 public:
  explicit YamlWriter(YAML::Emitter& out) : out_(out) {}
  template <class F>
  void section(std::string_view name, F fields) {
    out_ << YAML::Key << std::string(name) << YAML::Value << YAML::BeginMap;
    fields();
    out_ << YAML::EndMap;
  }
  template <class T>
  void field(std::string_view name, const T& value) {
    out_ << YAML::Key << std::string(name) << YAML::Value;
    put(value);
  }

 private:
  void put(const std::string& value) { out_ << YAML::DoubleQuoted << value; }
  void put(Duration value) { out_ << format_duration(value); }
  void put(const std::vector<std::string>& values) {
    out_ << YAML::BeginSeq;
    for (const std::string& value : values) put(value);
    out_ << YAML::EndSeq;
  }
  void put(const std::map<std::string, bool>& values) {
    out_ << YAML::BeginMap;
    for (const auto& [key, value] : values) out_ << YAML::Key << key << YAML::Value << value;
    out_ << YAML::EndMap;
  }
  template <class T>
  void put(const T& value) {
    out_ << value;
  }
  YAML::Emitter& out_;
};

}  // namespace

namespace {

// The first line that is not UTF-8 (RFC 3629), from 1. yaml-cpp takes any bytes and writes others.
std::optional<std::size_t> line_not_utf8(std::string_view text) {
  std::size_t line = 1;
  while (!text.empty()) {
    const auto lead = static_cast<unsigned char>(text.front());
    if (lead == '\n') ++line;
    const std::size_t length = lead < 0x80                   ? 1
                               : lead >= 0xC2 && lead < 0xE0 ? 2
                               : lead >= 0xE0 && lead < 0xF0 ? 3
                               : lead >= 0xF0 && lead < 0xF5 ? 4
                                                             : 0;
    if (length == 0 || length > text.size()) return line;
    std::uint32_t code = length == 1 ? lead : lead & (0xFFU >> (length + 1));
    for (std::size_t i = 1; i < length; ++i) {
      const auto next = static_cast<unsigned char>(text[i]);
      if ((next & 0xC0U) != 0x80U) return line;
      code = code << 6U | (next & 0x3FU);
    }
    const bool surrogate = code >= 0xD800 && code < 0xE000;
    const bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
    if (surrogate || overlong || code > 0x10FFFF) return line;
    text.remove_prefix(length);
  }
  return std::nullopt;
}

}  // namespace

Result<ConfigFile> decode_config(std::string_view text) {
  if (const auto line = line_not_utf8(text))
    return make_error(ErrorCode::BadRequest, "line {}: not UTF-8", *line);
  try {
    return decode(YAML::Load(std::string(text)));
  } catch (const YAML::Exception& e) {
    return make_error(ErrorCode::BadRequest, "line {}: {}", e.mark.line + 1, trim(e.msg));
  }
}

Result<ConfigFile> read_config_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (!file || !(text << file.rdbuf())) {
    return errno_error(errno == 0 ? EIO : errno, fmt::format("read configuration file {}", path));
  }
  auto out = decode_config(text.str());
  if (!out) return out.error().with_context(fmt::format("configuration file {}", path));
  return out;
}

std::string encode_config(const Config& config) {
  YAML::Emitter out;
  out << YAML::BeginMap;
  YamlWriter writer(out);
  out << YAML::Key << "apiVersion" << YAML::Value << std::string(kApiVersion);
  out << YAML::Key << "kind" << YAML::Value << std::string(kKind);
  for_each_field(config, writer);
  out << YAML::EndMap;
  return std::string(out.c_str()) + "\n";
}

Result<void> write_config_file(const std::string& path, const Config& config) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << encode_config(config);
  file.close();
  if (!file) {
    return errno_error(errno == 0 ? EIO : errno, fmt::format("write configuration file {}", path));
  }
  return {};
}

}  // namespace fairlead::proxy
