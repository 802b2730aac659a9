#include "client/api_client.hpp"

#include <algorithm>
#include <utility>

#include "base/log.hpp"
#include "base/text.hpp"
#include "client/files.hpp"

namespace fairlead::client {

using namespace std::chrono_literals;

namespace {

// How long a token read from a file is trusted before the file is read again (service account
// tokens rotate).
constexpr auto kTokenLife = 1min;

Result<std::string> host_of_authority(std::string_view authority, std::string_view url) {
  if (!authority.starts_with('[')) return std::string(authority.substr(0, authority.find(':')));
  const auto end = authority.find(']');
  if (end == std::string_view::npos) {
    return make_error(ErrorCode::Invalid, "server \"{}\": the '[' of the address is not closed",
                      url);
  }
  return std::string(authority.substr(1, end - 1));
}

}  // namespace

Result<ServerUrl> parse_server_url(std::string_view url) {
  ServerUrl out;
  auto rest = url;
  if (rest.starts_with("https://")) {
    out.tls = true;
    rest.remove_prefix(8);
  } else if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
  } else if (rest.find("://") != std::string_view::npos) {
    return make_error(ErrorCode::Invalid, "server \"{}\": the scheme is neither http nor https",
                      url);
  }
  if (rest.find_first_of("?#@ ") != std::string_view::npos) {
    return make_error(ErrorCode::Invalid,
                      "server \"{}\": only a scheme, host, port and path may be given", url);
  }
  const auto slash = std::min(rest.find('/'), rest.size());
  const auto authority = rest.substr(0, slash);
  auto path = rest.substr(slash);
  while (path.ends_with('/')) path.remove_suffix(1);
  out.prefix = path;
  FAIRLEAD_TRY(host, host_of_authority(authority, url));
  if (host.empty())
    return make_error(ErrorCode::Invalid, "server \"{}\": the host is missing", url);
  out.host = std::move(host);
  const auto after_host = authority.substr(out.host.size() + (authority.starts_with('[') ? 2 : 0));
  if (after_host.empty()) {
    out.port = Port{static_cast<std::uint16_t>(out.tls ? 443 : 80)};
    return out;
  }
  const auto port = parse_port(after_host.substr(1));
  if (!after_host.starts_with(':') || !port) {
    return make_error(ErrorCode::Invalid, "server \"{}\": \"{}\" is not a port", url,
                      after_host.substr(1));
  }
  out.port = *port;
  return out;
}

std::string collection_path(std::string_view api_version, std::string_view resource,
                            std::string_view ns) {
  const bool core = api_version.find('/') == std::string_view::npos;
  auto out = fmt::format("{}/{}", core ? "/api" : "/apis", api_version);
  if (!ns.empty()) out += fmt::format("/namespaces/{}", io::percent_encode(ns));
  return out + fmt::format("/{}", resource);
}

Result<std::unique_ptr<ApiClient>> ApiClient::create(io::Executor executor, Config config) {
  FAIRLEAD_TRY(url, parse_server_url(config.access.server));
  const auto& access = config.access;
  io::HttpClient::Config http{
      .host = url.host, .port = url.port, .tls = {}, .user_agent = config.user_agent};
  if (url.tls) {
    FAIRLEAD_TRY(
        tls, io::TlsClient::create(
                 {.ca_pem = access.ca_pem,
                  .identity = access.identity,
                  .server_name = access.tls_server_name.empty() ? url.host : access.tls_server_name,
                  .insecure_skip_verify = access.insecure_skip_tls_verify}));
    http.tls = std::move(tls);
  }
  std::unique_ptr<ApiClient> client(new ApiClient(std::move(config)));
  client->url_ = std::move(url);
  FAIRLEAD_TRY(http_client, io::HttpClient::create(std::move(executor), std::move(http)));
  client->http_ = std::move(http_client);
  const auto& limit = client->config_.rate_limit;
  if (limit) client->bucket_.emplace(*limit, client->config_.clock->mono());
  if (!client->config_.access.token_file.empty()) {
    auto ok = client->read_token();
    if (!ok && client->config_.access.token.empty()) return ok.error().with_context("bearer token");
  }
  return client;
}

ApiClient::~ApiClient() = default;

Result<void> ApiClient::read_token() {
  FAIRLEAD_TRY(text, read_file(config_.access.token_file));
  const auto token = trim(text);
  if (token.empty())
    return make_error(ErrorCode::Invalid, "{} is empty", config_.access.token_file);
  token_ = Token{.value = std::string(token), .read_at = config_.clock->mono()};
  return {};
}

