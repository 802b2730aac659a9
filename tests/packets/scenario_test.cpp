// Runs every scenario file with real packets: for each mode, each family, and both ways of
// programming. Each answer of the kernel is also held against plan::explain.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "packets/cluster.hpp"
#include "packets/probe.hpp"
#include "packets/rig_fixture.hpp"
#include "packets/scenario.hpp"

namespace fairlead::packets {
namespace {

using namespace std::chrono_literals;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// Every mode runs every scenario. Where the kernel has no IPVS, mode ipvs runs in a virtual machine
// (tests/vm).
std::vector<std::string_view> modes_here() {
  std::vector<std::string_view> out = {
      "nftables",  "iptables-nft",        "iptables-legacy",      "iptables-large",
      "userspace", "userspace-addresses", "userspace-transparent"};
  if (std::filesystem::exists("/proc/net/ip_vs")) out.emplace_back("ipvs");
  return out;
}

// What IPVS cannot do: affinity ends with its time only when no connection is left, not even one in
// TIME_WAIT; and each address of a service has an affinity of its own.
constexpr std::array<std::string_view, 2> kNotForIpvs = {"affinity-timeout", "affinity-udp"};

// Long enough for an answer on a busy machine; a test that passes never waits that long.
constexpr auto kPatience = 5s;
// How long silence must last to be believed. Answers take well under a millisecond here.
constexpr auto kSilence = 200ms;

struct Case {
  std::string file;  // without ".yaml"
  std::string mode;
  IpFamily family = IpFamily::V4;
  Programming programming = Programming::Deltas;
  std::string name() const {
    std::string out = fmt::format("{}_{}_{}_{}", file, mode, family, to_string(programming));
    std::ranges::replace(out, '-', '_');
    return out;
  }
};
// NOLINTNEXTLINE(readability-identifier-naming): GoogleTest asks for this name
void PrintTo(const Case& value, std::ostream* out) { *out << value.name(); }

std::filesystem::path scenario_folder() {
  return std::filesystem::path(FAIRLEAD_SOURCE_DIR) / "tests/packets/scenarios";
}

std::vector<Case> all_cases() {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(scenario_folder()))
    files.push_back(entry.path().stem());
  std::ranges::sort(files);
  std::vector<Case> cases;
  for (const std::string& file : files) {
    for (const std::string_view mode : modes_here()) {
      if (mode == "ipvs" && std::ranges::count(kNotForIpvs, file) != 0) continue;
      const auto add = [&](IpFamily family, Programming programming) {
        cases.push_back({file, std::string(mode), family, programming});
      };
      add(IpFamily::V4, Programming::Deltas);
      add(IpFamily::V6, Programming::Deltas);
      // One family shows how a restart differs. In userspace mode connections end with the process.
      if (!mode.starts_with("userspace")) add(IpFamily::V6, Programming::Restarts);
    }
  }
  return cases;
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

plan::Verdict verdict_of(Expect expect) {
  switch (expect) {
    case Expect::Backends:
      return plan::Verdict::Forward;
    case Expect::Refused:
      return plan::Verdict::Reject;
    case Expect::Dropped:
      return plan::Verdict::Drop;
    case Expect::Leaked:
    case Expect::Closed:
      return plan::Verdict::NotAService;
  }
  return plan::Verdict::NotAService;
}

class PacketScenario : public RigTest, public ::testing::WithParamInterface<Case> {
 protected:
  void SetUp() override {
    RigTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    const std::string text = read_file(scenario_folder() / (GetParam().file + ".yaml"));
    auto scenario = parse_scenario(Rig::expand(text, GetParam().family));
    ASSERT_TRUE(scenario) << scenario.error().message;
    scenario_ = *std::move(scenario);
    for (const IpAddress& address : scenario_.addresses) {
      const auto bound = rig().bind_on_loopback(rig().node(), address);
      ASSERT_TRUE(bound) << bound.error().message;
    }
    auto cluster = Cluster::create(rig(), {.mode = GetParam().mode,
                                           .config = scenario_.config,
                                           .service_cidrs = scenario_.service_cidrs,
                                           .programming = GetParam().programming});
    ASSERT_TRUE(cluster) << cluster.error().message;
    cluster_ = *std::move(cluster);
  }

