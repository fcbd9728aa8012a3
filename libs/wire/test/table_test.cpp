#include "pronto/wire/table.hpp"

#include <gtest/gtest.h>

#include "pronto/wire/properties.hpp"
#include "pronto/wire/reader.hpp"
#include "pronto/wire/writer.hpp"
#include "samples.hpp"

namespace pronto::wire {
namespace {

Bytes encoded(const Table& table) {
  Bytes out;
  Writer{out}.write(table);
  return out;
}

/// A table of `depth` levels, each holding the next, all on the wire.
Bytes nested_tables(std::size_t depth, char type) {
  Bytes inner = to_bytes(std::string(4, '\0'));
  for (std::size_t level = 1; level < depth; ++level) {
    Bytes content;
    const bool is_in_table = type == 'F' || level == depth - 1;
    if (is_in_table) Writer{content}.write_short("k");
    Writer{content}.write(static_cast<std::uint8_t>(type));
    append(content, inner);
    Bytes outer;
    Writer{outer}.write_long(content);
    inner = std::move(outer);
  }
  return inner;
}

TEST(Table, ComesBackAsItWent) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    SeededRandom random{seed};
    const Table table = random_table(random, 5);
    const Result<Table, Fault> read = decode_table(encoded(table));
    ASSERT_TRUE(read.has_value()) << "seed " << seed << ": " << read.error().text;
    EXPECT_EQ(*read, table) << "seed " << seed;
  }
}

TEST(Table, HasRabbitMqsLetters) {
  const std::pair<Value, std::string_view> cases[] = {
      {Void{}, "56"},
      {true, "7401"},
      {std::int8_t{-1}, "62ff"},
      {std::uint8_t{255}, "42ff"},
      {std::int16_t{-2}, "73fffe"},
      {std::uint16_t{65'535}, "75ffff"},
      {-3, "49fffffffd"},
      {4'294'967'295U, "69ffffffff"},
      {std::int64_t{-4}, "6cfffffffffffffffc"},
      {1.5F, "663fc00000"},
      {1.5, "643ff8000000000000"},
      {Decimal{2, 314}, "44020000013a"},
      {Timestamp{1}, "540000000000000001"},
      {"ab", "53000000026162"},
      {to_bytes("ab"), "78000000026162"},
      {Array{Value{true}, Value{Void{}}}, "4100000003740156"},
      {Table{{"a", true}}, "460000000401617401"},
  };
  for (const auto& [value, hex] : cases) {
    const Bytes out = encoded(Table{{"", value}});
    EXPECT_EQ(to_hex(BytesView{out}.subspan(5)), hex) << value.type_name();
  }
}

TEST(Table, ReadsBothLettersForSigned64BitNumbers) {
  const Bytes upper =
      to_bytes(std::string_view{"\0\0\0\x0b\x01nL\xff\xff\xff\xff\xff\xff\xff\xff", 15});
  const Result<Table, Fault> read = decode_table(upper);
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->find_integer("n"), -1);
  EXPECT_EQ(encoded(*read)[6], std::byte{'l'});
}

TEST(Table, RefusesUnknownLetters) {
  for (int letter = 0; letter < 256; ++letter) {
    if (std::string_view{"tbBsuIilLfdDTSxAFV"}.contains(static_cast<char>(letter))) continue;
    Bytes content;
    Writer writer{content};
    writer.write_short("k");
    writer.write(static_cast<std::uint8_t>(letter));
    writer.write(std::uint64_t{0});
    Bytes table;
    Writer{table}.write_long(content);
    ASSERT_FALSE(decode_table(table).has_value()) << letter;
  }
}

TEST(Table, NestsUpToTheLimitAndNotOneDeeper) {
  for (const char type : {'F', 'A'}) {
    EXPECT_TRUE(decode_table(nested_tables(table_depth_max, type)).has_value()) << type;
    const Result<Table, Fault> deeper = decode_table(nested_tables(table_depth_max + 1, type));
    ASSERT_FALSE(deeper.has_value()) << type;
    EXPECT_EQ(deeper.error().text, "tables nested too deep");
    EXPECT_FALSE(decode_table(nested_tables(10'000, type)).has_value()) << type;
  }
}

TEST(Table, HoldsUpToTheLimitOfValuesAndNotOneMore) {
  for (const std::size_t excess : {0U, 1U}) {
    Array many(table_element_count_max - 1 + excess);
    Bytes content;
    Writer writer{content};
    writer.write_short("k");
    writer.write(std::uint8_t{'A'});
    writer.write_long(Bytes(many.size(), std::byte{'V'}));
    Bytes bytes;
    Writer{bytes}.write_long(content);
    EXPECT_EQ(decode_table(bytes).has_value(), excess == 0);
    EXPECT_EQ(fits_the_wire(Table{{"k", std::move(many)}}), excess == 0);
  }
}

TEST(Table, RefusesLengthsThatReachBeyondWhatHoldsThem) {
  const Bytes good = encoded(Table{{"t", Table{{"s", "text"}}}});
  // Length octets of the table, of the inner table and of the string, each one too large and huge.
  for (const std::size_t at : {0U, 7U, 14U}) {
    for (const std::size_t octet : {0U, 3U}) {
      Bytes bad = good;
      bad[at + octet] = static_cast<std::byte>(std::to_integer<int>(bad[at + octet]) + 1);
      EXPECT_FALSE(decode_table(bad).has_value()) << at << " " << octet;
      bad.resize(bad.size() + 300, std::byte{'V'});
      EXPECT_FALSE(decode_table(bad).has_value()) << at << " " << octet << " with bytes behind";
    }
  }
}

TEST(Table, KeepsOrderAndDuplicatesAndFindsTheFirst) {
  Table table;
  table.append("k", 1);
  table.append("a", 2);
  table.append("k", 3);
  const Result<Table, Fault> read = decode_table(encoded(table));
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(*read, table);
  EXPECT_EQ(read->size(), 3U);
  EXPECT_EQ(read->find_integer("k"), 1);
  table.set("k", 9);
  EXPECT_EQ(table.find_integer("k"), 9);
  EXPECT_TRUE(table.erase("k"));
  EXPECT_FALSE(table.erase("k"));
  EXPECT_EQ(table, (Table{{"a", 2}}));
}

TEST(Table, FindsByTypeAndNotAcrossTypes) {
  const Table table{{"i", std::int16_t{5}},
                    {"s", "text"},
                    {"b", true},
                    {"t", Table{{"x", 1}}},
                    {"a", Array{Value{1}}}};
  EXPECT_EQ(table.find_integer("i"), 5);
  EXPECT_EQ(table.find_integer("s"), std::nullopt);
  EXPECT_EQ(table.find_integer("b"), std::nullopt);
  EXPECT_EQ(table.find_integer("none"), std::nullopt);
  EXPECT_EQ(table.find_string("s"), "text");
  EXPECT_EQ(table.find_string("i"), std::nullopt);
  EXPECT_EQ(table.find_bool("b"), true);
  EXPECT_NE(table.find_table("t"), nullptr);
  EXPECT_EQ(table.find_table("a"), nullptr);
  EXPECT_NE(table.find_array("a"), nullptr);
  EXPECT_EQ(table.find("s")->type_name(), "longstr");
}

TEST(Table, TakesTheIntegersOfTheLanguage) {
  EXPECT_EQ(Value{std::size_t{7}}.type_name(), "long");
  EXPECT_EQ(Value{7}.type_name(), "signedint");
  EXPECT_EQ(Value{7LL}.integer(), 7);
  EXPECT_EQ(Value{true}.type_name(), "bool");
}

}  // namespace
}  // namespace pronto::wire
