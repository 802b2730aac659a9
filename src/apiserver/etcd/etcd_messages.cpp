#include "apiserver/etcd/etcd_messages.hpp"

#include <algorithm>
#include <map>
#include <set>

namespace fairlead::apiserver::etcd {
namespace {

constexpr std::size_t kMost = 120;   // compares or operations, with room for one more
constexpr std::size_t kFew = 8;      // keys of one folder that are still asked for one by one
constexpr std::size_t kInside = 64;  // operations of a transaction inside of another

std::string folder_of(const std::string& key) { return key.substr(0, key.rfind('/') + 1); }

bool is_deleted(const StoreTransaction& transaction, const std::string& key) {
  return std::ranges::any_of(transaction.operations, [&key](const Operation& operation) {
    return operation.value == nullptr && operation.key == key;
  });
}

// Folders that are asked about as a whole.
std::set<std::string> crowded_folders(const StoreTransaction& transaction) {
  std::set<std::string> out;
  if (transaction.compares.size() <= kMost) return out;
  std::map<std::string, std::size_t> keys;
  for (const Compare& compare : transaction.compares) {
    const std::string folder = folder_of(compare.key);
    if (++keys[folder] > kFew) out.insert(folder);
  }
  return out;
}

void add_operation(pb::TxnRequest& request, const Operation& operation) {
  pb::RequestOp& out = *request.add_success();
  if (operation.value == nullptr) {
    out.mutable_request_delete_range()->set_key(operation.key);
    return;
  }
  out.mutable_request_put()->set_key(operation.key);
  out.mutable_request_put()->set_value(*operation.value);
}

}  // namespace

KeyValue key_value(pb::KeyValue& from) {
  return {.key = std::move(*from.mutable_key()),
          .value = std::make_shared<const std::string>(std::move(*from.mutable_value())),
          .create_revision = static_cast<Revision>(from.create_revision()),
          .mod_revision = static_cast<Revision>(from.mod_revision())};
}

StoreEvent store_event(pb::Event& from) {
  KeyValue kv = key_value(*from.mutable_kv());
  const bool put = from.type() == pb::Event::PUT;
  return {.key = std::move(kv.key),
          .value = put ? std::move(kv.value) : nullptr,
          .revision = kv.mod_revision,
          .create_revision = put ? kv.create_revision : 0};
}

bool changes_nothing(const StoreTransaction& transaction, const Operation& operation) {
  return operation.value == nullptr &&
         std::ranges::any_of(transaction.compares, [&operation](const Compare& compare) {
           return compare.key == operation.key && compare.mod_revision == 0;
         });
}

Commit::Commit(const StoreTransaction& transaction, Revision known, const Revisions& keys)
    : known_(known) {
  const std::set<std::string> crowded = crowded_folders(transaction);
  std::set<std::string> asked;
  for (const Compare& compare : transaction.compares) {
    std::string folder = folder_of(compare.key);
    // A folder does not tell that one of its keys is gone.
    const bool told = compare.mod_revision == 0 || is_deleted(transaction, compare.key);
    const auto held = keys.find(compare.key);
    const bool as_known = (held == keys.end() ? 0 : held->second) == compare.mod_revision;
    if (stale_.empty() && !as_known) stale_ = compare.key;
    if (!crowded.contains(folder) || !told || !as_known) {
      asked_.push_back({.key = compare.key, .mod_revision = compare.mod_revision});
    } else if (asked.insert(folder).second) {
      asked_.push_back({.key = std::move(folder), .is_folder = true});
    }
  }
  if (asked_.size() <= kMost) stale_.clear();
  for (const Operation& operation : transaction.operations) {
    if (!changes_nothing(transaction, operation)) operations_.push_back(&operation);
  }
}

pb::TxnRequest Commit::request() const {
  pb::TxnRequest out;
  for (const Asked& asked : asked_) {
    pb::Compare& compare = *out.add_compare();
    compare.set_target(pb::Compare::MOD);
    compare.set_key(asked.key);
    // Which key it was that failed:
    pb::RangeRequest& found = *out.add_failure()->mutable_request_range();
    found.set_key(asked.key);
    found.set_keys_only(true);
    if (!asked.is_folder) {
      compare.set_result(pb::Compare::EQUAL);
      compare.set_mod_revision(static_cast<std::int64_t>(asked.mod_revision));
      continue;
    }
    compare.set_result(pb::Compare::LESS);
    compare.set_mod_revision(static_cast<std::int64_t>(known_) + 1);
    compare.set_range_end(prefix_end(asked.key));
    found.set_range_end(prefix_end(asked.key));
    found.set_min_mod_revision(static_cast<std::int64_t>(known_) + 1);
    found.set_limit(1);
  }
  if (operations_.size() <= kMost) {
    for (const Operation* operation : operations_) add_operation(out, *operation);
  } else {
    pb::TxnRequest* inside = nullptr;
    for (std::size_t i = 0; i < operations_.size(); ++i) {
      if (i % kInside == 0) inside = out.add_success()->mutable_request_txn();
      add_operation(*inside, *operations_[i]);
    }
  }
  return out;
}

bool Commit::only_deletes() const {
  return std::ranges::all_of(
      operations_, [](const Operation* operation) { return operation->value == nullptr; });
}

std::string Commit::conflict(const pb::TxnResponse& response) const {
  for (std::size_t i = 0; i < asked_.size(); ++i) {
    const auto& found = response.responses(static_cast<int>(i)).response_range();
    const Revision now =
        found.kvs_size() > 0 ? static_cast<Revision>(found.kvs(0).mod_revision()) : 0;
    if (asked_[i].is_folder ? now > known_ : now != asked_[i].mod_revision)
      return asked_[i].is_folder ? found.kvs(0).key() : asked_[i].key;
  }
  return {};
}

}  // namespace fairlead::apiserver::etcd
