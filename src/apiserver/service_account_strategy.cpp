// ServiceAccounts: who programs in Pods are (spec 7.4). Their tokens are made elsewhere, by
// service_account_tokens.hpp; nothing of a token is stored.
#include <boost/json/array.hpp>

#include "apiserver/kind_strategy.hpp"

namespace fairlead::apiserver {
namespace {

class ServiceAccountStrategy final : public KindStrategy {
 public:
  ServiceAccountStrategy()
      : KindStrategy({.version = "v1",
                      .resource = "serviceaccounts",
                      .singular = "serviceaccount",
                      .kind = "ServiceAccount",
                      .short_names = {"sa"},
                      .subresources = {{.name = "token",
                                        .verbs = {"create"},
                                        .kind = "TokenRequest",
                                        .group = "authentication.k8s.io",
                                        .version = "v1"}},
                      .storage_prefix = "/registry/serviceaccounts/"},
                     {{.name = "Name", .format = "name"},
                      {.name = "Secrets", .type = "integer"},
                      {.name = "Age"}}) {}
  boost::json::array table_cells(const Document& account, WallTime now) const override {
    const auto* secrets = array_at(account, "secrets");
    return {name_cell(account), secrets == nullptr ? 0 : secrets->size(), age_cell(account, now)};
  }
};

}  // namespace

std::unique_ptr<const Strategy> make_service_account_strategy() {
  return std::make_unique<ServiceAccountStrategy>();
}

}  // namespace fairlead::apiserver
