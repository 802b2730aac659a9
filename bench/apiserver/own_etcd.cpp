#include "apiserver/own_etcd.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <chrono>
#include <cstdlib>

#include "apiserver/etcd/etcd_client.hpp"
#include "io/socket.hpp"

namespace fairlead::bench {
namespace {

using Clock = std::chrono::steady_clock;

Result<std::string> free_url() {
  FAIRLEAD_TRY(socket,
               io::listen_tcp({.address = IpAddress::loopback(IpFamily::V4), .port = Port{0}}));
  FAIRLEAD_TRY(bound, io::local_address(socket));
  return fmt::format("http://127.0.0.1:{}", number(bound.port));
}

apiserver::etcd::pb::RangeRequest some_key() {
  apiserver::etcd::pb::RangeRequest out;
  out.set_key("/raw/");
  return out;
}

// Those of one writer.
io::Task<Result<void>> put(apiserver::etcd::Client* client, int first, int keys, int step) {
  for (int i = first; i < keys; i += step) {
    apiserver::etcd::pb::TxnRequest request;
    auto& put = *request.add_success()->mutable_request_put();
    put.set_key(fmt::format("/raw/{}", i));
    put.set_value(service_json("raw", i));
    FAIRLEAD_CO_CHECK(co_await client->txn(std::move(request)));
  }
  co_return Result<void>{};
}

}  // namespace

std::optional<std::string> etcd_program() {
  const char* path = std::getenv("FAIRLEAD_ETCD");
  if (path == nullptr || ::access(path, X_OK) != 0) return std::nullopt;
  return path;
}

Result<OwnEtcd> OwnEtcd::start(const std::string& program, const Folder& folder) {
  FAIRLEAD_TRY(endpoint, free_url());
  FAIRLEAD_TRY(peer, free_url());
  const io::UniqueFd log(
      ::open((folder.path() + "/etcd.log").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  io::Command command{
      .argv = {program, "--data-dir", folder.path() + "/etcd", "--listen-client-urls", endpoint,
               "--advertise-client-urls", endpoint, "--listen-peer-urls", peer,
               "--initial-advertise-peer-urls", peer, "--initial-cluster", "default=" + peer}};
  command.stdout_fd = log.get();
  command.stderr_fd = log.get();
  FAIRLEAD_TRY(child, io::Child::spawn(command));
  return OwnEtcd(std::move(child), std::move(endpoint));
}

Result<double> raw_etcd_rate(const OwnEtcd& etcd, int keys, int writers) {
  io::asio::io_context loop(1);
  const auto answers_come = io::asio::make_work_guard(loop);  // from gRPC's threads
  FAIRLEAD_TRY(client, apiserver::etcd::Client::create(loop.get_executor(),
                                                       {.endpoints = {etcd.endpoint()}}));
  Result<void> outcome;
  int left = 0;
  const auto run = [&](io::Task<Result<void>> task) {
    ++left;
    io::asio::co_spawn(loop, std::move(task), [&](const std::exception_ptr&, Result<void> done) {
      if (!done) outcome = done;
      --left;
    });
  };
  const auto finish = [&] {
    while (left > 0) loop.run_one();
  };
  // It answers reads once it has started.
  run([](apiserver::etcd::Client* asked) -> io::Task<Result<void>> {
    FAIRLEAD_CO_CHECK(co_await asked->range(some_key()));
    co_return Result<void>{};
  }(client.get()));
  finish();
  FAIRLEAD_CHECK(outcome);
  const auto start = Clock::now();
  for (int writer = 0; writer < writers; ++writer) run(put(client.get(), writer, keys, writers));
  finish();
  FAIRLEAD_CHECK(outcome);
  return keys / std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace fairlead::bench
