// An API server's objects, in memory, for targets that need some to be there.
#pragma once

#include <boost/json/parse.hpp>
#include <memory>
#include <string>

#include "apiserver/kinds.hpp"
#include "apiserver/object_writer.hpp"
#include "apiserver/store/sqlite_store.hpp"
#include "unit/apiserver/run_task.hpp"

namespace fairlead::fuzz {

class MemoryServer {
 public:
  MemoryServer()
      : store_(*apiserver::open_sqlite_store(loop_.get_executor(), {.path = ":memory:"})),
        registry_(loop_.get_executor(), *store_,
                  apiserver::make_strategies({.service_cidrs = {*IpPrefix::parse("10.0.0.0/24"),
                                                                *IpPrefix::parse("fd00::/112")}})),
        writer_(registry_) {
    check(apiserver::run_task(loop_, registry_.load()).has_value(), "an empty store is loaded");
  }
  ~MemoryServer() { apiserver::run_task(loop_, store_->close()); }
  MemoryServer(const MemoryServer&) = delete;
  MemoryServer& operator=(const MemoryServer&) = delete;

  // What was stored.
  apiserver::Document make(std::string_view resource, std::string_view json) {
    for (const auto& held : registry_.resources()) {
      if (held->info().resource != resource) continue;
      const auto made = apiserver::run_task(
          loop_, writer_.create(*held, request("", false), boost::json::parse(json).as_object()));
      check(made.has_value(), "an object that is needed can be made");
      return made->object;
    }
    invariant_failed("it is of a kind that is served");
  }

 protected:
  apiserver::WriteRequest request(std::string name, bool dry_run) const {
    apiserver::WriteRequest out;
    out.context = {.now = clock_.wall(), .dry_run = dry_run, .user = "u", .field_manager = "m"};
    out.ns = "default";
    out.name = std::move(name);
    return out;
  }

  FakeClock clock_;
  io::asio::io_context loop_;
  std::unique_ptr<apiserver::Store> store_;
  apiserver::Registry registry_;
  apiserver::ObjectWriter writer_;
};

}  // namespace fairlead::fuzz
