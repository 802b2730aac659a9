// What the protobuf messages of several kinds are made of. Included by the files of messages only.
#pragma once

#include "kube/protobuf_schema.hpp"

namespace fairlead::kube {

inline constexpr ProtoField kOwnerReferenceFields[] = {
    {1, "kind", ProtoType::String},
    {3, "name", ProtoType::String},
    {4, "uid", ProtoType::String},
    {5, "apiVersion", ProtoType::String},
    {6, "controller", ProtoType::Bool, nullptr, false, true},
    {7, "blockOwnerDeletion", ProtoType::Bool, nullptr, false, true},
};
inline constexpr ProtoMessage kOwnerReference{kOwnerReferenceFields};

inline constexpr ProtoField kObjectMetaFields[] = {
    {1, "name", ProtoType::String},
    {2, "generateName", ProtoType::String},
    {3, "namespace", ProtoType::String},
    {4, "selfLink", ProtoType::Skipped},
    {5, "uid", ProtoType::String},
    {6, "resourceVersion", ProtoType::String},
    {7, "generation", ProtoType::Integer},
    {8, "creationTimestamp", ProtoType::Time},
    {9, "deletionTimestamp", ProtoType::Time},
    {10, "deletionGracePeriodSeconds", ProtoType::Integer, nullptr, false, true},
    {11, "labels", ProtoType::StringMap},
    {12, "annotations", ProtoType::StringMap},
    {13, "ownerReferences", ProtoType::Message, &kOwnerReference, true},
    {14, "finalizers", ProtoType::String, nullptr, true},
    {17, "managedFields", ProtoType::Skipped},
};
inline constexpr ProtoMessage kObjectMeta{kObjectMetaFields};

inline constexpr ProtoField kObjectReferenceFields[] = {
    {1, "kind", ProtoType::String},       {2, "namespace", ProtoType::String},
    {3, "name", ProtoType::String},       {4, "uid", ProtoType::String},
    {5, "apiVersion", ProtoType::String}, {6, "resourceVersion", ProtoType::String},
    {7, "fieldPath", ProtoType::String},
};
inline constexpr ProtoMessage kObjectReference{kObjectReferenceFields};

// Of the kinds around Services (protobuf_small_kinds.cpp); null for others.
const ProtoMessage* small_proto_message_of(std::string_view api_version, std::string_view kind);

}  // namespace fairlead::kube
