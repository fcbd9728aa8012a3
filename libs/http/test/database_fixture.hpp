#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <random>
#include <string>

#include "pronto/async/virtual_loop.hpp"
#include "pronto/base/log.hpp"
#include "pronto/persist/sqlite.hpp"

namespace pronto::http {

/// A virtual loop and a SQLite file in a folder of its own.
class DatabaseTest : public testing::Test {
 protected:
  DatabaseTest() {
    log::set_level(log::Level::off);
    std::filesystem::create_directories(folder_);
    crash_database();
  }
  ~DatabaseTest() override {
    database_.reset();
    std::filesystem::remove_all(folder_);
    log::set_level(log::Level::info);
  }

  Database& database() { return *database_; }
  /// Opens the file anew, without closing it in good order.
  void crash_database() {
    database_.reset();
    database_ = std::make_unique<persist::SqliteDatabase>(
        loop, persist::SqliteDatabase::Options{.path = folder_ / "test.db", .has_threads = false});
  }

  VirtualLoop loop;

 private:
  std::filesystem::path folder_ = std::filesystem::temp_directory_path() /
                                  ("pronto-http-" + std::to_string(std::random_device{}()));
  std::unique_ptr<Database> database_;
};

}  // namespace pronto::http
