#include "apiserver/impersonation.hpp"

#include "base/text.hpp"

namespace fairlead::apiserver {
namespace {

constexpr std::string_view kVerb = "impersonate";
constexpr std::string_view kPrefix = "impersonate-";
constexpr std::string_view kExtra = "extra-";
constexpr std::string_view kAccount = "system:serviceaccount:";
constexpr std::string_view kGroup = "authentication.k8s.io";  // of uids and userextras

// Header names are of any case, keys in them percent-encoded and lower-case.
ApiResult<User> asked_for(const io::HttpHeaders& headers) {
  User out;
  for (const io::HttpHeader& header : headers) {
    const std::string name = to_lower_ascii(header.name);
    if (!name.starts_with(kPrefix)) continue;
    const std::string_view what = std::string_view(name).substr(kPrefix.size());
    if (what == "user") {
      out.name = header.value;
    } else if (what == "uid") {
      out.uid = header.value;
    } else if (what == "group") {
      out.groups.push_back(header.value);
    } else if (what.starts_with(kExtra)) {
      const auto key = io::percent_decode(what.substr(kExtra.size()));
      if (!key) return bad_request(fmt::format("header {}: {}", header.name, key.error()));
      out.extra[to_lower_ascii(*key)].push_back(header.value);
    } else {
      // Ignoring what was meant to restrict the request would give more than was asked for.
      return bad_request(fmt::format("header {} is not known", header.name));
    }
  }
  return out;
}

// "NS" and "NAME" of a ServiceAccount's user name.
std::optional<std::pair<std::string, std::string>> account_of(std::string_view user) {
  if (!user.starts_with(kAccount)) return std::nullopt;
  const auto parts = split(user.substr(kAccount.size()), ':');
  if (parts.size() != 2 || parts[0].empty() || parts[1].empty()) return std::nullopt;
  return std::pair(std::string(parts[0]), std::string(parts[1]));
}

Attributes taking_on(std::string group, std::string resource, std::string name) {
  return {.verb = std::string(kVerb),
          .path = {},
          .group = std::move(group),
          .resource = std::move(resource),
          .subresource = {},
          .ns = {},
          .name = std::move(name)};
}

Attributes taking_on_user(const std::string& user) {
  const auto account = account_of(user);
  if (!account) return taking_on("", "users", user);
  Attributes out = taking_on("", "serviceaccounts", account->second);
  out.ns = account->first;
  return out;
}

// What is to be allowed before `who` is `wanted`.
std::vector<Attributes> needed(const User& wanted) {
  std::vector<Attributes> out{taking_on_user(wanted.name)};
  for (const std::string& group : wanted.groups) out.push_back(taking_on("", "groups", group));
  if (!wanted.uid.empty()) out.push_back(taking_on(std::string(kGroup), "uids", wanted.uid));
  for (const auto& [key, values] : wanted.extra) {
    for (const std::string& value : values) {
      out.push_back(taking_on(std::string(kGroup), "userextras", value));
      out.back().subresource = key;
    }
  }
  return out;
}

// The groups that authentication would have given.
void add_usual_groups(User& user) {
  const auto account = account_of(user.name);
  if (account && user.groups.empty())
    user.groups = {"system:serviceaccounts", "system:serviceaccounts:" + account->first};
  const std::string_view usual = user.name == kAnonymous ? kUnauthenticated : kAuthenticated;
  if (!user.in_group(kAuthenticated) && !user.in_group(kUnauthenticated))
    user.groups.emplace_back(usual);
}

}  // namespace

ApiResult<std::optional<User>> impersonated(const User& who, const io::HttpHeaders& headers,
                                            const Authorizer& authorizer) {
  FAIRLEAD_TRY(wanted, asked_for(headers));
  if (wanted == User()) return std::optional<User>();
  if (wanted.name.empty())
    return bad_request("groups, uid or extra are to be impersonated without a user");
  for (const Attributes& asked : needed(wanted)) FAIRLEAD_CHECK(authorizer.authorize(who, asked));
  add_usual_groups(wanted);
  return std::optional(std::move(wanted));
}

}  // namespace fairlead::apiserver
