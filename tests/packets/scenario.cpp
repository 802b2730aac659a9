#include "packets/scenario.hpp"

#include <boost/json.hpp>

#include "kube/codec.hpp"

namespace fairlead::packets {
namespace {

namespace json = boost::json;

Error wrong(std::string_view path, std::string_view what) {
  return make_error(ErrorCode::Invalid, "{}: {}", path, what);
}

// The members of one object, taken one by one; what nobody takes is an error, as is a member of
// another type. The first error stays until finish().
class Fields {
 public:
  Fields(const json::value& value, std::string path) : path_(std::move(path)) {
    if (const auto* object = value.if_object()) {
      left_ = *object;
    } else {
      fail("", "not a map");
    }
  }

  const std::string& path() const { return path_; }

  std::optional<json::value> take(std::string_view key) {
    const auto found = left_.find(key);
    if (found == left_.end()) return std::nullopt;
    json::value value = found->value();
    left_.erase(found);
    return value;
  }

  std::string text(std::string_view key) {
    const auto value = take(key);
    return value ? to_text(key, *value) : "";
  }

  unsigned number(std::string_view key, unsigned absent) {
    const auto value = take(key);
    if (!value) return absent;
    if (const auto* n = value->if_int64(); n != nullptr && *n >= 0 && *n < 65536)
      return static_cast<unsigned>(*n);
    fail(key, fmt::format("{} is no small number", json::serialize(*value)));
    return absent;
  }

  bool flag(std::string_view key) {
    const auto value = take(key);
    if (!value) return false;
    if (!value->is_bool()) fail(key, "neither true nor false");
    return value->is_bool() && value->get_bool();
  }

  json::array list(std::string_view key) {
    const auto value = take(key);
    if (!value) return {};
    if (!value->is_array()) fail(key, "not a list");
    return value->is_array() ? value->get_array() : json::array{};
  }

  std::vector<std::string> texts(std::string_view key) {
    std::vector<std::string> out;
    for (const json::value& item : list(key)) out.push_back(to_text(key, item));
    return out;
  }

  std::map<std::string, std::vector<std::string>> texts_by_mode(std::string_view key) {
    std::map<std::string, std::vector<std::string>> out;
    const auto value = take(key);
    if (!value) return out;
    Fields modes(*value, fmt::format("{}.{}", path_, key));
    while (!modes.left_.empty()) {
      const std::string mode(modes.left_.begin()->key());
      out.emplace(mode, modes.texts(mode));
    }
    if (modes.error_) error_ = modes.error_;
    return out;
  }

  void fail(std::string_view key, std::string_view what) {
    if (!error_) error_ = wrong(key.empty() ? path_ : fmt::format("{}.{}", path_, key), what);
  }

  Result<void> finish() {
    if (!left_.empty()) fail(left_.begin()->key(), "unknown key");
    if (error_) return *error_;
    return {};
  }

 private:
  std::string to_text(std::string_view key, const json::value& value) {
    if (const auto* text = value.if_string()) return std::string(*text);
    fail(key, fmt::format("{} is not a text", json::serialize(value)));
    return "";
  }

