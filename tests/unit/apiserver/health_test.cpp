#include "apiserver/health.hpp"

#include <gmock/gmock.h>

namespace fairlead::apiserver {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

HealthQuestion asked(std::string_view target) {
  return health_question(io::parse_target(target).value()).value();
}

std::vector<std::string> names(std::string_view target) {
  std::vector<std::string> out;
  for (const HealthCheck& check : checks_of(asked(target))) out.emplace_back(check.name);
  return out;
}

TEST(Health, EachEndpointHasItsChecksAndEachCheckAPath) {
  EXPECT_THAT(names("/healthz"), ElementsAre("ping"));
  EXPECT_THAT(names("/livez/"), ElementsAre("ping"));
  EXPECT_THAT(names("/readyz"), ElementsAre("ping", "etcd"));
  EXPECT_THAT(names("/readyz/etcd"), ElementsAre("etcd"));
  EXPECT_THAT(names("/livez/etcd"), IsEmpty());
  EXPECT_THAT(names("/readyz/etcd/more"), IsEmpty());
  for (const char* target : {"/", "/ready", "/readyzz", "/readyz2/etcd", "/api/readyz"})
    EXPECT_FALSE(health_question(io::parse_target(target).value())) << target;
}

TEST(Health, AnExcludedCheckNeedNotBeMadeAndIsNamed) {
  const HealthQuestion question = asked("/readyz?verbose&exclude=etcd");
  const auto checks = checks_of(question);
  ASSERT_EQ(checks.size(), 2U);
  EXPECT_FALSE(checks[0].excluded);
  EXPECT_TRUE(checks[1].excluded);
  EXPECT_EQ(health_text(question, checks),
            "[+]ping ok\n[+]etcd excluded: ok\nreadyz check passed\n");
}

TEST(Health, AMisspeltExclusionIsSaid) {
  const HealthQuestion question = asked("/livez?verbose=1&exclude=etdc&exclude=ping&exclude=x");
  EXPECT_EQ(health_text(question, checks_of(question)),
            "[+]ping excluded: ok\nwarn: some health checks cannot be excluded: no matches for "
            "\"etdc\",\"x\"\nlivez check passed\n");
}

TEST(Health, AFailureIsToldWithoutBeingAskedForDetails) {
  const HealthQuestion question = asked("/readyz");
  auto checks = checks_of(question);
  EXPECT_EQ(health_text(question, checks), "ok");
  checks[1].passed = false;
  EXPECT_FALSE(all_passed(checks));
  EXPECT_EQ(health_text(question, checks),
            "[+]ping ok\n[-]etcd failed: reason withheld\nreadyz check failed\n");
}

}  // namespace
}  // namespace fairlead::apiserver
