// Who asks. A value.
#pragma once

#include <algorithm>
#include <boost/json/object.hpp>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace fairlead::apiserver {

inline constexpr std::string_view kMasters = "system:masters";
inline constexpr std::string_view kAnonymous = "system:anonymous";
inline constexpr std::string_view kAuthenticated = "system:authenticated";
inline constexpr std::string_view kUnauthenticated = "system:unauthenticated";

struct User {
  std::string name;
  std::string uid = {};
  std::vector<std::string> groups = {};
  std::map<std::string, std::vector<std::string>> extra = {};  // what else the credentials say

  bool in_group(std::string_view group) const {
    return std::ranges::find(groups, group) != groups.end();
  }
  bool operator==(const User&) const = default;
};

// As reviews and the audit log tell it: UserInfo of authentication.k8s.io/v1.
boost::json::object user_info(const User& user);

}  // namespace fairlead::apiserver
