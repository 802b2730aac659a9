// How a test comes by a store of each kind.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <ostream>
#include <string>

#include "apiserver/store/store.hpp"

namespace fairlead::apiserver {

struct StoreMaker {
  std::string name;
  struct Made {
    std::shared_ptr<void> behind;  // what the store needs to live
    std::unique_ptr<Store> store;
  };
  std::function<Result<Made>(io::asio::io_context&)> make;  // an empty one
};
inline void PrintTo(const StoreMaker& maker, std::ostream* out) { *out << maker.name; }

}  // namespace fairlead::apiserver
