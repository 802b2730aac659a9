// A patch of any kind on any document ends in a document or in a client's error. The input is
// the kind of patch, the document and, behind a line end, the patch.
#include "apiserver/patch.hpp"

#include <boost/json/serialize.hpp>

#include "apiserver/body.hpp"
#include "fuzz/input.hpp"

using namespace fairlead;
using apiserver::Document;

namespace {

apiserver::ApiResult<Document> apply(unsigned kind, const Document& current,
                                     const boost::json::value& patch) {
  switch (kind % 4) {
    case 0:
      return apiserver::apply_json_patch(current, patch);
    case 1:
      return apiserver::apply_merge_patch(current, patch);
    case 2:
      return apiserver::apply_strategic_merge_patch("Service", current, patch);
    default:
      return apiserver::apply_strategic_merge_patch("Pod", current, patch);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::Choice choice = fuzz::choice_of(fuzz::text_of(data, size));
  const auto line = choice.rest.find('\n');
  if (line == std::string_view::npos) return 0;
  const auto current = apiserver::parse_json(choice.rest.substr(0, line));
  const auto patch = apiserver::parse_json(choice.rest.substr(line + 1));
  if (!current || !current->value.is_object() || !patch) return 0;
  const Document before = current->value.as_object();
  const auto after = apply(choice.number, before, patch->value);
  check(before == current->value.as_object(), "the current document stays as it is");
  if (!after) {
    check(after.error().code >= 400 && after.error().code < 500,
          "a patch that fails is the client's error");
    return 0;
  }
  check(apiserver::parse_json(boost::json::serialize(*after)).has_value(),
        "what was patched can be read again");
  // A merge patch says what is to be, so that applying it again changes nothing (RFC 7386).
  if (choice.number % 4 == 1) {
    const auto again = apply(choice.number, *after, patch->value);
    check(again && *again == *after, "a merge patch is idempotent");
  }
  return 0;
}
