#include "kube/selector.hpp"

#include <algorithm>
#include <cctype>

#include "base/text.hpp"

namespace fairlead::kube {
namespace {

bool is_alphanumeric(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; }

// A qualified name's name part, and a label value: <= 63 of [A-Za-z0-9-_.], alphanumeric at both
// ends.
bool is_name_part(std::string_view text) {
  return !text.empty() && text.size() <= 63 && is_alphanumeric(text.front()) &&
         is_alphanumeric(text.back()) && std::ranges::all_of(text, [](char c) {
           return is_alphanumeric(c) || c == '-' || c == '_' || c == '.';
         });
}

bool is_key(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return is_name_part(text);
  return is_dns1123_subdomain(text.substr(0, slash)) && is_name_part(text.substr(slash + 1));
}

// The grammar's tokens: words, and the signs ( ) , ! = == != > <. A word ends at a blank or a sign.
class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) { advance(); }

  std::string_view current() const { return token_; }  // empty at the end
  bool at_end() const { return token_.empty(); }
  bool accept(std::string_view token) {
    if (token_ != token) return false;
    advance();
    return true;
  }
  bool at_word() const {
    return !token_.empty() && kSigns.find(token_.front()) == std::string_view::npos;
  }
  std::string_view take() {
    const std::string_view token = token_;
    advance();
    return token;
  }

 private:
  static constexpr std::string_view kSigns = "(),!=<>";
  static constexpr std::string_view kBlanks = " \t\r\n";

  void advance() {
    const auto start = text_.find_first_not_of(kBlanks, at_);
    if (start == std::string_view::npos) {
      at_ = text_.size();
      token_ = {};
      return;
    }
    std::size_t length = 1;
    if (kSigns.find(text_[start]) != std::string_view::npos) {
      const bool doubled =
          (text_[start] == '=' || text_[start] == '!') && text_.substr(start + 1, 1) == "=";
      if (doubled) length = 2;
    } else {
      const auto end =
          std::min(text_.find_first_of(kSigns, start), text_.find_first_of(kBlanks, start));
      length = std::min(end, text_.size()) - start;
    }
    token_ = text_.substr(start, length);
    at_ = start + length;
  }

  std::string_view text_, token_;
  std::size_t at_ = 0;
};

using Op = LabelRequirement::Op;

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text), lexer_(text) {}

  Result<std::vector<LabelRequirement>> parse() {
    std::vector<LabelRequirement> out;
    if (lexer_.at_end()) return out;
    for (;;) {
      FAIRLEAD_TRY(requirement, requirement());
      out.push_back(std::move(requirement));
      if (lexer_.at_end()) return out;
      if (!lexer_.accept(","))
        return wrong(fmt::format("found '{}', expected ','", lexer_.current()));
    }
  }

 private:
  Error wrong(std::string_view what) const {
    return make_error(ErrorCode::BadRequest, "unable to parse label selector \"{}\": {}", text_,
                      what);
  }

  Result<std::string> word(std::string_view what) {
    if (!lexer_.at_word())
      return wrong(fmt::format("found '{}', expected {}", lexer_.current(), what));
    return std::string(lexer_.take());
  }

  Result<LabelRequirement> requirement() {
    const bool negated = lexer_.accept("!");
    FAIRLEAD_TRY(key, word("a key"));
    if (!is_key(key)) return wrong(fmt::format("\"{}\" is not a label key", key));
    LabelRequirement r{.key = std::move(key)};
    if (negated || lexer_.at_end() || lexer_.current() == ",") {
      r.op = negated ? Op::NotExists : Op::Exists;
      return r;
    }
    FAIRLEAD_TRY(op, operation());
    r.op = op;
    if (op == Op::In || op == Op::NotIn) {
      FAIRLEAD_TRY(values, value_list());
      r.values = std::move(values);
    } else {
      r.values = {lexer_.at_word() ? std::string(lexer_.take()) : std::string()};
    }
    return checked(std::move(r));
  }

  Result<Op> operation() {
    const std::string_view token = lexer_.take();
    if (token == "=" || token == "==") return Op::Equals;
    if (token == "!=") return Op::NotEquals;
    if (token == ">") return Op::Greater;
    if (token == "<") return Op::Less;
    if (token == "in") return Op::In;
    if (token == "notin") return Op::NotIn;
    return wrong(fmt::format("found '{}', expected one of =, ==, !=, in, notin, >, <", token));
  }

  Result<std::vector<std::string>> value_list() {
    if (!lexer_.accept("(")) return wrong("expected '(' after in or notin");
    std::vector<std::string> values;
    for (bool more = true; more;) {
      values.push_back(lexer_.at_word() ? std::string(lexer_.take()) : std::string());
      more = lexer_.accept(",");
    }
    if (!lexer_.accept(")")) return wrong("expected ')' or ','");
    std::ranges::sort(values);
    const auto repeated = std::ranges::unique(values);
    values.erase(repeated.begin(), repeated.end());
    return values;
  }

  Result<LabelRequirement> checked(LabelRequirement r) const {
    for (const std::string& value : r.values) {
      if (r.op == Op::Greater || r.op == Op::Less) {
        if (!parse_int(value)) return wrong(fmt::format("\"{}\" is not an integer", value));
      } else if (!value.empty() && !is_name_part(value)) {
        return wrong(fmt::format("\"{}\" is not a label value", value));
      }
    }
    return r;
  }

  std::string_view text_;
  Lexer lexer_;
};

