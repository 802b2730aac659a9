#include "userspace/machines.hpp"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <vector>

#include "io/sockaddr.hpp"
#include "proxy/modes/userspace/userspace_mode.hpp"

namespace fairlead::bench {
namespace {

constexpr auto kPatience = std::chrono::seconds(10);

Result<void> run_in(const io::NetNamespace& where, const std::string& lines) {
  FAIRLEAD_TRY(output, io::run_blocking({.argv = {"ip", "-batch", "-"}, .namespaces = {where.fd()}},
                                        lines, kPatience));
  if (!output.status.ok()) return make_error(ErrorCode::Internal, "ip: {}", output.err);
  return {};
}

Result<void> set(const io::NetNamespace& where, const std::string& name, const std::string& value) {
  return where.run([&]() -> Result<void> {
    std::ofstream file("/proc/sys/net/" + name);
    file << value << std::flush;
    if (!file) return make_error(ErrorCode::Internal, "set {} to {}", name, value);
    return {};
  });
}

std::string interface_lines(IpAddress (*address)(unsigned), unsigned count,
                            std::string_view gateway) {
  std::string out;
  for (unsigned i = 0; i < count; ++i) {
    out += fmt::format("addr add {}/24 dev eth0\n", address(i));
  }
  return out + fmt::format("link set eth0 up\nroute add default via {}\n", gateway);
}

// A child that says a line when it is ready, and ends when its standard input does: with us.
Result<io::Child> start(std::vector<std::string> argv, const io::NetNamespace& where) {
  int said[2], hold[2];
  if (pipe2(said, O_CLOEXEC) != 0) return errno_error(errno, "pipe");
  const io::UniqueFd said_out(said[0]);
  io::UniqueFd said_in(said[1]);
  if (pipe2(hold, O_CLOEXEC) != 0) return errno_error(errno, "pipe");
  const io::UniqueFd hold_out(hold[0]);
  // The other end stays open as long as we run.
  static_cast<void>(hold[1]);
  FAIRLEAD_TRY(child, io::Child::spawn({.argv = std::move(argv),
                                        .namespaces = {where.fd()},
                                        .stdin_fd = hold_out.get(),
                                        .stdout_fd = said_in.get()}));
  said_in.reset();
  char byte = 0;
  if (read(said_out.get(), &byte, 1) != 1) {
    return make_error(ErrorCode::Internal, "a process ended before it was ready");
  }
  return child;
}

void say_ready() {
  fmt::print("ready\n");
  std::fflush(stdout);
}

void wait_for_end_of_input() {
  char byte = 0;
  while (read(STDIN_FILENO, &byte, 1) > 0) {
  }
}

plan::ServicePlanPtr service_of(Port port, Protocol protocol) {
  plan::Pool endpoints;
  for (unsigned i = 0; i < kServerAddresses; ++i) {
    endpoints.push_back({.address = server_address(i), .port = port});
  }
  return std::make_shared<const plan::ServicePlan>(plan::ServicePlan{
      .key = {.service_port = {.namespace_ = "bench",
                               .name = "server",
                               .port = std::to_string(number(port)),
                               .protocol = protocol}},
      .cluster_pool = std::move(endpoints),
      .frontends = {
          {.address = service_address(), .port = port, .target = plan::Target::ClusterPool}}});
}

plan::Plan plan_of_all() {
  plan::Plan out;
  out.nodes[IpFamily::V4] = {};
  for (const Port port : {kPorts.echo, kPorts.source, kPorts.sink, kPorts.once}) {
    const auto tcp = service_of(port, Protocol::Tcp);
    out.services.emplace(tcp->key, tcp);
  }
  const auto udp = service_of(kPorts.echo, Protocol::Udp);
  out.services.emplace(udp->key, udp);
  return out;
}

std::string haproxy_text(const HaproxySize& size) {
  std::string out = fmt::format(
      "global\n  nbthread {0}\n  maxconn {1}\n  maxpipes 512\n"
      "defaults\n  mode tcp\n  option splice-auto\n  timeout connect 5s\n  timeout client 10m\n"
      "  timeout server 10m\n  maxconn {1}\n",
      size.threads, size.connections + 100);
  for (const Port port : {kPorts.echo, kPorts.source, kPorts.sink, kPorts.once}) {
    out += fmt::format("listen port-{0}\n  bind {1}:{0}\n", number(port), node_address());
    for (unsigned i = 0; i < kServerAddresses; ++i) {
      out += fmt::format("  server s{} {}:{}\n", i, server_address(i), number(port));
    }
  }
  return out;
}

bool answers(const io::NetNamespace& where, const SocketAddress& address) {
  const auto done = where.run([&]() -> Result<void> {
    const io::UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const io::KernelAddress to = io::to_kernel(address);
    if (connect(socket.get(), to.get(), to.size) != 0) return errno_error(errno, "connect");
    return {};
  });
  return done.has_value();
}

}  // namespace

IpAddress client_address(unsigned n) { return IpAddress::v4({10, 1, 0, 2}).plus(n); }
IpAddress node_address() { return IpAddress::v4({10, 1, 0, 1}); }
IpAddress server_address(unsigned n) { return IpAddress::v4({10, 2, 0, 2}).plus(n); }
IpAddress service_address() { return IpAddress::v4({10, 96, 0, 1}); }

Result<Machines> Machines::create() {
  FAIRLEAD_TRY(client, io::NetNamespace::create());
  FAIRLEAD_TRY(node, io::NetNamespace::create());
  FAIRLEAD_TRY(server, io::NetNamespace::create());
  const auto peer = [](const io::NetNamespace& of) {
    return fmt::format("/proc/{}/fd/{}", getpid(), of.fd());
  };
  FAIRLEAD_CHECK(run_in(node, fmt::format("link add c type veth peer name eth0 netns {}\n"
                                          "link add s type veth peer name eth0 netns {}\n"
                                          "addr add 10.1.0.1/24 dev c\naddr add 10.2.0.1/24 dev s\n"
                                          "link set c up\nlink set s up\n",
                                          peer(client), peer(server))));
  FAIRLEAD_CHECK(run_in(client, interface_lines(client_address, kClientAddresses, "10.1.0.1")));
  FAIRLEAD_CHECK(run_in(server, interface_lines(server_address, kServerAddresses, "10.2.0.1")));
  FAIRLEAD_CHECK(set(node, "ipv4/ip_forward", "1"));
  // Or the kernel's table of connections is soon full of those that have ended.
  FAIRLEAD_CHECK(set(node, "netfilter/nf_conntrack_tcp_timeout_time_wait", "1"));
  for (const io::NetNamespace* each : {&client, &node, &server}) {
    FAIRLEAD_CHECK(set(*each, "ipv4/ip_local_port_range", "10000 65000"));
    FAIRLEAD_CHECK(set(*each, "core/somaxconn", "65535"));
  }
  FAIRLEAD_TRY(process, start({"/proc/self/exe", "--be-server"}, server));
  return Machines{.client = std::move(client),
                  .node = std::move(node),
                  .server = std::move(server),
                  .server_process = std::move(process)};
}

Result<Subject> start_fairlead(const Machines& machines, const FairleadConfig& config) {
  FAIRLEAD_TRY(process, start({"/proc/self/exe", "--be-fairlead", std::to_string(config.threads),
                               config.by_addresses ? "addresses" : "rules"},
                              machines.node));
  return Subject{.name = "fairlead", .address = service_address(), .process = std::move(process)};
}

Result<Subject> start_haproxy(const Machines& machines, const HaproxySize& size,
                              const std::string& folder) {
  if (access("/usr/sbin/haproxy", X_OK) != 0) {
    return make_error(ErrorCode::NotFound, "haproxy is not installed (apt-get install haproxy)");
  }
  const std::string file = folder + "/haproxy.cfg";
  std::ofstream(file) << haproxy_text(size);
  FAIRLEAD_TRY(process, io::Child::spawn({.argv = {"/usr/sbin/haproxy", "-db", "-q", "-f", file},
                                          .namespaces = {machines.node.fd()}}));
  const SocketAddress asked{.address = node_address(), .port = kPorts.once};
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!answers(machines.client, asked)) {
    if (std::chrono::steady_clock::now() > deadline) {
      return make_error(ErrorCode::Timeout, "haproxy does not answer");
    }
    usleep(10'000);
  }
  return Subject{.name = "haproxy", .address = node_address(), .process = std::move(process)};
}

Subject direct() { return {.name = "direct", .address = server_address(0), .process = {}}; }

int be_fairlead(const FairleadConfig& config) {
  auto mode = userspace::create(
      {.way_in = config.by_addresses ? userspace::WayIn::Places : userspace::WayIn::Rules,
       .udp_idle = std::chrono::seconds(30),
       .loops = config.threads,
       .drain = std::chrono::milliseconds(0)});
  if (!mode) {
    fmt::print(stderr, "{}\n", mode.error().message);
    return EXIT_FAILURE;
  }
  if (const auto done = (*mode)->apply_full(plan_of_all()); !done) {
    fmt::print(stderr, "{}\n", done.error().message);
    return EXIT_FAILURE;
  }
  say_ready();
  wait_for_end_of_input();
  return EXIT_SUCCESS;
}

Result<double> resident_bytes(pid_t process) {
  std::ifstream file(fmt::format("/proc/{}/statm", process));
  double size = 0, resident = 0;
  if (!(file >> size >> resident)) return make_error(ErrorCode::NotFound, "process {}", process);
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

}  // namespace fairlead::bench