  void run(const Step& step);
  void expect_clean();
  void change(const Step& step);
  void expect_in_order();
  void tamper(const std::vector<std::string>& command);
  void send(const Expectation& expectation);
  void send_into_silence(const std::vector<const Expectation*>& silent);
  Expect expected_here(const Expectation& expectation) const;
  bool judge(const Expectation& expectation, const Outcome& outcome);
  void compare_explanation(const Expectation& expectation, const IpAddress& source);

  Scenario scenario_;
  std::unique_ptr<Cluster> cluster_;
  std::map<std::string, std::vector<std::string>> remembered_;
  std::map<std::string, io::UniqueFd> held_;
};

std::vector<Send> sends_of(const Rig& rig, const Expectation& expectation) {
  std::vector<Send> out;
  for (unsigned client = 0; client < expectation.clients; ++client) {
    Send send{.from = expectation.from, .protocol = expectation.protocol, .to = expectation.to};
    if (expectation.from == "outside") {  // it has many
      send.source = rig.host(expectation.from)
                        .addresses.at(expectation.to.address.family())
                        .at(expectation.client + client);
    }
    out.insert(out.end(), expectation.count, send);
  }
  return out;
}

void PacketScenario::expect_in_order() {
  const auto differences = cluster_->mode().verify(cluster_->plan(), 20);
  ASSERT_TRUE(differences) << differences.error().message;
  EXPECT_THAT(*differences, IsEmpty());
  const auto tampered = cluster_->mode().tampered();
  ASSERT_TRUE(tampered) << tampered.error().message;
  EXPECT_FALSE(*tampered) << "the mode takes its own change for somebody else's";
}

void PacketScenario::change(const Step& step) {
  for (const std::string& object : step.apply) {
    const auto applied = cluster_->apply(object);
    ASSERT_TRUE(applied) << applied.error().message;
  }
  for (const ObjectRef& object : step.remove) {
    const auto removed = cluster_->remove(object);
    ASSERT_TRUE(removed) << removed.error().message;
  }
  const auto synced = cluster_->sync();
  ASSERT_TRUE(synced) << synced.error().message;
  expect_in_order();
}

// Somebody else breaks our rules: it is noticed, named and mended.
void PacketScenario::tamper(const std::vector<std::string>& command) {
  const auto ran = Rig::run(rig().node(), command);
  ASSERT_TRUE(ran) << ran.error().message;
  plan::Mode& mode = cluster_->mode();
  if (mode.tamper_fd() >= 0) {
    pollfd waiting{.fd = mode.tamper_fd(), .events = POLLIN, .revents = 0};
    ASSERT_EQ(::poll(&waiting, 1, static_cast<int>(std::chrono::milliseconds(kPatience).count())),
              1)
        << "nobody noticed";
    const auto tampered = mode.tampered();
    ASSERT_TRUE(tampered) << tampered.error().message;
    EXPECT_TRUE(*tampered);
  }
  const auto differences = mode.verify(cluster_->plan(), 20);
  ASSERT_TRUE(differences) << differences.error().message;
  EXPECT_FALSE(differences->empty()) << "the audit found nothing";
  const auto mended = cluster_->program_in_full();
  ASSERT_TRUE(mended) << mended.error().message;
  expect_in_order();
}

void PacketScenario::compare_explanation(const Expectation& expectation, const IpAddress& source) {
  const plan::Explanation explanation =
      cluster_->explain(rig().host(expectation.from), expectation.protocol, source, expectation.to);
  EXPECT_EQ(to_string(explanation.verdict), to_string(verdict_of(expectation.expect)))
      << "explain: " << plan::to_text(explanation);
  std::map<std::string, bool> backends;
  for (const plan::EndpointShare& share : explanation.endpoints) {
    backends.emplace(
        fmt::format("{}:{}", rig().owner_of(share.backend.address), share.backend.port),
        share.masqueraded);
  }
  EXPECT_EQ(backends, expectation.backends) << "explain: " << plan::to_text(explanation);
}

// In mode ipvs, and in mode userspace without rules, a service's address is one of the node's: what
// is not the service's business there is refused instead of going its way. Without rules, what a
// service refuses it refuses to those as well whom its ranges exclude.
Expect PacketScenario::expected_here(const Expectation& expectation) const {
  const bool without_rules = GetParam().mode == "userspace-addresses";
  if (GetParam().mode != "ipvs" && !without_rules) return expectation.expect;
  for (const auto& [key, service] : cluster_->plan().services) {
    for (const plan::Frontend& frontend : service->frontends) {
      if (frontend.address != expectation.to.address) continue;
      if (expectation.expect == Expect::Leaked) return Expect::Closed;
      const bool refuses = frontend.target == plan::Target::Reject && !frontend.short_circuit;
      if (without_rules && refuses && expectation.expect == Expect::Dropped) return Expect::Closed;
    }
  }
  return expectation.expect;
}

// Whether the outcome is as expected; failures are added to the test.
bool PacketScenario::judge(const Expectation& expectation, const Outcome& outcome) {
  const std::string got = outcome.to_string();
  switch (expected_here(expectation)) {
    case Expect::Closed:
      // Sockets at every address hear of the node ports of localhost too.
      if (GetParam().mode == "userspace-addresses" && expectation.to.address.is_loopback()) {
        return outcome.fate != Fate::Answered;
      }
      [[fallthrough]];
    case Expect::Refused:
      EXPECT_EQ(got, "refused");
      EXPECT_EQ(outcome.repeats, 0U) << "not refused at once";
      return got == "refused";
    case Expect::Dropped:
      EXPECT_EQ(got, "no answer");
      return got == "no answer";
    case Expect::Leaked:
      EXPECT_THAT(got, HasSubstr("answered by internet:7"));
      return outcome.backend == "internet:7";
    case Expect::Backends:
      break;
  }
  const auto backend = expectation.backends.find(outcome.backend);
  if (outcome.fate != Fate::Answered || backend == expectation.backends.end()) {
    ADD_FAILURE() << got << "; expected one of " << ::testing::PrintToString(expectation.backends);
    return false;
  }
  const std::string host = backend->first.substr(0, backend->first.find(':'));
  const Send sent{.from = expectation.from, .protocol = expectation.protocol, .to = expectation.to};
  const IpAddress at = rig().host(host).addresses.at(expectation.to.address.family()).front();
  // In mode ipvs the node's own packets always are masqueraded: their source would be the service.
  const bool sees_node = backend->second || cluster_->asks_for_itself(sent, rig().host(host)) ||
                         (GetParam().mode == "ipvs" && expectation.from == "node1");
  const IpAddress seen = sees_node ? Rig::masquerade_address(at) : outcome.source;
  EXPECT_EQ(outcome.seen_source.to_string(), seen.to_string())
      << outcome.backend << (sees_node ? " should see the node" : " should see the client");
  return outcome.seen_source == seen;
}

void PacketScenario::send(const Expectation& expectation) {
  if (expectation.protocol == Protocol::Sctp)
    return compare_explanation(
        expectation, rig().host(expectation.from).addresses.at(expectation.to.address.family())[0]);
  std::vector<std::string> answers;
  for (const Send& send : sends_of(rig(), expectation)) {
    Outcome outcome = std::move(send_all(rig(), {send}, kPatience).front());
    if (answers.empty() || expectation.clients > 1)
      compare_explanation(expectation, outcome.source);
    if (!judge(expectation, outcome)) return;
    answers.push_back(outcome.backend);
    if (!expectation.hold.empty()) held_[expectation.hold] = std::move(outcome.connection);
  }
  const std::set<std::string> distinct(answers.begin(), answers.end());
  if (expectation.sticky) {
    EXPECT_EQ(distinct.size(), 1U) << ::testing::PrintToString(answers);
  } else if (expectation.count > 1) {
    EXPECT_EQ(distinct.size(), expectation.backends.size()) << "some backends were never chosen";
  }
  if (!expectation.same_as.empty()) EXPECT_EQ(answers, remembered_.at(expectation.same_as));
  if (!expectation.differs_from.empty())
    EXPECT_NE(answers, remembered_.at(expectation.differs_from));
  if (!expectation.remember.empty()) remembered_[expectation.remember] = answers;
}

// All at once: each would take the same time.
void PacketScenario::send_into_silence(const std::vector<const Expectation*>& silent) {
  std::vector<Send> sends;
  for (const Expectation* expectation : silent)
    sends.push_back(sends_of(rig(), *expectation).front());
  const std::vector<Outcome> outcomes = send_all(rig(), sends, kSilence);
  for (std::size_t i = 0; i < silent.size(); ++i) {
    SCOPED_TRACE(silent[i]->to_string());
    judge(*silent[i], outcomes[i]);
    compare_explanation(*silent[i], outcomes[i].source);
  }
}

void PacketScenario::run(const Step& step) {
  change(step);
  if (HasFatalFailure()) return;
  if (step.idle > 0ms)
    std::this_thread::sleep_for(step.idle);  // sleeps: the kernel's time-outs cannot be faked
  if (const auto command = step.tamper.find(GetParam().mode); command != step.tamper.end())
    tamper(command->second);
  if (const auto rules = step.rules.find(GetParam().mode); rules != step.rules.end()) {
    const auto listing = Rig::run(rig().node(), {"nft", "list", "ruleset"});
    ASSERT_TRUE(listing) << listing.error().message;
    for (const std::string& text : rules->second) EXPECT_THAT(*listing, HasSubstr(text));
  }
  for (const std::string& name : step.alive)
    EXPECT_TRUE(still_answers(held_.at(name), kPatience)) << "connection " << name;
  std::vector<const Expectation*> silent;
  for (const Expectation& expectation : step.sends) {
    if (expectation.expect == Expect::Dropped) {
      silent.push_back(&expectation);
      continue;
    }
    SCOPED_TRACE(expectation.to_string());
    send(expectation);
  }
  send_into_silence(silent);
}

// iptables keeps its built-in chains, empty, once it has been used.
void PacketScenario::expect_clean() {
  const auto ran = [this](std::vector<std::string> command) {
    const auto output = Rig::run(rig().node(), std::move(command));
    EXPECT_TRUE(output) << output.error().message;
    return output ? *output : "";
  };
  if (GetParam().mode == "ipvs") {
    EXPECT_EQ(ran({"ipset", "list", "-n"}), "") << "cleanup left this behind";
    EXPECT_THAT(ran({"ip", "link"}), Not(HasSubstr("ipvs"))) << "cleanup left this behind";
    EXPECT_THAT(ran({"ipvsadm", "-Sn"}), "") << "cleanup left this behind";
    EXPECT_THAT(ran({"nft", "list", "ruleset"}), Not(HasSubstr("KUBE")));
    return;
  }
  if (!GetParam().mode.starts_with("iptables-")) {
    EXPECT_EQ(ran({"nft", "list", "ruleset"}), "") << "cleanup left this behind";
    return;
  }
  for (const std::string_view family : {"iptables", "ip6tables"}) {
    const std::string_view variant = GetParam().mode.ends_with("legacy") ? "-legacy" : "-nft";
    const std::string left = ran({fmt::format("{}{}-save", family, variant)});
    EXPECT_THAT(left, Not(HasSubstr("KUBE"))) << "cleanup left this behind";
    EXPECT_THAT(left, Not(HasSubstr("-A "))) << "cleanup left this behind";
  }
}

TEST_P(PacketScenario, GoesAsItIsWritten) {
  for (const Step& step : scenario_.steps) {
    SCOPED_TRACE("step: " + step.name);
    run(step);
    if (HasFatalFailure()) return;
  }
  const auto cleaned = cluster_->mode().cleanup();
  ASSERT_TRUE(cleaned) << cleaned.error().message;
  expect_clean();
}
INSTANTIATE_TEST_SUITE_P(, PacketScenario, ::testing::ValuesIn(all_cases()),
                         [](const auto& param) { return param.param.name(); });

}  // namespace
}  // namespace fairlead::packets
