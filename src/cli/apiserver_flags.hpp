// The API server's flags, which `fairlead-apiserver` and `fairlead up` share, and the configuration
// they make. Errors name the flag and the value.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "apiserver/server.hpp"
#include "base/error.hpp"
#include "cli/security_flags.hpp"

namespace CLI {
class App;
}

namespace fairlead::cli {

struct ApiServerFlags {
  std::string data_dir = "/var/lib/fairlead";
  std::string bind_address = "0.0.0.0";
  std::uint16_t secure_port = 6443;
  std::uint16_t http_port = 0;
  bool http = false;  // whether --http-port was given
  std::string service_cidr = "10.96.0.0/16";
  std::string node_ports = "30000-32767";
  std::string event_ttl = "1h0m0s";
  SecurityFlags security;
  std::string advertise_address;
  std::string kubeconfig;
  std::vector<std::string> san;
  std::string log_format = "text";
  int verbosity = 0;
};

// `flags` must outlive the parsing of `app`.
void describe(CLI::App& app, ApiServerFlags& flags);

void configure_log(const ApiServerFlags& flags);

std::string kubeconfig_path(const ApiServerFlags& flags);

// Complete with its listeners, which are bound here; the first is HTTPS. `host`: the addresses of
// this machine, of which one is advertised where the flags do not say.
Result<apiserver::ApiServer::Config> server_config(const ApiServerFlags& flags,
                                                   const std::vector<IpAddress>& host);

}  // namespace fairlead::cli
