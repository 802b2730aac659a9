// HTTP messages: however the bytes are cut into pieces, a parser comes to the same message or the
// same error, and never takes more than it was given.
#include "fuzz/input.hpp"
#include "io/http_parser.hpp"

using namespace fairlead;

namespace {

// Feeds pieces of so many bytes; what came of it in words.
template <class Parser, class Describe>
std::string parse(Parser parser, std::string_view bytes, std::size_t piece, Describe describe) {
  while (!bytes.empty() && !parser.done()) {
    const std::string_view next = bytes.substr(0, piece);
    const auto used = parser.feed(next);
    if (!used) return std::string(to_string(used.error().code));
    check(*used <= next.size(), "a parser takes what it was given");
    // It may want more than this piece to go on.
    if (*used == 0) {
      if (piece >= bytes.size()) break;
      ++piece;
    }
    bytes.remove_prefix(*used);
  }
  return describe(parser);
}

struct Request {
  io::HttpRequestParser parser{4096, 4096};
  Result<std::size_t> feed(std::string_view bytes) { return parser.feed(bytes); }
  bool done() const { return parser.done(); }
};

std::string request_in_pieces(std::string_view bytes, std::size_t piece) {
  return parse(Request{}, bytes, piece, [](Request& request) -> std::string {
    if (!request.done()) return "not done";
    const io::HttpRequest message = request.parser.take();
    std::string out = message.method + " " + message.target + "\n" + message.body;
    for (const io::HttpHeader& header : message.headers)
      out += "\n" + header.name + ": " + header.value;
    return out;
  });
}

std::string response_in_pieces(std::string_view bytes, std::size_t piece) {
  return parse(io::HttpResponseParser(false, 4096), bytes, piece,
               [](io::HttpResponseParser& response) -> std::string {
                 if (!response.header_done()) return "not done";
                 return std::to_string(response.status()) + response.take_body() +
                        (response.end_of_input() ? " whole" : " cut");
               });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::Choice choice = fuzz::choice_of(fuzz::text_of(data, size));
  const std::size_t piece = 1 + choice.number / 2 % 16;
  const auto in_pieces = choice.number % 2 == 0 ? request_in_pieces : response_in_pieces;
  const std::string whole = in_pieces(choice.rest, 1U << 20);
  const std::string cut = in_pieces(choice.rest, piece);
  // What is malformed may be called so at once, or only when the header has ended (or its limit).
  const bool undecided = cut == "not done" && whole == "BadRequest";
  // Beast takes a chunk's size off what a body may have each time it looks at the chunk's header,
  // which is again and again where a quote in its extensions is not closed.
  const bool refused_or_cut =
      whole == "BadRequest" || whole == "not done" || whole.ends_with(" cut");
  const bool counted_again = cut == "TooLarge" && refused_or_cut;
  check(whole == cut || undecided || counted_again, "pieces do not matter");
  return 0;
}
