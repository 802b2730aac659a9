// A request body in any of its formats ends in a JSON value that is no deeper than we can bear, or
// in an error that a client is to blame for.
#include "apiserver/body.hpp"

#include <boost/json/serialize.hpp>
#include <string>

#include "apiserver/duplicate_keys.hpp"
#include "fuzz/input.hpp"

using namespace fairlead;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::Choice choice = fuzz::choice_of(fuzz::text_of(data, size));
  static constexpr std::string_view kTypes[] = {"application/json", "application/yaml",
                                                "application/vnd.kubernetes.protobuf", ""};
  const auto body =
      apiserver::decode_body(kTypes[choice.number % std::size(kTypes)], std::string(choice.rest));
  if (!body) {
    check(body.error().code >= 400 && body.error().code < 500, "a bad body is the client's error");
    return 0;
  }
  const std::string json = boost::json::serialize(body->value);
  const auto again = apiserver::parse_json(json);
  check(again.has_value(), "what was decoded is JSON");
  check(again->duplicate_fields.empty(), "no key is left twice");
  check(apiserver::duplicate_keys(json).empty(), "no key is found twice");
  return 0;
}
