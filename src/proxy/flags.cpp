#include "proxy/flags.hpp"

#include <algorithm>

#include "base/text.hpp"
#include "base/version.hpp"
#include "proxy/config_file.hpp"
#include "proxy/flag_table.hpp"

namespace fairlead::proxy {
namespace {

std::string usage(const std::vector<Flag>& flags) {
  std::string out =
      "fairlead-proxy makes this node's kernel send the traffic of Kubernetes Services to their "
      "endpoints.\nIt takes kube-proxy's flags and configuration file.\n\nUsage:\n  fairlead-proxy "
      "[flags]\n\nFlags (* holds on top of --config):\n";
  for (const Flag& flag : flags) {
    if (flag.help.empty()) continue;
    const std::string name = (flag.name.size() == 1 ? "-" : "--") + std::string(flag.name);
    out += fmt::format("  {}{:<36} {}\n", flag.source == Source::AlwaysOn ? '*' : ' ', name,
                       flag.help);
  }
  return out;
}

// ---- words --------------------------------------------------------------------------------------

struct Given {
  const Flag* flag = nullptr;
  std::string value;
};

const Flag* find_flag(const std::vector<Flag>& flags, std::string_view name) {
  std::string normal(name);
  std::ranges::replace(normal, '_', '-');
  if (normal == "h") normal = "help";
  const auto found = std::ranges::find(flags, normal, &Flag::name);
  return found == flags.end() ? nullptr : &*found;
}

// Splits one word into a flag's name and the value behind '=' (or behind "-v").
struct Word {
  std::string name;
  std::optional<std::string> value;
};
Result<Word> split_word(const std::string& word) {
  if (!word.starts_with('-') || word == "-" || word == "--") {
    return make_error(ErrorCode::Invalid, "\"{}\": fairlead-proxy takes no arguments, only flags",
                      word);
  }
  const bool is_long = word.starts_with("--");
  if (!is_long && word.size() > 2 && word[2] != '=') {
    return Word{.name = word.substr(1, 1), .value = word.substr(2)};
  }
  const std::string body = word.substr(is_long ? 2 : 1);
  const auto equals = body.find('=');
  if (equals == std::string::npos) return Word{.name = body};
  return Word{.name = body.substr(0, equals), .value = body.substr(equals + 1)};
}

Result<std::vector<Given>> split_words(const std::vector<Flag>& flags,
                                       const std::vector<std::string>& arguments) {
  std::vector<Given> out;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    FAIRLEAD_TRY(word, split_word(arguments[i]));
    const Flag* flag = find_flag(flags, word.name);
    if (flag == nullptr) {
      return make_error(ErrorCode::Invalid, "unknown flag {}", arguments[i]);
    }
    if (!word.value && flag->boolean) word.value = "true";
    if (!word.value) {
      if (++i == arguments.size()) {
        return make_error(ErrorCode::Invalid, "flag --{} needs a value", flag->name);
      }
      word.value = arguments[i];
    }
    out.push_back({.flag = flag, .value = *std::move(word.value)});
  }
  return out;
}

Result<void> set_all(const std::vector<Given>& given, bool only_always_on, Parsed& parsed) {
  for (const Given& g : given) {
    if (only_always_on && g.flag->source != Source::AlwaysOn) continue;
    if (auto set = g.flag->set(parsed, g.value); !set) {
      return set.error().with_context(fmt::format("flag --{}", g.flag->name));
    }
  }
  return {};
}

Result<std::string> version_text(const std::string& wanted) {
  if (wanted == "true") return fmt::format("Kubernetes {}\n", kKubernetesVersion);
  if (wanted == "raw")
    return fmt::format("version.Info{{GitVersion:\"{}\"}}\n", kKubernetesVersion);
  if (wanted.starts_with('v')) return fmt::format("Kubernetes {}\n", wanted);
  return make_error(ErrorCode::Invalid, "flag --version: \"{}\" is not true, raw or vX.Y.Z",
                    wanted);
}

void note_flags(const std::vector<Given>& given, Invocation& invocation) {
  for (const Given& g : given) {
    if (!invocation.config_file.empty() && g.flag->source == Source::FileWins) {
      invocation.notes.push_back(
          fmt::format("flag --{} is overruled by the file of --config", g.flag->name));
    } else if (!g.flag->note.empty()) {
      invocation.notes.push_back(fmt::format("flag --{} {}", g.flag->name, g.flag->note));
    }
  }
}

bool given_blank_hostname(const std::vector<Given>& given) {
  return std::ranges::any_of(given, [](const Given& g) {
    return g.flag->name == "hostname-override" && !g.value.empty() && trim(g.value).empty();
  });
}

}  // namespace

Result<ParsedCommandLine> parse_command_line(const std::vector<std::string>& arguments) {
  const std::vector<Flag> flags = all_flags();
  FAIRLEAD_TRY(given, split_words(flags, arguments));
  Parsed parsed;
  FAIRLEAD_CHECK(set_all(given, false, parsed));
  if (parsed.help) return ParsedCommandLine{.printout = Printout{usage(flags)}};
  if (!parsed.version.empty() && parsed.version != "false") {
    FAIRLEAD_TRY(text, version_text(parsed.version));
    return ParsedCommandLine{.printout = Printout{std::move(text)}};
  }
  if (given_blank_hostname(given)) {
    return make_error(ErrorCode::Invalid, "flag --hostname-override: only blanks");
  }
  if (!parsed.invocation.config_file.empty()) {
    FAIRLEAD_TRY(file, read_config_file(parsed.invocation.config_file));
    parsed.invocation.config = std::move(file.config);
    for (const std::string& complaint : file.complaints) {
      parsed.invocation.notes.push_back(
          fmt::format("{}: {}, ignored", parsed.invocation.config_file, complaint));
    }
    FAIRLEAD_CHECK(set_all(given, true, parsed));
  }
  note_flags(given, parsed.invocation);
  return ParsedCommandLine{.invocation = std::move(parsed.invocation)};
}

}  // namespace fairlead::proxy
