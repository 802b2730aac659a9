// Acting as somebody else (kubectl --as): the headers Impersonate-User, -Group, -Uid and
// -Extra-KEY, each of which needs the verb impersonate on what it names. Pure.
#pragma once

#include <optional>

#include "apiserver/authorizer.hpp"
#include "apiserver/status.hpp"
#include "apiserver/user.hpp"
#include "io/http.hpp"

namespace fairlead::apiserver {

// As whom `who` acts; nullopt when no header asks for it. Forbidden names the first thing that may
// not be taken on.
ApiResult<std::optional<User>> impersonated(const User& who, const io::HttpHeaders& headers,
                                            const Authorizer& authorizer);

}  // namespace fairlead::apiserver
