// JSON <-> the structs of objects.hpp. Decoding is for clients: unknown fields are ignored, absent
// ones get the API's defaults, a field of the wrong type is an error naming its path
// ("spec.ports[0].port: not an integer"). Decoding runs on simdjson (on-demand style is the hot
// path: 10^5 endpoints at start); a Decoder keeps its buffers, one per thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "kube/objects.hpp"

namespace fairlead::kube {

// What a generic client needs to know of a kind: where it lives and what it is called.
template <class T>
struct KindOf;  // specialised below: kind, api_version, resource ("services"), namespaced
template <>
struct KindOf<Service> {
  static constexpr std::string_view kKind = "Service", kApiVersion = "v1", kResource = "services";
  static constexpr bool kNamespaced = true;
};
template <>
struct KindOf<EndpointSlice> {
  static constexpr std::string_view kKind = "EndpointSlice", kApiVersion = "discovery.k8s.io/v1",
                                    kResource = "endpointslices";
  static constexpr bool kNamespaced = true;
};
template <>
struct KindOf<Endpoints> {
  static constexpr std::string_view kKind = "Endpoints", kApiVersion = "v1",
                                    kResource = "endpoints";
  static constexpr bool kNamespaced = true;
};
template <>
struct KindOf<Pod> {
  static constexpr std::string_view kKind = "Pod", kApiVersion = "v1", kResource = "pods";
  static constexpr bool kNamespaced = true;
};
template <>
struct KindOf<Node> {
  static constexpr std::string_view kKind = "Node", kApiVersion = "v1", kResource = "nodes";
  static constexpr bool kNamespaced = false;
};
template <>
struct KindOf<Namespace> {
  static constexpr std::string_view kKind = "Namespace", kApiVersion = "v1",
                                    kResource = "namespaces";
  static constexpr bool kNamespaced = false;
};

template <>
struct KindOf<ServiceCidr> {
  static constexpr std::string_view kKind = "ServiceCIDR", kApiVersion = "networking.k8s.io/v1",
                                    kResource = "servicecidrs";
  static constexpr bool kNamespaced = false;
};

template <>
struct KindOf<Lease> {
  static constexpr std::string_view kKind = "Lease", kApiVersion = "coordination.k8s.io/v1",
                                    kResource = "leases";
  static constexpr bool kNamespaced = true;
};

enum class WatchEventType { Added, Modified, Deleted, Bookmark, Error };

// One line of a watch stream. For Bookmark only metadata is filled; for Error see `error` (410
// becomes ErrorCode::Expired).
template <class T>
struct WatchEvent {
  WatchEventType type = WatchEventType::Added;
  T object;
  bool initial_events_end = false;  // a bookmark annotated k8s.io/initial-events-end
  Error error;
};

// One page of a list.
template <class T>
struct ObjectList {
  std::vector<T> items;
  std::string resource_version;
  std::string continue_token;  // empty on the last page
};

class Decoder {
 public:
  Decoder();
  ~Decoder();
  Decoder(Decoder&&) noexcept;
  Decoder& operator=(Decoder&&) noexcept;

  // T is one of the kinds above; explicit instantiations live in codec.cpp.
  template <class T>
  Result<T> object(std::string_view json);
  template <class T>
  Result<ObjectList<T>> list(std::string_view json);
  template <class T>
  Result<WatchEvent<T>> watch_event(std::string_view json);
  // A metav1.Status body as an Error (code from its reason and code); BadRequest-shaped text if it
  // is not one.
  Error status(std::string_view json, unsigned http_status);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The object as compact JSON with kind and apiVersion, empty fields omitted; what a client POSTs or
// PUTs.
std::string encode(const Service& object);
std::string encode(const EndpointSlice& object);
std::string encode(const Endpoints& object);
std::string encode(const Pod& object);
std::string encode(const Node& object);
std::string encode(const Namespace& object);
std::string encode(const Lease& object);

// Multi-document YAML or JSON (a manifest as kubectl reads it) to one compact JSON text per
// document. Comments and empty documents vanish; errors name the line. YAML 1.1 scalars as kubectl
// sees them (on/yes are booleans).
Result<std::vector<std::string>> manifest_documents(std::string_view text);

}  // namespace fairlead::kube
