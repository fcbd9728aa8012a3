#include "pronto/persist/sqlite.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "pronto/async/sync.hpp"
#include "pronto/async/system_loop.hpp"
#include "pronto/async/task_group.hpp"
#include "pronto/async/virtual_loop.hpp"
#include "pronto/persist/open.hpp"

namespace pronto::persist {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Kind = DatabaseError::Kind;

class Folder {
 public:
  Folder()
      : path_{std::filesystem::temp_directory_path() /
              ("pronto-persist-" + SystemRandom{}.url_safe_id(9))} {
    std::filesystem::create_directory(path_);
  }
  Folder(const Folder&) = delete;
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string file(const std::string& name = "rows.db") const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

/// Runs `task` on a real loop to its end.
void run_on(SystemLoop& loop, Task<> task) {
  std::exception_ptr error;
  TaskGroup group{loop, "test"};
  group.spawn([&loop, &error, task = std::move(task)]() mutable -> Task<> {
    try {
      co_await std::move(task);
    } catch (...) {  // rethrown to the test
      error = std::current_exception();
    }
    loop.stop();
  });
  loop.run();
  if (error) std::rethrow_exception(error);
}

class Sqlite : public testing::Test {
 protected:
  Sqlite() { open(); }

  void open() { open({.path = folder.file()}); }
  void open(SqliteDatabase::Options options) {
    options.has_threads = false;
    database.reset();
    database = std::make_unique<SqliteDatabase>(loop, options);
  }
  void make_table() {
    loop.run(
        database->migrate("test", {{1, "create table t (id integer primary key, text text)"}}));
  }
  Task<> insert(std::int64_t id) {
    return database->transact([id](Transaction& tx) -> Task<> {
      co_await tx.execute("insert into t values ($1, $2)", id, "a");
    });
  }
  std::vector<std::int64_t> ids() {
    std::vector<std::int64_t> found;
    for (const Row& row : loop.run(database->query("select id from t order by id"))) {
      found.push_back(row.integer(0));
    }
    return found;
  }
  /// Returns: the kind and the text of the error that `task` ends with.
  template <class T>
  std::pair<Kind, std::string> error_of(Task<T> task) {
    try {
      loop.run(std::move(task));
    } catch (const DatabaseError& error) {
      return {error.kind(), error.what()};
    }
    ADD_FAILURE() << "no error";
    return {};
  }

  Folder folder;
  VirtualLoop loop;
  std::unique_ptr<SqliteDatabase> database;
};

TEST_F(Sqlite, WhatACommittedTransactionWroteIsReadBack) {
  loop.run(database->migrate(
      "test", {{1, "create table v (i integer, r real, t text, b blob, n integer)"}}));
  loop.run(database->transact([](Transaction& tx) -> Task<> {
    const Rows none =
        co_await tx.execute("insert into v values ($1, $2, $3, $4, $5)", 7, 1.5, "päng",
                            to_bytes(std::string_view{"a\0b", 3}), std::optional<std::string>{});
    EXPECT_EQ(none.changed_count, 1);
  }));
  const Rows rows = loop.run(database->query("select i, r, t, b, n from v"));
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].integer(0), 7);
  EXPECT_EQ(rows[0].real(1), 1.5);
  EXPECT_EQ(rows[0].text(2), "päng");
  EXPECT_EQ(to_string(rows[0].bytes(3)), std::string("a\0b", 3));
  EXPECT_TRUE(rows[0].is_null(4));
  EXPECT_THROW(static_cast<void>(rows[0].text(0)), DatabaseError);
  EXPECT_THROW(static_cast<void>(rows[0].integer(5)), DatabaseError);
}

TEST_F(Sqlite, ParametersGoByTheirNumberNotByTheirPlace) {
  const Rows rows = loop.run(database->query("select $2, $1, $2", "one", "two"));
  EXPECT_EQ(rows[0].text(0) + rows[0].text(1) + rows[0].text(2), "twoonetwo");
}

TEST_F(Sqlite, WrongUseIsAUsageErrorThatNamesTheFileAndTheStatement) {
  make_table();
  const auto [kind, text] = error_of(database->query("select absent from t"));
  EXPECT_EQ(kind, Kind::usage);
  EXPECT_THAT(text, HasSubstr(folder.file()));
  EXPECT_THAT(text, HasSubstr("no such column: absent"));
  EXPECT_EQ(error_of(database->query("select $1")).first, Kind::usage);
  EXPECT_EQ(error_of(database->query("select ?", 1)).first, Kind::usage);
  EXPECT_EQ(error_of(database->query("select 1; select 2")).first, Kind::usage);
  EXPECT_EQ(error_of(database->query("")).first, Kind::usage);
  EXPECT_EQ(error_of(database->query("insert into t values (1, 'a')")).first, Kind::unavailable)
      << "queries do not write";
}

