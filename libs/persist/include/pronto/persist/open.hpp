#pragma once

#include <memory>
#include <string>

#include "pronto/async/loop.hpp"
#include "pronto/bus/database.hpp"

namespace pronto::persist {

/// Opens the database that `url` names: `sqlite:PATH` (a file that is made when it is missing).
///
/// `loop` outlives the database. Blocks: on the disk; for start-up.
/// Errors: throws `DatabaseError`: (usage) an unknown kind of database, one that this build has not
/// (`postgresql://`); (unavailable) the file cannot be opened, is none of ours, or is damaged.
std::unique_ptr<Database> open_database(Loop& loop, const std::string& url);

}  // namespace pronto::persist
