#include "proxy/config.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "proxy/config_file.hpp"
#include "proxy/flag_table.hpp"
#include "proxy/flags.hpp"
#include "proxy/host_setup.hpp"

namespace fairlead::proxy {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::string_view kHead =
    "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";

Result<ConfigFile> decode(std::string_view body) {
  return decode_config(std::string(kHead) + std::string(body));
}

struct FileCase {
  std::string name;
  std::string body;
  std::function<void(Config&)> expect;
};

TEST(ConfigFile, FieldsAndDefaults) {
  const std::vector<FileCase> cases = {
      {.name = "empty", .body = "", .expect = [](Config&) {}},
      {.name = "zero values are absent ones, as kubeadm writes them",
       .body = "bindAddress: \"\"\nhealthzBindAddress: \"\"\nmetricsBindAddress: \"\"\n"
               "clientConnection: {qps: 0, burst: 0, contentType: \"\"}\n"
               "nftables: {masqueradeBit: null, syncPeriod: 0s, minSyncPeriod: 0s}\n"
               "conntrack: {maxPerCore: null}\noomScoreAdj: null\nnodePortAddresses: null\n"
               "logging: {flushFrequency: 0}\n",
       .expect = [](Config&) {}},
      {.name = "an explicit 0 of a pointer field counts",
       .body = "conntrack: {maxPerCore: 0, tcpEstablishedTimeout: 0s}\noomScoreAdj: 0\n"
               "nftables: {masqueradeBit: 0}\n",
       .expect =
           [](Config& c) {
             c.conntrack.max_per_core = 0;
             c.conntrack.tcp_established_timeout = 0s;
             c.oom_score_adj = 0;
             c.nftables.masquerade_bit = 0;
           }},
      {.name = "addresses get their ports",
       .body = "healthzBindAddress: 10.0.0.1\nmetricsBindAddress: 10.0.0.1:99\n",
       .expect =
           [](Config& c) {
             c.healthz_bind_address = "10.0.0.1:10256";
             c.metrics_bind_address = "10.0.0.1:99";
           }},
      {.name = "an IPv6 bind address moves the servers",
       .body = "bindAddress: \"::\"\n",
       .expect =
           [](Config& c) {
             c.bind_address = "::";
             c.healthz_bind_address = "[::]:10256";
             c.metrics_bind_address = "[::1]:10249";
           }},
      {.name = "lists, maps, durations",
       .body = "nodePortAddresses: [10.0.0.0/8, \"fd00::/8\"]\nfeatureGates: {A: true, B: false}\n"
               "configSyncPeriod: 1h15m\nnftables: {minSyncPeriod: 250ms}\n",
       .expect =
           [](Config& c) {
             c.node_port_addresses = {"10.0.0.0/8", "fd00::/8"};
             c.feature_gates = {{"A", true}, {"B", false}};
             c.config_sync_period = 75min;
             c.nftables.min_sync_period = 250ms;
           }},
  };
  for (const FileCase& c : cases) {
    SCOPED_TRACE(c.name);
    Config expected;
    c.expect(expected);
    const auto file = decode(c.body);
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_EQ(file->config, expected);
    EXPECT_THAT(file->complaints, IsEmpty());
  }
}

TEST(ConfigFile, JsonIsReadToo) {
  const auto file = decode_config(
      R"({"kind":"KubeProxyConfiguration","apiVersion":"kubeproxy.config.k8s.io/v1alpha1","mode":"nftables"})");
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->config.mode, "nftables");
}

TEST(ConfigFile, UnknownAndDuplicateFieldsAreSaidAndSkipped) {
  const auto file = decode(
      "mode: nftables\nmode: ipvs\nnope: 1\niptables: {nope: {x: 1}}\n"
      "winkernel: {enableDSR: false}\nlogging: {vmodule: [], options: {}}\n");
  ASSERT_TRUE(file);
  EXPECT_EQ(file->config.mode, "nftables");
  EXPECT_THAT(file->complaints, ElementsAre("duplicate field \"mode\"", "unknown field \"nope\"",
                                            "unknown field \"iptables.nope\""));
}