TEST_F(Sqlite, NobodyEndsTheSharedTransactionByHand) {
  make_table();
  for (const char* sql : {"commit", "rollback", "begin", "savepoint x", "release one"}) {
    const auto [kind, text] = error_of(
        database->transact([sql](Transaction& tx) -> Task<> { co_await tx.execute(sql); }));
    EXPECT_EQ(kind, Kind::usage) << sql << ": " << text;
  }
}

TEST_F(Sqlite, TransactionsThatWaitTogetherShareOneCommit) {
  make_table();
  const auto before = database->counts();
  TaskGroup group{loop, "test"};
  for (int id = 0; id < 100; ++id) group.spawn(insert(id));
  loop.run(group.join());
  EXPECT_EQ(database->counts().commits - before.commits, 1U);
  EXPECT_EQ(database->counts().committed - before.committed, 100U);
  EXPECT_EQ(ids().size(), 100U);
}

TEST_F(Sqlite, ASharedCommitHasABoundedNumberOfTransactions) {
  open({.path = folder.file(), .shared_commit_count_max = 10});
  make_table();
  const auto before = database->counts();
  TaskGroup group{loop, "test"};
  for (int id = 0; id < 21; ++id) group.spawn(insert(id));
  loop.run(group.join());
  EXPECT_EQ(database->counts().commits - before.commits, 3U);
}

TEST_F(Sqlite, OneThatFailsTakesNobodyWithIt) {
  make_table();
  TaskGroup group{loop, "test"};
  int failed = 0;
  for (const int id : {1, 2, 2, 3, 1, 4}) {
    group.spawn([this, id, &failed]() -> Task<> {
      try {
        co_await database->transact([id](Transaction& tx) -> Task<> {
          co_await tx.execute("insert into t values ($1, 'a')", id);
          co_await tx.execute("insert into t values ($1, 'b')", id + 100);
        });
      } catch (const DatabaseError& error) {
        EXPECT_EQ(error.kind(), Kind::constraint);
        ++failed;
      }
    });
  }
  loop.run(group.join());
  EXPECT_EQ(failed, 2);
  EXPECT_THAT(ids(), ElementsAre(1, 2, 3, 4, 101, 102, 103, 104));
  EXPECT_EQ(database->counts().rolled_back, 2U);
}

TEST_F(Sqlite, AnErrorThatTheWorkSwallowsStillRollsBack) {
  make_table();
  const auto [kind, text] = error_of(database->transact([](Transaction& tx) -> Task<> {
    co_await tx.execute("insert into t values (1, 'a')");
    try {
      co_await tx.execute("insert into t values (1, 'b')");
    } catch (const DatabaseError&) {
    }
    EXPECT_THROW(co_await tx.execute("insert into t values (2, 'c')"), DatabaseError);
  }));
  EXPECT_EQ(kind, Kind::constraint);
  EXPECT_TRUE(ids().empty());
}

TEST_F(Sqlite, WhatTheWorkThrowsComesBackAndNothingIsDone) {
  make_table();
  EXPECT_THROW(loop.run(database->transact([](Transaction& tx) -> Task<> {
    co_await tx.execute("insert into t values (1, 'a')");
    throw std::runtime_error{"no"};
  })),
               std::runtime_error);
  EXPECT_TRUE(ids().empty());
}

TEST_F(Sqlite, CancelledInTheMiddleNothingIsDoneAndTheOthersAre) {
  make_table();
  Signal never;
  TaskGroup victims{loop, "victims"};
  TaskGroup others{loop, "others"};
  victims.spawn(database->transact([&never](Transaction& tx) -> Task<> {
    co_await tx.execute("insert into t values (1, 'a')");
    co_await never.wait();
  }));
  others.spawn(insert(2));
  loop.run_until_idle();
  EXPECT_EQ(others.size(), 1U) << "it waits for the one in the middle";
  victims.cancel();
  loop.run(victims.join());
  loop.run(others.join());
  EXPECT_THAT(ids(), ElementsAre(2));
}

TEST_F(Sqlite, CancelledBeforeItsTurnItNeverRuns) {
  make_table();
  Signal never;
  TaskGroup first{loop, "first"};
  TaskGroup victims{loop, "victims"};
  first.spawn(database->transact([&never](Transaction&) -> Task<> { co_await never.wait(); }));
  victims.spawn(insert(1));
  loop.run_until_idle();
  victims.cancel();
  loop.run(victims.join());
  first.cancel();
  loop.run(first.join());
  EXPECT_TRUE(ids().empty());
}

