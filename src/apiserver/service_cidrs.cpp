#include "apiserver/service_cidrs.hpp"

#include <algorithm>
#include <boost/json/array.hpp>

#include "apiserver/kind_strategy.hpp"
#include "apiserver/metadata.hpp"
#include "apiserver/own_writes.hpp"
#include "base/log.hpp"

namespace fairlead::apiserver {
namespace {

using namespace std::chrono_literals;

constexpr auto kRetry = 5s;

Resource& found(const Registry& registry, const ResourceInfo& info) {
  Resource* resource = registry.find(info.group, info.version, info.resource);
  check(resource != nullptr, "the kinds of Service networking are among the kinds");
  return *resource;
}

std::vector<IpPrefix> ranges_of(const Document& service_cidr) {
  std::vector<IpPrefix> out;
  for (const std::string& text : texts_at(service_cidr, "spec.cidrs")) {
    if (const auto range = IpPrefix::parse(text)) out.push_back(*range);
  }
  return out;
}

boost::json::array texts_of(const std::vector<IpPrefix>& ranges) {
  boost::json::array out;
  for (const IpPrefix& range : ranges) out.emplace_back(range.to_string());
  return out;
}

const Document* ready_condition(const Document& service_cidr) {
  for (const Document* condition : objects_at(service_cidr, "status.conditions")) {
    if (string_at(*condition, "type") == "Ready") return condition;
  }
  return nullptr;
}

// "True", "False", or nothing where nobody has said.
std::string_view readiness(const Document& service_cidr) {
  const Document* condition = ready_condition(service_cidr);
  return condition == nullptr ? std::string_view() : string_at(*condition, "status");
}

struct Condition {
  std::string_view status, reason, message;
};
constexpr Condition kReady{"True", "", "Kubernetes Service CIDR is ready"};
constexpr Condition kTerminating{
    "False", "Terminating",
    "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new "
    "ServiceCIDR"};

void set_ready(Document& service_cidr, const Condition& wanted, WallTime now) {
  boost::json::array conditions;
  for (const Document* condition : objects_at(service_cidr, "status.conditions")) {
    if (string_at(*condition, "type") != "Ready") conditions.emplace_back(*condition);
  }
  conditions.emplace_back(Document{{"type", "Ready"},
                                   {"status", text_value(wanted.status)},
                                   {"reason", text_value(wanted.reason)},
                                   {"message", text_value(wanted.message)},
                                   {"lastTransitionTime", format_rfc3339(now)}});
  ensure_object(service_cidr, "status")["conditions"] = std::move(conditions);
}

bool is_marked(const Document& service_cidr) {
  const auto finalizers = texts_at(service_cidr, "metadata.finalizers");
  return std::ranges::find(finalizers, kServiceCidrFinalizer) != finalizers.end() &&
         !readiness(service_cidr).empty();
}

void add_finalizer(Document& service_cidr) {
  boost::json::array finalizers;
  for (std::string& finalizer : texts_at(service_cidr, "metadata.finalizers")) {
    if (finalizer != kServiceCidrFinalizer) finalizers.emplace_back(std::move(finalizer));
  }
  finalizers.push_back(text_value(kServiceCidrFinalizer));
  ensure_object(service_cidr, "metadata")["finalizers"] = std::move(finalizers);
}

bool is_usable(const Document& service_cidr) {
  return string_at(service_cidr, "metadata.deletionTimestamp").empty() &&
         readiness(service_cidr) != "False";
}

bool is_in(const std::vector<IpPrefix>& ranges, const IpAddress& address) {
  return std::ranges::any_of(ranges,
                             [&address](const IpPrefix& range) { return range.contains(address); });
}

}  // namespace

ResourceInfo service_cidr_info() {
  return {.group = "networking.k8s.io",
          .version = "v1",
          .resource = "servicecidrs",
          .singular = "servicecidr",
          .kind = "ServiceCIDR",
          .namespaced = false,
          .subresources = {status_subresource()},
          .storage_prefix = "/registry/servicecidrs/"};
}

void mark_ready(Document& service_cidr, WallTime now) {
  add_finalizer(service_cidr);
  if (readiness(service_cidr).empty()) set_ready(service_cidr, kReady, now);
}

std::vector<IpPrefix> usable_service_ranges(Transaction& transaction,
                                            const std::vector<IpPrefix>& configured) {
  std::vector<std::string> keys;
  transaction.for_each_key(service_cidr_info().storage_prefix, [&keys](std::string_view key) {
    keys.emplace_back(key);
    return true;
  });
  std::vector<IpPrefix> usable, spoken_of;
  for (const std::string& key : keys) {
    const auto service_cidr = transaction.get(key);
    if (!service_cidr) continue;
    for (const IpPrefix& range : ranges_of(*service_cidr)) {
      spoken_of.push_back(range);
      if (is_usable(*service_cidr)) usable.push_back(range);
    }
  }
  std::vector<IpPrefix> out;
  const auto add = [&out](const IpPrefix& range) {
    if (std::ranges::find(out, range) == out.end()) out.push_back(range);
  };
  for (const IpPrefix& range : configured) {
    const bool decided = std::ranges::find(spoken_of, range) != spoken_of.end();
    if (!decided || std::ranges::find(usable, range) != usable.end()) add(range);
  }
  for (const IpPrefix& range : usable) add(range);
  return out;
}

ServiceCidrKeeper::ServiceCidrKeeper(Registry& registry, const Clock& clock, io::Executor executor,
                                     std::vector<IpPrefix> configured)
    : registry_(registry),
      clock_(clock),
      configured_(std::move(configured)),
      cidrs_(found(registry, service_cidr_info())),
      addresses_(found(registry, ip_address_info())),
      writer_(registry),
      changed_(std::move(executor)) {}

io::Task<Result<void>> ServiceCidrKeeper::make_default() {
  const ObjectPtr existing = cidrs_.cache.find(cidrs_.key({}, kDefaultServiceCidr));
  if (existing == nullptr) {
    co_return co_await create_unless_there(
        &registry_, &clock_, &cidrs_, "",
        {{"metadata", Document{{"name", text_value(kDefaultServiceCidr)}}},
         {"spec", Document{{"cidrs", texts_of(configured_)}}}});
  }
  const auto ranges = ranges_of(existing->document());
  if (ranges == configured_ || existing->terminating) co_return Result<void>();
  if (configured_.size() != 2 || ranges != std::vector{configured_.front()}) {
    if (!std::exchange(told_, true)) {
      log::warning("ServiceCIDR kubernetes has other ranges than the server was given; both count",
                   {{"stored", fmt::format("{}", fmt::join(ranges, ","))},
                    {"given", fmt::format("{}", fmt::join(configured_, ","))}});
    }
    co_return Result<void>();
  }
  const auto done = co_await writer_.update(
      cidrs_, own_request(clock_, "", existing->name),
      [this, first = ranges](const Document& current) -> ApiResult<Document> {
        Document next = current;
        if (ranges_of(current) == first)
          ensure_object(next, "spec")["cidrs"] = texts_of(configured_);
        return next;
      });
  if (done || is_gone(done.error())) co_return Result<void>();
  co_return to_error(done.error(), "give ServiceCIDR kubernetes its second family");
}

io::Task<void> ServiceCidrKeeper::run() {
  while (!co_await io::cancelled()) {
    if (co_await settle()) {
      co_await changed_.wait();
    } else {
      co_await changed_.wait_until(std::chrono::steady_clock::now() + kRetry);
    }
  }
}

void ServiceCidrKeeper::changed(const Resource& resource, const StoreEvent& event) {
  if (&resource == &cidrs_ || (&resource == &addresses_ && waiting_ && event.value == nullptr)) {
    changed_.notify();
  }
}

io::Task<bool> ServiceCidrKeeper::settle() {
  waiting_ = false;
  bool done = true;
  if (const auto made = co_await make_default(); !made) {
    log::warning("ServiceCIDR kubernetes could not be made, trying again", {{"err", made.error()}});
    done = false;
  }
  std::vector<ObjectPtr> all;
  for (const auto& [key, object] : cidrs_.cache.objects()) all.push_back(object);
  for (const ObjectPtr& object : all) {
    const bool settled = object->terminating ? co_await let_go(object) : co_await mark(object);
    done = done && settled;
  }
  co_return done;
}

// Of one from before there were such marks, or that somebody took them off from.
io::Task<bool> ServiceCidrKeeper::mark(ObjectPtr service_cidr) {
  if (is_marked(service_cidr->document())) co_return true;
  const WallTime now = clock_.wall();
  for (const std::string_view subresource : {"", "status"}) {
    WriteRequest request = own_request(clock_, "", service_cidr->name);
    request.subresource = subresource;
    const auto done = co_await writer_.update(cidrs_, request, [now](const Document& current) {
      Document next = current;
      mark_ready(next, now);
      return ApiResult<Document>(std::move(next));
    });
    if (done || is_gone(done.error())) continue;
    log::warning("ServiceCIDR could not be marked as ready, trying again",
                 {{"name", service_cidr->name}, {"err", done.error().message}});
    co_return false;
  }
  co_return true;
}

bool ServiceCidrKeeper::in_use(const CachedObject& service_cidr) const {
  std::vector<IpPrefix> others;
  for (const auto& [key, object] : cidrs_.cache.objects()) {
    if (object->name == service_cidr.name) continue;
    const Document document = object->document();
    if (!is_usable(document)) continue;
    const auto ranges = ranges_of(document);
    others.insert(others.end(), ranges.begin(), ranges.end());
  }
  const auto own = ranges_of(service_cidr.document());
  // By their keys: one that cannot be read is in use, too.
  const std::string& prefix = addresses_.info().storage_prefix;
  bool out = false;
  registry_.for_each_key(prefix, [&](std::string_view key) {
    const auto address = IpAddress::parse(key.substr(prefix.size()));
    out = address && is_in(own, *address) && !is_in(others, *address);
    return !out;
  });
  return out;
}

io::Task<bool> ServiceCidrKeeper::let_go(ObjectPtr service_cidr) {
  if (!co_await registry_.catch_up()) co_return false;
  if (in_use(*service_cidr)) {
    waiting_ = true;
    co_return co_await say_in_use(service_cidr);
  }
  const auto done = co_await writer_.update(cidrs_, own_request(clock_, "", service_cidr->name),
                                            [uid = service_cidr->uid](const Document& current) {
                                              Document next = current;
                                              // Not of another one of the same name.
                                              if (string_at(current, "metadata.uid") == uid)
                                                remove_finalizer(next, kServiceCidrFinalizer);
                                              return ApiResult<Document>(std::move(next));
                                            });
  if (done || is_gone(done.error())) co_return true;
  log::warning("ServiceCIDR that is being deleted stays, trying again",
               {{"name", service_cidr->name}, {"err", done.error().message}});
  co_return false;
}

io::Task<bool> ServiceCidrKeeper::say_in_use(ObjectPtr service_cidr) {
  if (readiness(service_cidr->document()) == kTerminating.status) co_return true;
  WriteRequest request = own_request(clock_, "", service_cidr->name);
  request.subresource = "status";
  const auto done =
      co_await writer_.update(cidrs_, request, [now = clock_.wall()](const Document& current) {
        Document next = current;
        set_ready(next, kTerminating, now);
        return ApiResult<Document>(std::move(next));
      });
  co_return done || is_gone(done.error());
}

}  // namespace fairlead::apiserver
