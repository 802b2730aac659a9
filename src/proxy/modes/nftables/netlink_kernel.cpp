#include "proxy/modes/nftables/netlink_kernel.hpp"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <libnftnl/udata.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#include <cerrno>

#include "proxy/modes/nftables/attributes.hpp"
#include "proxy/modes/nftables/nftnl_objects.hpp"
#include "proxy/modes/nftables/render.hpp"

namespace fairlead::nftables {
namespace {

using namespace std::chrono_literals;
using Message = std::span<const std::uint8_t>;

// Transactions larger than this are not worth telling our own listener about, element by element.
constexpr std::size_t kQuietBytes = std::size_t{64} * 1024;
constexpr int kErrorRoom = 4 * 1024 * 1024;

const nlmsghdr* header_of(Message message) {
  return reinterpret_cast<const nlmsghdr*>(message.data());
}

bool is_nft(const nlmsghdr* header) { return header->nlmsg_type >> 8U == NFNL_SUBSYS_NFTABLES; }
int nft_message(const nlmsghdr* header) { return header->nlmsg_type & 0xff; }

// An NLMSG_ERROR's content. With NETLINK_CAP_ACK the request's header follows, then the attributes.
struct Answer {
  int error = 0;  // positive errno
  std::uint32_t sequence = 0;
  std::optional<std::uint32_t> offset;
  std::string text;
};

Answer read_answer(const nlmsghdr* header) {
  const auto* body = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(header));
  Answer answer{.error = -body->error, .sequence = body->msg.nlmsg_seq};
  if ((header->nlmsg_flags & NLM_F_ACK_TLVS) == 0) return answer;
  std::size_t skip = sizeof *body;
  if ((header->nlmsg_flags & NLM_F_CAPPED) == 0) skip += body->msg.nlmsg_len - sizeof(nlmsghdr);
  each_attribute(header, static_cast<unsigned>(skip), [&](const nlattr* attribute) {
    if (mnl_attr_get_type(attribute) == NLMSGERR_ATTR_OFFS)
      answer.offset = mnl_attr_get_u32(attribute);
    if (mnl_attr_get_type(attribute) == NLMSGERR_ATTR_MSG)
      answer.text = mnl_attr_get_str(attribute);
  });
  return answer;
}

Error explain_errno(int error, std::string_view what, std::string_view kernel_text) {
  std::string context(what);
  if (!kernel_text.empty()) context += fmt::format(" (the kernel says: {})", kernel_text);
  if (error == EPERM || error == EACCES) {
    return {
        .code = ErrorCode::Forbidden,
        .message = fmt::format(
            "{}: not permitted; programming nftables needs the capability CAP_NET_ADMIN in this "
            "network namespace (run as root, or give the service that capability)",
            context),
        .sys_errno = error};
  }
  return errno_error(error, context);
}

// A dump or a single request; `fill` adds attributes.
std::vector<std::uint8_t> make_request(int type, IpFamily family, std::uint16_t flags,
                                       std::uint32_t sequence,
                                       const std::function<void(nlmsghdr*)>& fill) {
  std::array<char, 1024> scratch{};
  nlmsghdr* message = nftnl_nlmsg_build_hdr(scratch.data(), static_cast<std::uint16_t>(type),
                                            nf_family(family), flags, sequence);
  fill(message);
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(message);
  return {bytes, bytes + message->nlmsg_len};
}

Element read_element(nftnl_set_elem* from, SetId set) {
  const auto bytes_of = [from](std::uint16_t attribute) {
    std::uint32_t length = 0;
    const void* data = nftnl_set_elem_get(from, attribute, &length);
    return Key{}.raw({static_cast<const std::uint8_t*>(data), length});
  };
  Element element{.set = set, .key = bytes_of(NFTNL_SET_ELEM_KEY)};
  if (nftnl_set_elem_is_set(from, NFTNL_SET_ELEM_KEY_END))
    element.key_end = bytes_of(NFTNL_SET_ELEM_KEY_END);
  if (nftnl_set_elem_is_set(from, NFTNL_SET_ELEM_VERDICT)) {
    const auto code = static_cast<int>(nftnl_set_elem_get_u32(from, NFTNL_SET_ELEM_VERDICT));
    Verdict verdict{.code = code == NFT_GOTO   ? Verdict::Code::Goto
                            : code == NFT_JUMP ? Verdict::Code::Jump
                                               : Verdict::Code::Drop};
    if (nftnl_set_elem_is_set(from, NFTNL_SET_ELEM_CHAIN)) {
      verdict.chain = nftnl_set_elem_get_str(from, NFTNL_SET_ELEM_CHAIN);
    }
    element.data = std::move(verdict);
  } else if (nftnl_set_elem_is_set(from, NFTNL_SET_ELEM_DATA)) {
    element.data = bytes_of(NFTNL_SET_ELEM_DATA);
  }
  return element;
}

struct ElementReader {
  SetId set;
  const std::function<void(Element)>* each;
};

int pass_element(nftnl_set_elem* element, void* reader) {
  const auto* r = static_cast<const ElementReader*>(reader);
  (*r->each)(read_element(element, r->set));
  return 0;
}

// Does this notification speak of a table of ours? All nf_tables messages carry the table's name as
// attribute 1.
bool about_our_table(const nlmsghdr* header) {
  const auto* body = static_cast<const nfgenmsg*>(mnl_nlmsg_get_payload(header));
  if (body->nfgen_family != nf_family(IpFamily::V4) &&
      body->nfgen_family != nf_family(IpFamily::V6))
    return false;
  static_assert(NFTA_TABLE_NAME == 1 && NFTA_CHAIN_TABLE == 1 && NFTA_RULE_TABLE == 1 &&
                NFTA_SET_TABLE == 1 && NFTA_SET_ELEM_LIST_TABLE == 1);
  bool ours = false;
  each_attribute(header, sizeof(nfgenmsg), [&](const nlattr* attribute) {
    if (mnl_attr_get_type(attribute) == 1) ours = mnl_attr_get_str(attribute) == kTable;
  });
  return ours;
}

}  // namespace

