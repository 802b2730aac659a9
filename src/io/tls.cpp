#include "io/tls.hpp"

#include <openssl/ssl.h>

#include <array>
#include <string_view>

#include "io/openssl.hpp"

namespace fairlead::io {

namespace {

using openssl::take_error;

Result<std::shared_ptr<SSL_CTX>> make_context(const SSL_METHOD* method) {
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(method), &SSL_CTX_free);
  if (!context) return take_error(ErrorCode::Internal, "create a TLS context");
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  // An idle watch costs no record buffers.
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  return context;
}

Result<void> use_identity(SSL_CTX* context, const KeyPair& identity) {
  FAIRLEAD_TRY(chain, openssl::read_certificates(identity.certificate_pem));
  FAIRLEAD_TRY(key, openssl::read_private_key(identity.private_key_pem));
  if (SSL_CTX_use_certificate(context, chain.front().get()) != 1) {
    return take_error(ErrorCode::Invalid, "certificate is not usable");
  }
  for (std::size_t i = 1; i < chain.size(); ++i) {
    if (SSL_CTX_add1_chain_cert(context, chain[i].get()) != 1) {
      return take_error(ErrorCode::Invalid, "intermediate certificate is not usable");
    }
  }
  if (X509_check_private_key(chain.front().get(), key.get()) != 1 ||
      SSL_CTX_use_PrivateKey(context, key.get()) != 1) {
    return take_error(ErrorCode::Invalid, "private key does not belong to the certificate");
  }
  return {};
}

Result<void> trust(SSL_CTX* context, const std::string& ca_pem) {
  auto certificates = openssl::read_certificates(ca_pem);
  if (!certificates) return certificates.error().with_context("certificate authority");
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  // What is named is trusted, also an intermediate or a server's own certificate, as Go has it.
  X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
  for (const auto& certificate : *certificates) {
    if (X509_STORE_add_cert(store, certificate.get()) != 1) {
      return take_error(ErrorCode::Invalid, "certificate authority is not usable");
    }
  }
  return {};
}

// ALPN: HTTP/2 with a peer that offers it, else HTTP/1.1; silent to one that offers neither.
int choose_protocol(SSL*, const unsigned char** out, unsigned char* out_size,
                    const unsigned char* in, unsigned in_size, void* http2) {
  const std::string_view offered(reinterpret_cast<const char*>(in), in_size);
  for (const std::string_view wanted : {kHttp2, kHttp11}) {
    if (wanted == kHttp2 && http2 == nullptr) continue;
    for (std::size_t i = 0; i < offered.size(); i += 1U + in[i]) {
      const std::string_view name = offered.substr(i + 1, in[i]);
      if (name != wanted) continue;
      *out = in + i + 1;
      *out_size = in[i];
      return SSL_TLSEXT_ERR_OK;
    }
  }
  return SSL_TLSEXT_ERR_NOACK;
}

// The verdict stays with the connection and with sessions resumed from it
// (SSL_get_verify_result).
int note_and_go_on(int, X509_STORE_CTX*) { return 1; }

}  // namespace

Result<TlsServer> TlsServer::create(const KeyPair& identity,
                                    const std::optional<std::string>& client_ca_pem, bool http2) {
  FAIRLEAD_TRY(context, make_context(TLS_server_method()));
  if (auto ok = use_identity(context.get(), identity); !ok)
    return ok.error().with_context("TLS server");
  if (client_ca_pem) {
    if (auto ok = trust(context.get(), *client_ca_pem); !ok)
      return ok.error().with_context("TLS client CA");
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, note_and_go_on);
    // Tells clients which of their certificates to send.
    FAIRLEAD_TRY(authorities, openssl::read_certificates(*client_ca_pem));
    for (const auto& authority : authorities) SSL_CTX_add_client_CA(context.get(), authority.get());
  }
  // Without an id, OpenSSL fails a resumed session that was verified by certificate.
  constexpr std::array<unsigned char, 8> kSessionId{'f', 'a', 'i', 'r', 'l', 'e', 'a', 'd'};
  SSL_CTX_set_session_id_context(context.get(), kSessionId.data(), kSessionId.size());
  SSL_CTX_set_alpn_select_cb(context.get(), choose_protocol, http2 ? context.get() : nullptr);
  TlsServer server;
  server.context_ = std::move(context);
  return server;
}

Result<TlsClient> TlsClient::create(const Config& config) {
  FAIRLEAD_TRY(context, make_context(TLS_client_method()));
  if (config.identity) {
    auto ok = use_identity(context.get(), *config.identity);
    if (!ok) return ok.error().with_context("TLS client certificate");
  }
  if (config.ca_pem) {
    FAIRLEAD_CHECK(trust(context.get(), *config.ca_pem));
  } else if (SSL_CTX_set_default_verify_paths(context.get()) != 1) {
    return take_error(ErrorCode::Internal, "load the system's certificate authorities");
  }
  SSL_CTX_set_verify(context.get(), config.insecure_skip_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER,
                     nullptr);
  TlsClient client;
  client.context_ = std::move(context);
  client.server_name_ = config.server_name;
  return client;
}

}  // namespace fairlead::io
