#include "io/http2_session.hpp"

#include <fmt/format.h>
#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <map>
#include <utility>

#include "io/http_wire.hpp"

namespace fairlead::io {

namespace {

using StreamId = Http2Session::StreamId;
using SessionOwner = std::unique_ptr<nghttp2_session, decltype(&nghttp2_session_del)>;
using CallbacksOwner =
    std::unique_ptr<nghttp2_session_callbacks, decltype(&nghttp2_session_callbacks_del)>;
using OptionOwner = std::unique_ptr<nghttp2_option, decltype(&nghttp2_option_del)>;

constexpr std::size_t kFieldOverhead = 32;  // of a field in a list's size, RFC 9113 6.5.2
// What a peer may send before it hears that we took it.
constexpr std::uint32_t kStreamWindow = 256 * 1024;
constexpr std::int32_t kConnectionWindow = 1024 * 1024;

std::string_view text_of(const std::uint8_t* bytes, std::size_t size) {
  return {reinterpret_cast<const char*>(bytes), size};
}

// nghttp2 takes pointers to what it only reads.
std::uint8_t* bytes_of(const std::string& text) {
  return reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data()));
}

nghttp2_error_code code_of(Http2Session::Reset why) {
  switch (why) {
    case Http2Session::Reset::Cancel:
      return NGHTTP2_CANCEL;
    case Http2Session::Reset::InternalError:
      return NGHTTP2_INTERNAL_ERROR;
    case Http2Session::Reset::RefusedStream:
      return NGHTTP2_REFUSED_STREAM;
  }
  return NGHTTP2_INTERNAL_ERROR;
}

// One request and its answer.
struct Stream {
  enum class Input { Arriving, Whole, Refused };

  Input input = Input::Arriving;
  HttpRequest request;
  std::string authority;
  std::size_t head_size = 0;
  Deadline due;  // while Arriving

  std::deque<Http2Session::Part> parts;  // of the answer, not yet framed
  std::size_t offset = 0;                // into the first part
  std::size_t unsent = 0;                // bytes of all parts from there on
  bool ended = false;                    // nothing will be appended
};

}  // namespace

struct Http2Session::Impl {
  explicit Impl(const HttpLimits& l) : limits(l), session(nullptr, &nghttp2_session_del) {}

  HttpLimits limits;
  SessionOwner session;
  std::map<StreamId, Stream> streams;
  std::vector<Incoming> incoming;
  std::vector<StreamId> changed;
  std::map<StreamId, std::size_t> bodies;  // bytes held by requests, until released
  std::size_t held = 0;
  Deadline now;

  Stream* find(StreamId id) {
    const auto found = streams.find(id);
    return found == streams.end() ? nullptr : &found->second;
  }

  void hold(StreamId id, std::size_t bytes) {
    bodies[id] += bytes;
    held += bytes;
  }
  void release(StreamId id) {
    const auto found = bodies.find(id);
    if (found == bodies.end()) return;
    held -= found->second;
    bodies.erase(found);
  }

  void reset(StreamId id, nghttp2_error_code code) {
    // Fails only without memory, or for a stream that never was.
    static_cast<void>(nghttp2_submit_rst_stream(session.get(), NGHTTP2_FLAG_NONE, id,
                                                static_cast<std::uint32_t>(code)));
  }

  // The rest of the request is read and dropped.
  void refuse(StreamId id, Stream& stream, unsigned status, std::string reason) {
    stream.input = Stream::Input::Refused;
    stream.request = {};
    release(id);
    incoming.push_back({.id = id, .request = {}, .refusal = status, .reason = std::move(reason)});
  }

  void begin(StreamId id) {
    streams[id].due =
        now > kNoDeadline - limits.header_timeout ? kNoDeadline : now + limits.header_timeout;
  }

