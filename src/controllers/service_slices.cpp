#include "controllers/service_slices.hpp"

#include "base/text.hpp"
#include "controllers/keys.hpp"

namespace fairlead::controllers {
namespace {

using kube::EndpointSlice;
using kube::NamespacedName;

std::uint64_t revision_of(const EndpointSlice& slice) {
  return parse_uint(slice.metadata.resource_version).value_or(0);
}

// nullopt: it belongs to none.
std::optional<NamespacedName> service_of(const EndpointSlice* slice) {
  if (slice == nullptr) return std::nullopt;
  const auto label = slice->metadata.labels.find(kube::label::kServiceName);
  if (label == slice->metadata.labels.end() || label->second.empty()) return std::nullopt;
  return NamespacedName{.namespace_ = slice->metadata.namespace_, .name = label->second};
}

}  // namespace

std::vector<NamespacedName> ServiceSlices::changed(const EndpointSlice* before,
                                                   const EndpointSlice* after) {
  const auto left = service_of(before);
  const auto joined = service_of(after);
  std::vector<NamespacedName> concerned;
  if (left && left != joined) {
    auto& names = names_[*left];
    names.erase(before->metadata.name);
    if (names.empty()) names_.erase(*left);
    forget_writes(*left, before->metadata.name);
    concerned.push_back(*left);
  }
  if (joined) {
    names_[*joined].insert(after->metadata.name);
    concerned.push_back(*joined);
  }
  return concerned;
}

std::vector<const EndpointSlice*> ServiceSlices::of(const NamespacedName& service) const {
  std::vector<const EndpointSlice*> out;
  const auto names = names_.find(service);
  if (names == names_.end()) return out;
  for (const std::string& name : names->second) {
    if (const EndpointSlice* slice = store_.get({service.namespace_, name})) out.push_back(slice);
  }
  return out;
}

void ServiceSlices::written(const NamespacedName& service, const EndpointSlice& answer) {
  outstanding_[service][answer.metadata.name] = {.revision = revision_of(answer),
                                                 .patience = clock_.mono() + kPatience};
}

void ServiceSlices::removed(const NamespacedName& service, const std::string& slice) {
  outstanding_[service][slice] = {.patience = clock_.mono() + kPatience};
}

bool ServiceSlices::came_back(const NamespacedName& slice, const Outstanding& write) const {
  const EndpointSlice* seen = store_.get(slice);
  if (write.revision == 0) return seen == nullptr;
  return seen != nullptr && revision_of(*seen) >= write.revision;
}

void ServiceSlices::forget_writes(const NamespacedName& service, const std::string& slice) {
  const auto writes = outstanding_.find(service);
  if (writes == outstanding_.end()) return;
  writes->second.erase(slice);
  if (writes->second.empty()) outstanding_.erase(writes);
}

bool ServiceSlices::waits_for_own_writes(const NamespacedName& service) {
  const auto writes = outstanding_.find(service);
  if (writes == outstanding_.end()) return false;
  std::erase_if(writes->second, [&](const auto& entry) {
    const auto& [slice, write] = entry;
    return write.patience <= clock_.mono() || came_back({service.namespace_, slice}, write);
  });
  if (!writes->second.empty()) return true;
  outstanding_.erase(writes);
  return false;
}

}  // namespace fairlead::controllers
