#include "apiserver/auth.hpp"

#include <algorithm>

#include "apiserver/request_attributes.hpp"
#include "base/log.hpp"
#include "base/text.hpp"

namespace fairlead::apiserver {
namespace {

// As long as the longer text takes, whatever they hold.
bool equal_in_constant_time(std::string_view a, std::string_view b) {
  unsigned difference = a.size() == b.size() ? 0 : 1;
  const std::size_t length = std::max(a.size(), b.size());
  for (std::size_t i = 0; i < length; ++i) {
    const auto x = static_cast<unsigned char>(i < a.size() ? a[i] : 0);
    const auto y = static_cast<unsigned char>(i < b.size() ? b[i] : 0);
    difference |= static_cast<unsigned>(x ^ y);
  }
  return difference == 0;
}

// CSV as Kubernetes writes it: fields may be quoted, a quote inside is doubled.
std::vector<std::string> csv_fields(std::string_view line) {
  std::vector<std::string> out(1);
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (quoted && c == '"' && i + 1 < line.size() && line[i + 1] == '"') {
      out.back() += c;
      ++i;
    } else if (c == '"') {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      out.emplace_back();
    } else {
      out.back() += c;
    }
  }
  return out;
}

std::string_view path_of(std::string_view target) { return target.substr(0, target.find('?')); }

}  // namespace

Result<std::vector<TokenEntry>> parse_token_file(std::string_view text) {
  std::vector<TokenEntry> out;
  std::size_t number = 0;
  for (const std::string_view raw : split(text, '\n')) {
    ++number;
    const std::string_view line = trim(raw);
    if (line.empty() || line.front() == '#') continue;
    const auto fields = csv_fields(line);
    if (fields.size() < 3 || fields[0].empty() || fields[1].empty()) {
      return make_error(ErrorCode::Invalid, "line {}: expected token,user,uid[,\"group1,group2\"]",
                        number);
    }
    TokenEntry entry{.token = fields[0],
                     .user = {.name = fields[1], .uid = fields[2], .groups = {}}};
    if (fields.size() > 3) {
      for (const std::string_view group : split(fields[3], ',')) {
        if (!trim(group).empty()) entry.user.groups.emplace_back(trim(group));
      }
    }
    entry.user.groups.emplace_back(kAuthenticated);
    out.push_back(std::move(entry));
  }
  return out;
}

ApiResult<User> Authenticator::authenticate(const io::HttpRequest& request, const io::Peer& peer,
                                            bool trusted) const {
  const bool late = peer.certificate && peer.certificate->valid_until < clock_.wall();
  if (peer.certificate && !late && !peer.certificate->common_name.empty()) {
    User user{.name = peer.certificate->common_name,
              .uid = {},
              .groups = peer.certificate->organizations};
    user.groups.emplace_back(kAuthenticated);
    return user;
  }
  const auto header = io::find_header(request.headers, "Authorization");
  const std::string_view text = trim(header.value_or(""));
  if (text.size() > 7 && equals_ignore_case(text.substr(0, 7), "bearer ")) {
    auto verified = verify(trim(text.substr(7)));
    if (verified) return std::move(verified->user);
    log::verbose(3, "A bearer token was refused", {{"err", verified.error()}});
    return unauthorized();
  }
  if (!text.empty())
    return unauthorized();  // a scheme we do not know is no licence to go on as nobody
  if (late || !peer.refused_certificate.empty()) {
    log::verbose(3, "A client certificate was refused",
                 {{"err", late ? "it has expired" : peer.refused_certificate}});
    return unauthorized();
  }
  if (trusted) {
    return User{.name = "system:unsecured",
                .uid = {},
                .groups = {std::string(kMasters), std::string(kAuthenticated)}};
  }
  if (anonymous_ == Anonymous::Health && !is_health(path_of(request.target))) return unauthorized();
  return User{.name = std::string(kAnonymous), .groups = {std::string(kUnauthenticated)}};
}

// All are compared, so that the time does not tell which one was nearly right.
const User* Authenticator::find(std::string_view token) const {
  const TokenEntry* found = nullptr;
  for (const TokenEntry& entry : tokens_) {
    if (equal_in_constant_time(entry.token, token)) found = &entry;
  }
  return found == nullptr ? nullptr : &found->user;
}

Result<Authenticator::Verified> Authenticator::verify(std::string_view token,
                                                      std::vector<std::string> audiences) const {
  const User* listed = find(token);
  if (listed == nullptr && accounts_ != nullptr)
    return accounts_->verify(token, std::move(audiences));
  if (listed == nullptr) return make_error(ErrorCode::Unauthorized, "it is none that is known");
  // A listed token says nothing of audiences: it is for this server.
  if (accounts_ == nullptr) return Verified{.user = *listed, .audiences = std::move(audiences)};
  const auto& ours = accounts_->audiences();
  if (audiences.empty()) return Verified{.user = *listed, .audiences = ours};
  std::erase_if(audiences, [&ours](const std::string& audience) {
    return std::ranges::find(ours, audience) == ours.end();
  });
  if (audiences.empty()) return make_error(ErrorCode::Unauthorized, "it is meant for others");
  return Verified{.user = *listed, .audiences = std::move(audiences)};
}

}  // namespace fairlead::apiserver
