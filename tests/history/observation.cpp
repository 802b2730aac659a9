#include "history/observation.hpp"

#include <fmt/format.h>

#include <boost/json.hpp>

#include "base/text.hpp"

namespace fairlead::history {
namespace {

using boost::json::value;

Result<value> parse(std::string_view json) {
  boost::system::error_code failed;
  value out = boost::json::parse(json, failed);
  if (failed || !out.is_object())
    return make_error(ErrorCode::BadRequest, "no JSON object: {}", json);
  return out;
}

std::string text_at(const value& object, std::string_view pointer) {
  boost::system::error_code absent;
  const value* found = object.find_pointer(pointer, absent);
  return found != nullptr && found->is_string() ? std::string(found->as_string()) : std::string();
}

Revision revision_of(const value& object) {
  const auto number = parse_int(text_at(object, "/metadata/resourceVersion"));
  return number ? static_cast<Revision>(*number) : 0;
}

const boost::json::array& array_at(const value& object, std::string_view pointer) {
  static const boost::json::array nothing;
  boost::system::error_code absent;
  const value* found = object.find_pointer(pointer, absent);
  return found != nullptr && found->is_array() ? found->as_array() : nothing;
}

Result<State> state_of(const value& service) {
  State out{.object = text_at(service, "/metadata/name"),
            .mark = text_at(service, "/metadata/annotations/mark"),
            .revision = revision_of(service),
            .claims = {}};
  if (out.object.empty() || out.mark.empty() || out.revision == 0)
    return make_error(ErrorCode::Invalid, "no Service of ours: {}", serialize(service));
  for (const value& ip : array_at(service, "/spec/clusterIPs")) out.claims.emplace(ip.as_string());
  for (const value& port : array_at(service, "/spec/ports")) {
    const value* node_port = port.as_object().if_contains("nodePort");
    if (node_port != nullptr) out.claims.insert(fmt::format("TCP/{}", node_port->as_int64()));
  }
  if (out.claims.empty())
    return make_error(ErrorCode::Invalid, "a Service without addresses: {}", serialize(service));
  return out;
}

}  // namespace

Result<State> service_state(std::string_view json) {
  FAIRLEAD_TRY(service, parse(json));
  return state_of(service);
}

Result<Listing> service_list(std::string_view json) {
  FAIRLEAD_TRY(list, parse(json));
  Listing out{.revision = revision_of(list), .objects = {}};
  if (out.revision == 0) return make_error(ErrorCode::Invalid, "a list without a version");
  for (const value& item : array_at(list, "/items")) {
    FAIRLEAD_TRY(state, state_of(item));
    const std::string name = state.object;
    if (!out.objects.emplace(name, std::move(state)).second)
      return make_error(ErrorCode::Invalid, "a list with {} twice", name);
  }
  return out;
}

Result<Told> watch_line(std::string_view json) {
  FAIRLEAD_TRY(line, parse(json));
  const std::string type = text_at(line, "/type");
  const value* object = line.as_object().if_contains("object");
  if (object == nullptr) return make_error(ErrorCode::Invalid, "an event of nothing: {}", json);
  if (type == "BOOKMARK") return Told{.event = {}, .revision = revision_of(*object)};
  if (type == "ERROR" && object->as_object().contains("code") &&
      object->as_object().at("code").as_int64() == 410) {
    return Told{.event = {}, .expired = true};
  }
  Event event;
  if (type == "MODIFIED") {
    event.change = Change::Modified;
  } else if (type == "DELETED") {
    event.change = Change::Deleted;
  } else if (type != "ADDED") {
    return make_error(ErrorCode::Invalid, "an event of type \"{}\": {}", type, json);
  }
  FAIRLEAD_TRY(state, state_of(*object));
  event.state = std::move(state);
  const Revision revision = event.state.revision;
  return Told{.event = std::move(event), .revision = revision};
}

Result<std::set<std::string>> addresses_of(std::string_view json, std::string_view ns) {
  FAIRLEAD_TRY(list, parse(json));
  if (revision_of(list) == 0) return make_error(ErrorCode::Invalid, "no list: {}", json);
  std::set<std::string> out;
  for (const value& item : array_at(list, "/items")) {
    if (text_at(item, "/spec/parentRef/namespace") == ns)
      out.insert(text_at(item, "/metadata/name"));
  }
  return out;
}

}  // namespace fairlead::history
