// A watch stream as clients read it: however its bytes arrive, the same lines come out, and each
// line ends in an event or an error.
#include <string>
#include <vector>

#include "client/line_splitter.hpp"
#include "fuzz/input.hpp"
#include "kube/codec.hpp"

using namespace fairlead;

namespace {

std::vector<std::string> lines_in_pieces(std::string_view bytes, std::size_t piece) {
  client::LineSplitter splitter(1U << 20);
  std::vector<std::string> out;
  for (; !bytes.empty(); bytes.remove_prefix(std::min(piece, bytes.size()))) {
    check(splitter.feed(std::string(bytes.substr(0, piece))).has_value(), "no line is too long");
    while (const auto line = splitter.next()) out.emplace_back(*line);
  }
  out.emplace_back(splitter.has_partial_line() ? "partial" : "whole");
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::Choice choice = fuzz::choice_of(fuzz::text_of(data, size));
  const auto lines = lines_in_pieces(choice.rest, 1U << 20);
  check(lines == lines_in_pieces(choice.rest, 1 + choice.number % 16), "pieces do not matter");
  kube::Decoder decoder;
  for (const std::string& line : lines) {
    static_cast<void>(decoder.watch_event<kube::Service>(line));
    static_cast<void>(decoder.watch_event<kube::EndpointSlice>(line));
    static_cast<void>(decoder.watch_event<kube::Lease>(line));
  }
  return 0;
}