  void take_field(StreamId id, Stream& stream, std::string_view name, std::string_view value) {
    if (stream.input != Stream::Input::Arriving) return;
    stream.head_size += name.size() + value.size() + kFieldOverhead;
    if (stream.head_size > limits.header_bytes)
      return refuse(id, stream, 431, "the request's header is too large");
    HttpRequest& request = stream.request;
    if (name == ":method") {
      request.method = value;
    } else if (name == ":path") {
      request.target = value;
    } else if (name == ":authority") {
      stream.authority = value;
    } else if (!name.starts_with(':')) {
      request.headers.push_back({.name = std::string(name), .value = std::string(value)});
    }
  }

  void take_body(StreamId id, Stream& stream, std::string_view bytes) {
    if (stream.input != Stream::Input::Arriving) return;
    if (stream.request.body.size() + bytes.size() > limits.body_bytes)
      return refuse(id, stream, 413, "the request's body is too large");
    if (held + bytes.size() > kMostBodies * limits.body_bytes) {
      // Nothing has been done for it: the peer may send it again when others are answered.
      stream.input = Stream::Input::Refused;
      return reset(id, NGHTTP2_REFUSED_STREAM);
    }
    hold(id, bytes.size());
    stream.request.body += bytes;
  }

  void head_ended(StreamId id, Stream& stream) {
    if (stream.input != Stream::Input::Arriving) return;
    const auto expects = find_header(stream.request.headers, "Expect");
    if (expects && *expects == "100-continue") {
      submit_head(id, {{.name = ":status", .value = "100"}}, false, false);
    }
  }

  void request_ended(StreamId id, Stream& stream) {
    if (stream.input != Stream::Input::Arriving) return;
    HttpRequest& request = stream.request;
    auto target = origin_form(request.target);
    if (request.method == "CONNECT" || !target)
      return refuse(id, stream, 400,
                    fmt::format("request target \"{}\" is not a path", request.target));
    request.target = *std::move(target);
    if (!find_header(request.headers, "Host")) {
      if (stream.authority.empty()) return refuse(id, stream, 400, "the authority is missing");
      request.headers.push_back({.name = "Host", .value = stream.authority});
    }
    stream.input = Stream::Input::Whole;
    incoming.push_back({.id = id, .request = std::move(request)});
    stream.request = {};
  }

  void closed(StreamId id) {
    const auto found = streams.find(id);
    if (found == streams.end()) return;
    // What was handed out is released by its owner.
    if (found->second.input != Stream::Input::Whole) release(id);
    streams.erase(found);
    changed.push_back(id);
  }

  // Up to `room` bytes of the answer's body.
  ssize_t frame_body(StreamId id, std::uint8_t* into, std::size_t room, std::uint32_t* flags) {
    Stream* stream = find(id);
    if (stream == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    std::size_t size = 0;
    while (size < room && !stream->parts.empty()) {
      const std::string& part = *stream->parts.front();
      const std::size_t n = std::min(room - size, part.size() - stream->offset);
      if (n > 0) std::memcpy(into + size, part.data() + stream->offset, n);
      size += n;
      stream->offset += n;
      if (stream->offset < part.size()) break;
      stream->parts.pop_front();
      stream->offset = 0;
    }
    stream->unsent -= size;
    if (stream->unsent == 0) {
      if (size > 0) changed.push_back(id);
      if (stream->ended) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
      } else if (size == 0) {
        return NGHTTP2_ERR_DEFERRED;
      }
    }
    return static_cast<ssize_t>(size);
  }

  // An answer's head, or the interim one of status 100.
  void submit_head(StreamId id, const HttpHeaders& head, bool final, bool has_body) {
    std::vector<nghttp2_nv> fields;
    fields.reserve(head.size());
    for (const auto& [name, value] : head)
      fields.push_back({.name = bytes_of(name),
                        .value = bytes_of(value),
                        .namelen = name.size(),
                        .valuelen = value.size(),
                        .flags = NGHTTP2_NV_FLAG_NONE});
    // Both fail only without memory; the stream then stays unanswered until its peer gives up.
    if (!final) {
      static_cast<void>(nghttp2_submit_headers(session.get(), NGHTTP2_FLAG_NONE, id, nullptr,
                                               fields.data(), fields.size(), nullptr));
      return;
    }
    const nghttp2_data_provider body{.source = {.ptr = nullptr}, .read_callback = on_body_wanted};
    static_cast<void>(nghttp2_submit_response(session.get(), id, fields.data(), fields.size(),
                                              has_body ? &body : nullptr));
  }

