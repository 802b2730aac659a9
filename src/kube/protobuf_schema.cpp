#include "kube/protobuf_schema.hpp"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "base/error.hpp"
#include "base/text.hpp"

namespace fairlead::kube {
namespace {

constexpr std::string_view kMetaVersion = "meta.k8s.io/v1";

constexpr std::pair<std::string_view, ProtoType> kTypes[] = {
    {"s", ProtoType::String},    {"y", ProtoType::Bytes},       {"b", ProtoType::Bool},
    {"i", ProtoType::Int32},     {"l", ProtoType::Int64},       {"t", ProtoType::Time},
    {"u", ProtoType::MicroTime}, {"x", ProtoType::IntOrString}, {"q", ProtoType::Quantity},
    {"j", ProtoType::FieldSet},  {"e", ProtoType::StringList},
};

class Schema {
 public:
  Schema() {
    for (const ProtoSource& source : proto_sources()) read(source);
  }

  const ProtoMessage* find(std::string_view api_version, std::string_view name) const {
    const auto found = messages_.find({api_version, name});
    return found == messages_.end() ? nullptr : found->second.get();
  }

 private:
  // The word at the front of `text`, which it leaves.
  static std::string_view take_word(std::string_view& text) {
    text.remove_prefix(std::min(text.find_first_not_of(" \n"), text.size()));
    const std::string_view word = text.substr(0, text.find_first_of(" \n"));
    text.remove_prefix(word.size());
    return word;
  }

  // Messages stand before those that contain them, which is why none contains itself.
  void read(const ProtoSource& source) {
    std::string_view text = source.text;
    for (std::string_view name = take_word(text); !name.empty(); name = take_word(text)) {
      auto message = std::make_unique<ProtoMessage>();
      message->name = name;
      check(take_word(text) == "{", "a message's fields stand in braces");
      for (std::string_view word = take_word(text); word != "}"; word = take_word(text)) {
        const auto number = parse_uint(word);
        check(number.has_value(), "a field has a number");
        message->fields.push_back(
            field(source.api_version, static_cast<std::uint32_t>(*number), text));
      }
      check(std::ranges::is_sorted(message->fields, {}, &ProtoField::number),
            "fields stand by number");
      const bool added =
          messages_.try_emplace({source.api_version, name}, std::move(message)).second;
      check(added, "a message is described once");
    }
  }

  ProtoField field(std::string_view api_version, std::uint32_t number, std::string_view& text) {
    ProtoField out{.number = number, .name = take_word(text)};
    std::string_view type = take_word(text);
    if (type.ends_with('?')) {
      out.keeps_empty = true;
      type.remove_suffix(1);
    }
    if (out.name == "-") {
      out.shape = ProtoField::Shape::Inline;
    } else if (type.starts_with("[]")) {
      out.shape = ProtoField::Shape::Repeated;
    } else if (type.starts_with("{}")) {
      out.shape = ProtoField::Shape::Map;
    }
    if (type.starts_with("[]") || type.starts_with("{}")) type.remove_prefix(2);
    const auto* scalar =
        std::ranges::find(kTypes, type, &std::pair<std::string_view, ProtoType>::first);
    if (scalar != std::end(kTypes)) {
      out.type = scalar->second;
      return out;
    }
    out.type = ProtoType::Message;
    for (const std::string_view version : {api_version, kMetaVersion, std::string_view("v1")}) {
      if (out.message == nullptr) out.message = find(version, type);
    }
    check(out.message != nullptr, "a field's message is described before it");
    return out;
  }

  std::map<std::pair<std::string_view, std::string_view>, std::unique_ptr<const ProtoMessage>>
      messages_;  // by API version and name
};

bool is_kind(const ProtoMessage& message) {
  return !message.fields.empty() && message.fields.front().name == "metadata";
}

}  // namespace

const ProtoField* ProtoMessage::field(std::uint32_t number) const {
  const auto found = std::ranges::lower_bound(fields, number, {}, &ProtoField::number);
  return found == fields.end() || found->number != number ? nullptr : &*found;
}

const ProtoMessage* proto_message_of(std::string_view api_version, std::string_view kind) {
  static const Schema schema;
  const ProtoMessage* own = schema.find(api_version, kind);
  if (own != nullptr && is_kind(*own)) return own;
  return schema.find(kMetaVersion, kind);
}

}  // namespace fairlead::kube
