#include "pronto/persist/sqlite.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <optional>

#include "pronto/async/sync.hpp"
#include "pronto/async/task_group.hpp"
#include "pronto/async/worker.hpp"
#include "pronto/base/log.hpp"
#include "sqlite_connection.hpp"

namespace pronto::persist {
namespace {

/// What a migration leaves to the database.
std::string in_sqlite(std::string sql) {
  constexpr std::string_view identity = "{identity}";
  for (std::size_t at = sql.find(identity); at != sql.npos; at = sql.find(identity, at)) {
    sql.replace(at, identity.size(), "integer primary key autoincrement");
  }
  return sql;
}

DatabaseError unavailable(const std::string& path, std::string_view why) {
  return {DatabaseError::Kind::unavailable, fmt::format("{}: {}", path, why)};
}

/// A connection and the thread that it blocks.
class Post {
 public:
  Post(std::string name, SqliteConnection::Options options, bool has_thread)
      : connection_{std::make_unique<SqliteConnection>(std::move(options))} {
    if (has_thread) worker_.emplace(std::move(name));
  }

  using Call = std::move_only_function<Rows(SqliteConnection&)>;

  /// `co_await post.run(call)`: runs `call` on the thread. Not cancelled; may be destroyed while it
  /// waits, then the call ends on its own. Errors: throws what `call` throws.
  class Run final : public Suspension {
   public:
    Run(Post& post, Call call) : Suspension{Cancellation::ignored}, post_{post} {
      state_->call = std::move(call);
    }
    Run(const Run&) = delete;
    ~Run() { state_->waiting = nullptr; }
    Rows await_resume() const {
      if (state_->error) std::rethrow_exception(state_->error);
      return std::move(state_->rows);
    }

   private:
    struct State {
      void run(SqliteConnection& connection) noexcept {
        try {
          rows = call(connection);
        } catch (...) {  // handed on to the awaiting coroutine
          error = std::current_exception();
        }
      }
      Call call;
      Rows rows;
      std::exception_ptr error;
      Run* waiting = nullptr;  // belongs to the loop's thread
    };
    bool start() override {
      if (!post_.worker_) {
        state_->run(*post_.connection_);
        return false;
      }
      state_->waiting = this;
      post_.worker_->post([state = state_, &connection = *post_.connection_, &home = loop()] {
        state->run(connection);
        home.post([state] {
          if (state->waiting != nullptr) state->waiting->complete();
        });
      });
      return true;
    }
    void stop() override {}

    Post& post_;
    std::shared_ptr<State> state_ = std::make_shared<State>();
  };
  Run run(Call call) { return Run{*this, std::move(call)}; }

 private:
  std::unique_ptr<SqliteConnection> connection_;
  std::optional<Worker> worker_;  // joined before the connection closes
};

}  // namespace

class SqliteDatabase::Inside {
 public:
  Inside(Loop& loop, Options options)
      : loop_{loop},
        options_{std::move(options)},
        pump_{std::make_unique<TaskGroup>(loop, "database")} {
    writer_.emplace("db-write", connection_options(SqliteConnection::Mode::write),
                    options_.has_threads);
    reader_.emplace("db-read", connection_options(SqliteConnection::Mode::read),
                    options_.has_threads);
    pump_->spawn(run_transactions());
  }

  Task<> transact(Work work);
  Task<Rows> query(std::string sql, std::vector<SqlValue> parameters) {
    Context& context = co_await current_context();
    if (context.scope.is_cancelled()) throw Cancelled{};
    if (is_closing_) throw unavailable(options_.path, "the database is closed");
    if (query_count_ >= options_.waiting_count_max) {
      throw unavailable(options_.path, "too many queries wait for their turn");
    }
    struct Counted {
      explicit Counted(Inside& all) : inside{all} { ++inside.query_count_; }
      Counted(const Counted&) = delete;
      ~Counted() {
        --inside.query_count_;
        inside.query_ended_.notify_all();
      }
      Inside& inside;
    } const counted{*this};
    Rows rows = co_await reader_->run(
        [sql = std::move(sql), parameters = std::move(parameters)](SqliteConnection& connection) {
          return connection.run(sql, parameters);
        });
    if (context.scope.is_cancelled()) throw Cancelled{};
    co_return rows;
  }

  Task<> migrate(std::string component, std::vector<Migration> steps);

