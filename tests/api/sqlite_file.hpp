// A store of the API server as another program sees it: opened with nothing but SQLite.
#pragma once

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <map>
#include <string>

#include "base/error.hpp"

namespace fairlead::api_test {

using Objects = std::map<std::string, boost::json::value>;  // by key

class SqliteFile {
 public:
  explicit SqliteFile(const std::string& path,
                      int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE) {
    EXPECT_EQ(sqlite3_open_v2(path.c_str(), &handle_, flags, nullptr), SQLITE_OK) << path;
  }
  ~SqliteFile() { sqlite3_close(handle_); }
  SqliteFile(const SqliteFile&) = delete;
  SqliteFile& operator=(const SqliteFile&) = delete;

  Objects objects() {
    Objects out;
    sqlite3_stmt* rows = nullptr;
    EXPECT_EQ(sqlite3_prepare_v2(handle_, "SELECT live.key, value FROM live JOIN log USING (rev)",
                                 -1, &rows, nullptr),
              SQLITE_OK)
        << sqlite3_errmsg(handle_);
    const auto text = [rows](int column) {
      return std::string(static_cast<const char*>(sqlite3_column_blob(rows, column)),
                         static_cast<std::size_t>(sqlite3_column_bytes(rows, column)));
    };
    while (sqlite3_step(rows) == SQLITE_ROW) out.emplace(text(0), boost::json::parse(text(1)));
    sqlite3_finalize(rows);
    return out;
  }
  void copy_to(SqliteFile& copy) {
    sqlite3_backup* backup = sqlite3_backup_init(copy.handle_, "main", handle_, "main");
    ASSERT_NE(backup, nullptr) << sqlite3_errmsg(copy.handle_);
    EXPECT_EQ(sqlite3_backup_step(backup, -1), SQLITE_DONE);
    EXPECT_EQ(sqlite3_backup_finish(backup), SQLITE_OK);
  }

  // As if it had never been there.
  void forget(const std::string& key) {
    const std::string sql =
        fmt::format("DELETE FROM log WHERE key = '{0}'; DELETE FROM live WHERE key = '{0}'", key);
    EXPECT_EQ(sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
        << sqlite3_errmsg(handle_);
  }

 private:
  sqlite3* handle_ = nullptr;
};

}  // namespace fairlead::api_test
