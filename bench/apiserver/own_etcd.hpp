// An etcd of bench_apiserver's own: one member on loopback, its data in the given folder; and what
// it costs without an API server.
#pragma once

#include "apiserver/subject.hpp"

namespace fairlead::bench {

// $FAIRLEAD_ETCD; nullopt when there is none.
std::optional<std::string> etcd_program();

class OwnEtcd {
 public:
  static Result<OwnEtcd> start(const std::string& program, const Folder& folder);
  const std::string& endpoint() const { return endpoint_; }

 private:
  OwnEtcd(io::Child child, std::string endpoint)
      : child_(std::move(child)), endpoint_(std::move(endpoint)) {}
  io::Child child_;
  std::string endpoint_;
};

// Keys with such a value, each in a transaction of its own, by so many writers at once. A second.
Result<double> raw_etcd_rate(const OwnEtcd& etcd, int keys, int writers);

}  // namespace fairlead::bench