  Task<> close() {
    is_closing_ = true;
    wake_.notify_all();
    if (pump_) co_await pump_->join();
    while (query_count_ > 0) co_await query_ended_.wait();
    reader_.reset();  // the writer closes last and takes the log of SQLite into the file
    writer_.reset();
  }

  const Counts& counts() const noexcept { return counts_; }

 private:
  class Turn;
  class Open;
  struct Place : detail::ListNode {
    Turn* turn = nullptr;
  };

  SqliteConnection::Options connection_options(SqliteConnection::Mode mode) const {
    return {.path = options_.path,
            .mode = mode,
            .busy_max = options_.busy_max,
            .rows_max = options_.rows_max,
            .statements_cached_max = options_.statements_cached_max,
            .file_bytes_max = options_.file_bytes_max};
  }
  void throw_if_unusable() const {
    if (is_closing_) throw unavailable(options_.path, "the database is closed");
    if (!broken_.empty()) throw unavailable(options_.path, broken_);
  }
  void break_off();
  Task<> run_transactions();
  Task<> run_batch();
  Task<> run_one(Turn& turn);
  Task<> undo();
  Task<> commit();
  void fail_finished(const std::exception_ptr& error);
  void end(detail::ListNode& turns, const std::exception_ptr& error);

  Loop& loop_;
  const Options options_;
  std::optional<Post> writer_;
  std::optional<Post> reader_;
  Counts counts_;
  Signal wake_;
  Signal query_ended_;
  detail::ListNode waiting_;   // turns in the order of their coming
  detail::ListNode finished_;  // turns that the next commit makes durable
  std::size_t waiting_count_ = 0;
  std::size_t query_count_ = 0;
  std::size_t finished_count_ = 0;
  // What the writer must run before its next statement; a thread hop less for each.
  std::vector<const char*> first_;
  bool is_batch_open_ = false;
  bool is_batch_lost_ = false;
  bool is_closing_ = false;
  std::string broken_;
  std::unique_ptr<TaskGroup> pump_;  // last: its tasks refer to all of the above
};

/// A caller of `transact` while it waits for its turn, runs, and waits for the commit.
class SqliteDatabase::Inside::Turn final : public Suspension {
 public:
  Turn(Inside& inside, Work work) : inside_{inside}, work_{std::move(work)} { place_.turn = this; }
  Turn(const Turn&) = delete;
  ~Turn() {
    if (state_ == State::waiting) --inside_.waiting_count_;
    if (state_ == State::running) inside_.break_off();
  }

  void await_resume() const {
    if (state_ != State::ended) throw Cancelled{};
    if (error_) std::rethrow_exception(error_);
  }

  void begin_running() {
    place_.unlink();
    --inside_.waiting_count_;
    state_ = State::running;
  }
  void finish() {
    state_ = State::finished;
    place_.link_before(inside_.finished_);
  }
  void end(std::exception_ptr error) {
    place_.unlink();
    error_ = std::move(error);
    state_ = State::ended;
    complete();
  }
  Task<> start_work(Transaction& transaction) { return work_(transaction); }
  CancelScope& scope() { return scope_; }

 private:
  enum class State { idle, waiting, running, finished, ended };

  bool start() override {
    state_ = State::waiting;
    ++inside_.waiting_count_;
    place_.link_before(inside_.waiting_);
    inside_.wake_.notify_one();
    return true;
  }
  void stop() override {
    scope_.cancel();
    if (state_ != State::waiting) return;  // ends with its statement, or with the commit
    --inside_.waiting_count_;
    place_.unlink();
    state_ = State::idle;
    complete();
  }

  Inside& inside_;
  Work work_;
  Place place_;
  CancelScope scope_;
  State state_ = State::idle;
  std::exception_ptr error_;
};

Task<> SqliteDatabase::Inside::transact(Work work) {
  throw_if_unusable();
  if (waiting_count_ >= options_.waiting_count_max) {
    throw unavailable(options_.path, "too many transactions wait for their turn");
  }
  co_await Turn{*this, std::move(work)};
}

/// The transaction that runs now, in its savepoint.
class SqliteDatabase::Inside::Open final : public Transaction {
 public:
  Open(Inside& inside, CancelScope& scope) : inside_{inside}, scope_{scope} {}

  Task<Rows> run(std::string sql, std::vector<SqlValue> parameters) override {
    return on_writer([sql = std::move(sql), parameters = std::move(parameters)](
                         SqliteConnection& connection) { return connection.run(sql, parameters); });
  }
  Task<Rows> run_script(std::string sql) {
    return on_writer([sql = std::move(sql)](SqliteConnection& connection) {
      connection.run_script(sql);
      return Rows{};
    });
  }

