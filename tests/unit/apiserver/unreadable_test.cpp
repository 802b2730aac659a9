#include "apiserver/store/sqlite_store.hpp"
#include "unit/apiserver/unreadable_suite.hpp"

namespace fairlead::apiserver {
namespace {

Result<StoreMaker::Made> in_memory(io::asio::io_context& loop) {
  FAIRLEAD_TRY(store, open_sqlite_store(loop.get_executor(), {.path = ":memory:"}));
  return StoreMaker::Made{.behind = nullptr, .store = std::move(store)};
}

INSTANTIATE_TEST_SUITE_P(Sqlite, UnreadableSuite,
                         testing::Values(StoreMaker{.name = "memory", .make = in_memory}),
                         [](const auto& param) { return param.param.name; });

}  // namespace
}  // namespace fairlead::apiserver
