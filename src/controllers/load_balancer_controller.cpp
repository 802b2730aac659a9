#include "controllers/load_balancer_controller.hpp"

#include <algorithm>

#include "base/log.hpp"
#include "controllers/keys.hpp"
#include "kube/json_writer.hpp"

namespace fairlead::controllers {
namespace {

using kube::NamespacedName;
using kube::Service;

std::string listed(const std::vector<IpAddress>& addresses) {
  return fmt::format("{}", fmt::join(addresses, ", "));
}

bool says(const Service& service, const std::vector<IpAddress>& addresses) {
  return std::ranges::equal(service.ingress, addresses,
                            [](const kube::LoadBalancerIngress& ingress, const IpAddress& address) {
                              return ingress.hostname.empty() && ingress.ip == address.to_string();
                            });
}

bool older(const Service* a, const Service* b) {
  if (a->metadata.creation_timestamp != b->metadata.creation_timestamp)
    return a->metadata.creation_timestamp < b->metadata.creation_timestamp;
  return key_of(a->metadata) < key_of(b->metadata);
}

}  // namespace

std::string ingress_patch(const Service& service, const std::vector<IpAddress>& addresses) {
  kube::JsonWriter w;
  w.begin_object();
  w.key("metadata");
  w.begin_object();
  w.member("resourceVersion", service.metadata.resource_version);
  w.end_object();
  w.key("status");
  w.begin_object();
  w.key("loadBalancer");
  w.begin_object();
  w.key("ingress");
  w.begin_list();
  for (const IpAddress& address : addresses) {
    w.begin_object();
    w.member("ip", address.to_string());
    w.end_object();
  }
  w.end_list();
  w.end_object();
  w.end_object();
  w.end_object();
  return w.take();
}

LoadBalancerController::LoadBalancerController(io::Executor executor, Config config)
    : config_(std::move(config)), addresses_(config_.policy.pools), wake_(std::move(executor)) {
  config_.services->on_change([this](const Service* before, const Service* after) {
    mark(key_of((after != nullptr ? after : before)->metadata));
  });
  config_.services->on_synced([this] { wake_.notify(); });
}

void LoadBalancerController::mark(const NamespacedName& service) {
  queue_.add(service.to_string(), config_.clock->mono());
  wake_.notify();
}

void LoadBalancerController::mark_waiting() {
  for (const NamespacedName& service : waiting_) mark(service);
}

bool LoadBalancerController::serves(const Service& service) const {
  if (service.type != kube::ServiceType::LoadBalancer) return false;
  return service.load_balancer_class.empty()
             ? config_.policy.classless
             : service.load_balancer_class == config_.policy.load_balancer_class;
}

void LoadBalancerController::adopt_all() {
  std::vector<const Service*> ours;
  for (const auto& [key, service] : config_.services->all()) {
    if (serves(service) && !service.ingress.empty()) ours.push_back(&service);
  }
  std::ranges::sort(ours, older);
  for (const Service* service : ours) {
    if (const auto wish = address_wish_of(*service)) addresses_.adopt(*wish);
  }
}

io::Task<void> LoadBalancerController::run() {
  while (!config_.services->has_synced()) {
    if (co_await io::cancelled()) co_return;
    co_await wake_.wait();
  }
  adopt_all();
  while (!co_await io::cancelled()) {
    const auto key = queue_.take(config_.clock->mono());
    if (!key) {
      if (const auto due = queue_.next_due()) {
        co_await wake_.wait_until(*due);
      } else {
        co_await wake_.wait();
      }
      continue;
    }
    const auto result = co_await sync(parse_key(*key));
    if (result) {
      queue_.succeeded(*key);
      continue;
    }
    const auto delay = queue_.failed(*key, config_.clock->mono());
    // Conflict: a newer version of the Service is on its way to us.
    if (result.error().code == ErrorCode::Conflict) continue;
    log::warning("Load-balancer addresses not written, trying again",
                 {{"service", *key}, {"err", result.error()}, {"in", format_duration(delay)}});
  }
}

void LoadBalancerController::give_up(const NamespacedName& key) {
  waiting_.erase(key);
  if (addresses_.release(key)) mark_waiting();
}

LoadBalancerAddresses::Answer LoadBalancerController::decide(const Service& service) {
  const auto wish = address_wish_of(service);
  if (wish) return addresses_.assign(*wish);
  return {
      .addresses = {},
      .refusal = AddressRefusal{.reason = "InvalidAddressRequest", .note = wish.error().message},
      .changed = addresses_.release(key_of(service.metadata))};
}

// A Service that is being deleted keeps what it has and gets nothing new. One that is no longer
// ours is left as it is: the server clears the status of a changed type itself.
io::Task<Result<void>> LoadBalancerController::sync(NamespacedName key) {
  const Service* known = config_.services->get(key);
  if (known == nullptr || !serves(*known)) {
    give_up(key);
    co_return Result<void>{};
  }
  if (known->metadata.deletion_timestamp) co_return Result<void>{};
  const Service service = *known;
  const LoadBalancerAddresses::Answer answer = decide(service);
  if (answer.changed) mark_waiting();
  if (answer.refusal) {
    waiting_.insert(key);
    tell(service, client::Event::Type::Warning, answer.refusal->reason, answer.refusal->note);
  } else {
    waiting_.erase(key);
  }
  if (says(service, answer.addresses)) co_return Result<void>{};
  co_return co_await write(service, answer.addresses);
}

io::Task<Result<void>> LoadBalancerController::write(Service service,
                                                     std::vector<IpAddress> addresses) {
  const auto path = client::object_path<Service>(key_of(service.metadata)) + "/status";
  const auto written = co_await config_.client->patch(path, "application/merge-patch+json",
                                                      ingress_patch(service, addresses));
  if (!written) {
    if (written.error().code == ErrorCode::NotFound) co_return Result<void>{};
    co_return written.error();
  }
  log::verbose(
      2, "load-balancer addresses written",
      {{"service", key_of(service.metadata).to_string()}, {"addresses", listed(addresses)}});
  if (addresses.empty()) {
    tell(service, client::Event::Type::Normal, "AddressesWithdrawn", "it has no address any more");
  } else {
    tell(service, client::Event::Type::Normal, "AddressesAssigned", listed(addresses));
  }
  co_return Result<void>{};
}

void LoadBalancerController::tell(const Service& service, client::Event::Type type,
                                  std::string reason, std::string note) const {
  config_.events->record({.type = type,
                          .reason = std::move(reason),
                          .action = "AssignAddresses",
                          .regarding = {.kind = "Service",
                                        .namespace_ = service.metadata.namespace_,
                                        .name = service.metadata.name,
                                        .uid = service.metadata.uid},
                          .note = std::move(note)});
}

}  // namespace fairlead::controllers
