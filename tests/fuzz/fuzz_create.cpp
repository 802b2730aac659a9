// Any JSON as the body of a create, or as a patch of what exists, for every kind: it is refused or
// it is what the server will store and can read again. Nothing is committed (dry run), so that one
// input never changes the next.
#include <boost/json/serialize.hpp>
#include <string>

#include "apiserver/body.hpp"
#include "apiserver/patch.hpp"
#include "fuzz/input.hpp"
#include "fuzz/memory_server.hpp"

using namespace fairlead;
using namespace fairlead::apiserver;

namespace {

class Server : fuzz::MemoryServer {
 public:
  Server() {
    make("namespaces", R"({"metadata":{"name":"default"}})");
    make("services", R"({"metadata":{"name":"x"},"spec":{"ports":[{"port":80}]}})");
    make("nodes", R"({"metadata":{"name":"x"}})");
    make("pods", R"({"metadata":{"name":"x"},"spec":{"containers":[{"name":"c","image":"i"}]}})");
    make("endpointslices", R"({"metadata":{"name":"x"},"addressType":"IPv4","endpoints":[]})");
    make("leases", R"({"metadata":{"name":"x"},"spec":{}})");
    make("configmaps", R"({"metadata":{"name":"x"}})");
    make("endpoints", R"({"metadata":{"name":"x"}})");
  }

  void write(unsigned number, const Document& body) {
    Resource& resource = *registry_.resources()[number / 2 % registry_.resources().size()];
    const bool is_patch = number % 2 == 1;
    const auto written =
        is_patch ? run_task(loop_, writer_.update(resource, request("x", true), merge(body)))
                 : run_task(loop_, writer_.create(resource, request("", true), body));
    if (!written) {
      check(written.error().code < 500, "a body that is refused is the client's error");
      return;
    }
    const std::string name(written->object.at("metadata").at("name").as_string());
    const std::string stored = boost::json::serialize(written->object);
    const auto again =
        make_cached_object(resource.strategy, resource.key("default", name), stored, 7);
    check(again.has_value(), "what would be stored can be read");
    static_cast<void>((*again)->document());
  }

 private:
  static Change merge(const Document& body) {
    return [body](const Document& current) { return apply_merge_patch(current, body); };
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Server server;
  const fuzz::Choice choice = fuzz::choice_of(fuzz::text_of(data, size));
  const auto body = parse_json(choice.rest);
  if (body && body->value.is_object()) server.write(choice.number, body->value.as_object());
  return 0;
}
