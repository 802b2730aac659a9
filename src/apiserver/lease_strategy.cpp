// Leases, by which processes agree who leads (spec 4.9, 5.9). What matters is that two writers with
// the same resourceVersion cannot both win, and that nobody writes without having read.
#include <boost/json/array.hpp>

#include "apiserver/kind_strategy.hpp"

namespace fairlead::apiserver {
namespace {

class LeaseStrategy final : public KindStrategy {
 public:
  LeaseStrategy()
      : KindStrategy({.group = "coordination.k8s.io",
                      .version = "v1",
                      .resource = "leases",
                      .singular = "lease",
                      .kind = "Lease",
                      .storage_prefix = "/registry/leases/"},
                     {{.name = "Name", .format = "name"}, {.name = "Holder"}, {.name = "Age"}}) {}
  bool put_may_create() const override { return true; }
  bool put_needs_resource_version() const override { return true; }
  // Coordinated leader election is not offered; its fields are dropped, as where its gate is off.
  void apply_defaults(Document& lease) const override {
    auto* spec = lease.if_contains("spec");
    if (spec == nullptr || !spec->is_object()) return;
    spec->get_object().erase("strategy");
    spec->get_object().erase("preferredHolder");
  }
  FieldErrors validate_create(const RequestContext&, const Document& lease) const override {
    FieldErrors errors;
    if (const auto duration = int_at(lease, "spec.leaseDurationSeconds");
        duration && *duration <= 0)
      errors.push_back(invalid("spec.leaseDurationSeconds", *duration, "must be greater than 0"));
    if (const auto count = int_at(lease, "spec.leaseTransitions"); count && *count < 0) {
      errors.push_back(
          invalid("spec.leaseTransitions", *count, "must be greater than or equal to 0"));
    }
    return errors;
  }
  boost::json::array table_cells(const Document& lease, WallTime now) const override {
    return {name_cell(lease), text_value(string_at(lease, "spec.holderIdentity")),
            age_cell(lease, now)};
  }
};

}  // namespace

std::unique_ptr<const Strategy> make_lease_strategy() { return std::make_unique<LeaseStrategy>(); }

}  // namespace fairlead::apiserver
