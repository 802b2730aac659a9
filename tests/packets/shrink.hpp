// Makes a set of Kubernetes objects smaller while something about it stays true, for failures that
// people are to read. Pure; thread rule: none.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace fairlead::packets {

// JSON of one object each.
using Objects = std::vector<std::string>;

// Leaves out whole objects, elements of lists and members of maps, one at a time, for as long as
// `still_true` holds of what is left; at most `attempts` questions are asked. Names and kinds stay.
Objects shrink(Objects objects, const std::function<bool(const Objects&)>& still_true,
               int attempts);

}  // namespace fairlead::packets
