#include "base/metrics.hpp"

#include <gtest/gtest.h>

namespace fairlead::metrics {
namespace {

TEST(Metrics, ExpositionHasHelpTypeAndValuePerFamily) {
  Registry registry;
  Counter errors = registry.counter("sync_errors_total", "Failed syncs", {{"family", "ipv4"}});
  registry.counter("sync_errors_total", "Failed syncs", {{"family", "ipv6"}}).add(2.5);
  errors.add();
  EXPECT_EQ(errors.value(), 1);
  EXPECT_EQ(registry.serialize(),
            "# HELP sync_errors_total Failed syncs\n"
            "# TYPE sync_errors_total counter\n"
            "sync_errors_total{family=\"ipv6\"} 2.5\n"
            "sync_errors_total{family=\"ipv4\"} 1\n");
}

TEST(Metrics, GaugeHoldsTheLastValue) {
  Registry registry;
  Gauge gauge = registry.gauge("last_sync", "When");
  gauge.set(5);
  gauge.set(3);
  EXPECT_EQ(gauge.value(), 3);
  EXPECT_EQ(registry.serialize(), "# HELP last_sync When\n# TYPE last_sync gauge\nlast_sync 3\n");
}

TEST(Metrics, HistogramBucketsAreCumulativeAndIncludeTheirBound) {
  Registry registry;
  Histogram h = registry.histogram("sync_seconds", "Time", {0.5, 1});
  for (const double value : {0.25, 0.5, 0.75, 8.0}) h.observe(value);
  EXPECT_EQ(registry.serialize(),
            "# HELP sync_seconds Time\n"
            "# TYPE sync_seconds histogram\n"
            "sync_seconds_count 4\n"
            "sync_seconds_sum 9.5\n"
            "sync_seconds_bucket{le=\"0.5\"} 2\n"
            "sync_seconds_bucket{le=\"1\"} 3\n"
            "sync_seconds_bucket{le=\"+Inf\"} 4\n");
}

TEST(Metrics, LabelValuesAreEscaped) {
  Registry registry;
  registry.gauge("g", "h", {{"l", "a\"b\\c\nd"}}).set(1);
  EXPECT_EQ(registry.serialize(), "# HELP g h\n# TYPE g gauge\ng{l=\"a\\\"b\\\\c\\nd\"} 1\n");
}

TEST(Metrics, TheSameNameAndLabelsAreTheSameMetric) {
  Registry registry;
  registry.counter("c", "h", {{"a", "1"}}).add(1);
  registry.counter("c", "h", {{"a", "1"}}).add(2);
  EXPECT_EQ(registry.counter("c", "h", {{"a", "1"}}).value(), 3);
}

TEST(Metrics, ExponentialBucketsMultiply) {
  EXPECT_EQ(exponential_buckets(0.25, 2, 4), (std::vector<double>{0.25, 0.5, 1, 2}));
  EXPECT_EQ(exponential_buckets(1, 2, 0), std::vector<double>{});
}

}  // namespace
}  // namespace fairlead::metrics