Result<std::unique_ptr<NetlinkKernel>> NetlinkKernel::open() {
  auto commands =
      io::NetlinkSocket::create({.protocol = NETLINK_NETFILTER, .receive_buffer = kErrorRoom});
  auto listener = io::NetlinkSocket::create(
      {.protocol = NETLINK_NETFILTER, .groups = {NFNLGRP_NFTABLES}, .receive_buffer = kErrorRoom});
  for (const auto* socket : {&commands, &listener}) {
    if (*socket) continue;
    const Error& error = socket->error();
    if (error.sys_errno == EPROTONOSUPPORT) {
      return make_error(
          ErrorCode::Unsupported,
          "open nftables: this kernel has no netfilter netlink (CONFIG_NETFILTER_NETLINK)");
    }
    return explain_errno(error.sys_errno, "open nftables", "");
  }
  return std::unique_ptr<NetlinkKernel>(
      new NetlinkKernel(*std::move(commands), *std::move(listener)));
}

Result<std::unique_ptr<NetlinkKernel>> NetlinkKernel::create() {
  FAIRLEAD_TRY(kernel, open());
  FAIRLEAD_CHECK(kernel->probe());
  return std::move(kernel);
}

// Sends a table with everything in it except the end mark: the kernel checks each message and
// forgets them all.
Result<void> NetlinkKernel::probe() {
  if (auto current = generation(); !current) {
    const int error = current.error().sys_errno;
    if (error != EINVAL && error != EOPNOTSUPP && error != ENOENT) return current.error();
    return make_error(
        ErrorCode::Unsupported,
        "open nftables: this kernel has no nf_tables (CONFIG_NF_TABLES, module nf_tables)");
  }
  for (const IpFamily family : {IpFamily::V4, IpFamily::V6}) {
    Batch batch(next_sequence_, "fairlead-probe");
    plan::Plan plan;
    plan.nodes[family] = {};
    const Pick sticky{.size = 1, .sticky = 1s};
    Renderer(family).full(plan, batch);
    for (const Chain& chain : chains_of({.general = sticky}, plan.nodes[family])) {
      batch.add({family, AddChain{{.name = chain.name}}});
      for (const Rule& rule : chain.rules)
        batch.add({family, AddRule{.chain = chain.name, .rule = rule}});
    }
    const CommitResult done = exchange(batch, false);
    if (done) continue;
    const Error& error = done.error().error;
    if (error.code == ErrorCode::Forbidden) return error;
    return Error{
        .code = ErrorCode::Unsupported,
        .message = fmt::format("open nftables: this kernel lacks something the rules need: {}",
                               error.message),
        .sys_errno = error.sys_errno};
  }
  return {};
}

