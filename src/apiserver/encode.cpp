#include "apiserver/encode.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

namespace fairlead::apiserver {
namespace {

using Shape = Representation::Shape;
using Format = Representation::Format;

SharedBytes share(std::string text) { return std::make_shared<const std::string>(std::move(text)); }

Document parse_object(const CachedObject& object) {
  return std::move(boost::json::parse(*object.json).get_object());  // our own bytes
}

std::string meta_api_version(const View& view) {
  return "meta.k8s.io/" + view.representation.meta_version;
}

Document partial_metadata(const Document& document, const View& view) {
  Document out{{"kind", "PartialObjectMetadata"}, {"apiVersion", meta_api_version(view)}};
  const auto* metadata = document.if_contains("metadata");
  out["metadata"] = metadata == nullptr ? boost::json::value(Document{}) : *metadata;
  return out;
}

boost::json::array columns_json(const Strategy& strategy) {
  boost::json::array out;
  for (const TableColumn& column : strategy.table_columns()) {
    out.emplace_back(Document{{"name", column.name},
                              {"type", column.type},
                              {"format", column.format},
                              {"description", column.description},
                              {"priority", column.priority}});
  }
  return out;
}

Document row_json(const Document& document, boost::json::array cells, const View& view) {
  Document row{{"cells", std::move(cells)}};
  if (view.include == IncludeObject::Object) row["object"] = document;
  if (view.include == IncludeObject::Metadata) {
    View v1 = view;
    v1.representation.meta_version = "v1";
    row["object"] = partial_metadata(document, v1);
  }
  return row;
}

Document table_json(const View& view, Document metadata, boost::json::value columns,
                    boost::json::array rows) {
  return {{"kind", "Table"},
          {"apiVersion", meta_api_version(view)},
          {"metadata", std::move(metadata)},
          {"columnDefinitions", std::move(columns)},
          {"rows", std::move(rows)}};
}

Document list_metadata(const ListMeta& meta) {
  Document out{{"resourceVersion", std::to_string(meta.revision)}};
  if (!meta.continue_token.empty()) out["continue"] = meta.continue_token;
  if (meta.remaining > 0) out["remainingItemCount"] = meta.remaining;
  return out;
}

Document revision_metadata(const Document& document) {
  Document out;
  const std::string_view revision = string_at(document, "metadata.resourceVersion");
  if (!revision.empty()) out["resourceVersion"] = revision;
  return out;
}

// The whole objects' bytes joined.
std::string join_list(const ResourceInfo& info, std::span<const ObjectPtr> items,
                      const ListMeta& meta) {
  std::string out =
      fmt::format(R"({{"kind":"{}List","apiVersion":"{}","metadata":{},"items":[)", info.kind,
                  info.api_version(), boost::json::serialize(list_metadata(meta)));
  std::size_t bytes = out.size() + 3;
  for (const ObjectPtr& item : items) bytes += item->json->size() + 1;
  out.reserve(bytes);
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out += ',';
    out += *items[i]->json;
  }
  out += "]}\n";
  return out;
}

std::string line_of(const Document& document) { return boost::json::serialize(document) + "\n"; }

kube::KindName kind_of(const Document& document) {
  return {.api_version = string_at(document, "apiVersion"), .kind = string_at(document, "kind")};
}

std::string enveloped(const kube::KindName& kind, std::string_view message) {
  std::string out = kube::protobuf_envelope(kind, message.size());
  out.reserve(out.size() + message.size() + kube::kProtobufEnvelopeEnd.size());
  out += message;
  out += kube::kProtobufEnvelopeEnd;
  return out;
}

// The cached messages joined, whole or of their metadata alone.
std::string protobuf_list(const ResourceInfo& info, std::span<const ObjectPtr> items,
                          const ListMeta& meta, const View& view) {
  const bool whole = view.representation.shape == Shape::Object;
  std::vector<std::string_view> messages;
  messages.reserve(items.size());
  for (const ObjectPtr& item : items) {
    const std::string_view message = *item->protobuf();
    messages.push_back(whole ? message : kube::protobuf_metadata(message));
  }
  return kube::protobuf_list({.api_version = whole ? info.api_version() : meta_api_version(view),
                              .kind = whole ? info.kind + "List" : "PartialObjectMetadataList"},
                             list_metadata(meta), messages);
}

}  // namespace