TEST_F(Sqlite, ATransactionThatHangsIsEndedForTheSakeOfTheOthers) {
  open({.path = folder.file(), .transaction_time_max = seconds{2}});
  make_table();
  Signal never;
  const auto [kind, text] = error_of(database->transact([&never](Transaction& tx) -> Task<> {
    co_await tx.execute("insert into t values (1, 'a')");
    co_await never.wait();
  }));
  EXPECT_EQ(kind, Kind::unavailable);
  EXPECT_THAT(text, HasSubstr("longer than 2000 ms"));
  EXPECT_TRUE(ids().empty());
}

TEST_F(Sqlite, TransactionsInWaitingAreBounded) {
  open({.path = folder.file(), .waiting_count_max = 2});
  make_table();
  TaskGroup group{loop, "test"};
  int refused = 0;
  for (int id = 0; id < 3; ++id) {
    group.spawn([this, id, &refused]() -> Task<> {
      try {
        co_await insert(id);
      } catch (const DatabaseError& error) {
        EXPECT_EQ(error.kind(), Kind::unavailable);
        ++refused;
      }
    });
  }
  loop.run(group.join());
  EXPECT_EQ(refused, 1);
  EXPECT_EQ(ids().size(), 2U);
}

TEST_F(Sqlite, ACallerDestroyedInTheMiddleLeavesADatabaseThatSaysSo) {
  make_table();
  Signal never;
  {
    TaskGroup group{loop, "test"};
    group.spawn(database->transact([&never](Transaction& tx) -> Task<> {
      co_await tx.execute("insert into t values (1, 'a')");
      co_await never.wait();
    }));
    loop.run_until_idle();
  }
  EXPECT_EQ(error_of(insert(2)).first, Kind::unavailable);
  open();
  EXPECT_TRUE(ids().empty());
}

TEST_F(Sqlite, MigrationsRunOnceAndInOrder) {
  const std::vector<Migration> steps = {{1, "create table a (x integer); insert into a values (1)"},
                                        {2, "insert into a values (2)"}};
  loop.run(database->migrate("one", {steps[0]}));
  loop.run(database->migrate("one", steps));
  open();
  loop.run(database->migrate("one", steps));
  loop.run(database->migrate("two", {{1, "insert into a values (3)"}}));
  EXPECT_EQ(loop.run(database->query("select x from a")).size(), 3U);
}

TEST_F(Sqlite, AnIdentityIsCountedUpAndNeverUsedTwice) {
  loop.run(database->migrate("one", {{1, "create table a (id {identity}, x bigint)"}}));
  const auto insert = [this] {
    std::int64_t id = 0;
    loop.run(database->transact([&id](Transaction& transaction) -> Task<> {
      co_await transaction.execute("insert into a (x) values (1)");
      id = (co_await transaction.execute("select max(id) from a"))[0].integer(0);
      co_await transaction.execute("delete from a");
    }));
    return id;
  };
  EXPECT_EQ(insert(), 1);
  EXPECT_EQ(insert(), 2);
}

TEST_F(Sqlite, AMigrationThatFailsLeavesTheVersionBeforeIt) {
  const Migration good{1, "create table a (x integer)"};
  EXPECT_EQ(
      error_of(database->migrate(
                   "one", {good, {2, "insert into a values (1); insert into nothing values (2)"}}))
          .first,
      Kind::usage);
  EXPECT_TRUE(loop.run(database->query("select x from a")).empty());
  loop.run(database->migrate("one", {good, {2, "insert into a values (5)"}}));
  EXPECT_EQ(loop.run(database->query("select x from a"))[0].integer(0), 5);
}

TEST_F(Sqlite, ANewerSchemaIsRefusedWithBothVersions) {
  loop.run(database->migrate("orders", {{1, "create table a (x)"}, {2, "create table b (x)"}}));
  const auto [kind, text] = error_of(database->migrate("orders", {{1, "create table a (x)"}}));
  EXPECT_EQ(kind, Kind::usage);
  EXPECT_THAT(text, HasSubstr("tables of orders have version 2, and this program knows 1"));
  EXPECT_EQ(error_of(database->migrate("gap", {{2, "select 1"}})).first, Kind::usage);
}