io::HttpHeaders ApiClient::auth_headers() {
  const auto& access = config_.access;
  io::HttpHeaders out;
  if (!access.token_file.empty() &&
      (!token_ || config_.clock->mono() - token_->read_at >= kTokenLife)) {
    const auto fresh = read_token();
    if (!fresh && token_) {
      log::warning("cannot read the bearer token again, keeping the old one",
                   {{"error", fresh.error()}});
      token_->read_at = config_.clock->mono();
    }
  }
  const auto& token = token_ ? token_->value : access.token;
  if (!token.empty()) {
    out.push_back({.name = "Authorization", .value = "Bearer " + token});
  } else if (!access.username.empty()) {
    const auto pair = access.username + ":" + access.password;
    const std::span bytes(reinterpret_cast<const std::uint8_t*>(pair.data()), pair.size());
    out.push_back({.name = "Authorization", .value = "Basic " + base64_encode(bytes)});
  }
  if (!access.impersonate_user.empty()) {
    out.push_back({.name = "Impersonate-User", .value = access.impersonate_user});
    for (const auto& group : access.impersonate_groups)
      out.push_back({.name = "Impersonate-Group", .value = group});
  }
  return out;
}

io::HttpRequest ApiClient::make_request(std::string method, std::string path,
                                        std::string content_type, std::string body) {
  auto headers = auth_headers();
  headers.push_back({.name = "Accept", .value = "application/json"});
  if (!body.empty()) headers.push_back({.name = "Content-Type", .value = std::move(content_type)});
  return {.method = std::move(method),
          .target = url_.prefix + path,
          .headers = std::move(headers),
          .body = std::move(body)};
}

io::Task<Result<void>> ApiClient::wait_for_turn() {
  if (!bucket_) co_return Result<void>{};
  const auto pause = bucket_->take(config_.clock->mono());
  if (pause > 0ns && !co_await io::sleep_for(pause)) {
    co_return make_error(ErrorCode::Cancelled, "waiting for the request limit: cancelled");
  }
  co_return Result<void>{};
}

void ApiClient::report(const std::string& method, unsigned status, MonoTime start) const {
  if (!on_exchange_) return;
  on_exchange_({.method = method,
                .host = fmt::format("{}:{}", url_.host, url_.port),
                .status = status,
                .duration = config_.clock->mono() - start});
}

io::Task<Result<std::string>> ApiClient::call(io::HttpRequest request) {
  FAIRLEAD_CO_CHECK(co_await wait_for_turn());
  const auto what = fmt::format("{} {}", request.method, request.target);
  const std::string method = request.method;
  const MonoTime start = config_.clock->mono();
  auto response = co_await http_->send(std::move(request), config_.timeout);
  report(method, response ? response->status : 0, start);
  if (!response) co_return response.error().with_context(what);
  if (response->status / 100 == 2) co_return std::move(response->body);
  if (response->status == 401) token_.reset();
  co_return decoder_.status(response->body, response->status).with_context(what);
}

io::Task<Result<std::string>> ApiClient::get(std::string path) {
  co_return co_await call(make_request("GET", std::move(path), {}, {}));
}
io::Task<Result<std::string>> ApiClient::post(std::string path, std::string body) {
  co_return co_await call(
      make_request("POST", std::move(path), "application/json", std::move(body)));
}
io::Task<Result<std::string>> ApiClient::put(std::string path, std::string body) {
  co_return co_await call(
      make_request("PUT", std::move(path), "application/json", std::move(body)));
}
io::Task<Result<std::string>> ApiClient::patch(std::string path, std::string content_type,
                                               std::string body) {
  co_return co_await call(
      make_request("PATCH", std::move(path), std::move(content_type), std::move(body)));
}
io::Task<Result<std::string>> ApiClient::remove(std::string path, std::string body) {
  co_return co_await call(
      make_request("DELETE", std::move(path), "application/json", std::move(body)));
}

io::Task<Result<std::unique_ptr<io::HttpBodyStream>>> ApiClient::open(std::string path) {
  FAIRLEAD_CO_CHECK(co_await wait_for_turn());
  auto request = make_request("GET", std::move(path), {}, {});
  const auto what = fmt::format("GET {}", request.target);
  const MonoTime start = config_.clock->mono();
  auto stream = co_await http_->open(std::move(request), config_.timeout);
  report("GET", stream ? (*stream)->status() : 0, start);
  if (!stream) co_return stream.error().with_context(what);
  if ((*stream)->status() / 100 == 2) co_return stream;
  if ((*stream)->status() == 401) token_.reset();
  std::string body;
  while (body.size() < 64 * 1024) {
    auto piece = co_await (*stream)->read_some(config_.timeout);
    if (!piece || !*piece) break;
    body += **piece;
  }
  co_return decoder_.status(body, (*stream)->status()).with_context(what);
}

}  // namespace fairlead::client
