#include "lab/container_command.hpp"

namespace fairlead::lab {

std::string expand_variables(std::string_view text, const std::map<std::string, std::string>& env) {
  std::string out;
  std::size_t i = 0;
  while (i < text.size()) {
    if (text[i] != '$' || i + 1 == text.size()) {
      out += text[i++];
      continue;
    }
    if (text[i + 1] == '$') {
      out += '$';
      i += 2;
      continue;
    }
    const std::size_t close = text[i + 1] == '(' ? text.find(')', i) : std::string_view::npos;
    if (close == std::string_view::npos) {
      out += text[i++];
      continue;
    }
    const auto known = env.find(std::string(text.substr(i + 2, close - i - 2)));
    out += known == env.end() ? text.substr(i, close - i + 1) : std::string_view(known->second);
    i = close + 1;
  }
  return out;
}

Result<io::Command> container_command(const kube::Container& container,
                                      const ContainerSurroundings& surroundings) {
  if (container.command.empty()) {
    return make_error(ErrorCode::Invalid,
                      "container \"{}\" has no command; images are not run here, so command must "
                      "name a program of this machine",
                      container.name);
  }
  io::Command out;
  out.env = {{"PATH", surroundings.program_directory + ":" + surroundings.path},
             {"HOSTNAME", surroundings.hostname},
             {"KUBERNETES_SERVICE_HOST", surroundings.service_host},
             {"KUBERNETES_SERVICE_PORT", surroundings.service_port}};
  for (const kube::EnvVar& variable : container.env)
    out.env[variable.name] = expand_variables(variable.value, out.env);
  for (const auto* list : {&container.command, &container.args}) {
    for (const std::string& word : *list) out.argv.push_back(expand_variables(word, out.env));
  }
  out.working_directory = container.working_dir.empty() ? "/" : container.working_dir;
  out.new_session = true;
  return out;
}

Result<Port> probe_port(const kube::IntOrString& port, const kube::Container& container) {
  if (const auto* wanted = std::get_if<std::string>(&port)) {
    for (const kube::ContainerPort& known : container.ports) {
      if (known.name == *wanted) return Port{static_cast<std::uint16_t>(known.container_port)};
    }
    return make_error(ErrorCode::Invalid, "container \"{}\" has no port named \"{}\"",
                      container.name, *wanted);
  }
  const std::int32_t value = std::get<std::int32_t>(port);
  if (value < 1 || value > 65535)
    return make_error(ErrorCode::Invalid, "probe port {} is not within 1-65535", value);
  return Port{static_cast<std::uint16_t>(value)};
}

}  // namespace fairlead::lab
