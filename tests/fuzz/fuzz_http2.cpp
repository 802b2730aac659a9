// HTTP/2: whatever a peer sends, however it is cut into pieces, a session hands out the same whole
// requests, and everything that is handed out can be answered.
#include "fuzz/input.hpp"
#include "io/http2_session.hpp"

using namespace fairlead;

namespace {

constexpr io::HttpLimits kLimits{.header_bytes = 512, .body_bytes = 256};
constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
// The client's SETTINGS, with nothing in them.
constexpr std::string_view kSettings{"\0\0\0\4\0\0\0\0\0", 9};

std::string described(const io::Http2Session::Incoming& incoming) {
  std::string out = fmt::format("{} {}", incoming.id, incoming.refusal);
  if (!incoming.request) return out;
  const io::HttpRequest& request = *incoming.request;
  check(request.target.starts_with('/') || request.target == "*", "a request has a path");
  check(request.body.size() <= kLimits.body_bytes, "a body keeps to its limit");
  out += fmt::format(" {} {} {}", request.method, request.target, request.body);
  for (const auto& [name, value] : request.headers) out += fmt::format("\n{}: {}", name, value);
  return out;
}

void answer(io::Http2Session& session, const io::Http2Session::Incoming& incoming) {
  const bool body = incoming.id % 4 == 1;
  session.head(incoming.id, {{":status", "200"}}, !body);
  if (body) {
    session.append(incoming.id, std::make_shared<const std::string>(1000, 'x'));
    session.end(incoming.id);
  }
  session.release(incoming.id);
}

std::string requests_in_pieces(std::string_view bytes, std::size_t piece) {
  io::Http2Session session(kLimits);
  std::vector<io::Http2Session::Incoming> requests;
  const auto feed = [&](std::string_view some) {
    const bool taken = session.receive(some, io::Deadline()).has_value();
    for (auto& incoming : session.take_incoming()) requests.push_back(std::move(incoming));
    return taken;
  };
  bool goes_on = feed(kPreface) && feed(kSettings);
  for (; goes_on && !bytes.empty(); bytes.remove_prefix(std::min(piece, bytes.size())))
    goes_on = feed(bytes.substr(0, piece));
  std::string out;
  for (const auto& incoming : requests) {
    out += described(incoming) + "\n";
    answer(session, incoming);
  }
  while (!session.output(4096).empty()) {
  }
  check(session.streams() <= io::Http2Session::kMostStreams, "streams are bounded");
  session.expire(io::kNoDeadline);
  check(session.next_due() == io::kNoDeadline, "what is overdue is reset");
  return out;
}

// Is there a GOAWAY among the frames?
bool says_goodbye(std::string_view frames) {
  constexpr std::size_t kHead = 9;
  constexpr char kGoaway = 7;
  while (frames.size() >= kHead) {
    if (frames[3] == kGoaway) return true;
    std::size_t length = 0;
    for (const char c : frames.substr(0, 3)) length = length << 8U | static_cast<unsigned char>(c);
    frames.remove_prefix(std::min(kHead + length, frames.size()));
  }
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::Choice choice = fuzz::choice_of(fuzz::text_of(data, size));
  const std::string whole = requests_in_pieces(choice.rest, 1U << 20);
  const std::string cut = requests_in_pieces(choice.rest, 1 + choice.number % 32);
  // After a goodbye the session reads on only while streams are open, or to the end of a piece.
  const bool cut_short = says_goodbye(choice.rest) && whole.starts_with(cut);
  check(whole == cut || cut_short, "pieces do not matter");
  return 0;
}
