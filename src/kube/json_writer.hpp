// Writes compact JSON without a document in between: begin/end of objects and lists, members in
// call order. The caller keeps begin and end balanced. "_unless_empty" forms leave a member out the
// way Kubernetes' omitempty does.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace fairlead::kube {

// text as a JSON string, quotes included.
void append_json_string(std::string& out, std::string_view text);

class JsonWriter {
 public:
  void begin_object() { open('{'); }
  void end_object() { close('}'); }
  void begin_list() { open('['); }
  void end_list() { close(']'); }
  // The name of the next value.
  void key(std::string_view name);

  void string(std::string_view value);
  void number(std::int64_t value);
  void boolean(bool value);

  void member(std::string_view name, std::string_view value) { key(name), string(value); }
  void member(std::string_view name, std::int64_t value) { key(name), number(value); }
  void member_flag(std::string_view name, bool value) { key(name), boolean(value); }
  void member_unless_empty(std::string_view name, std::string_view value) {
    if (!value.empty()) member(name, value);
  }

  std::string take() { return std::move(out_); }

 private:
  void open(char bracket);
  void close(char bracket);
  void separate();

  std::string out_;
  bool need_comma_ = false;
};

}  // namespace fairlead::kube