  // nghttp2's callbacks. Nothing is handed out from here: nghttp2 must not be called again while it
  // calls.
  static Impl& of(void* user_data) { return *static_cast<Impl*>(user_data); }
  static bool begins_request(const nghttp2_frame& frame) {
    return frame.hd.type == NGHTTP2_HEADERS && frame.headers.cat == NGHTTP2_HCAT_REQUEST;
  }
  static bool ends_stream(const nghttp2_frame& frame) {
    return (frame.hd.type == NGHTTP2_HEADERS || frame.hd.type == NGHTTP2_DATA) &&
           (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  }

  static int on_begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    if (begins_request(*frame)) of(user_data).begin(frame->hd.stream_id);
    return 0;
  }
  static int on_header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name,
                       std::size_t name_size, const std::uint8_t* value, std::size_t value_size,
                       std::uint8_t, void* user_data) {
    if (!begins_request(*frame)) return 0;  // a trailer
    Stream* stream = of(user_data).find(frame->hd.stream_id);
    if (stream != nullptr)
      of(user_data).take_field(frame->hd.stream_id, *stream, text_of(name, name_size),
                               text_of(value, value_size));
    return 0;
  }
  static int on_frame_received(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    Stream* stream = of(user_data).find(frame->hd.stream_id);
    if (stream == nullptr) return 0;
    if (ends_stream(*frame)) {
      of(user_data).request_ended(frame->hd.stream_id, *stream);
    } else if (begins_request(*frame)) {
      of(user_data).head_ended(frame->hd.stream_id, *stream);
    }
    return 0;
  }
  static int on_data(nghttp2_session*, std::uint8_t, StreamId id, const std::uint8_t* bytes,
                     std::size_t size, void* user_data) {
    Stream* stream = of(user_data).find(id);
    if (stream != nullptr) of(user_data).take_body(id, *stream, text_of(bytes, size));
    return 0;
  }
  static int on_frame_sent(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    const Stream* stream = of(user_data).find(frame->hd.stream_id);
    // Answered before it was whole: the peer need not send the rest (RFC 9113 8.1).
    if (stream != nullptr && ends_stream(*frame) && stream->input == Stream::Input::Refused)
      of(user_data).reset(frame->hd.stream_id, NGHTTP2_NO_ERROR);
    return 0;
  }
  static int on_stream_closed(nghttp2_session*, StreamId id, std::uint32_t, void* user_data) {
    of(user_data).closed(id);
    return 0;
  }
  static ssize_t on_body_wanted(nghttp2_session*, StreamId id, std::uint8_t* into, std::size_t room,
                                std::uint32_t* flags, nghttp2_data_source*, void* user_data) {
    return of(user_data).frame_body(id, into, room, flags);
  }

  void open_session();
};

void Http2Session::Impl::open_session() {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_option* option = nullptr;
  check(nghttp2_session_callbacks_new(&callbacks) == 0 && nghttp2_option_new(&option) == 0,
        "memory for an HTTP/2 session");
  const CallbacksOwner callbacks_owner(callbacks, &nghttp2_session_callbacks_del);
  const OptionOwner option_owner(option, &nghttp2_option_del);
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_received);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
  nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_closed);
  nghttp2_option_set_no_closed_streams(option, 1);  // they served priorities, which we have not

  nghttp2_session* opened = nullptr;
  check(nghttp2_session_server_new2(&opened, callbacks, this, option) == 0,
        "memory for an HTTP/2 session");
  session.reset(opened);
  const std::array settings{
      nghttp2_settings_entry{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
                             static_cast<std::uint32_t>(kMostStreams)},
      nghttp2_settings_entry{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
                             static_cast<std::uint32_t>(limits.header_bytes)},
      nghttp2_settings_entry{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kStreamWindow}};
  check(nghttp2_submit_settings(opened, NGHTTP2_FLAG_NONE, settings.data(), settings.size()) == 0 &&
            nghttp2_session_set_local_window_size(opened, NGHTTP2_FLAG_NONE, 0,
                                                  kConnectionWindow) == 0,
        "the settings of an HTTP/2 session");
}

