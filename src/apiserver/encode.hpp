// Objects as the client asked to see them: whole, as a Table, or as metadata only; single, listed
// or watched; in JSON or protobuf. Pure: cached bytes in, bytes out. Whole objects are never parsed
// on this way, but once for the first who reads them as protobuf.
#pragma once

#include <boost/json/array.hpp>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "apiserver/object_cache.hpp"
#include "apiserver/request.hpp"
#include "kube/protobuf.hpp"

namespace fairlead::apiserver {

enum class IncludeObject { None, Metadata, Object };  // of table rows

struct View {
  Representation representation;
  IncludeObject include = IncludeObject::Metadata;
  WallTime now;  // for ages
};

struct ListMeta {
  Revision revision = 0;
  std::string continue_token;
  std::size_t remaining = 0;  // 0 = not said
};

// Any document that names its kind, a Status among them, as it is.
std::string encode_plain(const Document& document, Representation::Format format);
// A cached object as it is.
std::string encode_cached(const CachedObject& object, const Strategy& strategy,
                          Representation::Format format);
// `document` with its resourceVersion, if it has one.
std::string encode_object(const Strategy& strategy, const Document& document, const View& view);
std::string encode_list(const Strategy& strategy, std::span<const ObjectPtr> items,
                        const ListMeta& meta, const View& view);

// The events of one watch, each as parts to be written one after another; whole objects share the
// cache's bytes.
class WatchEncoder {
 public:
  WatchEncoder(const Strategy& strategy, View view);
  using Parts = std::vector<SharedBytes>;
  // Each appends one event.
  void event(const WatchedEvent& event, WallTime now, Parts& out);
  void bookmark(Revision revision, bool end_of_initial_events, Parts& out);
  void error(const StatusError& error, Parts& out);

 private:
  void whole(const WatchedEvent& event, Parts& out);
  void frame(std::string_view type, const kube::KindName& kind, SharedBytes message, Parts& out);
  void line(std::string_view type, const Document& object, Parts& out);
  Document table_of(const Document& row_object, boost::json::array cells);

  const Strategy& strategy_;
  View view_;
  bool columns_sent_ = false;
  SharedBytes added_, modified_, deleted_, end_;
};

std::string_view content_type(Representation::Format format);
std::string_view watch_content_type(const Representation& representation);
// Two-space indentation, as for people reading with curl.
std::string pretty(std::string_view json);

}  // namespace fairlead::apiserver
