// Figures beside their aims, as plain text.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

namespace fairlead::bench {

class Report {
 public:
  void heading(std::string_view text) { fmt::print("\n{}\n", text); }
  void note(std::string_view label, std::string_view figure) {
    fmt::print("  {:<58} {:>22}\n", label, figure);
  }
  // Prints the figure and whether it keeps to `most`; `unit` is also the aim's.
  void aim(std::string_view label, double figure, double most, std::string_view unit) {
    const bool ok = figure <= most;
    missed_ += ok ? 0 : 1;
    fmt::print("  {:<58} {:>22}   aim <= {:<9} {}\n", label, fmt::format("{:.2f} {}", figure, unit),
               fmt::format("{:g} {}", most, unit), ok ? "ok" : "MISS");
    std::fflush(stdout);
  }
  void aim_equal(std::string_view label, std::string_view ours, std::string_view theirs) {
    const bool ok = ours == theirs;
    missed_ += ok ? 0 : 1;
    fmt::print("  {:<58} {:>22}   aim the same   {}\n", label, ours,
               ok ? "ok" : fmt::format("MISS ({})", theirs));
  }
  int missed() const { return missed_; }

 private:
  int missed_ = 0;
};

// The value below which `fraction` of them lie.
inline double percentile(std::vector<double> values, double fraction) {
  std::ranges::sort(values);
  const auto rank =
      static_cast<std::size_t>(std::ceil(fraction * static_cast<double>(values.size())));
  return values.at(rank == 0 ? 0 : rank - 1);
}
inline double median(std::vector<double> values) { return percentile(std::move(values), 0.5); }

}  // namespace fairlead::bench
