// The API's messages as libprotobuf reads and writes them, from published_api.proto: what the
// server's protobuf is held against. What does not parse is a broken test, which ends.
#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/text_format.h>

#include <fstream>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace fairlead::test {

class PublishedApi {
 public:
  PublishedApi() {
    std::ifstream file(FAIRLEAD_BINARY_DIR "/tests/published_api.pb", std::ios::binary);
    google::protobuf::FileDescriptorSet set;
    check(set.ParseFromIstream(&file) && set.file_size() == 1, "protoc has read the schema");
    file_ = pool_.BuildFile(set.file(0));
    check(file_ != nullptr, "published_api.proto is whole");
  }

  const google::protobuf::FileDescriptor& file() const { return *file_; }

  // One line; fields the schema does not have show as numbers.
  std::string text(std::string_view name, std::string_view bytes) const {
    const auto message = make(name);
    check(message->ParseFromArray(bytes.data(), static_cast<int>(bytes.size())), name);
    return print(*message);
  }
  std::string bytes(std::string_view name, std::string_view text) const {
    std::string out;
    check(read(name, text)->SerializeToString(&out), name);
    return out;
  }
  // A text as text() writes it.
  std::string canonical(std::string_view name, std::string_view text) const {
    return print(*read(name, text));
  }

  // The bytes of a member that is bytes or a message.
  std::string member(std::string_view name, std::string_view bytes,
                     const std::string& field) const {
    const auto message = make(name);
    check(message->ParseFromArray(bytes.data(), static_cast<int>(bytes.size())), name);
    const auto* found = message->GetDescriptor()->FindFieldByName(field);
    check(found != nullptr, field);
    if (found->type() == google::protobuf::FieldDescriptor::TYPE_MESSAGE)
      return message->GetReflection()->GetMessage(*message, found).SerializeAsString();
    return message->GetReflection()->GetString(*message, found);
  }

 private:
  std::unique_ptr<google::protobuf::Message> make(std::string_view name) const {
    const auto* type = file_->FindMessageTypeByName(std::string(name));
    check(type != nullptr, name);
    return std::unique_ptr<google::protobuf::Message>(factory_.GetPrototype(type)->New());
  }
  std::unique_ptr<google::protobuf::Message> read(std::string_view name,
                                                  std::string_view text) const {
    auto message = make(name);
    check(google::protobuf::TextFormat::ParseFromString(std::string(text), message.get()), text);
    return message;
  }
  static std::string print(const google::protobuf::Message& message) {
    google::protobuf::TextFormat::Printer printer;
    printer.SetSingleLineMode(true);
    std::string out;
    printer.PrintToString(message, &out);
    return out;
  }

  google::protobuf::DescriptorPool pool_;
  mutable google::protobuf::DynamicMessageFactory factory_;
  const google::protobuf::FileDescriptor* file_ = nullptr;
};

}  // namespace fairlead::test
