#include "controllers/load_balancer_addresses.hpp"

#include <algorithm>
#include <ranges>

#include "base/text.hpp"

namespace fairlead::controllers {
namespace {

std::vector<IpFamily> families_of(const kube::Service& service) {
  if (!service.ip_families.empty()) return service.ip_families;
  const auto address = IpAddress::parse_sloppy(service.cluster_ip);
  return {address ? address->family() : IpFamily::V4};
}

std::string annotation(const kube::Service& service, const char* key) {
  const auto found = service.metadata.annotations.find(key);
  return found == service.metadata.annotations.end() ? "" : found->second;
}

Result<std::vector<IpAddress>> asked_addresses(const kube::Service& service,
                                               const std::vector<IpFamily>& families) {
  const std::string listed = annotation(service, kLoadBalancerAddresses);
  const std::string field = listed.empty()
                                ? "spec.loadBalancerIP"
                                : fmt::format("metadata.annotations[{}]", kLoadBalancerAddresses);
  const std::string& text = listed.empty() ? service.load_balancer_ip : listed;
  std::vector<IpAddress> out;
  if (trim(text).empty()) return out;
  for (const std::string_view part : split(text, ',')) {
    const auto address = IpAddress::parse_sloppy(trim(part));
    if (!address) return address.error().with_context(field);
    if (std::ranges::find(families, address->family()) == families.end())
      return make_error(ErrorCode::Invalid, "{}: the Service has no {} for {}", field,
                        to_string(address->family()), *address);
    if (std::ranges::find(out, address->family(), &IpAddress::family) != out.end())
      return make_error(ErrorCode::Invalid, "{}: more than one {} address", field,
                        to_string(address->family()));
    out.push_back(*address);
  }
  return out;
}

bool share(const AddressWish& a, const AddressWish& b) {
  return !a.sharing_key.empty() && a.sharing_key == b.sharing_key &&
         a.service.namespace_ == b.service.namespace_ && a.local_selector == b.local_selector &&
         std::ranges::none_of(a.ports, [&](const auto& port) { return b.ports.contains(port); });
}

std::optional<IpAddress> of_family(const std::vector<IpAddress>& addresses, IpFamily family) {
  const auto found = std::ranges::find(addresses, family, &IpAddress::family);
  return found == addresses.end() ? std::nullopt : std::optional(*found);
}

}  // namespace

Result<AddressWish> address_wish_of(const kube::Service& service) {
  AddressWish wish{
      .service = {.namespace_ = service.metadata.namespace_, .name = service.metadata.name},
      .families = families_of(service),
      .sharing_key = annotation(service, kLoadBalancerSharingKey)};
  FAIRLEAD_TRY(asked, asked_addresses(service, wish.families));
  wish.asked = std::move(asked);
  for (const kube::ServicePort& port : service.ports) wish.ports.emplace(port.protocol, port.port);
  if (service.external_traffic_policy == kube::TrafficPolicy::Local)
    wish.local_selector = service.selector;
  for (const kube::LoadBalancerIngress& ingress : service.ingress) {
    if (const auto address = IpAddress::parse_sloppy(ingress.ip)) wish.held.push_back(*address);
  }
  return wish;
}

LoadBalancerAddresses::LoadBalancerAddresses(const std::vector<AddressRange>& ranges) {
  for (const AddressRange& range : ranges) ranges_.push_back({.range = range, .next = range.first});
}

LoadBalancerAddresses::Answer LoadBalancerAddresses::assign(const AddressWish& wish) {
  return settle(wish, true);
}

void LoadBalancerAddresses::adopt(const AddressWish& wish) { settle(wish, false); }

bool LoadBalancerAddresses::release(const kube::NamespacedName& service) {
  return !withdraw(service).addresses.empty();
}

std::vector<IpAddress> LoadBalancerAddresses::addresses_of(
    const kube::NamespacedName& service) const {
  const auto claim = claims_.find(service);
  return claim == claims_.end() ? std::vector<IpAddress>{} : claim->second.addresses;
}

// The Service steps back and asks again with its old addresses in hand: nobody comes in between.
LoadBalancerAddresses::Answer LoadBalancerAddresses::settle(const AddressWish& wish,
                                                            bool may_take_new) {
  const Claim before = withdraw(wish.service);
  Answer answer;
  for (const IpFamily family : wish.families) {
    Choice choice = choose(wish, family, before.addresses, may_take_new);
    if (const auto* address = std::get_if<IpAddress>(&choice)) {
      answer.addresses.push_back(*address);
    } else if (!answer.refusal) {
      answer.refusal = std::get<AddressRefusal>(std::move(choice));
    }
  }
  // A status may not fit the view of others on sharing: only what they see of it counts.
  const bool same_terms = before.wish.ports == wish.ports &&
                          before.wish.sharing_key == wish.sharing_key &&
                          before.wish.local_selector == wish.local_selector;
  answer.changed =
      before.addresses != answer.addresses || (!answer.addresses.empty() && !same_terms);
  if (!answer.addresses.empty()) enter({.wish = wish, .addresses = answer.addresses});
  return answer;
}

LoadBalancerAddresses::Choice LoadBalancerAddresses::choose(const AddressWish& wish,
                                                            IpFamily family,
                                                            const std::vector<IpAddress>& before,
                                                            bool may_take_new) {
  if (const auto asked = of_family(wish.asked, family)) {
    if (!in_pools(*asked))
      return AddressRefusal{.reason = "AddressOutsidePools",
                            .note = fmt::format("{} is in none of the pools", *asked)};
    if (const auto* other = opponent(wish, *asked))
      return AddressRefusal{.reason = "AddressInUse",
                            .note = fmt::format("{} belongs to Service {}, which does not share it "
                                                "with this one",
                                                *asked, other->to_string())};
    const bool known = std::ranges::find(wish.held, *asked) != wish.held.end();
    if (may_take_new || known) return *asked;
  }
  if (const auto own = kept(wish, family, before)) return *own;
  if (may_take_new) {
    if (const auto others = shared(wish, family)) return *others;
    if (const auto fresh = free_one(family)) return *fresh;
  }
  return AddressRefusal{
      .reason = "AddressPoolExhausted",
      .note = fmt::format("no {} address is free in the pools", to_string(family))};
}

std::optional<IpAddress> LoadBalancerAddresses::kept(const AddressWish& wish, IpFamily family,
                                                     const std::vector<IpAddress>& before) const {
  if (of_family(wish.asked, family)) return std::nullopt;
  for (const auto* known : {&before, &wish.held}) {
    const auto address = of_family(*known, family);
    if (address && in_pools(*address) && opponent(wish, *address) == nullptr) return address;
  }
  return std::nullopt;
}

// The lowest address of those it agrees with.
std::optional<IpAddress> LoadBalancerAddresses::shared(const AddressWish& wish,
                                                       IpFamily family) const {
  std::optional<IpAddress> best;
  const auto group = sharers_.find({wish.service.namespace_, wish.sharing_key});
  if (wish.sharing_key.empty() || group == sharers_.end()) return best;
  for (const kube::NamespacedName& service : group->second) {
    const auto address = of_family(claims_.at(service).addresses, family);
    if (address && opponent(wish, *address) == nullptr && (!best || *address < *best))
      best = address;
  }
  return best;
}

// Goes round and round, so that an address given back rests before it serves somebody else.
std::optional<IpAddress> LoadBalancerAddresses::free_one(IpFamily family) {
  for (Range& r : ranges_) {
    if (r.range.first.family() != family) continue;
    IpAddress candidate = r.next;
    for (std::size_t tried = 0; tried <= r.held; ++tried) {
      const IpAddress after = candidate == r.range.last ? r.range.first : candidate.plus(1);
      if (!owners_.contains(candidate)) {
        r.next = after;
        return candidate;
      }
      if (after == r.next) break;
      candidate = after;
    }
  }
  return std::nullopt;
}

LoadBalancerAddresses::Range* LoadBalancerAddresses::range_of(const IpAddress& address) {
  const auto found =
      std::ranges::find_if(ranges_, [&](const Range& r) { return r.range.contains(address); });
  return found == ranges_.end() ? nullptr : &*found;
}

bool LoadBalancerAddresses::in_pools(const IpAddress& address) const {
  return std::ranges::any_of(ranges_, [&](const Range& r) { return r.range.contains(address); });
}

// An owner of the address who does not let the wish in; nullptr if there is none.
const kube::NamespacedName* LoadBalancerAddresses::opponent(const AddressWish& wish,
                                                            const IpAddress& address) const {
  const auto owners = owners_.find(address);
  if (owners == owners_.end()) return nullptr;
  for (const kube::NamespacedName& owner : owners->second) {
    if (!share(claims_.at(owner).wish, wish)) return &owner;
  }
  return nullptr;
}

void LoadBalancerAddresses::enter(Claim claim) {
  const kube::NamespacedName service = claim.wish.service;
  for (const IpAddress& address : claim.addresses) {
    auto& owners = owners_[address];
    if (owners.empty()) ++range_of(address)->held;
    owners.insert(service);
  }
  if (!claim.wish.sharing_key.empty())
    sharers_[{service.namespace_, claim.wish.sharing_key}].insert(service);
  claims_.insert_or_assign(service, std::move(claim));
}

LoadBalancerAddresses::Claim LoadBalancerAddresses::withdraw(const kube::NamespacedName& service) {
  auto node = claims_.extract(service);
  if (node.empty()) return {};
  Claim claim = std::move(node.mapped());
  for (const IpAddress& address : claim.addresses) {
    const auto owners = owners_.find(address);
    owners->second.erase(service);
    if (!owners->second.empty()) continue;
    owners_.erase(owners);
    --range_of(address)->held;
  }
  const auto group = sharers_.find({service.namespace_, claim.wish.sharing_key});
  if (group != sharers_.end()) {
    group->second.erase(service);
    if (group->second.empty()) sharers_.erase(group);
  }
  return claim;
}

}  // namespace fairlead::controllers
