// The kinds this server really offers, on a store in memory: requests go the whole way through
// ObjectWriter, without HTTP.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "apiserver/kinds.hpp"
#include "apiserver/object_writer.hpp"
#include "apiserver/patch.hpp"
#include "apiserver/store/sqlite_store.hpp"
#include "unit/apiserver/run_task.hpp"

namespace fairlead::apiserver {

inline Document parse_document(std::string_view json) {
  return boost::json::parse(json).as_object();
}

// What a person sees of a refusal: "<reason> <field>" for every cause, "<code> <message>" when
// there are none. Empty when it was no refusal.
inline std::vector<std::string> refusals(const ApiResult<Written>& answer) {
  if (answer) return {};
  // An internal error has a cause without a field.
  if (answer.error().causes.empty() || answer.error().causes.front().field.empty())
    return {fmt::format("{} {}", answer.error().code, answer.error().message)};
  std::vector<std::string> out;
  for (const StatusCause& cause : answer.error().causes)
    out.push_back(fmt::format("{} {}", cause.reason, cause.field));
  return out;
}

inline KindsConfig ipv4_cluster() {
  return {.service_cidrs = {*IpPrefix::parse("10.96.0.0/16")}, .node_ports = {}};
}
inline KindsConfig dual_stack_cluster() {
  return {.service_cidrs = {*IpPrefix::parse("10.96.0.0/16"), *IpPrefix::parse("fd00:10:96::/112")},
          .node_ports = {}};
}

class KindsTest : public testing::Test {
 protected:
  void SetUp() override { open(dual_stack_cluster()); }
  void TearDown() override { close(); }

  // A cluster of its own; what was there before is gone.
  void open(const KindsConfig& config) {
    close();
    store_ = *open_sqlite_store(loop_.get_executor(), {.path = ":memory:"});
    registry_ = std::make_unique<Registry>(loop_.get_executor(), *store_, make_strategies(config));
    ASSERT_TRUE(run_task(loop_, registry_->load()));
    writer_ = std::make_unique<ObjectWriter>(*registry_);
    ASSERT_TRUE(create("namespaces", R"({"metadata":{"name":"default"}})"));
  }

  ApiResult<Written> create(std::string_view resource, const Document& body, bool dry_run = false) {
    return run_task(loop_, writer_->create(find(resource), request("", dry_run), body));
  }
  ApiResult<Written> create(std::string_view resource, std::string_view json) {
    return create(resource, parse_document(json));
  }
  // As kubectl replace: the body is the whole object.
  ApiResult<Written> put(std::string_view resource, const std::string& name, const Document& body) {
    return run_task(
        loop_, writer_->update(find(resource), request(name),
                               [body](const Document&) -> ApiResult<Document> { return body; }));
  }
  // As kubectl patch --type=merge.
  ApiResult<Written> patch(std::string_view resource, const std::string& name,
                           std::string_view change, const std::string& subresource = {}) {
    WriteRequest asked = request(name);
    asked.subresource = subresource;
    asked.is_patch = true;
    return run_task(loop_, writer_->update(find(resource), asked,
                                           [patch = boost::json::parse(change)](
                                               const Document& current) -> ApiResult<Document> {
                                             return apply_merge_patch(current, patch);
                                           }));
  }
  ApiResult<Written> remove(std::string_view resource, const std::string& name,
                            const DeleteOptions& options = {}) {
    return run_task(loop_, writer_->remove(find(resource), request(name), options));
  }
  const Strategy& strategy(std::string_view resource) { return find(resource).strategy; }

  // Names of the objects of a resource, in order.
  std::vector<std::string> names_of(std::string_view resource) {
    const std::string prefix = find(resource).info().storage_prefix;
    return keys_below(prefix);
  }
  std::vector<std::string> keys_below(const std::string& prefix) {
    std::vector<std::string> out;
    registry_->for_each_key(prefix, [&](std::string_view key) {
      out.emplace_back(key.substr(prefix.size()));
      return true;
    });
    return out;
  }

  FakeClock clock_;
  io::asio::io_context loop_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Registry> registry_;

  // "events" or "events.events.k8s.io", as kubectl takes it.
  Resource& find(std::string_view resource) {
    for (const auto& held : registry_->resources()) {
      const ResourceInfo& info = held->info();
      if (info.resource == resource || info.resource + "." + info.group == resource) return *held;
    }
    throw std::runtime_error("no such resource");
  }

  std::unique_ptr<ObjectWriter> writer_;

 private:
  WriteRequest request(std::string name, bool dry_run = false) const {
    WriteRequest out;
    out.context = {
        .now = clock_.wall(), .dry_run = dry_run, .user = "tester", .field_manager = "test"};
    out.ns = "default";
    out.name = std::move(name);
    return out;
  }
  void close() {
    if (store_) run_task(loop_, store_->close());
    writer_.reset();
    registry_.reset();
    store_.reset();
  }
};

}  // namespace fairlead::apiserver
