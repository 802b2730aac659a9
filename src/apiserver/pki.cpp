#include "apiserver/pki.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "base/text.hpp"
#include "io/fd.hpp"
#include "io/signature.hpp"

namespace fairlead::apiserver {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::hours kCaValidity = 24h * 365 * 10;
constexpr std::string_view kKubernetesNames[] = {
    "kubernetes", "kubernetes.default", "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local", "localhost"};

std::string base64_of(std::string_view text) {
  return base64_encode({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

Result<void> write_all(int fd, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    const ssize_t written = ::write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno_error(errno, "write " + path);
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  if (::fsync(fd) != 0) return errno_error(errno, "write " + path);
  return {};
}

std::string host_name() {
  std::array<char, 256> buffer{};
  if (::gethostname(buffer.data(), buffer.size() - 1) != 0) return {};
  return to_lower_ascii(buffer.data());
}

}  // namespace

Result<std::string> read_file(const std::string& path) {
  const io::UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return errno_error(errno, "read " + path);
  std::string out;
  std::array<char, 16384> buffer{};
  while (true) {
    const ssize_t got = ::read(file.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error(errno, "read " + path);
    if (got == 0) return out;
    out.append(buffer.data(), static_cast<std::size_t>(got));
  }
}

Result<void> write_private_file(const std::string& path, std::string_view content) {
  const std::string beside = fmt::format("{}.{}.tmp", path, ::getpid());
  {
    const io::UniqueFd file(::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!file) return errno_error(errno, "write " + path);
    if (auto written = write_all(file.get(), content, path); !written) {
      ::unlink(beside.c_str());
      return written;
    }
  }
  if (::rename(beside.c_str(), path.c_str()) != 0) {
    Error error = errno_error(errno, "write " + path);
    ::unlink(beside.c_str());
    return error;
  }
  return {};
}

Result<Pki> Pki::open(const std::string& directory, const Clock& clock) {
  std::error_code failed;
  std::filesystem::create_directories(directory, failed);
  if (failed) return errno_error(failed.value(), "make directory " + directory);
  if (::chmod(directory.c_str(), 0700) != 0)
    return errno_error(errno, "protect directory " + directory);
  const std::string certificate = directory + "/ca.crt";
  const std::string key = directory + "/ca.key";
  if (std::filesystem::exists(certificate, failed) && std::filesystem::exists(key, failed)) {
    FAIRLEAD_TRY(certificate_pem, read_file(certificate));
    FAIRLEAD_TRY(key_pem, read_file(key));
    FAIRLEAD_TRY(left, io::remaining_validity(certificate_pem, clock));
    if (left < 0s)
      return make_error(ErrorCode::Invalid, "{} has expired; remove it and {} to make a new CA",
                        certificate, key);
    return Pki(
        {.certificate_pem = std::move(certificate_pem), .private_key_pem = std::move(key_pem)});
  }
  if (std::filesystem::exists(certificate, failed)) {
    return make_error(ErrorCode::Invalid, "{} is there without {}: both belong to the CA",
                      certificate, key);
  }
  FAIRLEAD_TRY(made, create_in_memory(clock));
  FAIRLEAD_CHECK(write_private_file(key, made.ca_.private_key_pem));
  FAIRLEAD_CHECK(write_private_file(certificate, made.ca_.certificate_pem));
  return made;
}

Result<Pki> Pki::create_in_memory(const Clock& clock) {
  FAIRLEAD_TRY(ca, io::make_ca("fairlead-ca", clock, kCaValidity));
  return Pki(std::move(ca));
}

Result<io::KeyPair> Pki::server_identity(Names names, const Clock& clock) const {
  for (const std::string_view name : kKubernetesNames) names.dns_names.emplace_back(name);
  if (std::string host = host_name(); is_dns1123_subdomain(host))
    names.dns_names.push_back(std::move(host));
  names.addresses.push_back(IpAddress::loopback(IpFamily::V4));
  names.addresses.push_back(IpAddress::loopback(IpFamily::V6));
  return io::sign_certificate(ca_,
                              {.common_name = "fairlead-apiserver",
                               .organizations = {},
                               .dns_names = std::move(names.dns_names),
                               .ip_addresses = std::move(names.addresses),
                               .server = true},
                              clock);
}

Result<io::KeyPair> Pki::client_identity(const std::string& user, std::vector<std::string> groups,
                                         const Clock& clock) const {
  return io::sign_certificate(ca_,
                              {.common_name = user,
                               .organizations = std::move(groups),
                               .dns_names = {},
                               .ip_addresses = {},
                               .client = true},
                              clock);
}

Result<std::string> own_signing_key(const std::string& directory) {
  const std::string path = directory + "/sa.key";
  std::error_code failed;
  if (!directory.empty() && std::filesystem::exists(path, failed)) return read_file(path);
  FAIRLEAD_TRY(key, io::SigningKey::generate());
  FAIRLEAD_TRY(pem, key.to_pem());
  if (directory.empty()) return pem;
  FAIRLEAD_CHECK(write_private_file(path, pem));
  return pem;
}

namespace {

// `cluster` and `user` are further lines of the two, indented.
std::string kubeconfig_text(const std::string& server_url, const std::string& cluster,
                            const std::string& user) {
  return fmt::format(R"(apiVersion: v1
kind: Config
clusters:
- name: fairlead
  cluster:
    server: {}
{}users:
- name: admin
  user: {}
contexts:
- name: fairlead
  context:
    cluster: fairlead
    user: admin
current-context: fairlead
)",
                     server_url, cluster, user);
}

}  // namespace

std::string make_kubeconfig(const std::string& server_url, const ServerTrust& trust,
                            const io::KeyPair& client) {
  std::string cluster =
      fmt::format("    certificate-authority-data: {}\n", base64_of(trust.ca_pem));
  if (!trust.server_name.empty())
    cluster += fmt::format("    tls-server-name: \"{}\"\n", trust.server_name);
  return kubeconfig_text(
      server_url, cluster,
      fmt::format("\n    client-certificate-data: {}\n    client-key-data: {}",
                  base64_of(client.certificate_pem), base64_of(client.private_key_pem)));
}

std::string make_insecure_kubeconfig(const std::string& server_url) {
  return kubeconfig_text(server_url, "", "{}");
}

}  // namespace fairlead::apiserver
