// What somebody else wrote into etcd below our prefix: any bytes at a kind's key are an object or
// an error, and an object can be shown.
#include "apiserver/kinds.hpp"
#include "apiserver/object_cache.hpp"
#include "fuzz/input.hpp"

using namespace fairlead;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto kinds =
      apiserver::make_strategies({.service_cidrs = {*IpPrefix::parse("10.0.0.0/24")}});
  const fuzz::Choice choice = fuzz::choice_of(fuzz::text_of(data, size));
  const apiserver::Strategy& kind = *kinds[choice.number % kinds.size()];
  const auto object =
      apiserver::make_cached_object(kind, kind.info().storage_key("ns", "x"), choice.rest, 7);
  if (!object) return 0;
  check((*object)->name == "x", "an object is called what its key says");
  static_cast<void>((*object)->document());
  const auto moved = apiserver::at_revision(**object, 8);
  check(moved != nullptr && moved->revision == 8, "an object can be shown at another revision");
  return 0;
}
