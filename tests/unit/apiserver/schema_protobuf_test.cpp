// The two descriptions of a kind, what JSON may have and what protobuf has, are of the same fields.
#include <algorithm>
#include <set>
#include <utility>

#include "apiserver/review_kinds.hpp"
#include "apiserver/schema.hpp"
#include "kube/protobuf_schema.hpp"
#include "unit/apiserver/kinds_fixture.hpp"

namespace fairlead::apiserver {
namespace {

using kube::ProtoField;
using kube::ProtoMessage;
using kube::ProtoType;
using Type = Schema::Type;
using Shape = ProtoField::Shape;

constexpr std::pair<Type, ProtoType> kScalars[] = {
    {Type::String, ProtoType::String},
    {Type::String, ProtoType::Bytes},
    {Type::Integer, ProtoType::Int32},
    {Type::Integer, ProtoType::Int64},
    {Type::Boolean, ProtoType::Bool},
    {Type::Time, ProtoType::Time},
    {Type::MicroTime, ProtoType::MicroTime},
    {Type::Quantity, ProtoType::Quantity},
    {Type::IntOrString, ProtoType::IntOrString},
};

class Comparison {
 public:
  void object(const Schema& schema, const ProtoMessage& message, const std::string& path) {
    std::set<std::string> seen;
    members(schema, message, path, seen);
    for (const auto& [name, field] : schema.fields()) {
      if (!seen.contains(name)) differences.push_back(path + "." + name + " is not in protobuf");
    }
  }

  std::vector<std::string> differences;

 private:
  void members(const Schema& schema, const ProtoMessage& message, const std::string& path,
               std::set<std::string>& seen) {
    for (const ProtoField& field : message.fields) {
      if (field.shape == Shape::Inline) {
        members(schema, *field.message, path, seen);
        continue;
      }
      seen.emplace(field.name);
      const std::string inner = fmt::format("{}.{}", path, field.name);
      const Schema* member = schema.field(field.name);
      if (member == nullptr) {
        differences.push_back(inner + " is not in the schema");
      } else {
        compare(*member, field, inner);
      }
    }
  }

  void compare(const Schema& schema, const ProtoField& field, const std::string& path) {
    if (schema.type() == Type::Any) return;
    if (field.shape == Shape::Map) {
      if (schema.type() != Type::StringMap) differences.push_back(path + " is a map in protobuf");
    } else if (field.shape == Shape::Repeated) {
      if (schema.type() != Type::List)
        return differences.push_back(path + " is a list in protobuf");
      single(schema.items(), field, path);
    } else {
      single(schema, field, path);
    }
  }

  void single(const Schema& schema, const ProtoField& field, const std::string& path) {
    if (schema.type() == Type::Any) return;
    if (schema.type() == Type::Object && field.type == ProtoType::Message)
      return object(schema, *field.message, path);
    if (std::ranges::find(kScalars, std::pair(schema.type(), field.type)) == std::end(kScalars))
      differences.push_back(path + " is of another type in protobuf");
  }
};

TEST(Schema, SaysTheSameOfEveryKindAsProtobuf) {
  std::vector<ResourceInfo> infos;
  for (const auto& strategy : make_strategies(ipv4_cluster())) infos.push_back(strategy->info());
  for (const ReviewKind& review : review_kinds()) infos.push_back(review.info);
  for (const ResourceInfo& info : infos) {
    const Schema* schema = schema_of_kind(info.group, info.kind);
    const ProtoMessage* message = kube::proto_message_of(info.api_version(), info.kind);
    ASSERT_NE(schema, nullptr) << info.kind;
    ASSERT_NE(message, nullptr) << info.kind;
    Comparison comparison;
    comparison.object(*schema, *message, info.kind);
    std::erase(comparison.differences, info.kind + ".kind is not in protobuf");
    std::erase(comparison.differences, info.kind + ".apiVersion is not in protobuf");
    EXPECT_THAT(comparison.differences, testing::IsEmpty());
  }
}

}  // namespace
}  // namespace fairlead::apiserver
