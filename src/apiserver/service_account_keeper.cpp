#include "apiserver/service_account_keeper.hpp"

#include "apiserver/own_writes.hpp"
#include "base/log.hpp"

namespace fairlead::apiserver {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view kName = "default";
constexpr auto kRetry = 5s;

Resource& accounts_of(const Registry& registry) {
  Resource* found = registry.find("", "v1", "serviceaccounts");
  check(found != nullptr, "ServiceAccounts are among the kinds");
  return *found;
}

}  // namespace

ServiceAccountKeeper::ServiceAccountKeeper(Registry& registry, const Clock& clock,
                                           io::Executor executor)
    : registry_(registry),
      clock_(clock),
      accounts_(accounts_of(registry)),
      changed_(std::move(executor)) {}

io::Task<Result<void>> ServiceAccountKeeper::make_missing() {
  std::vector<std::string> without;
  for (const auto& [key, ns] : registry_.namespaces().cache.objects()) {
    if (ns->terminating) continue;
    if (accounts_.cache.find(accounts_.key(ns->name, kName)) == nullptr)
      without.push_back(ns->name);
  }
  Result<void> outcome;
  for (const std::string& ns : without) {
    Document account{{"metadata", Document{{"name", text_value(kName)}}}};
    auto made =
        co_await create_unless_there(&registry_, &clock_, &accounts_, ns, std::move(account));
    if (!made) outcome = made.error().with_context(fmt::format("namespace {}", ns));
  }
  co_return outcome;
}

io::Task<void> ServiceAccountKeeper::run() {
  while (!co_await io::cancelled()) {
    if (const auto made = co_await make_missing()) {
      co_await changed_.wait();
    } else {
      // Often only a namespace that began to terminate or went away meanwhile.
      log::info("ServiceAccount default could not be made, trying again in 5 s",
                {{"err", made.error()}});
      co_await changed_.wait_until(std::chrono::steady_clock::now() + kRetry);
    }
  }
}

}  // namespace fairlead::apiserver