struct BadFileCase {
  std::string text, error;
};

TEST(ConfigFile, WrongTypesNameFieldAndValue) {
  const std::string head(kHead);
  const std::vector<BadFileCase> cases = {
      {head + "iptables: {masqueradeBit: abc}\n",
       "iptables.masqueradeBit: \"abc\" is not a 32-bit integer"},
      {head + "iptables: {masqueradeBit: 99999999999}\n", "is not a 32-bit integer"},
      {head + "hostnameOverride: 12\n", "hostnameOverride: \"12\" is not a string"},
      {head + "nftables: {syncPeriod: 5 parsecs}\n",
       "nftables.syncPeriod: \"5 parsecs\" is not a duration"},
      {head + "bindAddressHardFail: 1\n", "bindAddressHardFail: \"1\" is not true or false"},
      {head + "nodePortAddresses: primary\n", "nodePortAddresses: \"primary\" is not a list"},
      {head + "conntrack: []\n", "conntrack: a list is not a map"},
      {"kind: Service\napiVersion: v1\n", "apiVersion: \"v1\" is not kubeproxy"},
      {"a: [", "line "},
      {"", "is a map, this is empty"},
  };
  for (const BadFileCase& c : cases) {
    SCOPED_TRACE(c.text);
    const auto file = decode_config(c.text);
    ASSERT_FALSE(file);
    EXPECT_THAT(file.error().message, HasSubstr(c.error));
  }
}

TEST(ConfigFile, WhatIsWrittenReadsBackTheSame) {
  Config config;
  config.cluster_cidr = "10.0.0.0/8,fd00::/48";
  config.feature_gates = {{"X", true}};
  config.node_port_addresses = {"primary"};
  config.conntrack.tcp_close_wait_timeout = 90s;
  config.hostname_override = "yes";  // must not come back as a boolean
  const auto file = decode_config(encode_config(config));
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->config, config);
  EXPECT_THAT(file->complaints, IsEmpty());
}

struct InvalidCase {
  std::function<void(Config&)> edit;
  std::string finding;
};

TEST(Config, ValidationNamesFieldAndValue) {
  const std::vector<InvalidCase> cases = {
      {[](Config& c) { c.iptables.masquerade_bit = 32; },
       "iptables.masqueradeBit: 32: must be within"},
      {[](Config& c) {
         c.nftables.sync_period = 0s;
         c.nftables.min_sync_period = 0s;
       },
       "nftables.syncPeriod: 0s: must be greater"},
      {[](Config& c) { c.nftables.min_sync_period = 31s; },
       "nftables.minSyncPeriod: 31s: must not exceed"},
      {[](Config& c) { c.mode = "magic"; }, "mode: \"magic\": must be"},
      {[](Config& c) { c.oom_score_adj = -1001; }, "oomScoreAdj: -1001"},
      {[](Config& c) { c.bind_address = "localhost"; }, "bindAddress: \"localhost\""},
      {[](Config& c) { c.metrics_bind_address = "1.2.3.4:0"; },
       "metricsBindAddress: \"1.2.3.4:0\""},
      {[](Config& c) { c.cluster_cidr = "10.0.0.0/8,10.1.0.0/16"; },
       "clusterCIDR: \"10.0.0.0/8,10.1.0.0/16\": must be one"},
      {[](Config& c) { c.node_port_addresses = {"primary", "10.0.0.0/8"}; },
       "nodePortAddresses: \"primary\": must stand alone"},
      {[](Config& c) { c.detect_local_mode = "BridgeInterface"; }, "detectLocal.bridgeInterface"},
      {[](Config& c) { c.conntrack.min = -1; }, "conntrack.min: -1"},
      {[](Config& c) { c.config_sync_period = 0s; }, "configSyncPeriod: 0s"},
      {[](Config& c) { c.userspace.way_in = "tproxy"; },
       "userspace.wayIn: \"tproxy\": must be rules or addresses"},
      {[](Config& c) { c.userspace.max_flows = -1; }, "userspace.maxFlows"},
      {[](Config& c) { c.userspace.drain_timeout = Duration{-1}; },
       "userspace.drainTimeout: -1ns: must not be negative"},
      {[](Config& c) { c.userspace.choice = "best"; },
       "userspace.choice: \"best\": must be roundRobin"},
      {[](Config& c) { c.show_hidden_metrics_for_version = "1.20"; },
       "showHiddenMetricsForVersion: \"1.20\": must be absent or \"1.35\""},
      {[](Config& c) { c.logging.format = "xml"; }, "logging.format: \"xml\""},
  };
  EXPECT_THAT(validate(Config{}), IsEmpty());
  Config all;
  for (const InvalidCase& c : cases) {
    SCOPED_TRACE(c.finding);
    Config config;
    c.edit(config);
    EXPECT_THAT(validate(config), ElementsAre(HasSubstr("KubeProxyConfiguration." + c.finding)));
    c.edit(all);
  }
  EXPECT_GE(validate(all).size(), cases.size() - 1) << "all of them at once";
}

