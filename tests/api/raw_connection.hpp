// One TCP connection on loopback on which anything can be said, HTTP or not. Every wait ends after
// fifteen seconds.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "io/fd.hpp"

namespace fairlead::api_test {

class RawConnection {
 public:
  explicit RawConnection(std::uint16_t port);

  int fd() const { return fd_.get(); }
  bool send(std::string_view bytes);  // false: the peer takes no more

  // The next answer, with its body; nullopt when the connection ends before it is whole.
  struct Reply {
    unsigned status = 0;
    std::string head, body;
  };
  std::optional<Reply> reply(bool to_head = false);
  // Whether the peer closes before it says anything more.
  bool ends();

 private:
  bool fill();  // false at the end of input, or when nothing comes
  bool have(std::size_t bytes);

  io::UniqueFd fd_;
  std::string buffer_;
};

// A request with a Content-Length.
std::string http_request(std::string_view method, std::string_view target,
                         std::string_view type = {}, std::string_view body = {});

}  // namespace fairlead::api_test
