// A protobuf body ends in an object of JSON that names its kind, or in an error a client is to
// blame for.
#include <cstdint>
#include <string_view>

#include "kube/protobuf.hpp"

using namespace fairlead;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto json = kube::protobuf_to_json({reinterpret_cast<const char*>(data), size});
  if (json) {
    check(json->starts_with('{') && json->find("\"kind\":\"") != std::string::npos,
          "a body becomes an object that names its kind");
  } else {
    check(json.error().code == ErrorCode::BadRequest || json.error().code == ErrorCode::Unsupported,
          "a body that is refused is the client's error");
  }
  return 0;
}