TEST(Config, ModesThatDoNotExistAreSaidPlainly) {
  Config config;
  EXPECT_EQ(*effective_mode(config), "nftables");
  for (const char* mode : {"auto", "nftables", "iptables", "ipvs", "userspace"}) {
    config.mode = mode;
    EXPECT_EQ(*effective_mode(config), mode);
    EXPECT_THAT(validate(config), IsEmpty()) << mode;
  }
  config.mode = "kernelspace";
  EXPECT_THAT(effective_mode(config).error().message,
              HasSubstr("\"kernelspace\": there is none of this name; there are nftables"));
}

TEST(Config, LocalhostNodePortsNeedModeIptablesTheSettingAndAnAddressRange) {
  struct Row {
    std::string name, mode;
    bool setting = true;
    std::vector<std::string> addresses;
    bool wanted = false;
  };
  const std::vector<Row> rows = {
      {.name = "iptables", .mode = "iptables", .wanted = true},
      {.name = "nftables", .mode = "nftables"},
      {.name = "switched off", .mode = "iptables", .setting = false},
      {.name = "other addresses", .mode = "iptables", .addresses = {"10.0.0.0/8", "::/0"}},
      {.name = "among them", .mode = "iptables", .addresses = {"127.0.0.1/32"}, .wanted = true},
      {.name = "all", .mode = "iptables", .addresses = {"0.0.0.0/0"}, .wanted = true},
  };
  for (const Row& row : rows) {
    Config config;
    config.mode = row.mode;
    config.iptables.localhost_node_ports = row.setting;
    config.node_port_addresses = row.addresses;
    EXPECT_EQ(localhost_node_ports(config), row.wanted) << row.name;
  }
}

Result<Invocation> parse(std::vector<std::string> arguments) {
  auto parsed = parse_command_line(arguments);
  if (!parsed) return parsed.error();
  return std::move(parsed->invocation);
}

TEST(Flags, AreSplitAsPflagDoes) {
  const auto parsed =
      parse({"--cluster-cidr=10.0.0.0/8", "--hostname-override", "n1", "-v=3", "--masquerade_all",
             "--healthz-bind-address=", "--metrics-bind-address", "::1", "--nodeport-addresses",
             "10.0.0.0/8", "--nodeport-addresses=fd00::/8", "--iptables-min-sync-period=0"});
  ASSERT_TRUE(parsed) << parsed.error().message;
  Config expected;
  expected.cluster_cidr = "10.0.0.0/8";
  expected.hostname_override = "n1";
  expected.logging.verbosity = 3;
  expected.nftables.masquerade_all = expected.iptables.masquerade_all = true;
  expected.healthz_bind_address = "";
  expected.metrics_bind_address = "[::1]:10249";
  expected.node_port_addresses = {"10.0.0.0/8", "fd00::/8"};
  expected.nftables.min_sync_period = expected.iptables.min_sync_period = 0s;
  EXPECT_EQ(parsed->config, expected);
  EXPECT_THAT(parsed->notes, IsEmpty());
  EXPECT_EQ(parse({"-v2"})->config.logging.verbosity, 2);
  EXPECT_EQ(parse({"-v", "2"})->config.logging.verbosity, 2);
}

