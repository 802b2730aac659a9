// The client's side of an HTTP/2 connection, for tests: nghttp2's client, bytes in and bytes out.
// It asks for more than a well-behaved client would (the server's limits do not hold it back) and
// opens its windows only when told to.
#pragma once

#include <nghttp2/nghttp2.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "io/http.hpp"

namespace fairlead::io::testing {

struct Http2PeerOptions {
  std::uint32_t window = 1 << 20;  // of each stream
  bool reads = true;               // gives windows back as data comes
};

class Http2Peer {
 public:
  using StreamId = std::int32_t;
  struct Answer {
    unsigned status = 0;
    HttpHeaders headers;
    std::string body;
    bool ended = false;                  // by the server, in order
    std::optional<std::uint32_t> reset;  // error code of RST_STREAM
    std::vector<unsigned> interim;       // statuses 1xx
  };
  using Options = Http2PeerOptions;

  explicit Http2Peer(Options options = {}) {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_option* option = nullptr;
    nghttp2_option_new(&option);
    if (!options.reads) nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_peer_max_concurrent_streams(option, 1 << 20);
    nghttp2_session* session = nullptr;
    nghttp2_session_client_new2(&session, callbacks, this, option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    session_.reset(session);
    const nghttp2_settings_entry window{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, options.window};
    nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, &window, 1);
  }
  Http2Peer(const Http2Peer&) = delete;
  Http2Peer& operator=(const Http2Peer&) = delete;

  // Begins a request; with a body that is sent with it and, unless `whole`, never ends.
  StreamId ask(std::string_view method, std::string_view path, std::string body = {},
               HttpHeaders headers = {}, bool whole = true) {
    HttpHeaders all{{":method", std::string(method)},
                    {":path", std::string(path)},
                    {":scheme", "https"},
                    {":authority", "api.example"}};
    all.insert(all.end(), headers.begin(), headers.end());
    std::vector<nghttp2_nv> fields;
    for (auto& [name, value] : all)
      fields.push_back({reinterpret_cast<std::uint8_t*>(name.data()),
                        reinterpret_cast<std::uint8_t*>(value.data()), name.size(), value.size(),
                        NGHTTP2_NV_FLAG_NONE});
    auto& sending =
        *sending_.emplace_back(std::make_unique<Sending>(Sending{std::move(body), 0, whole}));
    nghttp2_data_provider provider{};
    provider.source.ptr = &sending;
    provider.read_callback = on_wanted;
    const bool plain = sending.body.empty() && whole;
    const StreamId id = nghttp2_submit_request(session_.get(), nullptr, fields.data(),
                                               fields.size(), plain ? nullptr : &provider, nullptr);
    check(id > 0, "submit a request");
    answers_[id];
    return id;
  }
  void reset(StreamId id) {
    nghttp2_submit_rst_stream(session_.get(), NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
  }
  void take(StreamId id, std::size_t bytes) {  // gives a window back by hand
    nghttp2_session_consume(session_.get(), id, bytes);
  }

  std::string output() {
    std::string out;
    const std::uint8_t* bytes = nullptr;
    ssize_t size = 0;
    while ((size = nghttp2_session_mem_send(session_.get(), &bytes)) > 0)
      out.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
    return out;
  }
  // False when the server does not speak HTTP/2.
  bool receive(std::string_view bytes) {
    return nghttp2_session_mem_recv(session_.get(),
                                    reinterpret_cast<const std::uint8_t*>(bytes.data()),
                                    bytes.size()) == static_cast<ssize_t>(bytes.size());
  }
  const Answer& answer(StreamId id) { return answers_[id]; }
  const std::optional<std::uint32_t>& farewell() const { return farewell_; }  // of GOAWAY
  std::map<std::int32_t, std::uint32_t> settings() const { return settings_; }

 private:
  struct Sending {
    std::string body;
    std::size_t sent = 0;
    bool whole = true;
  };
  struct Delete {
    void operator()(nghttp2_session* session) const { nghttp2_session_del(session); }
  };

  static Http2Peer& of(void* user_data) { return *static_cast<Http2Peer*>(user_data); }
  static int on_header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name,
                       std::size_t name_size, const std::uint8_t* value, std::size_t value_size,
                       std::uint8_t, void* user_data) {
    Answer& answer = of(user_data).answers_[frame->hd.stream_id];
    const std::string_view key(reinterpret_cast<const char*>(name), name_size);
    const std::string text(reinterpret_cast<const char*>(value), value_size);
    if (key != ":status") {
      answer.headers.push_back({std::string(key), text});
    } else if (text.starts_with('1')) {
      answer.interim.push_back(static_cast<unsigned>(std::stoul(text)));
    } else {
      answer.status = static_cast<unsigned>(std::stoul(text));
    }
    return 0;
  }
  static int on_data(nghttp2_session*, std::uint8_t, StreamId id, const std::uint8_t* bytes,
                     std::size_t size, void* user_data) {
    of(user_data).answers_[id].body.append(reinterpret_cast<const char*>(bytes), size);
    return 0;
  }
  static int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    Http2Peer& self = of(user_data);
    const auto id = frame->hd.stream_id;
    if (frame->hd.type == NGHTTP2_RST_STREAM)
      self.answers_[id].reset = frame->rst_stream.error_code;
    if (frame->hd.type == NGHTTP2_GOAWAY) self.farewell_ = frame->goaway.error_code;
    if ((frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) &&
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
      self.answers_[id].ended = true;
    if (frame->hd.type == NGHTTP2_SETTINGS)
      for (std::size_t i = 0; i < frame->settings.niv; ++i)
        self.settings_[frame->settings.iv[i].settings_id] = frame->settings.iv[i].value;
    return 0;
  }
  static ssize_t on_wanted(nghttp2_session*, StreamId, std::uint8_t* into, std::size_t room,
                           std::uint32_t* flags, nghttp2_data_source* source, void*) {
    auto& sending = *static_cast<Sending*>(source->ptr);
    const std::size_t n = sending.body.copy(reinterpret_cast<char*>(into), room, sending.sent);
    sending.sent += n;
    if (sending.sent < sending.body.size()) return static_cast<ssize_t>(n);
    if (sending.whole) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
    } else if (n == 0) {
      return NGHTTP2_ERR_DEFERRED;
    }
    return static_cast<ssize_t>(n);
  }

  std::unique_ptr<nghttp2_session, Delete> session_;
  std::vector<std::unique_ptr<Sending>> sending_;
  std::map<StreamId, Answer> answers_;
  std::map<std::int32_t, std::uint32_t> settings_;
  std::optional<std::uint32_t> farewell_;
};

}  // namespace fairlead::io::testing
