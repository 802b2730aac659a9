// A manifest ends in documents that are valid JSON, or in an error that names a line.
#include <cstdint>
#include <string_view>

#include "kube/codec.hpp"

using namespace fairlead;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto documents = kube::manifest_documents({reinterpret_cast<const char*>(data), size});
  if (!documents) {
    check(documents.error().message.starts_with("line "), "an error names its line");
    return 0;
  }
  kube::Decoder decoder;
  for (const std::string& json : *documents) {
    // BadRequest is "not JSON"; anything else is about what the JSON says.
    const auto object = decoder.object<kube::Namespace>(json);
    check(object || object.error().code != ErrorCode::BadRequest, "a document is valid JSON");
  }
  return 0;
}
