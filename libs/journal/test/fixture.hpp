#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "pronto/journal/log.hpp"
#include "pronto/journal/simulated_disk.hpp"

namespace pronto::journal {

/// A unit as the tests write them: its texts, each a record.
using Unit = std::vector<std::string>;

/// What a reopened log tells.
struct Told {
  std::vector<Unit> units;  // of `fixture`'s records: each unit's texts name the unit and its size
  std::vector<std::string> texts;
  std::vector<Damage> damage;
};

/// "unit 7: 1 of 3", so that a reader can tell whether a unit is whole.
inline std::string text_of(std::uint64_t unit, std::size_t index, std::size_t count,
                           std::size_t padding) {
  return std::to_string(unit) + ':' + std::to_string(index) + '/' + std::to_string(count) + ':' +
         std::string(padding, static_cast<char>('a' + unit % 26));
}

inline Options small_segments() {
  Options options;
  options.segment_bytes = 16 * 1024;
  options.free_bytes_min = 0;
  options.threading = Threading::manual;
  return options;
}

inline Result<std::unique_ptr<Log>> open_log(SimulatedDisk& disk, Told& told,
                                             Options options = small_segments()) {
  return Log::open(
      disk.open(), std::move(options),
      {.on_record = [&told](RecordType, Position,
                            BytesView payload) { told.texts.push_back(to_string(payload)); },
       .on_damage = [&told](const Damage& damage) { told.damage.push_back(damage); }});
}

inline Result<Appended> append_unit(Log& log, std::uint64_t unit, std::size_t count,
                                    std::size_t padding, Need need = Need::space) {
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < count; ++i) texts.push_back(text_of(unit, i, count, padding));
  std::vector<Record> records;
  for (const std::string& text : texts) {
    const BytesView bytes = as_bytes(text);
    records.push_back(
        {RecordType{1}, {bytes.first(bytes.size() / 2), bytes.subspan(bytes.size() / 2)}});
  }
  return log.append(records, need);
}

/// The units that `texts` hold, in order. Fails the test when one is torn or out of order.
inline std::vector<std::uint64_t> whole_units(const std::vector<std::string>& texts) {
  std::vector<std::uint64_t> units;
  for (std::size_t at = 0; at < texts.size();) {
    const std::uint64_t unit = std::stoull(texts[at]);
    const std::size_t slash = texts[at].find('/');
    const std::size_t count = std::stoull(texts[at].substr(slash + 1));
    for (std::size_t i = 0; i < count; ++i, ++at) {
      const std::string expected = std::to_string(unit) + ':' + std::to_string(i) + '/';
      if (at >= texts.size() || !texts[at].starts_with(expected)) {
        ADD_FAILURE() << "unit " << unit << " is torn";
        return units;
      }
    }
    if (!units.empty()) EXPECT_LT(units.back(), unit) << "units are out of order";
    units.push_back(unit);
  }
  return units;
}

}  // namespace pronto::journal
