// The server's own certificates: a CA kept in the data directory (ca.crt, ca.key with mode 0600),
// and what is signed with it anew at every start. Only the CA must last: clients hold it in their
// kubeconfig.
#pragma once

#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/ip.hpp"
#include "io/tls.hpp"

namespace fairlead::apiserver {

class Pki {
 public:
  // Reads the CA of `directory` or makes one there; the directory is made too (0700). Invalid: a
  // certificate without its key, which is not ours to replace, or one that has expired.
  static Result<Pki> open(const std::string& directory, const Clock& clock);
  // A CA that lives as long as this value.
  static Result<Pki> create_in_memory(const Clock& clock);

  const std::string& ca_pem() const { return ca_.certificate_pem; }

  struct Names {
    std::vector<std::string> dns_names;
    std::vector<IpAddress> addresses;
  };
  // For a server: `names` and the usual ones (kubernetes.default.svc..., localhost, the host's
  // name, loopback).
  Result<io::KeyPair> server_identity(Names names, const Clock& clock) const;
  // For a client: user = common name, groups = organizations.
  Result<io::KeyPair> client_identity(const std::string& user, std::vector<std::string> groups,
                                      const Clock& clock) const;

 private:
  explicit Pki(io::KeyPair ca) : ca_(std::move(ca)) {}
  io::KeyPair ca_;
};

// The key of `directory` that signs tokens of ServiceAccounts (sa.key, mode 0600), made when it is
// not there; without a directory a new one.
Result<std::string> own_signing_key(const std::string& directory);

// How clients know a server.
struct ServerTrust {
  std::string ca_pem;            // whom they trust
  std::string server_name = {};  // whose certificate it shows; empty = the URL's host
};

// A kubeconfig with everything inside. Deterministic.
std::string make_kubeconfig(const std::string& server_url, const ServerTrust& trust,
                            const io::KeyPair& client);
// The same for a plain-HTTP listener, which needs no credentials.
std::string make_insecure_kubeconfig(const std::string& server_url);

// Written beside and renamed, so that readers see the old or the new file whole; mode 0600.
Result<void> write_private_file(const std::string& path, std::string_view content);
Result<std::string> read_file(const std::string& path);

}  // namespace fairlead::apiserver
