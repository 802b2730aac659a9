// Any text given to the decoder ends in a value or an error, and what was decoded survives being
// encoded and decoded again: encode() writes only what the decoder takes.
#include <cstdint>
#include <string_view>

#include "kube/codec.hpp"

using namespace fairlead;

namespace {

template <class T>
void decode_all(kube::Decoder& decoder, std::string_view text) {
  static_cast<void>(decoder.list<T>(text));
  static_cast<void>(decoder.watch_event<T>(text));
  const auto object = decoder.object<T>(text);
  if (!object) return;
  // The first encoding drops what does not apply to the object's type (the policies of a Service
  // that is not external); from then on nothing may change.
  const std::string once = kube::encode(*object);
  const auto again = decoder.object<T>(once);
  check(again.has_value(), "an encoded object decodes");
  check(kube::encode(*again) == once, "a decoded object is encoded as it was");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  kube::Decoder decoder;
  decode_all<kube::Service>(decoder, text);
  decode_all<kube::EndpointSlice>(decoder, text);
  decode_all<kube::Pod>(decoder, text);
  decode_all<kube::Node>(decoder, text);
  decode_all<kube::Namespace>(decoder, text);
  static_cast<void>(decoder.status(text, 500));
  return 0;
}
