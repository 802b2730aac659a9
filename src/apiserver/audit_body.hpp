// What of a request's and an answer's body may stand in the audit log. Pure.
#pragma once

#include <boost/json/value.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "apiserver/policy_rule.hpp"

namespace fairlead::apiserver {

// Whether its bodies hold tokens or Secrets: they are not written whatever a policy says.
bool is_secret(const Attributes& asked);

// Whether what is asked is sent in a body: an object, a patch, options.
bool sends_body(const Attributes& asked);

// JSON, YAML or protobuf (not of lists), patches too; nullopt when it cannot be read.
std::optional<boost::json::value> readable_body(std::string_view content_type,
                                                const std::string& body);

// Of an object, of the items of a list, of the rows of a table.
void remove_managed_fields(boost::json::value& body);

}  // namespace fairlead::apiserver
