// The files people write: kubeconfig, KubeProxyConfiguration, token file, audit policy. They end in
// values or in an error of one line.
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "apiserver/audit_policy.hpp"
#include "apiserver/auth.hpp"
#include "client/kubeconfig.hpp"
#include "fuzz/input.hpp"
#include "proxy/config_file.hpp"

using namespace fairlead;

namespace {

template <class T>
void expect_one_line(const Result<T>& result) {
  if (!result)
    check(result.error().message.find('\n') == std::string::npos, "an error is one line");
}

// A kubeconfig is read from a file, as it may name others.
void read_kubeconfig(std::string_view text) {
  static const std::string path = [] {
    std::string name = "/tmp/fairlead-fuzz-XXXXXX";
    check(::mkdtemp(name.data()) != nullptr, "a folder can be made");
    return name + "/kubeconfig";
  }();
  std::ofstream(path) << text << std::flush;
  expect_one_line(client::load_kubeconfig(path));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::Choice choice = fuzz::choice_of(fuzz::text_of(data, size));
  switch (choice.number % 4) {
    case 0: {
      const auto file = proxy::decode_config(choice.rest);
      expect_one_line(file);
      if (!file) break;
      const auto again = proxy::decode_config(proxy::encode_config(file->config));
      check(again.has_value() && again->config == file->config,
            "a configuration survives being written");
      break;
    }
    case 1:
      read_kubeconfig(choice.rest);
      break;
    case 2:
      expect_one_line(apiserver::parse_token_file(choice.rest));
      break;
    default:
      expect_one_line(apiserver::AuditPolicy::parse(choice.rest));
  }
  return 0;
}
