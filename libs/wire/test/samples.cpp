#include "samples.hpp"

#include <array>

namespace pronto::wire {
namespace {

std::string random_text(Random& random, std::size_t bytes_max) {
  static constexpr std::array<std::string_view, 8> pieces{"a", "Z", "0", ".", "#", "ü", "€", "🍕"};
  std::string text;
  for (std::uint64_t left = random.below(bytes_max + 1); left > 0; --left) {
    const std::string_view piece = pieces[random.below(pieces.size())];
    if (text.size() + piece.size() > bytes_max) break;
    text += piece;
  }
  return text;
}

Bytes random_bytes(Random& random, std::size_t bytes_max) {
  Bytes bytes(random.below(bytes_max + 1));
  random.fill(bytes);
  return bytes;
}

Value random_value(Random& random, std::size_t depth_max) {
  switch (random.below(depth_max > 0 ? 17 : 15)) {
    case 0:
      return Void{};
    case 1:
      return random.below(2) == 1;
    case 2:
      return static_cast<std::int8_t>(random.next());
    case 3:
      return static_cast<std::uint8_t>(random.next());
    case 4:
      return static_cast<std::int16_t>(random.next());
    case 5:
      return static_cast<std::uint16_t>(random.next());
    case 6:
      return static_cast<std::int32_t>(random.next());
    case 7:
      return static_cast<std::uint32_t>(random.next());
    case 8:
      return static_cast<std::int64_t>(random.next());
    case 9:
      return static_cast<float>(random.unit());
    case 10:
      return random.unit() * 1e9;
    case 11:
      return Decimal{static_cast<std::uint8_t>(random.next()),
                     static_cast<std::uint32_t>(random.next())};
    case 12:
      return Timestamp{random.next()};
    case 13:
      return random_text(random, 300);
    case 14:
      return random_bytes(random, 40);
    case 15: {
      Array array;
      for (std::uint64_t left = random.below(4); left > 0; --left) {
        array.push_back(random_value(random, depth_max - 1));
      }
      return array;
    }
    default:
      return random_table(random, depth_max - 1);
  }
}

struct Fill {
  Random& random;

  template <std::integral Number>
  void operator()(Number& out) const {
    out = static_cast<Number>(random.next());
  }
  void operator()(Bit& out) const { out = random.below(2) == 1; }
  void operator()(ShortString& out) const {
    const std::array<std::size_t, 4> sizes{0, 10, 254, 255};
    out = random_text(random, sizes[random.below(sizes.size())]);
  }
  void operator()(LongString& out) const { out = random_text(random, 1000); }
  void operator()(Timestamp& out) const { out.seconds = random.next(); }
  void operator()(Table& out) const { out = random_table(random); }
};

template <class T>
using Members = boost::describe::describe_members<T, boost::describe::mod_public>;

}  // namespace

Table random_table(Random& random, std::size_t depth_max) {
  Table table;
  for (std::uint64_t left = random.below(6); left > 0; --left) {
    table.append(random_text(random, 20), random_value(random, depth_max));
  }
  return table;
}

BasicProperties random_properties(Random& random) {
  BasicProperties properties;
  boost::mp11::mp_for_each<Members<BasicProperties>>([&](auto field) {
    if (random.below(2) == 1) Fill{random}((properties.*field.pointer).emplace());
  });
  return properties;
}

std::vector<Method> random_methods(Random& random) {
  std::vector<Method> methods;
  boost::mp11::mp_for_each<Method>([&]<class M>(M method) {
    boost::mp11::mp_for_each<Members<M>>([&](auto field) { Fill{random}(method.*field.pointer); });
    methods.emplace_back(std::move(method));
  });
  return methods;
}

}  // namespace pronto::wire