bool contains(const LabelRequirement& r, const std::string& value) {
  return std::ranges::binary_search(r.values, value);
}

bool satisfied(const LabelRequirement& r, const StringMap& labels) {
  const auto found = labels.find(r.key);
  const bool present = found != labels.end();
  switch (r.op) {
    case Op::Exists:
      return present;
    case Op::NotExists:
      return !present;
    case Op::Equals:
    case Op::In:
      return present && contains(r, found->second);
    case Op::NotEquals:
    case Op::NotIn:
      return !present || !contains(r, found->second);
    case Op::Greater:
    case Op::Less:
      break;
  }
  const auto value = present ? parse_int(found->second) : std::nullopt;
  const auto bound = parse_int(r.values.front());
  if (!value || !bound) return false;
  return r.op == Op::Greater ? *value > *bound : *value < *bound;
}

// "=", "==" or "!=" outside a backslash escape; npos when the term has none.
std::size_t find_operator(std::string_view term) {
  for (std::size_t i = 0; i < term.size(); ++i) {
    if (term[i] == '\\') {
      ++i;
    } else if (term[i] == '=' || (term[i] == '!' && term.substr(i + 1, 1) == "=")) {
      return i;
    }
  }
  return std::string_view::npos;
}

Result<std::string> unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      if (++i == text.size() || std::string_view("\\,=").find(text[i]) == std::string_view::npos) {
        return make_error(ErrorCode::BadRequest, "invalid field selector: bad escape in \"{}\"",
                          text);
      }
    } else if (text[i] == '=' || text[i] == ',') {
      return make_error(ErrorCode::BadRequest,
                        "invalid field selector: unescaped '{}' in value \"{}\"", text[i], text);
    }
    out += text[i];
  }
  return out;
}

std::vector<std::string_view> split_terms(std::string_view text) {
  std::vector<std::string_view> terms;
  std::size_t start = 0;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && text[i] == '\\') {
      ++i;
    } else if (i == text.size() || text[i] == ',') {
      terms.push_back(text.substr(start, i - start));
      start = i + 1;
    }
  }
  if (start <= text.size() && terms.empty()) terms.push_back(text.substr(start));
  return terms;
}

}  // namespace

Result<LabelSelector> LabelSelector::parse(std::string_view text) {
  FAIRLEAD_TRY(requirements, Parser(text).parse());
  LabelSelector selector;
  selector.requirements_ = std::move(requirements);
  return selector;
}

LabelSelector LabelSelector::match_all(const StringMap& equals) {
  LabelSelector selector;
  for (const auto& [key, value] : equals) {
    selector.requirements_.push_back({.key = key, .op = Op::Equals, .values = {value}});
  }
  return selector;
}

bool LabelSelector::matches(const StringMap& labels) const {
  return std::ranges::all_of(requirements_,
                             [&](const LabelRequirement& r) { return satisfied(r, labels); });
}

Result<std::vector<FieldTerm>> parse_field_selector(std::string_view text) {
  std::vector<FieldTerm> out;
  for (const std::string_view term : split_terms(text)) {
    if (term.empty()) continue;
    const std::size_t at = find_operator(term);
    if (at == std::string_view::npos) {
      return make_error(ErrorCode::BadRequest,
                        "invalid field selector \"{}\": no operator in \"{}\"", text, term);
    }
    const bool negated = term[at] == '!';
    const std::size_t width = negated || term.substr(at + 1, 1) == "=" ? 2 : 1;
    FAIRLEAD_TRY(value, unescape(term.substr(at + width)));
    out.push_back(
        {.field = std::string(term.substr(0, at)), .value = std::move(value), .negated = negated});
  }
  return out;
}

}  // namespace fairlead::kube
