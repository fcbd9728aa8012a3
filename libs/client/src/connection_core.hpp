#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "channel_core.hpp"
#include "link.hpp"
#include "pronto/async/task_group.hpp"
#include "pronto/client/connection.hpp"
#include "topology_record.hpp"

namespace pronto::client::detail {

wire::ExchangeDeclare declare_method(const Exchange& exchange);
wire::QueueDeclare declare_method(const Queue& queue);

/// The inside of a `Connection`: connects, serves one link after the other, hands frames to
/// channels.
class ConnectionCore : public std::enable_shared_from_this<ConnectionCore>, private FrameSink {
 public:
  ConnectionCore(Loop& loop, ConnectionOptions options);

  static Task<Result<void, Failure>> open(std::shared_ptr<ConnectionCore> self, milliseconds limit);
  static Task<Result<void, Failure>> close(std::shared_ptr<ConnectionCore> self,
                                           milliseconds limit);
  static Task<Result<Channel, Failure>> open_channel(std::shared_ptr<ConnectionCore> self,
                                                     ChannelOptions options);
  /// Asks on the management channel once the connection is ready.
  static Task<Result<Reply, Failure>> ask(std::shared_ptr<ConnectionCore> self, wire::Method method,
                                          wire::MethodId answer);
  /// Ends everything; what still waits fails with `failure`. The tasks end in the loop's next
  /// turns.
  void shut_down(const Failure& failure);
  /// As `shut_down`, and the tasks end now. Not to be called from one of them.
  void drop();

  // For channels.
  Loop& loop() const noexcept { return loop_; }
  const ConnectionOptions& options() const noexcept { return options_; }
  /// The link, while it may be written to.
  Link* link() const noexcept { return link_ && !link_->failure() ? link_.get() : nullptr; }
  bool is_ready() const noexcept { return is_ready_ && link() != nullptr; }
  const std::optional<SteadyTime>& blocked_since() const noexcept { return blocked_since_; }
  bool is_closing() const noexcept { return is_closing_; }
  bool is_blocked() const noexcept { return blocked_since_.has_value(); }
  void remove_channel(std::uint16_t number);
  void emit(Event::Kind kind, std::string text);
  Statistics& statistics() noexcept { return statistics_; }
  std::string make_unique(std::string_view prefix);
  milliseconds jittered(milliseconds backoff);
  const std::shared_ptr<ChannelCore>& management() const noexcept { return management_; }

  TopologyRecord& topology() noexcept { return topology_; }
  const wire::Table& server_properties() const noexcept { return server_properties_; }

 private:
  static Task<> run(std::shared_ptr<ConnectionCore> self);
  Task<Result<std::unique_ptr<Link>, Failure>> connect_any();
  Task<Result<std::unique_ptr<Link>, Failure>> connect_to(Address address);
  Task<> serve();
  Task<> declare_topology_again();
  Task<Result<Reply, Failure>> declare_again(wire::Method method, wire::MethodId answer,
                                             std::string what);
  Task<Result<void, Failure>> until_ready(SteadyTime deadline);

  std::optional<Failure> on_frame(const wire::FrameView& frame) override;
  std::optional<Failure> on_connection_method(const wire::Method& method);
  void on_room() override { tell_channels(); }
  void on_failed(const Failure& failure) override;
  void tell_channels();
  std::vector<std::shared_ptr<ChannelCore>> channels() const;

  Loop& loop_;
  const ConnectionOptions options_;
  const std::string unique_;  // part of every id made here
  std::uint64_t last_unique_ = 0;
  std::unique_ptr<Link> link_;
  std::string address_;  // of the link, for the log
  bool is_ready_ = false;
  bool is_closing_ = false;
  bool was_ready_ = false;
  std::optional<Failure> ended_;
  std::optional<Failure> last_failure_;
  std::optional<SteadyTime> blocked_since_;
  wire::MethodId method_at_fault_{};  // the broker closed the connection over it
  Signal changed_;
  std::map<std::uint16_t, std::shared_ptr<ChannelCore>> channels_;
  std::shared_ptr<ChannelCore> management_;
  TopologyRecord topology_;
  wire::Table server_properties_;
  Statistics statistics_;
  std::optional<TaskGroup> tasks_;
};

}  // namespace pronto::client::detail
