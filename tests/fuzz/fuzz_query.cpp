// The target of a request - path, query, selectors, options, continue token - and its Accept header
// end in values or in a client's error.
#include <string>

#include "apiserver/kinds.hpp"
#include "apiserver/request.hpp"
#include "fuzz/input.hpp"

using namespace fairlead;

namespace {

const apiserver::Strategy& services() {
  static const auto kinds =
      apiserver::make_strategies({.service_cidrs = {*IpPrefix::parse("10.0.0.0/24")}});
  for (const auto& kind : kinds) {
    if (kind->info().resource == "services") return *kind;
  }
  invariant_failed("Services are among the kinds");
}

template <class T>
void expect_clients_error(const apiserver::ApiResult<T>& result) {
  if (!result)
    check(result.error().code >= 400 && result.error().code < 500, "it is the client's error");
}

void read_target(std::string_view target) {
  const auto url = io::parse_target(target);
  if (!url) return;
  const auto path = apiserver::parse_api_path(url->path);
  expect_clients_error(path);
  if (path) {
    for (const std::string* part : {&path->ns, &path->name, &path->resource})
      check(part->find('/') == std::string::npos && *part != "..", "a name is one segment");
  }
  expect_clients_error(apiserver::parse_list_options(*url, services(), "default"));
  expect_clients_error(apiserver::parse_write_options(*url, "Service"));
  expect_clients_error(apiserver::parse_delete_options(*url, nullptr));
  static_cast<void>(apiserver::wants_pretty(*url, "curl/8"));
}

void read_token(std::string_view text) {
  const auto token = apiserver::decode_continue(text);
  expect_clients_error(token);
  if (!token) return;
  const auto again = apiserver::decode_continue(apiserver::encode_continue(*token));
  check(again && *again == *token, "a token survives being encoded");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::Choice choice = fuzz::choice_of(fuzz::text_of(data, size));
  switch (choice.number % 3) {
    case 0:
      read_target(choice.rest);
      break;
    case 1:
      read_token(choice.rest);
      break;
    default:
      expect_clients_error(apiserver::negotiate(choice.rest));
      static_cast<void>(apiserver::status_format(choice.rest));
  }
  return 0;
}
