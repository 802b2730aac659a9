#include "nftables/raw_nft.hpp"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <map>

#include "base/clock.hpp"
#include "io/process.hpp"
#include "proxy/modes/nftables/netlink_kernel.hpp"
#include "proxy/modes/nftables/render.hpp"

namespace fairlead::bench {
namespace {

using nftables::Element;
using nftables::Operation;

// Elements last, by set.
class GatheringSink final : public nftables::OperationSink {
 public:
  void add(Operation operation) override {
    const auto* element = std::get_if<nftables::AddElement>(&operation.action);
    auto& to = element == nullptr ? others_ : elements_[element->element.set];
    to.push_back(std::move(operation));
  }
  std::string text() const {
    std::string out = nftables::to_script(others_);
    for (const auto& [set, operations] : elements_) out += nftables::to_script(operations);
    return out;
  }

 private:
  std::vector<Operation> others_;
  std::map<nftables::SetId, std::vector<Operation>> elements_;
};

Result<void> write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0) return errno_error(errno, "write the nft script");
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

std::uint64_t digest_of(const Element& element) {
  const auto bytes = [](const nftables::Key& key) {
    return std::string_view(reinterpret_cast<const char*>(key.bytes().data()), key.bytes().size());
  };
  std::string all = fmt::format("{}|{}|{}|", nftables::schema(element.set).name, bytes(element.key),
                                bytes(element.key_end));
  if (const auto* value = std::get_if<nftables::Key>(&element.data)) all += bytes(*value);
  if (const auto* verdict = std::get_if<nftables::Verdict>(&element.data)) {
    all += fmt::format("{} {}", static_cast<int>(verdict->code), verdict->chain);
  }
  return std::hash<std::string>{}(all);
}

}  // namespace

Result<Script> Script::write(const plan::Plan& plan) {
  io::UniqueFd file(::memfd_create("table.nft", MFD_CLOEXEC));  // nft opens it by our pid
  if (!file) return errno_error(errno, "make a file for the nft script");
  std::size_t bytes = 0;
  for (const auto& [family, node] : plan.nodes) {
    GatheringSink sink;
    nftables::Renderer(family).full(plan, sink);
    const std::string text = sink.text();
    bytes += text.size();
    FAIRLEAD_CHECK(write_all(file.get(), text));
  }
  return Script(std::move(file), bytes);
}

Result<std::chrono::nanoseconds> Script::load(const io::NetNamespace& where) const {
  const MonoTime start = Clock::real().mono();
  FAIRLEAD_TRY(nft,
               io::Child::spawn(
                   {.argv = {"nft", "-f", fmt::format("/proc/{}/fd/{}", ::getpid(), file_.get())},
                    .namespaces = {where.fd()}}));
  FAIRLEAD_TRY(status, nft.wait_blocking());
  const auto took = Clock::real().mono() - start;
  if (!status.ok()) {
    return make_error(ErrorCode::Unavailable, "nft -f ended with {}", status.to_string());
  }
  return took;
}

Result<TableContent> read_tables() {
  FAIRLEAD_TRY(kernel, nftables::NetlinkKernel::create());
  TableContent out;
  for (const IpFamily family : {IpFamily::V4, IpFamily::V6}) {
    FAIRLEAD_TRY(listing, kernel->list(family));
    if (!listing)
      return make_error(ErrorCode::NotFound, "no table of family {}", static_cast<int>(family));
    out.chains += listing->chains.size();
    FAIRLEAD_TRY(rules, kernel->list_rules(family));
    for (const auto& [chain, texts] : rules) out.rules += texts.size();
    for (const nftables::SetId set : nftables::kAllSets) {
      FAIRLEAD_CHECK(kernel->list_elements(family, set, [&](Element element) {
        ++out.elements;
        out.digest += digest_of(element);
      }));
    }
  }
  return out;
}

}  // namespace fairlead::bench