std::string encode_plain(const Document& document, Format format) {
  if (format != Format::Protobuf) return line_of(document);
  const kube::KindName kind = kind_of(document);
  return enveloped(kind, kube::protobuf_message(kind, document));
}

std::string encode_cached(const CachedObject& object, const Strategy& strategy, Format format) {
  if (format != Format::Protobuf) return *object.json + "\n";
  return enveloped({.api_version = strategy.info().api_version(), .kind = strategy.info().kind},
                   *object.protobuf());
}

std::string encode_object(const Strategy& strategy, const Document& document, const View& view) {
  switch (view.representation.shape) {
    case Shape::Object:
      return encode_plain(document, view.representation.format);
    case Shape::PartialMetadata:
      return encode_plain(partial_metadata(document, view), view.representation.format);
    case Shape::Table:
      break;
  }
  boost::json::array rows;
  rows.emplace_back(row_json(document, strategy.table_cells(document, view.now), view));
  return line_of(
      table_json(view, revision_metadata(document), columns_json(strategy), std::move(rows)));
}

std::string encode_list(const Strategy& strategy, std::span<const ObjectPtr> items,
                        const ListMeta& meta, const View& view) {
  if (view.representation.format == Format::Protobuf)
    return protobuf_list(strategy.info(), items, meta, view);
  if (view.representation.shape == Shape::Object) return join_list(strategy.info(), items, meta);
  boost::json::array entries;
  entries.reserve(items.size());
  for (const ObjectPtr& item : items) {
    const Document document = parse_object(*item);
    if (view.representation.shape == Shape::Table) {
      entries.emplace_back(row_json(document, strategy.table_cells(document, view.now), view));
    } else {
      entries.emplace_back(partial_metadata(document, view));
    }
  }
  if (view.representation.shape == Shape::Table) {
    return line_of(
        table_json(view, list_metadata(meta), columns_json(strategy), std::move(entries)));
  }
  return line_of({{"kind", "PartialObjectMetadataList"},
                  {"apiVersion", meta_api_version(view)},
                  {"metadata", list_metadata(meta)},
                  {"items", std::move(entries)}});
}

// ---- watch

WatchEncoder::WatchEncoder(const Strategy& strategy, View view)
    : strategy_(strategy),
      view_(std::move(view)),
      added_(share(R"({"type":"ADDED","object":)")),
      modified_(share(R"({"type":"MODIFIED","object":)")),
      deleted_(share(R"({"type":"DELETED","object":)")),
      end_(share(view_.representation.format == Format::Protobuf
                     ? std::string(kube::kProtobufEnvelopeEnd)
                     : "}\n")) {}

namespace {
std::string_view name_of(EventType type) {
  switch (type) {
    case EventType::Added:
      return "ADDED";
    case EventType::Modified:
      return "MODIFIED";
    case EventType::Deleted:
      return "DELETED";
  }
  return "ERROR";
}
}  // namespace

void WatchEncoder::event(const WatchedEvent& event, WallTime now, Parts& out) {
  if (view_.representation.shape == Shape::Object) return whole(event, out);
  const Document document = parse_object(*event.object);
  if (view_.representation.shape == Shape::PartialMetadata) {
    return line(name_of(event.type), partial_metadata(document, view_), out);
  }
  line(name_of(event.type), table_of(document, strategy_.table_cells(document, now)), out);
}

void WatchEncoder::whole(const WatchedEvent& event, Parts& out) {
  if (view_.representation.format == Format::Protobuf) {
    const ResourceInfo& info = strategy_.info();
    return frame(name_of(event.type), {.api_version = info.api_version(), .kind = info.kind},
                 event.object->protobuf(), out);
  }
  out.push_back(event.type == EventType::Added      ? added_
                : event.type == EventType::Modified ? modified_
                                                    : deleted_);
  out.push_back(event.object->json);
  out.push_back(end_);
}

