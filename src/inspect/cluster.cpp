#include "inspect/cluster.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "io/http.hpp"

namespace fairlead::inspect {
namespace {

constexpr int kPage = 500;

template <class T>
io::Task<Result<std::vector<T>>> list_all(client::ApiClient* client) {
  std::vector<T> out;
  std::string continue_token;
  do {
    std::string path = fmt::format("{}?limit={}", client::collection_path<T>(""), kPage);
    if (!continue_token.empty()) path += "&continue=" + io::percent_encode(continue_token);
    auto body = co_await client->get(path);
    if (!body) {
      co_return body.error().with_context(
          fmt::format("list {} of {}", kube::KindOf<T>::kResource, client->server()));
    }
    auto page = client->decoder().list<T>(*body);
    if (!page) co_return page.error();
    std::ranges::move(page->items, std::back_inserter(out));
    continue_token = page->continue_token;
  } while (!continue_token.empty());
  co_return out;
}

// What may be absent or hidden.
template <class T>
io::Task<Result<std::vector<T>>> list_if_there(client::ApiClient* client) {
  auto all = co_await list_all<T>(client);
  const bool there =
      all || (all.error().code != ErrorCode::NotFound && all.error().code != ErrorCode::Forbidden);
  if (!there) co_return std::vector<T>{};
  co_return all;
}

template <class T>
kube::NamespacedName key_of(const T& object) {
  return {.namespace_ = object.metadata.namespace_, .name = object.metadata.name};
}

}  // namespace

io::Task<Result<Snapshot>> read_cluster(client::ApiClient* client) {
  Snapshot out;
  auto services = co_await list_all<kube::Service>(client);
  if (!services) co_return services.error();
  auto slices = co_await list_all<kube::EndpointSlice>(client);
  if (!slices) co_return slices.error();
  auto nodes = co_await list_if_there<kube::Node>(client);
  if (!nodes) co_return nodes.error();
  auto ranges = co_await list_if_there<kube::ServiceCidr>(client);
  if (!ranges) co_return ranges.error();
  for (auto& object : *services) out.services.emplace(key_of(object), std::move(object));
  for (auto& object : *slices) out.slices.emplace(key_of(object), std::move(object));
  for (auto& object : *nodes) out.nodes.emplace(object.metadata.name, std::move(object));
  for (auto& object : *ranges) out.ranges.emplace(object.metadata.name, std::move(object));
  co_return out;
}

Result<Snapshot> read_cluster_blocking(client::ClusterAccess access) {
  io::asio::io_context loop(1);
  FAIRLEAD_TRY(client, client::ApiClient::create(loop.get_executor(),
                                                 {.access = std::move(access),
                                                  .user_agent = "fairlead (linux) kubernetes"}));
  Result<Snapshot> out;
  io::asio::co_spawn(loop, read_cluster(client.get()),
                     [&](const std::exception_ptr& thrown, Result<Snapshot> result) {
                       check(!thrown, "our code does not throw");
                       out = std::move(result);
                       loop.stop();  // a connection kept for the next request would go on waiting
                     });
  loop.run();
  return out;
}

}  // namespace fairlead::inspect
