// Manifests: YAML or JSON, several documents a text, as kubectl reads them. yaml-cpp throws; it is
// wrapped here.
#include <simdjson.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <charconv>
#include <set>
#include <sstream>

#include "base/text.hpp"
#include "kube/codec.hpp"
#include "kube/json_writer.hpp"

namespace fairlead::kube {
namespace {

constexpr int kMaxDepth = 100;
constexpr std::size_t kMaxNodes = 1'000'000;  // stops alias bombs

Error at_line(const YAML::Mark& mark, std::string_view what) {
  return make_error(ErrorCode::BadRequest, "line {}: {}", mark.line + 1, what);
}

// A plain scalar's JSON form under YAML 1.1 as kubectl resolves it; nullopt = it is a string.
std::optional<std::string> resolved_plain(std::string_view text) {
  static const std::set<std::string_view> null_words = {"", "~", "null", "Null", "NULL"};
  static const std::set<std::string_view> true_words = {"true", "True", "TRUE", "yes", "Yes", "YES",
                                                        "on",   "On",   "ON",   "y",   "Y"};
  static const std::set<std::string_view> false_words = {
      "false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N"};
  if (null_words.contains(text)) return "null";
  if (true_words.contains(text)) return "true";
  if (false_words.contains(text)) return "false";
  const std::string_view digits =
      text.starts_with('-') || text.starts_with('+') ? text.substr(1) : text;
  // One sign at most: from_chars below would take a second one.
  if (digits.empty() || digits.front() == '-' || digits.front() == '+' ||
      digits.find_first_not_of("0123456789.eE+-_xabcdefABCDEFo") != std::string_view::npos)
    return std::nullopt;
  const bool negative = text.starts_with('-');
  const auto signed_number = [&](std::uint64_t value) {
    constexpr std::uint64_t kMostNegative = std::uint64_t{1} << 63;
    if (negative && value > kMostNegative) return fmt::format("{}", -static_cast<double>(value));
    return fmt::format("{}{}", negative ? "-" : "", value);
  };
  if (digits.starts_with("0x")) {
    std::uint64_t value = 0;
    const auto [end, ec] =
        std::from_chars(digits.data() + 2, digits.data() + digits.size(), value, 16);
    if (ec == std::errc() && end == digits.data() + digits.size()) return signed_number(value);
    return std::nullopt;
  }
  if (digits.size() > 1 && digits.front() == '0' &&
      digits.find_first_not_of("01234567", 1) == std::string_view::npos) {
    std::uint64_t value = 0;
    const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 8);
    if (ec == std::errc() && end == digits.data() + digits.size()) return signed_number(value);
    return std::nullopt;
  }
  if (const auto value = parse_uint(digits)) return signed_number(*value);
  double real = 0;
  const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), real);
  if (ec != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return fmt::format("{}", negative ? -real : real);
}

class Converter {
 public:
  Result<std::string> document(const YAML::Node& node) {
    FAIRLEAD_CHECK(value(node, 0));
    return std::move(out_);
  }

 private:
  Result<void> value(const YAML::Node& node, int depth) {
    if (depth > kMaxDepth) return at_line(node.Mark(), "nested too deeply");
    if (++nodes_ > kMaxNodes)
      return at_line(node.Mark(), "too large once its aliases are expanded");
    switch (node.Type()) {
      case YAML::NodeType::Undefined:
      case YAML::NodeType::Null:
        out_ += "null";
        return {};
      case YAML::NodeType::Scalar:
        return scalar(node);
      case YAML::NodeType::Sequence:
        return sequence(node, depth);
      case YAML::NodeType::Map:
        return map(node, depth);
    }
    return {};
  }

  // yaml-cpp takes any bytes; JSON is UTF-8.
  Result<void> text(const YAML::Node& node) {
    if (!simdjson::validate_utf8(node.Scalar())) return at_line(node.Mark(), "not UTF-8");
    append_json_string(out_, node.Scalar());
    return {};
  }

  Result<void> scalar(const YAML::Node& node) {
    // yaml-cpp tags quoted and block scalars "!"; plain ones "?".
    const auto plain =
        node.Tag() == "?" || node.Tag().empty() ? resolved_plain(node.Scalar()) : std::nullopt;
    if (!plain) return text(node);
    out_ += *plain;
    return {};
  }

  Result<void> sequence(const YAML::Node& node, int depth) {
    out_ += '[';
    bool first = true;
    for (const auto& item : node) {
      if (!std::exchange(first, false)) out_ += ',';
      FAIRLEAD_CHECK(value(item, depth + 1));
    }
    out_ += ']';
    return {};
  }

  Result<void> map(const YAML::Node& node, int depth) {
    out_ += '{';
    std::set<std::string> seen;
    for (const auto& member : node) {
      if (!member.first.IsScalar()) return at_line(member.first.Mark(), "a key is not a scalar");
      const std::string& name = member.first.Scalar();
      if (!seen.insert(name).second)
        return at_line(member.first.Mark(), fmt::format("key \"{}\" is given twice", name));
      if (seen.size() > 1) out_ += ',';
      FAIRLEAD_CHECK(text(member.first));
      out_ += ':';
      FAIRLEAD_CHECK(value(member.second, depth + 1));
    }
    out_ += '}';
    return {};
  }

  std::string out_;
  std::size_t nodes_ = 0;
};

// Listens to the parser without building nodes; knows only where the last document began.
class DocumentStarts final : public YAML::EventHandler {
 public:
  YAML::Mark last() const { return last_; }

  void OnDocumentStart(const YAML::Mark& mark) override { last_ = mark; }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t,
                const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}

 private:
  YAML::Mark last_;
};

// After some texts that are not YAML (a stray comma) yaml-cpp finds empty documents for ever, and
// LoadAll keeps them all. A text has fewer documents than characters, so more of them mean that.
Result<void> documents_end(const std::string& text) {
  std::istringstream input(text);
  YAML::Parser parser(input);
  DocumentStarts starts;
  for (std::size_t count = 0; parser.HandleNextDocument(starts); ++count) {
    if (count > text.size()) return at_line(starts.last(), "neither a document nor its end");
  }
  return {};
}

}  // namespace

Result<std::vector<std::string>> manifest_documents(std::string_view text) {
  std::vector<std::string> out;
  try {
    const std::string owned(text);
    FAIRLEAD_CHECK(documents_end(owned));
    for (const YAML::Node& node : YAML::LoadAll(owned)) {
      if (!node.IsDefined() || node.IsNull()) continue;
      FAIRLEAD_TRY(json, Converter().document(node));
      out.push_back(std::move(json));
    }
  } catch (const YAML::Exception& e) {
    return at_line(e.mark, trim(e.msg));
  }
  return out;
}

}  // namespace fairlead::kube
