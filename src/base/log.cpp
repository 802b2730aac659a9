#include "base/log.hpp"

#include <unistd.h>

#include <atomic>
#include <chrono>

#include "base/text.hpp"

namespace fairlead::log {
namespace {

std::atomic<int> verbosity{0};
std::atomic<Format> format{Format::Text};

std::string escaped(std::string_view text) {
  std::string out;
  append_json_escaped(out, text);
  return out;
}

char letter(Severity severity) {
  switch (severity) {
    case Severity::Info:
      return 'I';
    case Severity::Warning:
      return 'W';
    case Severity::Error:
      return 'E';
  }
  return '?';
}

std::string_view word(Severity severity) {
  switch (severity) {
    case Severity::Info:
      return "info";
    case Severity::Warning:
      return "warning";
    case Severity::Error:
      return "error";
  }
  return "?";
}

std::string timestamp(Format f) {
  using namespace std::chrono;
  const auto now = floor<microseconds>(system_clock::now());
  const auto day = floor<days>(now);
  const year_month_day date(day);
  const hh_mm_ss time(now - day);
  const std::string clock =
      fmt::format("{:02}:{:02}:{:02}.{:06}", time.hours().count(), time.minutes().count(),
                  time.seconds().count(), time.subseconds().count());
  const unsigned month = static_cast<unsigned>(date.month());
  const unsigned day_of_month = static_cast<unsigned>(date.day());
  return f == Format::Text ? fmt::format("{:02}{:02} {}", month, day_of_month, clock)
                           : fmt::format("{:04}-{:02}-{:02}T{}Z", static_cast<int>(date.year()),
                                         month, day_of_month, clock);
}

std::string_view base_name(std::string_view path) { return path.substr(path.rfind('/') + 1); }

// One write per line, so that lines of several threads and processes never mix.
void emit(Severity severity, std::string_view message, std::initializer_list<Field> fields,
          const std::source_location& where) {
  const Format f = format.load(std::memory_order_relaxed);
  std::string line = format_line(f, severity, message, fields, timestamp(f), getpid(),
                                 base_name(where.file_name()), where.line());
  line += '\n';
  std::string_view rest = line;
  while (!rest.empty()) {
    const ssize_t n = ::write(STDERR_FILENO, rest.data(), rest.size());
    if (n <= 0) return;  // nowhere left to complain
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
}

}  // namespace

void configure(const Options& options) {
  verbosity.store(options.verbosity, std::memory_order_relaxed);
  format.store(options.format, std::memory_order_relaxed);
}

bool enabled(int level) { return level <= verbosity.load(std::memory_order_relaxed); }

void info(std::string_view message, std::initializer_list<Field> fields,
          std::source_location where) {
  emit(Severity::Info, message, fields, where);
}
void verbose(int level, std::string_view message, std::initializer_list<Field> fields,
             std::source_location where) {
  if (enabled(level)) emit(Severity::Info, message, fields, where);
}
void warning(std::string_view message, std::initializer_list<Field> fields,
             std::source_location where) {
  emit(Severity::Warning, message, fields, where);
}
void error(std::string_view message, std::initializer_list<Field> fields,
           std::source_location where) {
  emit(Severity::Error, message, fields, where);
}

std::string format_line(Format f, Severity severity, std::string_view message,
                        std::initializer_list<Field> fields, std::string_view timestamp_text,
                        int pid, std::string_view file, unsigned line) {
  std::string out;
  if (f == Format::Text) {
    out = fmt::format("{}{} {:7} {}:{}] \"{}\"", letter(severity), timestamp_text, pid, file, line,
                      escaped(message));
    for (const Field& field : fields)
      out += fmt::format(" {}=\"{}\"", field.key, escaped(field.value));
    return out;
  }
  out = fmt::format(R"({{"ts":"{}","level":"{}","caller":"{}:{}","msg":"{}")", timestamp_text,
                    word(severity), file, line, escaped(message));
  for (const Field& field : fields)
    out += fmt::format(R"(,"{}":"{}")", escaped(field.key), escaped(field.value));
  return out + "}";
}

}  // namespace fairlead::log