  bool has_savepoint() const noexcept { return has_savepoint_; }
  const std::exception_ptr& error() const noexcept { return error_; }

 private:
  Task<Rows> on_writer(Post::Call call) {
    if (scope_.is_cancelled()) throw Cancelled{};
    if (error_ || is_busy_) {
      throw DatabaseError{DatabaseError::Kind::usage,
                          error_ ? "a statement after one that failed, in one transaction"
                                 : "two statements at a time in one transaction"};
    }
    if (!inside_.is_batch_open_) inside_.first_.push_back("begin immediate");
    if (!has_savepoint_) inside_.first_.push_back("savepoint one");
    inside_.is_batch_open_ = has_savepoint_ = is_busy_ = true;
    std::vector<const char*> first = std::exchange(inside_.first_, {});
    // Shared, since the statement may outlive a frame that is destroyed.
    const auto is_lost = std::make_shared<bool>(false);
    try {
      Rows rows = co_await inside_.writer_->run([first = std::move(first), call = std::move(call),
                                                 is_lost](SqliteConnection& connection) mutable {
        try {
          for (const char* sql : first) connection.control(sql);
          return call(connection);
        } catch (const DatabaseError&) {
          *is_lost = !connection.is_in_transaction();
          throw;
        }
      });
      is_busy_ = false;
      if (scope_.is_cancelled()) throw Cancelled{};
      co_return rows;
    } catch (const DatabaseError&) {
      is_busy_ = false;
      inside_.is_batch_lost_ = *is_lost;
      error_ = std::current_exception();
      throw;
    }
  }