TEST(Flags, ErrorsNameFlagAndValue) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"--nope"}, "unknown flag --nope"},
      {{"extra"}, "\"extra\": fairlead-proxy takes no arguments"},
      {{"--config"}, "flag --config needs a value"},
      {{"--masquerade-all=maybe"}, "flag --masquerade-all: \"maybe\" is not true or false"},
      {{"--iptables-sync-period", "x"}, "flag --iptables-sync-period: \"x\" is not a duration"},
      {{"--conntrack-min=1e9"}, "flag --conntrack-min: \"1e9\" is not a 32-bit integer"},
      {{"--hostname-override= "}, "flag --hostname-override: only blanks"},
      {{"--config=/nonexistent"}, "/nonexistent"},
  };
  for (const auto& [arguments, error] : cases) {
    SCOPED_TRACE(error);
    const auto parsed = parse(arguments);
    ASSERT_FALSE(parsed);
    EXPECT_THAT(parsed.error().message, HasSubstr(error));
  }
}

TEST(Flags, WhatHasNoEffectIsSaid) {
  EXPECT_THAT(parse({"--cleanup-ipvs", "--ipvs-scheduler=rr", "--profiling"})->notes,
              ElementsAre(HasSubstr("--cleanup-ipvs is deprecated"),
                          HasSubstr("--profiling is accepted and has no effect")));
}

TEST(Flags, TheReferenceNamesEachOfThem) {
  std::ifstream file(std::filesystem::path(FAIRLEAD_SOURCE_DIR) / "docs/flags.md");
  const std::string text(std::istreambuf_iterator<char>(file), {});
  for (const Flag& flag : all_flags()) {
    const std::string dashes = flag.name.size() == 1 ? "-" : "--";
    EXPECT_THAT(text, HasSubstr(fmt::format("`{}{}`", dashes, flag.name)));
  }
}

TEST(Flags, FileReplacesFlagsButForAFew) {
  const std::string path = testing::TempDir() + "/proxy.yaml";
  Config in_file;
  in_file.cluster_cidr = "10.0.0.0/8";
  ASSERT_TRUE(write_config_file(path, in_file));
  const auto parsed = parse({"--config", path, "--cluster-cidr=172.16.0.0/12",
                             "--hostname-override=n1", "--v=4", "--master=http://127.0.0.1:1"});
  ASSERT_TRUE(parsed) << parsed.error().message;
  Config expected = in_file;
  expected.hostname_override = "n1";
  expected.logging.verbosity = 4;
  expected.master = "http://127.0.0.1:1";
  EXPECT_EQ(parsed->config, expected);
  EXPECT_THAT(parsed->notes, ElementsAre(HasSubstr("--cluster-cidr is overruled by the file")));
}

TEST(Flags, VersionAndHelpPrint) {
  EXPECT_THAT(parse_command_line({"--version"})->printout->text, HasSubstr("Kubernetes v1."));
  EXPECT_THAT(parse_command_line({"-h"})->printout->text, HasSubstr("--cluster-cidr"));
}

TEST(HostSetup, ConntrackLimitHasAFloorAndACap) {
  EXPECT_EQ(conntrack_max({.max_per_core = 32768, .min = 131072}, 2), 131072);
  EXPECT_EQ(conntrack_max({.max_per_core = 32768, .min = 131072}, 8), 262144);
  EXPECT_EQ(conntrack_max({.max_per_core = 32768, .min = 131072}, 128), 1048576);
  EXPECT_EQ(conntrack_max({.max_per_core = 0, .min = 131072}, 8), 0);
}

}  // namespace
}  // namespace fairlead::proxy
