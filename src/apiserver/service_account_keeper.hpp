// Every namespace has a ServiceAccount "default", made again when it is deleted. A task of the
// ApiServer on its loop; several servers do it side by side, the first one wins.
#pragma once

#include <string>

#include "apiserver/registry.hpp"
#include "base/clock.hpp"

namespace fairlead::apiserver {

class ServiceAccountKeeper {
 public:
  // Both must outlive the keeper.
  ServiceAccountKeeper(Registry& registry, const Clock& clock, io::Executor executor);

  io::Task<Result<void>> make_missing();  // once
  io::Task<void> run();                   // until cancelled
  void poke() { changed_.notify(); }      // a namespace or an account came or went

 private:
  Registry& registry_;
  const Clock& clock_;
  Resource& accounts_;
  io::Event changed_;
};

}  // namespace fairlead::apiserver
