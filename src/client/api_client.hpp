// REST calls to one API server: authentication, base URL, Status bodies as errors, and a rate
// limit.
//
// Loop thread only; owned by whoever wires the process; must outlive the tasks that call it.
// Answers outside 2xx come back as Error with the code of the Status' reason; transport failures as
// Unavailable, Timeout or Unauthorized. Not here: watches (reflector.hpp), retries (the callers
// know what may be repeated).
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "client/kubeconfig.hpp"
#include "client/token_bucket.hpp"
#include "io/http.hpp"
#include "io/task.hpp"
#include "kube/codec.hpp"

namespace fairlead::client {

// "https://[::1]:6443/prefix/" taken apart. Without a scheme it is http, as client-go reads
// --master.
struct ServerUrl {
  bool tls = false;
  std::string host;    // without brackets
  Port port{};         // 443 or 80 when not given
  std::string prefix;  // "" or "/prefix", no trailing slash
  bool operator==(const ServerUrl&) const = default;
};
Result<ServerUrl> parse_server_url(std::string_view url);

// "/api/v1/namespaces/ns/services"; an empty namespace means all of them (or a cluster-scoped
// kind).
std::string collection_path(std::string_view api_version, std::string_view resource,
                            std::string_view ns);
template <class T>
std::string collection_path(std::string_view ns) {
  using Kind = kube::KindOf<T>;
  return collection_path(Kind::kApiVersion, Kind::kResource, Kind::kNamespaced ? ns : "");
}
template <class T>
std::string object_path(const kube::NamespacedName& key) {
  return collection_path<T>(key.namespace_) + "/" + io::percent_encode(key.name);
}

// One exchange with the server, for metrics.
struct Exchange {
  std::string method;
  std::string host;     // "name:port"
  unsigned status = 0;  // 0: no answer
  std::chrono::nanoseconds duration{0};
};

class ApiClient {
 public:
  struct Config {
    ClusterAccess access;
    std::string user_agent = "fairlead";
    std::optional<RateLimit> rate_limit;
    const Clock* clock = &Clock::real();
    std::chrono::nanoseconds timeout = std::chrono::seconds{30};  // for each call
  };
  static Result<std::unique_ptr<ApiClient>> create(io::Executor executor, Config config);
  ~ApiClient();
  ApiClient(const ApiClient&) = delete;
  ApiClient& operator=(const ApiClient&) = delete;

  // Paths are absolute ("/api/v1/..."), with query; bodies are JSON. The answer is the body's text.
  io::Task<Result<std::string>> get(std::string path);
  io::Task<Result<std::string>> post(std::string path, std::string body);
  io::Task<Result<std::string>> put(std::string path, std::string body);
  io::Task<Result<std::string>> patch(std::string path, std::string content_type, std::string body);
  io::Task<Result<std::string>> remove(std::string path, std::string body = {});
  // Any request; deadline for the answer's head. Used by the reflector.
  io::Task<Result<std::unique_ptr<io::HttpBodyStream>>> open(std::string path);

  // The same for the kinds we have structs for.
  template <class T>
  io::Task<Result<T>> get_object(kube::NamespacedName key) {
    co_return decode<T>(co_await get(object_path<T>(key)));
  }
  template <class T>
  io::Task<Result<T>> create_object(T object) {
    co_return decode<T>(
        co_await post(collection_path<T>(object.metadata.namespace_), kube::encode(object)));
  }
  template <class T>
  io::Task<Result<T>> replace_object(T object) {
    co_return decode<T>(co_await put(object_path<T>(key_of(object)), kube::encode(object)));
  }
  template <class T>
  io::Task<Result<T>> replace_status(T object) {
    co_return decode<T>(
        co_await put(object_path<T>(key_of(object)) + "/status", kube::encode(object)));
  }
  template <class T>
  io::Task<Result<void>> remove_object(kube::NamespacedName key) {
    auto answer = co_await remove(object_path<T>(key));
    if (!answer) co_return std::move(answer).error();
    co_return Result<void>{};
  }

  const std::string& server() const { return config_.access.server; }
  // Who is told of every exchange from now on.
  void set_on_exchange(std::function<void(const Exchange&)> f) { on_exchange_ = std::move(f); }
  kube::Decoder& decoder() { return decoder_; }

 private:
  struct Token {
    std::string value;
    MonoTime read_at;
  };

  explicit ApiClient(Config config) : config_(std::move(config)) {}
  io::Task<Result<std::string>> call(io::HttpRequest request);
  io::Task<Result<void>> wait_for_turn();
  Result<void> read_token();
  void report(const std::string& method, unsigned status, MonoTime start) const;
  io::HttpHeaders auth_headers();
  io::HttpRequest make_request(std::string method, std::string path, std::string content_type,
                               std::string body);

  template <class T>
  static kube::NamespacedName key_of(const T& object) {
    return {.namespace_ = object.metadata.namespace_, .name = object.metadata.name};
  }
  template <class T>
  Result<T> decode(Result<std::string> body) {
    if (!body) return std::move(body).error();
    return decoder_.object<T>(*body);
  }

  Config config_;
  std::function<void(const Exchange&)> on_exchange_;
  ServerUrl url_;
  std::unique_ptr<io::HttpClient> http_;
  kube::Decoder decoder_;
  std::optional<TokenBucket> bucket_;
  std::optional<Token> token_;  // read from access.token_file
};

}  // namespace fairlead::client
