#include "io/openssl.hpp"

namespace fairlead::io::openssl {

Error take_error(ErrorCode code, std::string_view what) {
  const auto first = ERR_get_error();
  ERR_clear_error();
  const char* reason = first == 0 ? nullptr : ERR_reason_error_string(first);
  if (reason == nullptr) return make_error(code, "{}", what);
  return make_error(code, "{}: {}", what, reason);
}

namespace {

Owned<BIO> memory_of(const std::string& pem) {
  return Owned<BIO>(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

// PEM readers ask for a pass phrase on the terminal unless told otherwise; an encrypted key is an
// error here.
int no_passphrase(char*, int, int, void*) { return -1; }

}  // namespace

Result<Owned<EVP_PKEY>> read_private_key(const std::string& pem) {
  const auto bio = memory_of(pem);
  Owned<EVP_PKEY> key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr));
  if (!key) return take_error(ErrorCode::Invalid, "private key is not an unencrypted PEM key");
  return key;
}

Result<std::vector<Owned<X509>>> read_certificates(const std::string& pem) {
  const auto bio = memory_of(pem);
  std::vector<Owned<X509>> out;
  while (auto* certificate = PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, nullptr)) {
    out.emplace_back(certificate);
  }
  const auto last = ERR_peek_last_error();
  const bool clean_end =
      ERR_GET_LIB(last) == ERR_LIB_PEM && ERR_GET_REASON(last) == PEM_R_NO_START_LINE;
  if (!clean_end || out.empty()) {
    return take_error(ErrorCode::Invalid,
                      out.empty() ? "no PEM certificate found" : "damaged PEM certificate");
  }
  ERR_clear_error();
  return out;
}

}  // namespace fairlead::io::openssl
