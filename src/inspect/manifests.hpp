// Manifests as kubectl reads them, YAML or JSON, into a Snapshot. What the API server would refuse
// and the proxy would silently leave out is an error here: one line that names the file, the
// document, the object, the field and the value.
//
// What the API server fills in when it is left out and can be known (namespace, clusterIPs and
// ipFamilies of a clusterIP) is filled in. Kinds that the proxy does not read are skipped. Blocks
// on files; otherwise pure. Values, one owner, no thread rule.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "inspect/snapshot.hpp"
#include "kube/codec.hpp"

namespace fairlead::inspect {

class ManifestReader {
 public:
  // A file, "-" for standard input, or a folder: every .yaml, .yml and .json file in it and in the
  // folders below, in the order of their names.
  Result<void> add_path(const std::string& path);
  // `source` names the text in errors.
  Result<void> add(std::string_view source, std::string_view text);

  Snapshot take() { return std::move(snapshot_); }

 private:
  Result<void> add_folder(const std::string& path);
  Result<void> add_document(const std::string& place, const std::string& json);
  template <class T>
  Result<void> keep(const std::string& place, const std::string& api_version,
                    const std::string& json);
  Result<void> once(const std::string& place, const std::string& what);

  kube::Decoder decoder_;
  Snapshot snapshot_;
  std::map<std::string, std::string> places_;  // where each object was given
};

}  // namespace fairlead::inspect
