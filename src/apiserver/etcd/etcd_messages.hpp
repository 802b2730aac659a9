// What the Store speaks of in etcd's messages, and back. Values only. Private to EtcdStore, which
// see.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "apiserver/store/store.hpp"
#include "etcd.pb.h"

namespace fairlead::apiserver::etcd {

namespace pb = etcdserverpb;

using Revisions = std::map<std::string, Revision, std::less<>>;  // mod_revision by key

// Both take what they need out of the message.
KeyValue key_value(pb::KeyValue& from);
StoreEvent store_event(pb::Event& from);

// A transaction as etcd takes it: at most 128 compares, and as many operations. One with more,
// such as of a Service with hundreds of node ports, is said in another way:
//  - Operations are put into transactions inside of it.
//  - For many keys of one folder one compare stands: that nothing in the folder is newer than
//    `known`, the revision up to which the caller knows everything. It stands for keys that are as
//    they must be by what is known, and that must not be there or are deleted anyway. What others
//    write elsewhere in that folder makes it fail in vain; the caller looks again then.
class Commit {
 public:
  // Every delete has its compare. `keys`: all there are at `known`, or later.
  Commit(const StoreTransaction& transaction, Revision known, const Revisions& keys);

  // A key that is not as it must be by what is known, where there are too many to ask for one by
  // one: the commit fails without being asked. Empty else.
  const std::string& stale() const { return stale_; }
  // There is room in it for one operation more.
  pb::TxnRequest request() const;
  bool writes() const { return !operations_.empty(); }
  bool only_deletes() const;
  // Of the answer to a request whose compares failed: the key of one that did.
  std::string conflict(const pb::TxnResponse& response) const;

 private:
  struct Asked {
    std::string key;  // or a folder, which ends with '/'
    Revision mod_revision = 0;
    bool is_folder = false;
  };
  std::vector<Asked> asked_;
  std::vector<const Operation*> operations_;  // of the transaction, which outlives this
  Revision known_;
  std::string stale_;
};

// A delete of a key that is known to be absent.
bool changes_nothing(const StoreTransaction& transaction, const Operation& operation);

}  // namespace fairlead::apiserver::etcd