TEST_F(Sqlite, ForeignKeysAreKept) {
  loop.run(database->migrate("test", {{1,
                                       "create table p (id integer primary key);"
                                       "create table c (p integer references p (id))"}}));
  EXPECT_EQ(error_of(database->transact([](Transaction& tx) -> Task<> {
              co_await tx.execute("insert into c values (1)");
            })).first,
            Kind::constraint);
}

TEST_F(Sqlite, AFullDiskFailsAsUnavailableAndLosesNothingThatWasCommitted) {
  open({.path = folder.file(), .file_bytes_max = 64 * 4096});
  make_table();
  loop.run(insert(1));
  const auto fill = [this](std::int64_t id) {
    return database->transact([id](Transaction& tx) -> Task<> {
      co_await tx.execute("insert into t values ($1, $2)", id, std::string(1'000'000, 'x'));
    });
  };
  const auto [kind, text] = error_of(fill(2));
  EXPECT_EQ(kind, Kind::unavailable);
  EXPECT_THAT(text, HasSubstr("full"));
  loop.run(insert(3));
  EXPECT_THAT(ids(), ElementsAre(1, 3));
}

TEST_F(Sqlite, AnotherProcessThatHoldsTheFileIsAwaitedForABoundedTime) {
  open({.path = folder.file(), .busy_max = milliseconds{1}});
  make_table();
  sqlite3* other = nullptr;
  ASSERT_EQ(sqlite3_open(folder.file().c_str(), &other), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(other, "begin immediate", nullptr, nullptr, nullptr), SQLITE_OK);
  EXPECT_EQ(error_of(insert(1)).first, Kind::unavailable);
  sqlite3_close(other);
  loop.run(insert(2));
  EXPECT_THAT(ids(), ElementsAre(2));
}

TEST_F(Sqlite, ClosedItSaysSo) {
  make_table();
  TaskGroup group{loop, "test"};
  group.spawn(insert(1));
  loop.run_until_idle();
  loop.run(database->close());
  EXPECT_EQ(group.size(), 0U);
  EXPECT_EQ(error_of(insert(2)).first, Kind::unavailable);
  EXPECT_EQ(error_of(database->query("select 1")).first, Kind::unavailable);
  loop.run(database->close());
  open();
  EXPECT_THAT(ids(), ElementsAre(1));
}

