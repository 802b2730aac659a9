// Owners for OpenSSL objects, PEM reading, and OpenSSL's error queue as an Error; internal to io/.
#pragma once

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace fairlead::io::openssl {

struct Free {
  void operator()(BIO* p) const { BIO_free(p); }
  void operator()(EVP_PKEY* p) const { EVP_PKEY_free(p); }
  void operator()(X509* p) const { X509_free(p); }
  void operator()(X509_EXTENSION* p) const { X509_EXTENSION_free(p); }
  void operator()(BIGNUM* p) const { BN_free(p); }
  void operator()(GENERAL_NAMES* p) const { GENERAL_NAMES_free(p); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;

// The oldest queued error as text behind `what`; the queue is emptied.
Error take_error(ErrorCode code, std::string_view what);

Result<Owned<EVP_PKEY>> read_private_key(const std::string& pem);
// Every certificate of the text, at least one.
Result<std::vector<Owned<X509>>> read_certificates(const std::string& pem);

}  // namespace fairlead::io::openssl
