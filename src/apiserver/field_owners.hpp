// Who owns which fields of an object (metadata.managedFields), and server-side apply, which is made
// of that. Facts: KEP-555 and the documentation of server-side apply.
//
// An owner is a manager with what it did (Update or Apply), in which apiVersion, through which
// subresource. A write that changes fields takes them from all others; a configuration that is
// applied shares those on which it agrees, and conflicts where it does not. Owners of another
// apiVersion than the writer's (the two of Events) name fields differently and are left as they
// are.
//
// Pure: documents in, documents out. Called before a strategy adds what nobody asked for: what the
// server allocates or carries over has no owner. Not here: who may write at all.
#pragma once

#include <boost/json/array.hpp>
#include <string>
#include <string_view>

#include "apiserver/schema.hpp"
#include "apiserver/strategy.hpp"

namespace fairlead::apiserver {

// How managedFields names who writes: `requested` (the parameter fieldManager), else the User-Agent
// up to the first '/', without what cannot be printed; "unknown" if that is nothing.
std::string field_manager_name(std::string_view requested, std::string_view user_agent);

struct FieldWriter {
  std::string manager;
  std::string subresource;  // "" = the object itself
  WallTime now;
};

// The managedFields of `next`, which a create (`live` is null), PUT or patch makes of `live`; empty
// when nobody's fields are kept: an object that has no owners gets none by updates, and kinds
// without schema have none. A list with one
// empty entry in `next` asks for that.
boost::json::array owners_after_update(const ResourceInfo& info, const FieldWriter& writer,
                                       const Document* live, const Document& next);
// Whether two lists say the same but for the times.
bool same_owners(const boost::json::array& a, const boost::json::array& b);

// A configuration as a client sent it, checked: kind and apiVersion of `info`, no managedFields,
// known fields only, each of its type; without the fields that this subresource does not write.
ApiResult<Document> conform_configuration(const Strategy& strategy, std::string_view subresource,
                                          Document body);

// What applying `config` makes of `live` (null: there is no such object), with managedFields:
// fields the writer applied before, that `config` has no more and nobody else owns, are gone. 409
// with a cause for every field that others own and `config` changes, unless `force`.
ApiResult<Document> apply_configuration(const ResourceInfo& info, const FieldWriter& writer,
                                        const Document* live, const Document& config, bool force);

}  // namespace fairlead::apiserver
