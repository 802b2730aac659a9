#include "io/http.hpp"

#include <gtest/gtest.h>

#include "io/http_wire.hpp"

namespace fairlead::io {
namespace {

using Query = std::vector<std::pair<std::string, std::string>>;

struct TargetCase {
  std::string target, path;
  Query query;
};

TEST(ParseTarget, SplitsAndDecodesTheQuery) {
  const std::vector<TargetCase> rows{
      {"/", "/", {}},
      {"/a%2Fb", "/a%2Fb", {}},
      {"/a?", "/a", {}},
      {"/a?x", "/a", {{"x", ""}}},
      {"/a?x=1&&y=a%20b+c&x=%3D=2", "/a", {{"x", "1"}, {"y", "a b c"}, {"x", "==2"}}},
      {"/a?=v&", "/a", {{"", "v"}}},
      {"/a?q=?", "/a", {{"q", "?"}}},
  };
  for (const auto& row : rows) {
    const auto url = parse_target(row.target);
    ASSERT_TRUE(url.has_value()) << row.target;
    EXPECT_EQ(url->path, row.path);
    EXPECT_EQ(url->query, row.query) << row.target;
  }
}

TEST(ParseTarget, ParamIsTheFirstOfItsName) {
  const auto url = parse_target("/?a=1&b=2&a=3");
  ASSERT_TRUE(url.has_value());
  EXPECT_EQ(url->param("a"), "1");
  EXPECT_EQ(url->param("c"), std::nullopt);
}

TEST(PercentDecode, RefusesBrokenEscapes) {
  for (const std::string text : {"%", "a%2", "%zz", "%2g", "%%41"}) {
    const auto decoded = percent_decode(text);
    ASSERT_FALSE(decoded.has_value()) << text;
    EXPECT_EQ(decoded.error().code, ErrorCode::BadRequest);
  }
}

TEST(PercentEncode, RoundTripsEveryByte) {
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  EXPECT_EQ(percent_decode(percent_encode(all)).value_or("error"), all);
  EXPECT_EQ(percent_encode("a-b_c.d~e/f g+h"), "a-b_c.d~e%2Ff%20g%2Bh");
  EXPECT_EQ(percent_decode("a+b").value_or("error"), "a+b");
}

TEST(FindHeader, IgnoresCase) {
  const HttpHeaders headers{{"Content-Type", "a"}, {"content-type", "b"}};
  EXPECT_EQ(find_header(headers, "CONTENT-TYPE"), "a");
  EXPECT_EQ(find_header(headers, "Content"), std::nullopt);
}

TEST(FormatHead, WritesAResponseWithoutLettingValuesStartHeaders) {
  const HttpHeaders headers{{"X-A", "1\r\nX-Evil: 2"}, {"content-length", "99"}};
  const auto head =
      format_head(ResponseHead{.status = 404,
                               .headers = &headers,
                               .framing = Framing::Length,
                               .length = 5,
                               .keep_alive = true,
                               .now = std::chrono::system_clock::from_time_t(1'700'000'000)});
  EXPECT_EQ(head,
            "HTTP/1.1 404 Not Found\r\nX-A: 1  X-Evil: 2\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\n"
            "Content-Length: 5\r\nConnection: keep-alive\r\n\r\n");
}

TEST(FormatHead, WritesARequest) {
  const HttpRequest post{
      .method = "POST", .target = "/a?b", .headers = {{"X", "y"}}, .body = "1234"};
  EXPECT_EQ(
      format_head(post, "h:80", "agent"),
      "POST /a?b HTTP/1.1\r\nHost: h:80\r\nUser-Agent: agent\r\nX: y\r\nContent-Length: 4\r\n\r\n");
  EXPECT_EQ(format_head(HttpRequest{}, "h", "agent"),
            "GET / HTTP/1.1\r\nHost: h\r\nUser-Agent: agent\r\n\r\n");
}

TEST(OriginForm, TakesPathsAndAbsoluteUrls) {
  EXPECT_EQ(origin_form("/x"), "/x");
  EXPECT_EQ(origin_form("http://h"), "/");
  EXPECT_EQ(origin_form("https://h:1/p?q"), "/p?q");
  EXPECT_EQ(origin_form("http://h?q"), "/?q");
  EXPECT_EQ(origin_form("h:443"), std::nullopt);
  EXPECT_EQ(origin_form(""), std::nullopt);
}

}  // namespace
}  // namespace fairlead::io
