// SQLite as two handles: a Database (one connection) and its prepared Statements. Errors are
// values; nothing throws. Used on one thread at a time. A Statement must die before its Database.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.hpp"

struct sqlite3;
struct sqlite3_stmt;

namespace fairlead::apiserver {

class Statement {
 public:
  // Parameters count from 1, columns from 0. Texts and blobs are not copied: they must live until
  // run/step is done.
  Statement& bind(int parameter, std::int64_t value);
  Statement& bind(int parameter, std::string_view text);
  Statement& bind_blob(int parameter, std::string_view bytes);
  Statement& bind_null(int parameter);

  // The next row (true) or the end (false). At the end and on an error the statement is reset for
  // its next use.
  Result<bool> step();
  // For statements without rows.
  Result<void> run();
  // Ends a row walk early.
  void reset();

  std::int64_t integer(int column) const;
  std::string_view text(int column) const;  // valid until the next step
  std::string_view blob(int column) const;
  bool is_null(int column) const;

 private:
  friend class Database;
  struct Finalizer {
    void operator()(sqlite3_stmt* statement) const;
  };
  explicit Statement(sqlite3_stmt* statement) : statement_(statement) {}
  std::unique_ptr<sqlite3_stmt, Finalizer> statement_;
};

class Database {
 public:
  // Makes the file if need be. ":memory:" is a database of its own.
  static Result<Database> open(const std::string& path);

  Result<void> execute(const char* sql);  // any number of statements, no rows
  Result<Statement> prepare(std::string_view sql);

 private:
  struct Closer {
    void operator()(sqlite3* handle) const;
  };
  explicit Database(sqlite3* handle) : handle_(handle) {}
  std::unique_ptr<sqlite3, Closer> handle_;
};

}  // namespace fairlead::apiserver
