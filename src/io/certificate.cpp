// Certificate making; the other half of tls.hpp.
#include <openssl/asn1.h>
#include <openssl/ec.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <array>
#include <ctime>
#include <span>

#include "io/openssl.hpp"
#include "io/tls.hpp"

namespace fairlead::io {

namespace {

using openssl::Owned;
using openssl::take_error;

// Clocks of the machines that will check the certificate may run behind ours.
constexpr std::chrono::minutes kBackdate{5};

Result<std::string> take_text(const Owned<BIO>& bio) {
  char* data = nullptr;
  const auto size = BIO_get_mem_data(bio.get(), &data);
  if (size <= 0) return take_error(ErrorCode::Internal, "write PEM");
  return std::string(data, static_cast<std::size_t>(size));
}

Result<KeyPair> to_pem(X509* certificate, EVP_PKEY* key) {
  const Owned<BIO> certificate_out(BIO_new(BIO_s_mem()));
  const Owned<BIO> key_out(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_X509(certificate_out.get(), certificate) != 1 ||
      PEM_write_bio_PrivateKey(key_out.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return take_error(ErrorCode::Internal, "write PEM");
  }
  FAIRLEAD_TRY(certificate_pem, take_text(certificate_out));
  FAIRLEAD_TRY(key_pem, take_text(key_out));
  return KeyPair{.certificate_pem = std::move(certificate_pem),
                 .private_key_pem = std::move(key_pem)};
}

Result<void> set_random_serial(X509* certificate) {
  std::array<unsigned char, 16> bytes{};
  if (RAND_bytes(bytes.data(), bytes.size()) != 1)
    return take_error(ErrorCode::Internal, "random serial");
  bytes[0] =
      static_cast<unsigned char>((bytes[0] & 0x7f) | 0x40);  // positive, and always 16 bytes long
  const Owned<BIGNUM> number(BN_bin2bn(bytes.data(), bytes.size(), nullptr));
  if (!number || BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) == nullptr) {
    return take_error(ErrorCode::Internal, "random serial");
  }
  return {};
}

Result<void> add_name(X509_NAME* name, const char* field, const std::string& value) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(value.data());
  if (X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, bytes, static_cast<int>(value.size()),
                                 -1, 0) != 1) {
    return take_error(ErrorCode::Invalid,
                      fmt::format("certificate subject {} \"{}\"", field, value));
  }
  return {};
}

Result<void> add_extension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const Owned<X509_EXTENSION> extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  if (!extension || X509_add_ext(certificate, extension.get(), -1) != 1) {
    return take_error(ErrorCode::Invalid,
                      fmt::format("certificate extension {} \"{}\"", OBJ_nid2sn(nid), value));
  }
  return {};
}

struct Subject {
  std::string common_name;
  std::vector<std::string> organizations;
};

Result<Owned<X509>> blank_certificate(const Subject& subject, EVP_PKEY* key, const Clock& clock,
                                      std::chrono::hours validity) {
  Owned<X509> certificate(X509_new());
  if (!certificate) return take_error(ErrorCode::Internal, "create a certificate");
  X509_set_version(certificate.get(), X509_VERSION_3);
  FAIRLEAD_CHECK(set_random_serial(certificate.get()));
  const auto now = clock.wall();
  const auto from = std::chrono::system_clock::to_time_t(now - kBackdate);
  const auto until = std::chrono::system_clock::to_time_t(now + validity);
  if (ASN1_TIME_set(X509_getm_notBefore(certificate.get()), from) == nullptr ||
      ASN1_TIME_set(X509_getm_notAfter(certificate.get()), until) == nullptr) {
    return take_error(ErrorCode::Invalid, "certificate validity");
  }
  X509_NAME* name = X509_get_subject_name(certificate.get());
  for (const auto& organization : subject.organizations)
    FAIRLEAD_CHECK(add_name(name, "O", organization));
  FAIRLEAD_CHECK(add_name(name, "CN", subject.common_name));
  X509_set_pubkey(certificate.get(), key);
  return certificate;
}

Result<void> sign(X509* certificate, EVP_PKEY* key) {
  if (X509_sign(certificate, key, EVP_sha256()) == 0)
    return take_error(ErrorCode::Invalid, "sign the certificate");
  return {};
}

Result<Owned<EVP_PKEY>> make_key() {
  Owned<EVP_PKEY> key(EVP_EC_gen("P-256"));
  if (!key) return take_error(ErrorCode::Internal, "make an EC key");
  return key;
}