Result<std::uint32_t> NetlinkKernel::generation() {
  std::optional<std::uint32_t> id;
  const std::uint32_t sequence = next_sequence_++;
  auto request = make_request(NFT_MSG_GETGEN, IpFamily::V4, 0, sequence, [](nlmsghdr*) {});
  FAIRLEAD_CHECK(commands_.send(request));
  std::optional<Error> failure;
  while (!id && !failure) {
    FAIRLEAD_TRY(more, commands_.receive([&](Message message) {
      const nlmsghdr* header = header_of(message);
      if (header->nlmsg_seq != sequence) return;
      if (header->nlmsg_type == NLMSG_ERROR) {
        failure = explain_errno(read_answer(header).error, "ask nftables for its generation", "");
        return;
      }
      each_attribute(header, sizeof(nfgenmsg), [&](const nlattr* attribute) {
        if (mnl_attr_get_type(attribute) == NFTA_GEN_ID) id = ntohl(mnl_attr_get_u32(attribute));
      });
    }));
    if (!more) return make_error(ErrorCode::Timeout, "ask nftables for its generation: no answer");
  }
  if (failure) return *failure;
  return *id;
}

std::unique_ptr<Transaction> NetlinkKernel::begin() {
  return std::make_unique<Batch>(next_sequence_);
}

CommitResult NetlinkKernel::commit(std::unique_ptr<Transaction> transaction) {
  auto& batch = static_cast<Batch&>(*transaction);
  return exchange(batch, true);
}

Result<bool> NetlinkKernel::delete_table(IpFamily family, const std::string& name) {
  Batch batch(next_sequence_, name);
  batch.add({family, DeleteTable{}});
  const CommitResult done = exchange(batch, true);
  if (done) return true;
  if (done.error().error.sys_errno == ENOENT) return false;
  return done.error().error;
}

Result<std::vector<std::string>> delete_tables(const std::vector<std::string>& names) {
  auto kernel = NetlinkKernel::open();
  if (!kernel && kernel.error().code == ErrorCode::Unsupported) return std::vector<std::string>{};
  if (!kernel) return kernel.error();
  std::vector<std::string> out;
  for (const std::string& name : names) {
    for (const IpFamily family : {IpFamily::V4, IpFamily::V6}) {
      FAIRLEAD_TRY(was_there, (*kernel)->delete_table(family, name));
      if (was_there)
        out.push_back(fmt::format("{} {}", family == IpFamily::V4 ? "ip" : "ip6", name));
    }
  }
  return out;
}

namespace {

// Steps out of the notification group while a large transaction of our own is committed, which
// would otherwise come back as one notification an element. What others did meanwhile is not heard:
// the generation tells whether they did.
class Deafness {
 public:
  Deafness(io::NetlinkSocket& listener, bool wanted)
      : listener_(listener), deaf_(wanted && listener.leave(NFNLGRP_NFTABLES)) {}
  ~Deafness() {
    if (deaf_) (void)listener_.join(NFNLGRP_NFTABLES);  // it worked when the socket was made
  }
  Deafness(const Deafness&) = delete;
  Deafness& operator=(const Deafness&) = delete;
  bool deaf() const { return deaf_; }

 private:
  io::NetlinkSocket& listener_;
  bool deaf_;
};

}  // namespace

