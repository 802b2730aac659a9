// TLS contexts and certificates (OpenSSL 3, TLS 1.2 and later). Values hold a shared context; PEM
// in, PEM out.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/ip.hpp"

struct ssl_ctx_st;

namespace fairlead::io {

// Protocol names of TLS handshakes (RFC 7301).
inline constexpr std::string_view kHttp2 = "h2";
inline constexpr std::string_view kHttp11 = "http/1.1";

struct KeyPair {
  std::string certificate_pem;  // leaf first, then any intermediates
  std::string private_key_pem;
};

// A server's side: its key pair, and the CA that client certificates must chain to (absent: none
// are asked for). Client certificates are requested but optional. One that does not verify leaves
// the peer without a certificate and with the reason (Peer), so that it can be told over HTTP.
// `http2`: peers that offer HTTP/2 get it, the others HTTP/1.1.
class TlsServer {
 public:
  static Result<TlsServer> create(const KeyPair& identity,
                                  const std::optional<std::string>& client_ca_pem,
                                  bool http2 = true);
  const std::shared_ptr<ssl_ctx_st>& context() const { return context_; }

 private:
  std::shared_ptr<ssl_ctx_st> context_;
};

// A client's side. Without ca_pem the system's roots are used.
class TlsClient {
 public:
  struct Config {
    std::optional<std::string> ca_pem;
    std::optional<KeyPair> identity;
    std::string server_name;  // verified against the certificate and sent as SNI (unless it is
                              // an address); empty = the host connected to
    bool insecure_skip_verify = false;
  };
  static Result<TlsClient> create(const Config& config);
  const std::shared_ptr<ssl_ctx_st>& context() const { return context_; }
  const std::string& server_name() const { return server_name_; }

 private:
  std::shared_ptr<ssl_ctx_st> context_;
  std::string server_name_;
};

// Certificate making: ECDSA P-256, random serial, SHA-256.
struct CertificateRequest {
  std::string common_name;
  std::vector<std::string> organizations;
  std::vector<std::string> dns_names;
  std::vector<IpAddress> ip_addresses;
  bool server = false;  // extended key usage serverAuth
  bool client = false;  // clientAuth
  std::chrono::hours validity{24 * 365};
};
Result<KeyPair> make_ca(const std::string& common_name, const Clock& clock,
                        std::chrono::hours validity);
Result<KeyPair> sign_certificate(const KeyPair& ca, const CertificateRequest& request,
                                 const Clock& clock);
// Days are easily missed: how long the first certificate of a PEM stays valid, negative when
// expired.
Result<std::chrono::seconds> remaining_validity(const std::string& certificate_pem,
                                                const Clock& clock);

// What the first certificate of a PEM is for: its subject alternative names, DNS names before
// addresses.
Result<std::vector<std::string>> certificate_names(const std::string& certificate_pem);

}  // namespace fairlead::io
