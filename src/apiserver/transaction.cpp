#include "apiserver/transaction.hpp"

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "apiserver/metadata.hpp"

namespace fairlead::apiserver {

SharedBytes stored_bytes(const Document& document) {
  return std::make_shared<const std::string>(boost::json::serialize(document));
}

PendingTransaction::Write* PendingTransaction::find_write(std::string_view key) {
  const auto found = std::ranges::find(writes_, key, &Write::key);
  return found == writes_.end() ? nullptr : &*found;
}

StateReader::State PendingTransaction::read_guarded(std::string_view key) {
  StateReader::State state = state_.read(key);
  expected_.try_emplace(std::string(key), state.revision);
  return state;
}

bool PendingTransaction::exists(std::string_view key) {
  if (const Write* mine = find_write(key)) return mine->value.has_value();
  return read_guarded(key).revision != 0;
}

std::optional<Document> PendingTransaction::get(std::string_view key) {
  if (const Write* mine = find_write(key)) return mine->value;
  const StateReader::State state = read_guarded(key);
  if (state.revision == 0 || state.json == nullptr) return std::nullopt;
  boost::json::error_code failed;
  boost::json::value value = boost::json::parse(*state.json, failed);
  if (failed || !value.is_object()) return std::nullopt;  // a raw document may be anything
  if (auto* metadata = value.get_object().if_contains("metadata");
      metadata != nullptr && metadata->is_object()) {
    metadata->get_object().erase("resourceVersion");
  }
  return std::move(value.get_object());
}

void PendingTransaction::for_each_key(std::string_view prefix,
                                      const std::function<bool(std::string_view)>& each) {
  std::vector<std::string> keys;
  state_.for_each_key(prefix, [&keys](std::string_view key) {
    keys.emplace_back(key);
    return true;
  });
  for (const Write& write : writes_) {
    if (!write.key.starts_with(prefix)) continue;
    const auto place = std::ranges::lower_bound(keys, write.key);
    const bool listed = place != keys.end() && *place == write.key;
    if (write.value && !listed) keys.insert(place, write.key);
    if (!write.value && listed) keys.erase(place);
  }
  for (const std::string& key : keys) {
    if (!each(key)) return;
  }
}

void PendingTransaction::write(std::string_view key, std::optional<Document> value) {
  if (Write* mine = find_write(key)) {
    mine->value = std::move(value);
    return;
  }
  read_guarded(key);
  writes_.push_back({.key = std::string(key), .value = std::move(value)});
}

void PendingTransaction::put(std::string_view key, Document value) { write(key, std::move(value)); }

void PendingTransaction::remove(std::string_view key) { write(key, std::nullopt); }

void PendingTransaction::create_object(const ResourceInfo& info, Document object) {
  Document& metadata = ensure_object(object, "metadata");
  if (string_at(metadata, "uid").empty()) metadata["uid"] = new_uid();
  if (string_at(metadata, "creationTimestamp").empty())
    metadata["creationTimestamp"] = format_rfc3339(now_);
  const std::string key =
      info.storage_key(string_at(metadata, "namespace"), string_at(metadata, "name"));
  expected_.insert_or_assign(key, Revision{0});
  write(key, std::move(object));
}

void PendingTransaction::expect(std::string_view key, Revision revision) {
  expected_.insert_or_assign(std::string(key), revision);
}

StoreTransaction PendingTransaction::build() const {
  StoreTransaction out;
  for (const auto& [key, revision] : expected_)
    out.compares.push_back({.key = key, .mod_revision = revision});
  for (const Write& write : writes_) {
    out.operations.push_back(
        {.key = write.key, .value = write.value ? stored_bytes(*write.value) : nullptr});
  }
  return out;
}

}  // namespace fairlead::apiserver