CommitResult NetlinkKernel::exchange(Batch& batch, bool commit) {
  const std::span<const std::uint8_t> bytes = batch.finish(commit);
  next_sequence_ = batch.last_sequence() + 2;
  const auto fail = [](Error error) {
    return tl::unexpected(CommitError{.error = std::move(error)});
  };
  const bool large = commit && bytes.size() > kQuietBytes;
  std::optional<std::uint32_t> before;
  const Deafness quiet(listener_, large);
  if (quiet.deaf()) {
    if (auto id = generation()) before = *id;
  }
  if (auto done = commands_.reserve_send_buffer(bytes.size()); !done) return fail(done.error());
  if (auto done = commands_.send(bytes); !done) {
    return fail(explain_errno(done.error().sys_errno, "send the nftables transaction", ""));
  }
  // The first error is the cause; later ones usually follow from it.
  std::optional<Answer> first;
  bool ended = false;
  while (!ended) {
    auto more = commands_.receive([&](Message message) {
      const nlmsghdr* header = header_of(message);
      if (header->nlmsg_type != NLMSG_ERROR) return;
      Answer answer = read_answer(header);
      if (answer.sequence < batch.first_sequence() || answer.sequence > batch.last_sequence() + 1)
        return;
      ended = ended || answer.sequence == batch.last_sequence() ||
              answer.sequence == batch.first_sequence() ||
              answer.sequence == batch.last_sequence() + 1;
      if (answer.error != 0 && !first) first = std::move(answer);
    });
    if (!more && more.error().sys_errno == ENOBUFS && first)
      break;  // more errors than fit: one is enough
    if (!more) return fail(more.error());
    if (!*more)
      return fail(make_error(ErrorCode::Timeout,
                             "commit the nftables transaction: no answer from the kernel"));
  }
  if (first) {
    Batch::Fault fault = batch.locate(first->sequence, first->offset);
    return tl::unexpected(
        CommitError{.error = explain_errno(first->error, "nftables: " + fault.what, first->text),
                    .family = fault.family,
                    .element = std::move(fault.element)});
  }
  if (quiet.deaf()) {
    const auto after = generation();
    missed_ = missed_ || !before || !after || *after != *before + 1;
  }
  return batch.stats();
}

// ---- listings ----

