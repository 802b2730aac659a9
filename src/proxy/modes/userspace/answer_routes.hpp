// Answers to clients whose address was kept are not addressed to this node: a rule marks those that
// belong to one of our sockets (entry_rules.hpp), and a routing table of its own says that what has
// the mark is for here. Both families; in the calling thread's network namespace.
#pragma once

#include <cstdint>

#include "base/error.hpp"

namespace fairlead::userspace {

inline constexpr std::uint32_t kAnswerMark = 0x2000;  // one bit, as 0x4000 of masquerading is
inline constexpr int kAnswerTable = 7293;

// What is there already stays. Errors as of run_tool().
Result<void> make_answer_routes();
// Whether all of it is there.
Result<bool> has_answer_routes();
// Whether there was any; none where there is no ip(8).
Result<bool> remove_answer_routes();

}  // namespace fairlead::userspace