Http2Session::Http2Session(const HttpLimits& limits) : impl_(std::make_unique<Impl>(limits)) {
  impl_->open_session();
}
Http2Session::~Http2Session() = default;

Result<void> Http2Session::receive(std::string_view bytes, Deadline now) {
  impl_->now = now;
  const auto* begin = reinterpret_cast<const std::uint8_t*>(bytes.data());
  const ssize_t taken = nghttp2_session_mem_recv(impl_->session.get(), begin, bytes.size());
  if (taken >= 0) return {};
  return make_error(ErrorCode::BadRequest, "HTTP/2: {}", nghttp2_strerror(static_cast<int>(taken)));
}

std::vector<Http2Session::Incoming> Http2Session::take_incoming() {
  return std::exchange(impl_->incoming, {});
}

void Http2Session::head(StreamId id, const HttpHeaders& head, bool ends) {
  if (!open(id)) return;
  impl_->find(id)->ended = ends;
  impl_->submit_head(id, head, true, !ends);
}

void Http2Session::append(StreamId id, Part part) {
  Stream* stream = impl_->find(id);
  if (stream == nullptr || stream->ended || part->empty()) return;
  stream->unsent += part->size();
  stream->parts.push_back(std::move(part));
  // Fails when the stream was not waiting for more.
  static_cast<void>(nghttp2_session_resume_data(impl_->session.get(), id));
}

void Http2Session::end(StreamId id) {
  Stream* stream = impl_->find(id);
  if (stream == nullptr || stream->ended) return;
  stream->ended = true;
  static_cast<void>(nghttp2_session_resume_data(impl_->session.get(), id));
}

void Http2Session::reset(StreamId id, Reset why) {
  if (open(id)) impl_->reset(id, code_of(why));
}

void Http2Session::release(StreamId id) { impl_->release(id); }

bool Http2Session::open(StreamId id) const { return impl_->streams.contains(id); }

std::size_t Http2Session::unsent(StreamId id) const {
  const Stream* stream = impl_->find(id);
  return stream == nullptr ? 0 : stream->unsent;
}

std::vector<StreamId> Http2Session::take_changed() { return std::exchange(impl_->changed, {}); }

std::size_t Http2Session::streams() const { return impl_->streams.size(); }

std::string Http2Session::output(std::size_t enough) {
  std::string out;
  while (out.size() < enough) {
    const std::uint8_t* bytes = nullptr;
    const ssize_t size = nghttp2_session_mem_send(impl_->session.get(), &bytes);
    if (size <= 0) break;  // nothing now, or no memory
    out += text_of(bytes, static_cast<std::size_t>(size));
  }
  return out;
}

bool Http2Session::finished() const {
  return nghttp2_session_want_read(impl_->session.get()) == 0 &&
         nghttp2_session_want_write(impl_->session.get()) == 0;
}

void Http2Session::go_away() {
  static_cast<void>(nghttp2_session_terminate_session(impl_->session.get(), NGHTTP2_NO_ERROR));
}

Deadline Http2Session::next_due() const {
  Deadline first = kNoDeadline;
  for (const auto& [id, stream] : impl_->streams)
    if (stream.input == Stream::Input::Arriving) first = std::min(first, stream.due);
  return first;
}

void Http2Session::expire(Deadline now) {
  for (auto& [id, stream] : impl_->streams) {
    if (stream.input != Stream::Input::Arriving || stream.due > now) continue;
    stream.input = Stream::Input::Refused;
    stream.request = {};
    impl_->release(id);
    impl_->reset(id, NGHTTP2_CANCEL);
  }
}

}  // namespace fairlead::io
