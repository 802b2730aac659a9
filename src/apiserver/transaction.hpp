// PendingTransaction: the Transaction that strategies write into while a request is prepared. Reads
// come from the caches, and every key read or written is guarded by the revision it was seen at, so
// that the whole can be handed to the store as one compare-and-swap. Nothing has happened until it
// is committed; dropping it (dry run, a failed validation) undoes all.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "apiserver/store/store.hpp"
#include "apiserver/strategy.hpp"

namespace fairlead::apiserver {

// Where the current state of any key is found: the caches.
class StateReader {
 public:
  struct State {
    Revision revision = 0;  // 0 = does not exist
    SharedBytes json;       // may contain metadata.resourceVersion; null = it cannot be read
  };
  virtual ~StateReader() = default;
  virtual State read(std::string_view key) const = 0;
  virtual void for_each_key(std::string_view prefix,
                            const std::function<bool(std::string_view)>& each) const = 0;
};

class PendingTransaction final : public Transaction {
 public:
  PendingTransaction(const StateReader& state, WallTime now) : state_(state), now_(now) {}

  bool exists(std::string_view key) override;
  std::optional<Document> get(std::string_view key) override;
  void for_each_key(std::string_view prefix,
                    const std::function<bool(std::string_view)>& each) override;
  void put(std::string_view key, Document value) override;
  void remove(std::string_view key) override;
  void create_object(const ResourceInfo& info, Document object) override;

  // Asks that the key still has this revision at commit.
  void expect(std::string_view key, Revision revision);
  // Operations in the order they were first made.
  StoreTransaction build() const;

 private:
  struct Write {
    std::string key;
    std::optional<Document> value;  // nullopt = delete
  };
  Write* find_write(std::string_view key);
  void write(std::string_view key, std::optional<Document> value);
  StateReader::State read_guarded(std::string_view key);

  const StateReader& state_;
  WallTime now_;
  std::map<std::string, Revision, std::less<>> expected_;
  std::vector<Write> writes_;
};

// The bytes an object is stored as: everything but metadata.resourceVersion, which is the key's
// revision.
SharedBytes stored_bytes(const Document& document);

}  // namespace fairlead::apiserver