// The extension syntax splits at commas and would let a name smuggle in another entry.
Result<std::string> alternative_names(const CertificateRequest& request) {
  std::string out;
  for (const auto& name : request.dns_names) {
    if (name.empty() || name.find_first_of(",:\\ \n") != std::string::npos) {
      return make_error(ErrorCode::Invalid, "certificate DNS name \"{}\" is not a host name", name);
    }
    out += (out.empty() ? "DNS:" : ",DNS:") + name;
  }
  for (const auto& address : request.ip_addresses) {
    out += (out.empty() ? "IP:" : ",IP:") + address.to_string();
  }
  return out;
}

}  // namespace

Result<KeyPair> make_ca(const std::string& common_name, const Clock& clock,
                        std::chrono::hours validity) {
  FAIRLEAD_TRY(key, make_key());
  FAIRLEAD_TRY(certificate, blank_certificate({.common_name = common_name, .organizations = {}},
                                              key.get(), clock, validity));
  X509* x = certificate.get();
  X509_set_issuer_name(x, X509_get_subject_name(x));
  FAIRLEAD_CHECK(add_extension(x, x, NID_basic_constraints, "critical,CA:TRUE"));
  FAIRLEAD_CHECK(
      add_extension(x, x, NID_key_usage, "critical,keyCertSign,cRLSign,digitalSignature"));
  FAIRLEAD_CHECK(add_extension(x, x, NID_subject_key_identifier, "hash"));
  FAIRLEAD_CHECK(sign(x, key.get()));
  return to_pem(x, key.get());
}

Result<KeyPair> sign_certificate(const KeyPair& ca, const CertificateRequest& request,
                                 const Clock& clock) {
  FAIRLEAD_TRY(issuers, openssl::read_certificates(ca.certificate_pem));
  FAIRLEAD_TRY(issuer_key, openssl::read_private_key(ca.private_key_pem));
  X509* issuer = issuers.front().get();
  FAIRLEAD_TRY(key, make_key());
  const Subject subject{.common_name = request.common_name, .organizations = request.organizations};
  FAIRLEAD_TRY(certificate, blank_certificate(subject, key.get(), clock, request.validity));
  X509* x = certificate.get();
  X509_set_issuer_name(x, X509_get_subject_name(issuer));
  FAIRLEAD_CHECK(add_extension(x, issuer, NID_basic_constraints, "critical,CA:FALSE"));
  FAIRLEAD_CHECK(add_extension(x, issuer, NID_key_usage, "critical,digitalSignature"));
  if (request.server || request.client) {
    const std::string usage =
        request.server ? (request.client ? "serverAuth,clientAuth" : "serverAuth") : "clientAuth";
    FAIRLEAD_CHECK(add_extension(x, issuer, NID_ext_key_usage, usage));
  }
  FAIRLEAD_TRY(names, alternative_names(request));
  if (!names.empty()) FAIRLEAD_CHECK(add_extension(x, issuer, NID_subject_alt_name, names));
  FAIRLEAD_CHECK(add_extension(x, issuer, NID_subject_key_identifier, "hash"));
  FAIRLEAD_CHECK(add_extension(x, issuer, NID_authority_key_identifier, "keyid"));
  FAIRLEAD_CHECK(sign(x, issuer_key.get()));
  return to_pem(x, key.get());
}

Result<std::chrono::seconds> remaining_validity(const std::string& certificate_pem,
                                                const Clock& clock) {
  FAIRLEAD_TRY(certificates, openssl::read_certificates(certificate_pem));
  std::tm end{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(certificates.front().get()), &end) != 1) {
    return take_error(ErrorCode::Invalid, "certificate's end of validity");
  }
  const auto until = std::chrono::system_clock::from_time_t(::timegm(&end));
  return std::chrono::duration_cast<std::chrono::seconds>(until - clock.wall());
}

Result<std::vector<std::string>> certificate_names(const std::string& certificate_pem) {
  FAIRLEAD_TRY(certificates, openssl::read_certificates(certificate_pem));
  const Owned<GENERAL_NAMES> names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificates.front().get(), NID_subject_alt_name, nullptr, nullptr)));
  std::vector<std::string> out, addresses;
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {  // -1 of none
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_DNS && name->type != GEN_IPADD) continue;
    const ASN1_STRING* text = name->type == GEN_DNS ? name->d.dNSName : name->d.iPAddress;
    const std::span bytes(ASN1_STRING_get0_data(text),
                          static_cast<std::size_t>(ASN1_STRING_length(text)));
    if (name->type == GEN_DNS) {
      out.emplace_back(bytes.begin(), bytes.end());
    } else if (bytes.size() == 4 || bytes.size() == 16) {
      addresses.push_back(IpAddress::from_bytes(bytes).to_string());
    }
  }
  out.insert(out.end(), addresses.begin(), addresses.end());
  return out;
}

}  // namespace fairlead::io
