// A protobuf body ends in an object that names its kind, or in an error a client is to blame for.
// What was read can be written, and reads as the same once more.
#include <boost/json/object.hpp>
#include <cstdint>
#include <string>
#include <string_view>

#include "kube/protobuf.hpp"

using namespace fairlead;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto object = kube::protobuf_to_object({reinterpret_cast<const char*>(data), size});
  if (!object) {
    check(object.error().code == ErrorCode::BadRequest ||
              object.error().code == ErrorCode::Unsupported,
          "a body that is refused is the client's error");
    return 0;
  }
  const kube::KindName kind{.api_version = object->at("apiVersion").as_string(),
                            .kind = object->at("kind").as_string()};
  const std::string message = kube::protobuf_message(kind, *object);
  const auto again = kube::protobuf_to_object(kube::protobuf_envelope(kind, message.size()) +
                                              message + std::string(kube::kProtobufEnvelopeEnd));
  check(again.has_value(), "what is written here can be read");
  check(kube::protobuf_message(kind, *again) == message, "it is the same once more");
  return 0;
}
