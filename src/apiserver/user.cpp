#include "apiserver/user.hpp"

#include <boost/json/array.hpp>

namespace fairlead::apiserver {
namespace {

boost::json::array strings(const std::vector<std::string>& texts) {
  boost::json::array out;
  for (const std::string& text : texts) out.emplace_back(text);
  return out;
}

}  // namespace

boost::json::object user_info(const User& user) {
  boost::json::object out{{"username", user.name}};
  if (!user.uid.empty()) out["uid"] = user.uid;
  if (!user.groups.empty()) out["groups"] = strings(user.groups);
  boost::json::object extra;
  for (const auto& [key, values] : user.extra) extra[key] = strings(values);
  if (!extra.empty()) out["extra"] = std::move(extra);
  return out;
}

}  // namespace fairlead::apiserver
