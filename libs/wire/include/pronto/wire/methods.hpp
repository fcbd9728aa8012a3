#pragma once

#include <boost/describe/members.hpp>
#include <boost/mp11/algorithm.hpp>
#include <string_view>
#include <variant>

#include "pronto/base/bytes.hpp"
#include "pronto/base/result.hpp"
#include "pronto/wire/frame.hpp"
#include "pronto/wire/methods/basic.hpp"
#include "pronto/wire/methods/channel.hpp"
#include "pronto/wire/methods/connection.hpp"
#include "pronto/wire/methods/exchange.hpp"
#include "pronto/wire/methods/queue.hpp"
#include "pronto/wire/methods/transactions.hpp"
#include "pronto/wire/reader.hpp"
#include "pronto/wire/reply_code.hpp"
#include "pronto/wire/writer.hpp"

namespace pronto::wire {

// Each struct under methods/ is described once; reading, writing and comparing are made from that
// description, for client and broker alike.

/// Any method.
using Method = std::variant<
    ConnectionStart, ConnectionStartOk, ConnectionSecure, ConnectionSecureOk, ConnectionTune,
    ConnectionTuneOk, ConnectionOpen, ConnectionOpenOk, ConnectionClose, ConnectionCloseOk,
    ConnectionBlocked, ConnectionUnblocked, ConnectionUpdateSecret, ConnectionUpdateSecretOk,
    ChannelOpen, ChannelOpenOk, ChannelFlow, ChannelFlowOk, ChannelClose, ChannelCloseOk,
    AccessRequest, AccessRequestOk, ExchangeDeclare, ExchangeDeclareOk, ExchangeDelete,
    ExchangeDeleteOk, ExchangeBind, ExchangeBindOk, ExchangeUnbind, ExchangeUnbindOk, QueueDeclare,
    QueueDeclareOk, QueueBind, QueueBindOk, QueuePurge, QueuePurgeOk, QueueDelete, QueueDeleteOk,
    QueueUnbind, QueueUnbindOk, BasicQos, BasicQosOk, BasicConsume, BasicConsumeOk, BasicCancel,
    BasicCancelOk, BasicPublish, BasicReturn, BasicDeliver, BasicGet, BasicGetOk, BasicGetEmpty,
    BasicAck, BasicReject, BasicRecoverAsync, BasicRecover, BasicRecoverOk, BasicNack,
    ConfirmSelect, ConfirmSelectOk, TxSelect, TxSelectOk, TxCommit, TxCommitOk, TxRollback,
    TxRollbackOk>;

/// Whether a content header and a body follow the method.
template <class M>
inline constexpr bool has_content = requires { M::has_content; };

/// Reads the fields of one method, its class and method number being read already.
/// Errors: `syntax_error` when fields do not fit or bytes are left over; `frame_error` for a short
/// string that is not UTF-8. Runs on: any thread.
template <class M>
Result<M, Fault> decode_fields(BytesView fields) {
  Reader reader{fields};
  M method;
  boost::mp11::mp_for_each<boost::describe::describe_members<M, boost::describe::mod_public>>(
      [&](auto field) { reader.read(method.*field.pointer); });
  reader.expect_end();
  if (reader.failed()) {
    Fault fault = reader.fault();
    fault.method = M::id;
    return fault;
  }
  return method;
}

/// Takes: the payload of a method frame.
/// Errors: as `decode_fields`, and `command_invalid` for a method that is none. Runs on: any
/// thread.
Result<Method, Fault> decode_method(BytesView payload);

/// Appends the payload of a method frame: numbers and fields. Runs on: any thread.
template <class M>
void append_method(Bytes& out, const M& method) {
  Writer writer{out};
  writer.write(M::id.class_id);
  writer.write(M::id.method_id);
  boost::mp11::mp_for_each<boost::describe::describe_members<M, boost::describe::mod_public>>(
      [&](auto field) { writer.write(method.*field.pointer); });
}

namespace detail {
template <class M, class Members>
inline constexpr bool all_have_room = false;
template <class M, template <class...> class List, class... Fields>
inline constexpr bool all_have_room<M, List<Fields...>> =
    (has_room<std::remove_cvref_t<decltype(std::declval<M>().*Fields::pointer)>> && ...);

}  // namespace detail

/// Appends a whole method frame. A method is never split: one with a table above the peer's frame
/// limit is the caller's to refuse. Runs on: any thread.
template <class M>
void append_method_frame(Bytes& out, std::uint16_t channel, const M& method) {
  using Members = boost::describe::describe_members<M, boost::describe::mod_public>;
  const std::size_t start = out.size();
  if constexpr (detail::all_have_room<M, Members>) {
    std::size_t most = frame_overhead_bytes + 2 * sizeof(std::uint16_t);
    boost::mp11::mp_for_each<Members>([&](auto field) { most += room_of(method.*field.pointer); });
    out.resize(start + most);
    RoomWriter writer{out.data() + start + frame_overhead_bytes - 1};
    writer.write(M::id.class_id);
    writer.write(M::id.method_id);
    boost::mp11::mp_for_each<Members>([&](auto field) { writer.write(method.*field.pointer); });
    out.resize(detail::write_frame_around(out, start, writer, FrameType::method, channel));
  } else {
    out.resize(start + frame_overhead_bytes - 1);
    append_method(out, method);
    out.push_back(frame_end);
    detail::write_frame_around(out, start, RoomWriter{&out.back()}, FrameType::method, channel);
  }
}
void append_method_frame(Bytes& out, std::uint16_t channel, const Method& method);

/// Returns: `queue.declare`. Runs on: any thread, as the rest here.
std::string_view name_of(const Method& method) noexcept;
MethodId id_of(const Method& method) noexcept;
/// Returns: the name for an id, or nothing when there is no such method: an empty view.
std::string_view name_of(MethodId id) noexcept;
bool is_followed_by_content(const Method& method) noexcept;
/// Whether the method belongs on channel 0 (class connection); all others belong on a channel.
inline bool is_connection_method(MethodId id) noexcept {
  return id.class_id == 10;
}

/// The method that tells a peer of `fault` and ends its connection, or its channel.
ConnectionClose connection_close(const Fault& fault);
ChannelClose channel_close(const Fault& fault);
/// What a peer told us by closing. `is_connection_error` says which of the two it closed.
Fault fault_of(const ConnectionClose& close);
Fault fault_of(const ChannelClose& close);

}  // namespace pronto::wire