TEST(SqliteOpen, AForeignOrBrokenFileIsRefusedAndLeftAlone) {
  const Folder folder;
  VirtualLoop loop;
  sqlite3* other = nullptr;
  ASSERT_EQ(sqlite3_open(folder.file("other.db").c_str(), &other), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(other, "create table mine (x)", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(other);
  std::ofstream{folder.file("text.db")} << std::string(8192, 'x');
  for (const char* name : {"other.db", "text.db", "no/such/folder.db"}) {
    const auto size_of = [&] {
      std::error_code none;
      return std::filesystem::file_size(folder.file(name), none);
    };
    const auto size = size_of();
    try {
      const auto opened = open_database(loop, "sqlite:" + folder.file(name));
      ADD_FAILURE() << name;
    } catch (const DatabaseError& error) {
      EXPECT_EQ(error.kind(), Kind::unavailable);
      EXPECT_THAT(error.what(), HasSubstr(folder.file(name)));
    }
    EXPECT_EQ(size_of(), size);
  }
}

TEST(SqliteOpen, AnAddressOfAnotherKindIsRefusedWithoutRepeatingIt) {
  VirtualLoop loop;
  for (const char* url : {"postgresql://u:secret@h/db", "mysql://u:secret@h/db", "sqlite:", "x"}) {
    try {
      const auto opened = open_database(loop, url);
      ADD_FAILURE() << url;
    } catch (const DatabaseError& error) {
      EXPECT_EQ(error.kind(), Kind::usage);
      EXPECT_THAT(error.what(), HasSubstr("sqlite:PATH"));
      EXPECT_THAT(error.what(), testing::Not(HasSubstr("secret")));
    }
  }
}

// Goal: with real threads, many transactions need few commits, and each is there at the end.
TEST(SqliteThreads, ManyTransactionsNeedFewCommits) {
  const Folder folder;
  SystemLoop loop;
  SqliteDatabase database{loop, {.path = folder.file()}};
  run_on(loop, [](SystemLoop& home, SqliteDatabase& db) -> Task<> {
    co_await db.migrate("test", {{1, "create table t (id integer primary key)"}});
    const auto before = db.counts().commits;
    TaskGroup group{home, "writers"};
    for (int writer = 0; writer < 50; ++writer) {
      group.spawn([&db, writer]() -> Task<> {
        for (int round = 0; round < 10; ++round) {
          co_await db.transact([id = writer * 100 + round](Transaction& tx) -> Task<> {
            co_await tx.execute("insert into t values ($1)", id);
          });
          // What `transact` has returned from, the other connection sees.
          const Rows rows =
              co_await db.query("select 1 from t where id = $1", writer * 100 + round);
          EXPECT_EQ(rows.size(), 1U);
        }
      });
    }
    co_await group.join();
    EXPECT_EQ(db.counts().committed, 500U + 1U);
    EXPECT_LT(db.counts().commits - before, 250U);
    co_await db.close();
  }(loop, database));
}

TEST(SqliteThreads, DestroyedWithWorkUnderWayItEndsLikeACrash) {
  const Folder folder;
  SystemLoop loop;
  auto database =
      std::make_unique<SqliteDatabase>(loop, SqliteDatabase::Options{.path = folder.file()});
  run_on(loop, database->migrate("test", {{1, "create table t (id integer primary key)"}}));
  {
    TaskGroup group{loop, "writers"};
    for (int id = 0; id < 20; ++id) {
      group.spawn(database->transact([id](Transaction& tx) -> Task<> {
        co_await tx.execute("insert into t values ($1)", id);
      }));
    }
    run_on(loop, [](SystemLoop&) -> Task<> {
      co_await yield();
      co_await yield();
    }(loop));
  }
  database.reset();
  run_on(loop, [](SystemLoop&) -> Task<> { co_await yield(); }(loop));
}

// Found by services that were started at the same moment: one took the other's half-made file for a
// foreign one.
TEST(SqliteOpen, ManyProcessesMayMakeTheFileAtOnce) {
  for (int round = 0; round < 10; ++round) {
    const Folder folder;
    int gate[2];
    ASSERT_EQ(pipe(gate), 0);
    std::vector<pid_t> children;
    for (int i = 0; i < 6; ++i) {
      const pid_t child = fork();
      ASSERT_GE(child, 0);
      if (child == 0) {
        close(gate[1]);
        char byte = 0;
        if (read(gate[0], &byte, 1) != 0) _exit(3);  // opens when the parent closes its end
        try {
          SystemLoop loop;
          SqliteDatabase database{loop, {.path = folder.file()}};
          run_on(loop, database.migrate("test", {{1, "create table t (id integer)"}}));
        } catch (const std::exception& error) {
          std::fprintf(stderr, "%s\n", error.what());
          _exit(1);
        }
        _exit(0);
      }
      children.push_back(child);
    }
    close(gate[0]);
    close(gate[1]);
    for (const pid_t child : children) {
      int status = 0;
      ASSERT_EQ(waitpid(child, &status, 0), child);
      EXPECT_EQ(status, 0);
    }
  }
}

// Goal: what a transact returned from survives the death of the process; what it had not is there
// wholly or not at all. Method: a child reports each return through a pipe and dies in the middle.
TEST(SqliteCrash, WhatWasCommittedIsThereAfterTheProcessDied) {
  const Folder folder;
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    SystemLoop loop;
    SqliteDatabase database{loop, {.path = folder.file()}};
    run_on(loop, [](SystemLoop& home, SqliteDatabase& db, int out) -> Task<> {
      co_await db.migrate("test", {{1, "create table t (id integer, part integer)"}});
      TaskGroup group{home, "writers"};
      for (int id = 0; id < 1000; ++id) {
        group.spawn([&db, id, out]() -> Task<> {
          co_await db.transact([id](Transaction& tx) -> Task<> {
            co_await tx.execute("insert into t values ($1, 1)", id);
            if (id == 700) _exit(0);
            co_await tx.execute("insert into t values ($1, 2)", id);
          });
          if (write(out, &id, sizeof id) != sizeof id) _exit(1);
        });
      }
      co_await group.join();
    }(loop, database, ends[1]));
    _exit(2);
  }
  close(ends[1]);
  std::vector<int> returned;
  for (int id = 0; read(ends[0], &id, sizeof id) == sizeof id;) returned.push_back(id);
  close(ends[0]);
  int status = -1;
  waitpid(child, &status, 0);
  ASSERT_EQ(status, 0);

  VirtualLoop loop;
  SqliteDatabase database{loop, {.path = folder.file(), .has_threads = false}};
  std::map<std::int64_t, int> parts;
  for (const Row& row : loop.run(database.query("select id from t"))) ++parts[row.integer(0)];
  EXPECT_GT(returned.size(), 0U);
  for (const int id : returned) EXPECT_EQ(parts[id], 2) << id;
  for (const auto& [id, count] : parts) EXPECT_EQ(count, 2) << id;
}

}  // namespace
}  // namespace pronto::persist
