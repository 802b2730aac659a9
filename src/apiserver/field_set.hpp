// A set of places in an object, as metadata.managedFields keeps it (FieldsV1): who owns what.
//
//   {"f:spec":{"f:type":{},"f:ports":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:port":{}}}}}
//
// One element of a path is its text in that notation, in a canonical form, so that equal elements
// are equal texts: "f:" a member of an object, "k:" the element of a list with these keys (sorted
// by name), "v:" the element of a set with this value, "i:" the element at this index. An element
// with no more below it is in the set; one with more is in the set itself only where "." says so.
//
// A value: sorted, so the same set is always the same text. Pure. What kinds look like is not known
// here (see typed_document.hpp).
#pragma once

#include <boost/json/value.hpp>
#include <compare>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "apiserver/status.hpp"

namespace fairlead::apiserver {

using FieldPath = std::vector<std::string>;  // of elements

std::string field_element(std::string_view name);         // "f:name"
std::string value_element(const boost::json::value& of);  // "v:..."
std::string keys_element(std::vector<std::pair<std::string_view, boost::json::value>> keys);
// As messages write it: .spec.ports[port=80,protocol="TCP"].targetPort
std::string path_text(const FieldPath& path);

class FieldSet {
 public:
  struct Entry;

  FieldSet();
  FieldSet(const FieldSet&);
  FieldSet(FieldSet&&) noexcept;
  FieldSet& operator=(const FieldSet&);
  FieldSet& operator=(FieldSet&&) noexcept;
  ~FieldSet();
  bool operator==(const FieldSet& other) const;

  // Entries in any order; those of the same element become one, empty ones none.
  static FieldSet of(std::vector<Entry> entries);
  // From FieldsV1. BadRequest for elements that are none of the above, and for more than 64 levels.
  static ApiResult<FieldSet> parse(const boost::json::value& fields_v1);
  boost::json::object to_json() const;

  bool empty() const { return entries_.empty(); }
  const std::vector<Entry>& entries() const { return entries_; }  // sorted by element
  const Entry* find(std::string_view element) const;
  bool contains(std::span<const std::string> path) const;
  std::vector<FieldPath> paths() const;  // of everything in the set, in order

  void insert(std::span<const std::string> path);
  // `element` itself when `member`, and `below` it.
  void add(std::string_view element, bool member, FieldSet below = {});

  FieldSet union_with(const FieldSet& other) const;
  FieldSet intersection(const FieldSet& other) const;
  FieldSet difference(const FieldSet& other) const;
  // Also without whatever lies below a place in `other`.
  FieldSet without_subtrees(const FieldSet& other) const;
  // With every member of an object that something in the set lies in.
  FieldSet with_containers() const;

 private:
  std::vector<Entry> entries_;
};

struct FieldSet::Entry {
  std::string element;
  bool member = false;
  FieldSet below;
  bool operator==(const Entry&) const = default;
};

}  // namespace fairlead::apiserver
