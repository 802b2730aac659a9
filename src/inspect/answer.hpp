// The answer of `fairlead explain`: what plan::explain() says of a packet, and beside it what only
// the cluster's objects can tell: why endpoints are left out, and which objects look as if they
// were meant but are not. Pure values.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "inspect/node_view.hpp"
#include "proxy/plan/choice.hpp"

namespace fairlead::inspect {

struct Question {
  Protocol protocol = Protocol::Tcp;
  SocketAddress destination;
  std::optional<IpAddress> source;  // nothing: the node itself, or nobody known
  std::string input_interface;
};
// "tcp", "10.96.0.10:80" or "[fd00::1]:80", and the flags --from and --interface, which may be
// empty. Errors name the word.
struct Words {
  std::string protocol, destination, source, input_interface;
};
Result<Question> parse_question(const Words& words);

struct LeftOut {
  plan::EndpointFate endpoint;
  std::string node;  // that it runs on; may be empty
  bool operator==(const LeftOut&) const = default;
};

struct Answer {
  plan::Packet packet;
  std::string sender;  // in words: "this node", "a pod by its address", ...
  std::string node;
  std::string mode;
  plan::Explanation explanation;
  std::optional<plan::Choice> choice;  // when a pool was looked at
  std::vector<LeftOut> left_out;
  std::string kernel_rule;  // where to look for it in the kernel; may be empty
  std::vector<std::string> notes;
};
Answer answer(const NodeView& view, const Question& question);

std::string to_text(const Answer& answer);
std::string to_json(const Answer& answer);  // one object, one line

}  // namespace fairlead::inspect
