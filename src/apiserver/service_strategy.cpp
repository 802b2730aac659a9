// The Service kind: rules, networking and allocation of their own files brought together in the
// order of spec 4.1.
#include <algorithm>
#include <boost/json/array.hpp>
#include <set>

#include "apiserver/kind_strategy.hpp"
#include "apiserver/metadata.hpp"
#include "apiserver/service_allocation.hpp"
#include "apiserver/service_defaults.hpp"
#include "apiserver/service_rules.hpp"
#include "base/text.hpp"

namespace fairlead::apiserver {
namespace {

ResourceInfo service_info() {
  return {.version = "v1",
          .resource = "services",
          .singular = "service",
          .kind = "Service",
          .short_names = {"svc"},
          .categories = {"all"},
          .subresources = {status_subresource()},
          .storage_prefix = "/registry/services/specs/"};
}

std::string external_ip_cell(const Document& service) {
  const std::string_view type = string_at(service, "spec.type");
  if (type == "ExternalName") return std::string(string_at(service, "spec.externalName"));
  const std::vector<std::string> external = texts_at(service, "spec.externalIPs");
  if (type != "LoadBalancer") return joined_or_none(external);
  std::set<std::string> ingress;
  for (const Document* entry : objects_at(service, "status.loadBalancer.ingress")) {
    const std::string_view ip = string_at(*entry, "ip");
    ingress.emplace(ip.empty() ? string_at(*entry, "hostname") : ip);
  }
  std::vector<std::string> all(ingress.begin(), ingress.end());
  all.insert(all.end(), external.begin(), external.end());
  return all.empty() ? "<pending>" : joined_or_none(all);
}

std::string ports_cell(const Document& service) {
  std::vector<std::string> out;
  for (const Document* port : objects_at(service, "spec.ports")) {
    const std::int64_t node_port = int_at(*port, "nodePort").value_or(0);
    const std::int64_t number = int_at(*port, "port").value_or(0);
    out.push_back(node_port == 0
                      ? fmt::format("{}/{}", number, string_at(*port, "protocol"))
                      : fmt::format("{}:{}/{}", number, node_port, string_at(*port, "protocol")));
  }
  return joined_or_none(out);
}

std::string selector_cell(const Document& service) {
  std::set<std::string> pairs;
  if (const Document* selector = object_at(service, "spec.selector")) {
    for (const auto& member : *selector) {
      const auto* text = member.value().if_string();
      pairs.insert(fmt::format("{}={}", std::string_view(member.key()),
                               text == nullptr ? std::string_view() : std::string_view(*text)));
    }
  }
  return joined_or_none({pairs.begin(), pairs.end()});
}

class ServiceStrategy final : public KindStrategy {
 public:
  explicit ServiceStrategy(const KindsConfig& config)
      : KindStrategy(service_info(), {{.name = "Name", .format = "name"},
                                      {.name = "Type"},
                                      {.name = "Cluster-IP"},
                                      {.name = "External-IP"},
                                      {.name = "Port(s)"},
                                      {.name = "Age"},
                                      {.name = "Selector", .priority = 1}}),
        allocator_(config, ip_address_info(), service_info()) {}

  // An RFC 1123 label since 1.36; may begin with a digit.
  std::vector<std::string> name_errors(std::string_view name) const override {
    if (is_dns1123_label(name)) return {};
    return {std::string(kLabelForm)};
  }
  void apply_defaults(Document& document) const override { apply_service_defaults(document); }
  void prepare_create(const RequestContext&, Document& document) const override {
    document["status"] = Document{{"loadBalancer", Document{}}};
  }
  void carry_over(const Document& old, Document& document) const override {
    carry_cluster_ips(old, document);
  }
  void prepare_update(const RequestContext& context, const Document& old,
                      Document& document) const override {
    KindStrategy::prepare_update(context, old, document);
    clear_type_dependent_fields(old, document);
  }
  ApiResult<void> allocate(const RequestContext& context, Transaction& transaction,
                           const Document* old, Document& document) const override {
    return allocator_.allocate(context, transaction, old, document);
  }
  void release(Transaction& transaction, const Document& document) const override {
    allocator_.release(transaction, document);
  }
  std::vector<std::string> reservations(Transaction& state, std::string_view ns,
                                        std::string_view name) const override {
    return allocator_.reservations(state, ns, name);
  }
  FieldErrors validate_create(const RequestContext&, const Document& document) const override {
    return validate_service(document);
  }
  FieldErrors validate_update(const RequestContext&, const Document& old,
                              const Document& document) const override {
    return validate_service_update(old, document);
  }
  FieldErrors validate_subresource_update(const RequestContext&, std::string_view, const Document&,
                                          const Document& document) const override {
    return validate_service_status(document);
  }
  std::vector<std::string> warnings(const Document& document) const override {
    return service_warnings(document);
  }
  bool put_may_create() const override { return true; }
  bool delete_returns_object() const override { return true; }
  std::vector<std::pair<std::string, std::string>> selectable_fields(
      const Document& document) const override {
    return {{"spec.clusterIP", std::string(string_at(document, "spec.clusterIP"))},
            {"spec.type", std::string(string_at(document, "spec.type"))}};
  }
  boost::json::array table_cells(const Document& document, WallTime now) const override {
    const std::vector<std::string> ips = texts_at(document, "spec.clusterIPs");
    return {text_value(string_at(document, "metadata.name")),
            text_value(string_at(document, "spec.type")),
            text_value(ips.empty() ? std::string("<none>") : ips.front()),
            text_value(external_ip_cell(document)),
            text_value(ports_cell(document)),
            text_value(age_text(document, now)),
            text_value(selector_cell(document))};
  }

 private:
  ServiceAllocator allocator_;
};

}  // namespace

std::unique_ptr<const Strategy> make_service_strategy(const KindsConfig& config) {
  return std::make_unique<ServiceStrategy>(config);
}

}  // namespace fairlead::apiserver