  json::object left_;
  std::string path_;
  std::optional<Error> error_;
};

std::string with_port(const std::string& backend) {
  return backend.find(':') == std::string::npos ? backend + ":8080" : backend;
}

void read_expect(Fields& fields, Expectation& out) {
  static const std::map<std::string, Expect> words = {{"refused", Expect::Refused},
                                                      {"dropped", Expect::Dropped},
                                                      {"leaked", Expect::Leaked},
                                                      {"closed", Expect::Closed}};
  const auto value = fields.take("expect");
  if (!value) return fields.fail("expect", "is missing");
  if (const auto* word = value->if_string()) {
    const auto found = words.find(std::string(*word));
    if (found == words.end()) return fields.fail("expect", "no known outcome");
    out.expect = found->second;
    return;
  }
  const auto* list = value->if_array();
  if (list == nullptr || list->empty()) return fields.fail("expect", "names no backend");
  for (const json::value& item : *list) {
    const auto* name = item.if_string();
    if (name == nullptr) return fields.fail("expect", "a backend's name is no text");
    out.backends.emplace(with_port(std::string(*name)), false);
  }
}

std::optional<bool> is_masqueraded(const json::value& value) {
  if (value == "client") return false;
  if (value == "node") return true;
  return std::nullopt;
}

// Every backend must be given a source: forgetting one would check nothing.
void read_source(Fields& fields, Expectation& out) {
  const auto value = fields.take("source");
  if (out.expect != Expect::Backends) {
    if (value) fields.fail("source", "nobody sees it");
    return;
  }
  if (!value) return fields.fail("source", "is missing");
  std::size_t named = 0;
  for (auto& [backend, masqueraded] : out.backends) {
    json::value word = *value;
    if (const auto* each = value->if_object()) {
      const std::string short_name = backend.substr(0, backend.find(':'));
      const auto* found = each->if_contains(backend);
      if (found == nullptr) found = each->if_contains(short_name);
      word = found == nullptr ? json::value() : *found;
      ++named;
    }
    const auto known = is_masqueraded(word);
    if (!known)
      return fields.fail("source", fmt::format("neither client nor node for {}", backend));
    masqueraded = *known;
  }
  if (value->is_object() && named != value->get_object().size())
    fields.fail("source", "names somebody who is not expected");
}

Result<Expectation> read_send(const json::value& value, const std::string& path) {
  Fields fields(value, path);
  Expectation out{.from = fields.text("from"),
                  .client = fields.number("client", 0),
                  .clients = fields.number("clients", 1),
                  .count = fields.number("count", 1),
                  .sticky = fields.flag("sticky"),
                  .remember = fields.text("remember"),
                  .same_as = fields.text("same_as"),
                  .differs_from = fields.text("differs_from"),
                  .hold = fields.text("hold")};
  const auto to = IpAddress::parse(fields.text("to"));
  if (!to) fields.fail("to", "no address");
  out.to = {.address = to.value_or(IpAddress{}),
            .port = Port{static_cast<std::uint16_t>(fields.number("port", 0))}};
  if (const std::string text = fields.text("proto"); !text.empty()) {
    const auto protocol = parse_protocol(text);
    if (!protocol) fields.fail("proto", "no protocol");
    out.protocol = protocol.value_or(Protocol::Tcp);
  }
  read_expect(fields, out);
  read_source(fields, out);
  FAIRLEAD_CHECK(fields.finish());
  return out;
}

Result<Step> read_step(const json::value& value, const std::string& path) {
  Fields fields(value, path);
  Step out{.name = fields.text("name"),
           .tamper = fields.texts_by_mode("tamper"),
           .rules = fields.texts_by_mode("rules"),
           .idle = std::chrono::milliseconds(fields.number("idle", 0)),
           .alive = fields.texts("alive")};
  for (const json::value& object : fields.list("apply"))
    out.apply.push_back(json::serialize(object));
  for (const std::string& ref : fields.texts("delete")) {
    const std::size_t slash = ref.find('/');
    if (slash == std::string::npos) fields.fail("delete", "not Kind/name");
    out.remove.push_back({.kind = ref.substr(0, slash), .name = ref.substr(slash + 1)});
  }
  for (const json::value& send : fields.list("send")) {
    FAIRLEAD_TRY(expectation, read_send(send, fmt::format("{}.send[{}]", path, out.sends.size())));
    out.sends.push_back(std::move(expectation));
  }
  FAIRLEAD_CHECK(fields.finish());
  return out;
}

}  // namespace

std::string Expectation::to_string() const {
  return fmt::format("{}{} -> {}/{}", from, client == 0 ? "" : fmt::format("+{}", client),
                     to.to_string(), protocol);
}

Result<Scenario> parse_scenario(std::string_view yaml) {
  FAIRLEAD_TRY(documents, kube::manifest_documents(yaml));
  if (documents.size() != 1) return wrong("file", "is not one document");
  json::error_code ec;
  const json::value document = json::parse(documents.front(), ec);
  if (ec) return wrong("file", ec.message());
  Fields fields(document, "scenario");
  Scenario out{.about = fields.text("about")};
  json::value config = fields.take("config").value_or(json::object{});
  if (auto* object = config.if_object()) {
    (*object)["apiVersion"] = "kubeproxy.config.k8s.io/v1alpha1";
    (*object)["kind"] = "KubeProxyConfiguration";
  }
  out.config = json::serialize(config);
  for (const std::string& text : fields.texts("serviceCIDRs")) {
    FAIRLEAD_TRY(prefix, IpPrefix::parse(text));
    out.service_cidrs.push_back(prefix);
  }
  for (const std::string& text : fields.texts("addresses")) {
    FAIRLEAD_TRY(address, IpAddress::parse(text));
    out.addresses.push_back(address);
  }
  for (const json::value& step : fields.list("steps")) {
    FAIRLEAD_TRY(read, read_step(step, fmt::format("steps[{}]", out.steps.size())));
    out.steps.push_back(std::move(read));
  }
  FAIRLEAD_CHECK(fields.finish());
  return out;
}

}  // namespace fairlead::packets
