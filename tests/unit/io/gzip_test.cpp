#include "io/gzip.hpp"

#include <gtest/gtest.h>
#include <zlib.h>

namespace fairlead::io {
namespace {

struct AcceptCase {
  std::string name;
  std::string header;
  bool accepted;
};

class AcceptEncoding : public ::testing::TestWithParam<AcceptCase> {};

TEST_P(AcceptEncoding, IsReadAsRfc9110Says) {
  EXPECT_EQ(accepts_gzip(GetParam().header), GetParam().accepted);
}

INSTANTIATE_TEST_SUITE_P(
    Gzip, AcceptEncoding,
    ::testing::Values(AcceptCase{"None", "", false}, AcceptCase{"Gzip", "gzip", true},
                      AcceptCase{"AnyCase", "GZip", true},
                      AcceptCase{"AmongOthers", "deflate, gzip;q=0.5, br", true},
                      AcceptCase{"Others", "deflate, br", false},
                      AcceptCase{"PartOfAName", "xgzip, gzipx", false},
                      AcceptCase{"Refused", "gzip;q=0", false},
                      AcceptCase{"RefusedInFull", "gzip; q=0.000", false},
                      AcceptCase{"Little", "gzip;q=0.001", true}, AcceptCase{"Anything", "*", true},
                      AcceptCase{"AnythingElse", "*, gzip;q=0", false},
                      AcceptCase{"NothingElse", "gzip, *;q=0", true},
                      AcceptCase{"Commas", ",,gzip,", true}),
    [](const auto& one) { return one.param.name; });

std::string gunzip(std::string_view packed, std::size_t size) {
  std::string out(size + 1, '\0');
  z_stream stream{};
  EXPECT_EQ(inflateInit2(&stream, 15 + 16), Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(inflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  inflateEnd(&stream);
  return out;
}

TEST(Gzip, IsUndoneByOthers) {
  std::string noise;
  unsigned state = 1;
  for (int i = 0; i < 300'000; ++i) {
    state = state * 1'664'525U + 1'013'904'223U;
    noise += static_cast<char>(state >> 24U);
  }
  for (const std::string& text : {std::string(), std::string(1'000'000, 'a'), noise}) {
    EXPECT_EQ(gunzip(gzip(text), text.size()), text);
  }
}

TEST(Gzip, MakesRepetitionSmall) {
  std::string list;
  for (int i = 0; i < 1000; ++i)
    list += fmt::format(R"({{"metadata":{{"name":"service-{}","namespace":"default"}}}},)", i);
  EXPECT_LT(gzip(list).size(), list.size() / 8);
}

}  // namespace
}  // namespace fairlead::io
