#include "lab/container_command.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/result.hpp"

namespace fairlead::lab {
namespace {

using StringMap = std::map<std::string, std::string>;

const ContainerSurroundings kSurroundings{.program_directory = "/opt/fairlead",
                                          .path = "/bin",
                                          .hostname = "web-0",
                                          .service_host = "10.96.0.1",
                                          .service_port = "443"};

struct ExpansionRow {
  const char* name;
  const char* text;
  const char* expanded;
};
class Expansion : public testing::TestWithParam<ExpansionRow> {};

TEST_P(Expansion, IsKubernetes) {
  const StringMap env{{"A", "1"}, {"EMPTY", ""}, {"NESTED", "$(A)"}};
  EXPECT_EQ(expand_variables(GetParam().text, env), GetParam().expanded);
}

INSTANTIATE_TEST_SUITE_P(Table, Expansion,
                         testing::Values(ExpansionRow{"nothing_to_do", "plain", "plain"},
                                         ExpansionRow{"known", "<$(A)>", "<1>"},
                                         ExpansionRow{"empty_value", "<$(EMPTY)>", "<>"},
                                         ExpansionRow{"unknown_stays", "$(B)", "$(B)"},
                                         ExpansionRow{"escaped", "$$(A)", "$(A)"},
                                         ExpansionRow{"escaped_twice", "$$$(A)", "$1"},
                                         ExpansionRow{"not_closed", "$(A", "$(A"},
                                         ExpansionRow{"shell_form_stays", "$A ${A}", "$A ${A}"},
                                         ExpansionRow{"last_dollar", "5$", "5$"},
                                         ExpansionRow{"once_only", "$(NESTED)", "$(A)"}),
                         [](const auto& row) { return row.param.name; });

TEST(ContainerCommand, HasTheContainersWordsAndVariables) {
  const kube::Container container{.name = "web",
                                  .command = {"serve", "--host=$(HOSTNAME)"},
                                  .args = {"$(URL)"},
                                  .working_dir = "/srv",
                                  .env = {{.name = "PORT", .value = "80"},
                                          {.name = "URL", .value = "http://x:$(PORT)"},
                                          {.name = "LATER", .value = "$(LAST)"},
                                          {.name = "LAST", .value = "z"}}};
  const auto command = container_command(container, kSurroundings);
  ASSERT_TRUE(command);
  EXPECT_EQ(command->argv, (std::vector<std::string>{"serve", "--host=web-0", "http://x:80"}));
  EXPECT_EQ(command->env, (StringMap{{"PATH", "/opt/fairlead:/bin"},
                                     {"HOSTNAME", "web-0"},
                                     {"KUBERNETES_SERVICE_HOST", "10.96.0.1"},
                                     {"KUBERNETES_SERVICE_PORT", "443"},
                                     {"PORT", "80"},
                                     {"URL", "http://x:80"},
                                     {"LATER", "$(LAST)"},
                                     {"LAST", "z"}}));
  EXPECT_EQ(command->working_directory, "/srv");
  EXPECT_TRUE(command->new_session);
}

TEST(ContainerCommand, BeginsInTheRootFolderUnlessToldOtherwise) {
  const auto command = container_command({.name = "web", .command = {"serve"}}, kSurroundings);
  ASSERT_TRUE(command);
  EXPECT_EQ(command->working_directory, "/");
}

TEST(ContainerCommand, IsRequired) {
  const auto command =
      container_command({.name = "web", .image = "nginx", .args = {"x"}}, kSurroundings);
  ASSERT_FALSE(command);
  EXPECT_EQ(command.error(),
            (Error{.code = ErrorCode::Invalid,
                   .message = "container \"web\" has no command; images are not run here, so "
                              "command must name a program of this machine"}));
}

struct PortRow {
  const char* name;
  kube::IntOrString port;
  std::uint16_t found;  // 0 = none
  const char* error;
};
class ProbePort : public testing::TestWithParam<PortRow> {};

TEST_P(ProbePort, IsANumberOrANameOfTheContainer) {
  const PortRow& row = GetParam();
  const kube::Container container{.name = "web",
                                  .ports = {{.name = "http", .container_port = 8080}}};
  const auto port = probe_port(row.port, container);
  if (row.found != 0) {
    EXPECT_THAT(port, Holds(Port{row.found}));
  } else {
    EXPECT_THAT(port, FailsWith(ErrorCode::Invalid, row.error));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Table, ProbePort,
    testing::Values(PortRow{"number", 9, 9, ""}, PortRow{"highest", 65535, 65535, ""},
                    PortRow{"zero", 0, 0, "probe port 0 is not within 1-65535"},
                    PortRow{"too_high", 65536, 0, "probe port 65536 is not within 1-65535"},
                    PortRow{"named", "http", 8080, ""},
                    PortRow{"unknown_name", "web", 0,
                            "container \"web\" has no port named \"web\""}),
    [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace fairlead::lab
