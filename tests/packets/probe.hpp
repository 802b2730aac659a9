// Clients: one connection or datagram exchange each, from a host of the rig, and what became of it.
// Thread rule: any one thread; the sockets are made in the host's namespace.
#pragma once

#include <chrono>
#include <compare>
#include <optional>
#include <string>
#include <vector>

#include "io/fd.hpp"
#include "packets/rig.hpp"

namespace fairlead::packets {

struct Send {
  std::string from;  // host
  Protocol protocol = Protocol::Tcp;
  SocketAddress to;
  std::optional<IpAddress> source;  // absent: the routes choose
};

enum class Fate {
  Answered,
  Refused,  // ICMP port unreachable or RST
  Silence,  // nothing came back in time
  Failed,   // anything else; see `detail`
};

struct Outcome {
  Fate fate = Fate::Failed;
  std::string backend;      // "pod1:8080": who answered
  IpAddress seen_source;    // and whom it saw
  IpAddress source;         // the client's own address
  std::string detail;       // of Failed
  unsigned repeats = 0;     // TCP: times the first packet had to be sent again
  io::UniqueFd connection;  // TCP, answered: still open
  std::string to_string() const;
};

// Sends all at once and waits until each has an outcome; those without one by the deadline end in
// Silence.
std::vector<Outcome> send_all(Rig& rig, const std::vector<Send>& sends,
                              std::chrono::milliseconds patience);

// Whether what is said on a connection of `Outcome` still comes back.
bool still_answers(const io::UniqueFd& connection, std::chrono::milliseconds patience);

}  // namespace fairlead::packets