Result<void> NetlinkKernel::dump(std::vector<std::uint8_t> request, std::uint32_t sequence,
                                 const std::function<void(Message)>& each) {
  FAIRLEAD_CHECK(commands_.send(request));
  bool done = false;
  bool interrupted = false;
  std::optional<Error> failure;
  while (!done && !failure) {
    FAIRLEAD_TRY(more, commands_.receive([&](Message message) {
      const nlmsghdr* header = header_of(message);
      if (header->nlmsg_seq != sequence) return;
      interrupted = interrupted || (header->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
      if (header->nlmsg_type == NLMSG_DONE) {
        done = true;
      } else if (header->nlmsg_type == NLMSG_ERROR) {
        const Answer answer = read_answer(header);
        done = true;
        if (answer.error != 0) failure = explain_errno(answer.error, "list nftables", answer.text);
      } else if (is_nft(header)) {
        each(message);
      }
    }));
    if (!more) return make_error(ErrorCode::Timeout, "list nftables: no answer from the kernel");
  }
  if (failure) return *failure;
  if (interrupted)
    return make_error(ErrorCode::Unavailable, "list nftables: the rules changed meanwhile");
  return {};
}

namespace {

// Of a message about a table; nft keeps it in the user data.
std::string comment_of(const nlmsghdr* header) {
  std::string comment;
  each_attribute(header, sizeof(nfgenmsg), [&](const nlattr* attribute) {
    if (mnl_attr_get_type(attribute) != NFTA_TABLE_USERDATA) return;
    const auto* data = static_cast<const std::uint8_t*>(mnl_attr_get_payload(attribute));
    const std::size_t size = mnl_attr_get_payload_len(attribute);
    if (size < 3 || data[0] != NFTNL_UDATA_TABLE_COMMENT || data[1] > size - 2) return;
    comment.assign(reinterpret_cast<const char*>(data + 2), std::size_t{data[1]} - 1);
  });
  return comment;
}

}  // namespace

Result<std::optional<TableListing>> NetlinkKernel::list(IpFamily family) {
  std::optional<TableListing> found;
  const std::uint32_t sequence = next_sequence_++;
  auto request = make_request(NFT_MSG_GETTABLE, family, NLM_F_DUMP, sequence, [](nlmsghdr*) {});
  FAIRLEAD_CHECK(dump(std::move(request), sequence, [&](Message message) {
    if (about_our_table(header_of(message)))
      found = TableListing{.comment = comment_of(header_of(message))};
  }));
  if (!found) return std::optional<TableListing>{};
  TableListing& listing = *found;
  const auto names = [&](int type, std::uint16_t name_attribute,
                         std::vector<std::string>& to) -> Result<void> {
    const std::uint32_t sequence = next_sequence_++;
    auto request = make_request(type, family, NLM_F_DUMP, sequence, [](nlmsghdr*) {});
    return dump(std::move(request), sequence, [&](Message message) {
      if (!about_our_table(header_of(message))) return;
      each_attribute(header_of(message), sizeof(nfgenmsg), [&](const nlattr* attribute) {
        if (mnl_attr_get_type(attribute) == name_attribute)
          to.emplace_back(mnl_attr_get_str(attribute));
      });
    });
  };
  FAIRLEAD_CHECK(names(NFT_MSG_GETCHAIN, NFTA_CHAIN_NAME, listing.chains));
  FAIRLEAD_CHECK(names(NFT_MSG_GETSET, NFTA_SET_NAME, listing.sets));
  return found;
}

Result<void> NetlinkKernel::list_elements(IpFamily family, SetId set,
                                          const std::function<void(Element)>& each) {
  const std::uint32_t sequence = next_sequence_++;
  auto request =
      make_request(NFT_MSG_GETSETELEM, family, NLM_F_DUMP, sequence, [&](nlmsghdr* message) {
        mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_TABLE, std::string(kTable).c_str());
        mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, std::string(schema(set).name).c_str());
      });
  const ElementReader reader{.set = set, .each = &each};
  return dump(std::move(request), sequence, [&](Message message) {
    const SetPtr parsed(nftnl_set_alloc());
    if (!parsed || nftnl_set_elems_nlmsg_parse(header_of(message), parsed.get()) < 0) return;
    nftnl_set_elem_foreach(parsed.get(), pass_element, const_cast<ElementReader*>(&reader));
  });
}

Result<std::map<std::string, std::vector<std::string>>> NetlinkKernel::list_rules(IpFamily family) {
  std::map<std::string, std::vector<std::string>> rules;
  const std::uint32_t sequence = next_sequence_++;
  auto request = make_request(NFT_MSG_GETRULE, family, NLM_F_DUMP, sequence, [](nlmsghdr* message) {
    mnl_attr_put_strz(message, NFTA_RULE_TABLE, std::string(kTable).c_str());
  });
  FAIRLEAD_CHECK(dump(std::move(request), sequence, [&](Message message) {
    const RulePtr rule(nftnl_rule_alloc());
    if (!rule || nftnl_rule_nlmsg_parse(header_of(message), rule.get()) < 0) return;
    if (nftnl_rule_get_str(rule.get(), NFTNL_RULE_TABLE) != kTable) return;
    rules[nftnl_rule_get_str(rule.get(), NFTNL_RULE_CHAIN)].push_back(text_of(rule.get()));
  }));
  return rules;
}

// ---- drift ----

Result<bool> NetlinkKernel::tampered() {
  bool foreign = std::exchange(missed_, false);
  while (true) {
    auto more = listener_.receive_within(0ms, [&](Message message) {
      const nlmsghdr* header = header_of(message);
      if (!is_nft(header) || header->nlmsg_pid == commands_.port_id()) return;
      if (nft_message(header) == NFT_MSG_NEWGEN) return;  // follows every transaction, whoever's
      foreign = foreign || about_our_table(header);
    });
    if (!more) {
      if (more.error().sys_errno != ENOBUFS) return more.error();
      foreign = true;  // too much happened to hear it all
      continue;
    }
    if (!*more) return foreign;
  }
}

}  // namespace fairlead::nftables