void WatchEncoder::frame(std::string_view type, const kube::KindName& kind, SharedBytes message,
                         Parts& out) {
  out.push_back(share(kube::protobuf_frame(type, kind, message->size())));
  out.push_back(std::move(message));
  out.push_back(end_);
}

// Only the first event of a watch describes the columns.
Document WatchEncoder::table_of(const Document& row_object, boost::json::array cells) {
  boost::json::array rows;
  rows.emplace_back(row_json(row_object, std::move(cells), view_));
  boost::json::value columns =
      columns_sent_ ? boost::json::value(nullptr) : boost::json::value(columns_json(strategy_));
  columns_sent_ = true;
  return table_json(view_, revision_metadata(row_object), std::move(columns), std::move(rows));
}

void WatchEncoder::bookmark(Revision revision, bool end_of_initial_events, Parts& out) {
  Document metadata{{"resourceVersion", std::to_string(revision)}};
  if (end_of_initial_events)
    metadata["annotations"] = Document{{"k8s.io/initial-events-end", "true"}};
  Document object{{"kind", strategy_.info().kind},
                  {"apiVersion", strategy_.info().api_version()},
                  {"metadata", std::move(metadata)}};
  switch (view_.representation.shape) {
    case Shape::Object:
      return line("BOOKMARK", object, out);
    case Shape::PartialMetadata:
      return line("BOOKMARK", partial_metadata(object, view_), out);
    case Shape::Table:
      break;
  }
  boost::json::array cells;
  for (std::size_t i = 0; i < strategy_.table_columns().size(); ++i) cells.emplace_back("");
  line("BOOKMARK", table_of(object, std::move(cells)), out);
}

void WatchEncoder::error(const StatusError& error, Parts& out) {
  line("ERROR", error.to_json(), out);
}

void WatchEncoder::line(std::string_view type, const Document& object, Parts& out) {
  if (view_.representation.format == Format::Protobuf) {
    const kube::KindName kind = kind_of(object);
    return frame(type, kind, share(kube::protobuf_message(kind, object)), out);
  }
  out.push_back(share(
      fmt::format("{{\"type\":\"{}\",\"object\":{}}}\n", type, boost::json::serialize(object))));
}

// ---- the outside

std::string_view content_type(Format format) {
  switch (format) {
    case Format::Json:
      return "application/json";
    case Format::Yaml:
      return "application/yaml";
    case Format::Protobuf:
      return kube::kProtobufMediaType;
  }
  return "";
}

std::string_view watch_content_type(const Representation& representation) {
  if (representation.format == Format::Protobuf)
    return "application/vnd.kubernetes.protobuf;stream=watch";
  return representation.shape == Shape::Object ? content_type(representation.format)
                                               : content_type(Format::Json);
}

namespace {

void append_pretty(std::string& out, const boost::json::value& value, std::size_t depth) {
  const auto indent = [&out](std::size_t to) { out.append(1, '\n').append(to * 2, ' '); };
  if (const auto* object = value.if_object(); object != nullptr && !object->empty()) {
    out += '{';
    bool first = true;
    for (const auto& [key, member] : *object) {
      if (!first) out += ',';
      first = false;
      indent(depth + 1);
      out += boost::json::serialize(boost::json::string_view(key));
      out += ": ";
      append_pretty(out, member, depth + 1);
    }
    indent(depth);
    out += '}';
  } else if (const auto* list = value.if_array(); list != nullptr && !list->empty()) {
    out += '[';
    for (std::size_t i = 0; i < list->size(); ++i) {
      if (i > 0) out += ',';
      indent(depth + 1);
      append_pretty(out, (*list)[i], depth + 1);
    }
    indent(depth);
    out += ']';
  } else {
    out += boost::json::serialize(value);
  }
}

}  // namespace

std::string pretty(std::string_view json) {
  boost::json::error_code failed;
  const boost::json::value value = boost::json::parse(json, failed);
  if (failed) return std::string(json);
  std::string out;
  append_pretty(out, value, 0);
  return out + "\n";
}

}  // namespace fairlead::apiserver
