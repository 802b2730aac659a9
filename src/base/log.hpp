// Logging at the edge: klog-style text ("I1123 04:05:06.123456   4242 file.cpp:69] \"msg\"
// key=\"value\"") or JSON lines, to stderr. Level and format are set once by main; log calls are
// thread-safe. Nothing secret is ever passed here.
#pragma once

#include <fmt/format.h>

#include <initializer_list>
#include <source_location>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace fairlead::log {

enum class Severity { Info, Warning, Error };
enum class Format { Text, Json };

// One key=value of a structured line; anything fmt can print.
struct Field {
  std::string_view key;
  std::string value;
  template <class T>
  Field(std::string_view k, const T& v) : key(k), value(fmt::format("{}", v)) {}
};

struct Options {
  Format format = Format::Text;
  int verbosity = 0;  // -v: info lines with a higher level are dropped
};
void configure(const Options& options);
bool enabled(int level);  // for work that only a verbose log needs

// The message is a fixed sentence fragment; what varies goes into fields.
void info(std::string_view message, std::initializer_list<Field> fields = {},
          std::source_location where = std::source_location::current());
void verbose(int level, std::string_view message, std::initializer_list<Field> fields = {},
             std::source_location where = std::source_location::current());
void warning(std::string_view message, std::initializer_list<Field> fields = {},
             std::source_location where = std::source_location::current());
void error(std::string_view message, std::initializer_list<Field> fields = {},
           std::source_location where = std::source_location::current());

// Pure: one line as configure() would print it, for tests.
std::string format_line(Format format, Severity severity, std::string_view message,
                        std::initializer_list<Field> fields, std::string_view timestamp_text,
                        int pid, std::string_view file, unsigned line);

}  // namespace fairlead::log
