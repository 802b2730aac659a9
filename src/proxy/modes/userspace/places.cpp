#include "proxy/modes/userspace/places.hpp"

#include <linux/bpf_common.h>

#include <algorithm>

namespace fairlead::userspace {
namespace {

// Of the source address in the headers of IPv4 and IPv6, bytes.
constexpr std::uint32_t kSourceV4 = 12;
constexpr std::uint32_t kSourceV6 = 8;
constexpr std::uint32_t kAll = 0xffffffff;
constexpr std::uint32_t kNothing = 0;

sock_filter instruction(int code, std::uint32_t k, std::uint8_t if_true = 0,
                        std::uint8_t if_false = 0) {
  return {.code = static_cast<std::uint16_t>(code), .jt = if_true, .jf = if_false, .k = k};
}

sock_filter give(std::uint32_t bytes) { return instruction(BPF_RET | BPF_K, bytes); }

// Every packet of this node to one of its own addresses comes in by lo, whose index is 1.
constexpr std::uint32_t kLoopbackIndex = 1;

// Tests of which one has to hold: those that do jump to the end of the phase, where the next one or
// the verdict is; a packet that meets none of them is dropped.
class Phase {
 public:
  void add_range(const IpPrefix& range) {
    const auto bytes = range.address().bytes();
    const std::uint32_t source = range.address().is_v4() ? kSourceV4 : kSourceV6;
    const unsigned words = (range.length() + 31) / 32;
    for (unsigned i = 0; i < words; ++i) {
      const unsigned bits = std::min(32U, range.length() - 32 * i);
      const std::uint32_t mask = kAll << (32 - bits);
      std::uint32_t wanted = 0;
      for (unsigned byte = 0; byte < 4; ++byte) wanted = wanted << 8 | bytes[4 * i + byte];
      // Past the rest of this range: three instructions a word, and the jump.
      const auto past = static_cast<std::uint8_t>(3 * (words - 1 - i) + 1);
      code_.push_back(instruction(BPF_LD | BPF_W | BPF_ABS,
                                  static_cast<std::uint32_t>(SKF_NET_OFF) + source + 4 * i));
      code_.push_back(instruction(BPF_ALU | BPF_AND | BPF_K, mask));
      code_.push_back(instruction(BPF_JMP | BPF_JEQ | BPF_K, wanted & mask, 0, past));
    }
    code_.push_back(instruction(BPF_JMP | BPF_JA, 0));
  }
  void add_this_node() {
    code_.push_back(instruction(BPF_LD | BPF_W | BPF_ABS,
                                static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_IFINDEX)));
    code_.push_back(instruction(BPF_JMP | BPF_JEQ | BPF_K, kLoopbackIndex, 0, 1));
    code_.push_back(instruction(BPF_JMP | BPF_JA, 0));
  }
  void append_to(Filter& filter) {
    code_.push_back(give(kNothing));
    for (std::size_t i = 0; i < code_.size(); ++i) {
      if (code_[i].code == (BPF_JMP | BPF_JA)) {
        code_[i].k = static_cast<std::uint32_t>(code_.size() - i - 1);
      }
    }
    filter.insert(filter.end(), code_.begin(), code_.end());
  }

 private:
  Filter code_;
};

// Which clients a short cut leaves, as far as a filter can tell.
std::optional<OnlyLocal> only_local(const plan::Frontend& frontend,
                                    const plan::LocalDetector& detector) {
  if (frontend.target != plan::Target::Drop || !frontend.short_circuit) return std::nullopt;
  if (!detector.interface_name.empty() || !detector.interface_prefix.empty()) return std::nullopt;
  return OnlyLocal{.pods = detector.source_prefix};
}

}  // namespace

Way way_of(const plan::Frontend& frontend) {
  return {.pool = pool_of(frontend), .short_circuit = frontend.short_circuit};
}

std::map<SocketAddress, Treatment> places_of(const plan::ServicePlan& plan,
                                             const plan::NodePlan& node) {
  std::map<SocketAddress, Treatment> out;
  if (plan.key.service_port.protocol == Protocol::Sctp) return out;
  for (const plan::Frontend& frontend : plan.frontends) {
    if (frontend.target == plan::Target::Reject && !frontend.short_circuit) continue;
    const Treatment treatment{
        .way = way_of(frontend),
        .drop_all = frontend.target == plan::Target::Drop && !frontend.short_circuit,
        .admitted = frontend.source_ranges,
        .only_local = only_local(frontend, node.detector)};
    const bool of_node = frontend.kind == plan::FrontendKind::NodePort;
    const std::vector<IpAddress> addresses =
        of_node ? node.node_port_addresses.value_or(std::vector{frontend.address})
                : std::vector{frontend.address};
    for (const IpAddress& address : addresses) {
      out.emplace(SocketAddress{.address = address, .port = frontend.port}, treatment);
    }
  }
  return out;
}

Result<Filter> filter_of(const Treatment& treatment, IpFamily family) {
  Filter out;
  if (treatment.drop_all) return Filter{give(kNothing)};
  if (!treatment.admitted.empty()) {
    Phase ranges;
    for (const IpPrefix& range : treatment.admitted) {
      if (range.address().family() == family) ranges.add_range(range);
    }
    ranges.append_to(out);
  }
  if (treatment.only_local) {
    Phase local;
    local.add_this_node();
    if (treatment.only_local->pods) local.add_range(*treatment.only_local->pods);
    local.append_to(out);
  }
  if (out.empty()) return out;
  out.push_back(give(kAll));
  if (out.size() > BPF_MAXINSNS) {
    return make_error(ErrorCode::Exhausted,
                      "{} source ranges are more than a socket's filter takes",
                      treatment.admitted.size());
  }
  return out;
}

}  // namespace fairlead::userspace
