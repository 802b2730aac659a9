#include "packets/shrink.hpp"

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <optional>
#include <string_view>

namespace fairlead::packets {
namespace {

namespace json = boost::json;

// Without these an object is another one, or none.
constexpr std::array<std::string_view, 8> kKept = {"kind", "metadata",  "name",        "labels",
                                                   "spec", "addresses", "addressType", "clusterIP"};

bool is_kept(std::string_view name) { return std::ranges::find(kKept, name) != kKept.end(); }

// The value with its n-th removable part left out, counted depth first; nothing when there are
// fewer.
class Remover {
 public:
  explicit Remover(int wanted) : wanted_(wanted) {}
  bool remove_from(json::value& value) {
    if (json::object* object = value.if_object()) return remove_from(*object);
    if (json::array* array = value.if_array()) return remove_from(*array);
    return false;
  }

 private:
  bool is_it() { return wanted_-- == 0; }

  bool remove_from(json::object& object) {
    for (auto* member = object.begin(); member != object.end(); ++member) {
      if (!is_kept(member->key()) && is_it()) {
        object.erase(member);
        return true;
      }
      if (member->key() != "metadata" && remove_from(member->value())) return true;
    }
    return false;
  }
  bool remove_from(json::array& array) {
    for (auto* element = array.begin(); element != array.end(); ++element) {
      if (is_it()) {
        array.erase(element);
        return true;
      }
      if (remove_from(*element)) return true;
    }
    return false;
  }

  int wanted_;
};

std::optional<std::string> without_part(const std::string& object, int part) {
  json::error_code ec;
  json::value value = json::parse(object, ec);
  if (ec || !Remover(part).remove_from(value)) return std::nullopt;
  return json::serialize(value);
}

}  // namespace

Objects shrink(Objects objects, const std::function<bool(const Objects&)>& still_true,
               int attempts) {
  const auto accept = [&](Objects smaller) {
    if (attempts-- <= 0 || !still_true(smaller)) return false;
    objects = std::move(smaller);
    return true;
  };
  for (std::size_t i = 0; i < objects.size();) {
    Objects smaller = objects;
    smaller.erase(smaller.begin() + static_cast<std::ptrdiff_t>(i));
    if (!accept(std::move(smaller))) ++i;
  }
  for (std::size_t i = 0; i < objects.size(); ++i) {
    for (int part = 0;;) {
      auto without = without_part(objects[i], part);
      if (!without) break;
      Objects smaller = objects;
      smaller[i] = *std::move(without);
      if (!accept(std::move(smaller))) ++part;
    }
  }
  return objects;
}

}  // namespace fairlead::packets
