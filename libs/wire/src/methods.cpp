#include "pronto/wire/methods.hpp"

#include <array>

namespace pronto::wire {
namespace {

using Decode = Result<Method, Fault> (*)(BytesView fields);

/// What is known of one method by its number.
struct Known {
  Decode decode = nullptr;
  std::string_view name;
};

constexpr std::size_t class_id_end = 91;
constexpr std::size_t method_id_end = 121;

template <class M>
Result<Method, Fault> decode_as(BytesView fields) {
  Result<M, Fault> method = decode_fields<M>(fields);
  if (!method) return method.error();
  return Method{std::move(*method)};
}

/// Class and method number to what is known, without a search: classes are few, so each has one
/// row.
struct Index {
  static constexpr std::size_t class_count = 9;
  std::array<std::uint8_t, class_id_end> row_of_class{};  // 0: no such class
  std::array<std::array<std::uint8_t, method_id_end>, class_count> known_of_method{};
  std::array<Known, std::variant_size_v<Method> + 1> known{};  // the first is no method

  consteval Index() {
    std::uint8_t rows = 0;
    std::uint8_t count = 0;
    [&]<class... M>(std::type_identity<std::variant<M...>>) {
      (
          [&] {
            std::uint8_t& row = row_of_class[M::id.class_id];
            if (row == 0) row = ++rows;
            known[++count] = {&decode_as<M>, M::name};
            known_of_method[row][M::id.method_id] = count;
          }(),
          ...);
    }(std::type_identity<Method>{});
  }

  constexpr const Known& at(MethodId id) const noexcept {
    if (id.class_id >= class_id_end || id.method_id >= method_id_end) return known[0];
    return known[known_of_method[row_of_class[id.class_id]][id.method_id]];
  }
};

constexpr Index index_of_methods{};

}  // namespace

Result<Method, Fault> decode_method(BytesView payload) {
  Reader reader{payload};
  MethodId id;
  reader.read(id.class_id);
  reader.read(id.method_id);
  if (reader.failed()) return Fault{ReplyCode::syntax_error, "method frame without a method"};
  const Known& known = index_of_methods.at(id);
  if (known.decode == nullptr) {
    return Fault{ReplyCode::command_invalid,
                 "unknown method " + std::to_string(id.method_id) + " of class " +
                     std::to_string(id.class_id),
                 id};
  }
  return known.decode(payload.subspan(2 * sizeof(std::uint16_t)));
}

void append_method_frame(Bytes& out, std::uint16_t channel, const Method& method) {
  std::visit([&](const auto& known) { append_method_frame(out, channel, known); }, method);
}

static_assert(detail::all_have_room<
                  BasicDeliverView,
                  boost::describe::describe_members<BasicDeliverView, boost::describe::mod_public>>,
              "it is written for each delivery");

std::string_view name_of(const Method& method) noexcept {
  return std::visit([](const auto& known) { return known.name; }, method);
}

MethodId id_of(const Method& method) noexcept {
  return std::visit([](const auto& known) { return known.id; }, method);
}

std::string_view name_of(MethodId id) noexcept {
  return index_of_methods.at(id).name;
}

bool is_followed_by_content(const Method& method) noexcept {
  return std::visit([]<class M>(const M&) { return has_content<M>; }, method);
}

namespace {

template <class Close>
Close close_with(const Fault& fault) {
  return {.reply_code = static_cast<std::uint16_t>(fault.code),
          .reply_text = fault.reply_text(),
          .class_id = fault.method.class_id,
          .method_id = fault.method.method_id};
}

template <class Close>
Fault fault_from(const Close& close) {
  const ReplyCode code{close.reply_code};
  std::string_view text = close.reply_text;
  const std::string start = std::string{name_of(code)} + " - ";
  if (text.starts_with(start)) text.remove_prefix(start.size());
  return {.code = code,
          .text = std::string{text},
          .method = {close.class_id, close.method_id},
          .is_connection_error = std::same_as<Close, ConnectionClose>};
}

}  // namespace

ConnectionClose connection_close(const Fault& fault) {
  return close_with<ConnectionClose>(fault);
}
ChannelClose channel_close(const Fault& fault) {
  return close_with<ChannelClose>(fault);
}
Fault fault_of(const ConnectionClose& close) {
  return fault_from(close);
}
Fault fault_of(const ChannelClose& close) {
  return fault_from(close);
}

}  // namespace pronto::wire
