// gzip (RFC 1952) as HTTP uses it for bodies (RFC 9110 8.4.1.3, 12.5.3). Pure; zlib stays in the
// .cpp.
#pragma once

#include <string>
#include <string_view>

namespace fairlead::io {

// Does an Accept-Encoding allow gzip? Of "gzip" and "*" the one that is named counts, and a weight
// of 0 refuses.
bool accepts_gzip(std::string_view accept_encoding);

// Quick rather than small: about 100 MB/s, a list of Services to a twelfth.
std::string gzip(std::string_view text);

}  // namespace fairlead::io