  Inside& inside_;
  CancelScope& scope_;
  std::exception_ptr error_;
  bool has_savepoint_ = false;
  bool is_busy_ = false;
};

/// A caller's frame went while its transaction ran: nothing can be said of its work any more.
void SqliteDatabase::Inside::break_off() {
  pump_.reset();
  broken_ = "a transaction's task was destroyed while it ran; the database must be opened again";
  log::error("a transaction's task was destroyed while it ran", {{"path", options_.path}});
  const auto error = std::make_exception_ptr(unavailable(options_.path, broken_));
  end(finished_, error);
  while (waiting_.is_linked()) {
    Turn* turn = static_cast<Place*>(waiting_.next())->turn;
    turn->begin_running();
    turn->end(error);
  }
}

void SqliteDatabase::Inside::end(detail::ListNode& turns, const std::exception_ptr& error) {
  while (turns.is_linked()) static_cast<Place*>(turns.next())->turn->end(error);
}

Task<> SqliteDatabase::Inside::run_transactions() {
  for (;;) {
    while (!waiting_.is_linked()) {
      if (is_closing_) co_return;
      co_await wake_.wait();
    }
    co_await run_batch();
  }
}

Task<> SqliteDatabase::Inside::run_batch() {
  const SteadyTime began = loop_.now();
  finished_count_ = 0;
  do {
    Turn& turn = *static_cast<Place*>(waiting_.next())->turn;
    turn.begin_running();
    co_await run_one(turn);
  } while (waiting_.is_linked() && !is_batch_lost_ &&
           finished_count_ < options_.shared_commit_count_max &&
           loop_.now() - began < options_.shared_commit_time_max);
  if (is_batch_lost_) {
    // SQLite has rolled back everything: a full disk, an I/O error.
    counts_.rolled_back += finished_count_;
    end(finished_,
        std::make_exception_ptr(unavailable(
            options_.path, "a transaction in the same commit met an error of the disk")));
    is_batch_lost_ = is_batch_open_ = false;
    first_.clear();
  } else {
    co_await commit();
  }
}

Task<> SqliteDatabase::Inside::run_one(Turn& turn) {
  Open open{*this, turn.scope()};
  Context context{loop_, turn.scope()};
  std::exception_ptr error;
  bool is_over = false;
  {
    const Timer timer{loop_, options_.transaction_time_max, [&is_over, &turn] {
                        is_over = true;
                        turn.scope().cancel();
                      }};
    try {
      co_await turn.start_work(open).in(context);
      if (turn.scope().is_cancelled()) throw Cancelled{};
      error = open.error();  // when the work has swallowed it
    } catch (const Cancelled&) {
      error = is_over ? std::make_exception_ptr(unavailable(
                            options_.path, fmt::format("a transaction took longer than {} ms",
                                                       options_.transaction_time_max.count())))
                      : std::current_exception();
    } catch (...) {  // handed on to the caller of transact
      error = std::current_exception();
    }
  }
  if (!error) {
    if (open.has_savepoint()) first_.push_back("release one");
    ++finished_count_;
    turn.finish();
    co_return;
  }
  ++counts_.rolled_back;
  if (open.has_savepoint() && !is_batch_lost_) co_await undo();
  turn.end(error);
}

/// Takes back what the failed transaction has done, and only that.
Task<> SqliteDatabase::Inside::undo() {
  const Rows intact = co_await writer_->run([](SqliteConnection& connection) {
    if (!connection.is_in_transaction()) return Rows{};
    try {
      connection.control("rollback to one");
      connection.control("release one");
    } catch (const DatabaseError& error) {
      log::error("cannot roll back to a savepoint", {{"error", error.what()}});
      connection.control("rollback");
      return Rows{};
    }
    return Rows{.changed_count = 1};
  });
  is_batch_lost_ = intact.changed_count == 0;
}

Task<> SqliteDatabase::Inside::commit() {
  std::exception_ptr failure;
  if (is_batch_open_) {
    std::vector<const char*> last = std::exchange(first_, {});
    last.push_back("commit");
    try {
      co_await writer_->run([last = std::move(last)](SqliteConnection& connection) {
        try {
          for (const char* sql : last) connection.control(sql);
        } catch (const DatabaseError&) {
          if (connection.is_in_transaction()) connection.control("rollback");
          throw;
        }
        return Rows{};
      });
      ++counts_.commits;
    } catch (const DatabaseError& error) {
      log::error("a commit failed", {{"path", options_.path}, {"error", error.what()}});
      failure = std::current_exception();
    }
    is_batch_open_ = false;
  }
  (failure ? counts_.rolled_back : counts_.committed) += finished_count_;
  end(finished_, failure);
}

Task<> SqliteDatabase::Inside::migrate(std::string component, std::vector<Migration> steps) {
  int newest = 0;
  for (const Migration& step : steps) {
    if (step.version == ++newest) continue;
    throw DatabaseError{DatabaseError::Kind::usage,
                        fmt::format("the migrations of {} go from version {} to {}", component,
                                    newest - 1, step.version)};
  }
  const Rows known = co_await query("select version from schema_versions where component = $1",
                                    detail::to_parameters(component));
  const std::int64_t version = known.empty() ? 0 : known[0].integer(0);
  if (version > newest) {
    throw DatabaseError{
        DatabaseError::Kind::usage,
        fmt::format("{}: the tables of {} have version {}, and this program knows {} at most; "
                    "use a newer program. Nothing was touched",
                    options_.path, component, version, newest)};
  }
  for (const Migration& step : steps) {
    if (step.version <= version) continue;
    co_await transact([&component, &step](Transaction& transaction) -> Task<> {
      // Another process may have been faster.
      const Rows rows = co_await transaction.execute(
          "select version from schema_versions where component = $1", component);
      if (!rows.empty() && rows[0].integer(0) >= step.version) co_return;
      co_await static_cast<Open&>(transaction).run_script(in_sqlite(step.sql));
      co_await transaction.execute(
          "insert into schema_versions values ($1, $2) "
          "on conflict (component) do update set version = $2",
          component, step.version);
    });
    // New tables are no news.
    log::write(version == 0 ? log::Level::debug : log::Level::info,
               "database tables brought up to date",
               {{"path", options_.path}, {"component", component}, {"version", step.version}});
  }
}

SqliteDatabase::SqliteDatabase(Loop& loop, Options options)
    : inside_{std::make_unique<Inside>(loop, std::move(options))} {}

SqliteDatabase::~SqliteDatabase() = default;

Task<> SqliteDatabase::transact(Work work) {
  return inside_->transact(std::move(work));
}

Task<Rows> SqliteDatabase::run_query(std::string sql, std::vector<SqlValue> parameters) {
  return inside_->query(std::move(sql), std::move(parameters));
}

Task<> SqliteDatabase::migrate(std::string component, std::vector<Migration> steps) {
  return inside_->migrate(std::move(component), std::move(steps));
}

Task<> SqliteDatabase::close() {
  return inside_->close();
}

const SqliteDatabase::Counts& SqliteDatabase::counts() const noexcept {
  return inside_->counts();
}

}  // namespace pronto::persist
