#include "pronto/async/stream.hpp"

#include <gtest/gtest.h>

#include <numeric>

#include "pronto/async/deadline.hpp"
#include "pronto/async/system_loop.hpp"
#include "pronto/async/task_group.hpp"
#include "pronto/async/virtual_loop.hpp"

namespace pronto {
namespace {

using namespace std::chrono_literals;

/// Sends everything back until the peer closes.
Task<> echo(std::unique_ptr<Stream> stream) {
  std::array<std::byte, 1000> buffer;
  for (;;) {
    const auto got = co_await stream->read_some(buffer);
    if (!got) co_return;
    const auto sent = co_await write_all(*stream, BytesView{buffer}.first(*got));
    if (!sent) co_return;
  }
}

Task<std::size_t> round_trip(Stream& stream, TaskGroup& group, std::size_t size) {
  Bytes sent(size);
  for (std::size_t i = 0; i < size; ++i) sent[i] = static_cast<std::byte>(i * 7);
  const BytesView view{sent};
  group.spawn([&stream, view]() -> Task<> {
    const BytesView parts[] = {view.first(view.size() / 2), view.subspan(view.size() / 2)};
    (void)co_await stream.write(parts);
    stream.shutdown_write();
  });
  Bytes received;
  Bytes buffer(4096);
  while (received.size() < size) {
    const auto got = co_await stream.read_some(buffer);
    if (!got) break;
    append(received, BytesView{buffer}.first(*got));
  }
  co_return received == sent ? received.size() : 0;
}

TEST(MemoryStream, CarriesMoreThanItHolds) {
  VirtualLoop loop;
  TaskGroup group{loop, "test"};
  auto [near, far] = make_memory_streams(64);
  group.spawn(echo(std::move(far)));
  EXPECT_EQ(loop.run(round_trip(*near, group, 10'000)), 10'000U);
}

TEST(MemoryStream, ReadsWhatWasWrittenBeforeThePeerLeft) {
  VirtualLoop loop;
  auto [near, far] = make_memory_streams();
  (void)loop.run(write_all(*far, as_bytes("pizza")));
  far.reset();
  Bytes buffer(100);
  EXPECT_EQ(loop.run(near->read_some(buffer)).value(), 5U);
  EXPECT_EQ(loop.run(near->read_some(buffer)).error(), make_error_code(Error::end_of_stream));
  EXPECT_FALSE(loop.run(write_all(*near, as_bytes("x"))));
}

Task<Result<void>> listen_and_echo(Loop& loop, TaskGroup& group, Endpoint& at) {
  auto acceptor = loop.network().listen(at);
  if (!acceptor) co_return acceptor.error();
  at = (*acceptor)->local();
  group.spawn([&group, acceptor = std::move(*acceptor)]() -> Task<> {
    for (;;) {
      auto stream = co_await acceptor->accept();
      if (!stream) co_return;
      group.spawn(echo(std::move(*stream)));
    }
  });
  co_return Result<void>{};
}

Task<> connect_and_compare(Loop& loop, TaskGroup& group, std::size_t size, std::size_t& same) {
  Endpoint at = *Endpoint::parse("127.0.0.1:0");
  EXPECT_TRUE(co_await listen_and_echo(loop, group, at));
  auto stream = co_await loop.network().connect("localhost", at.port, {});
  EXPECT_TRUE(stream.has_value());
  if (stream) same = co_await round_trip(**stream, group, size);
}

TEST(TcpStream, CarriesBytesBothWays) {
  SystemLoop loop;
  TaskGroup group{loop, "test"};
  std::size_t same = 0;
  group.spawn([&]() -> Task<> {
    co_await connect_and_compare(loop, group, 3'000'000, same);
    loop.stop();
  });
  loop.run();
  EXPECT_EQ(same, 3'000'000U);
}

TEST(TcpStream, AReadThatIsCutLeavesTheSocketUsable) {
  SystemLoop loop;
  TaskGroup group{loop, "test"};
  Endpoint at = *Endpoint::parse("127.0.0.1:0");
  bool cut = false;
  std::size_t same = 0;
  group.spawn([&]() -> Task<> {
    EXPECT_TRUE(co_await listen_and_echo(loop, group, at));
    auto stream = co_await loop.network().connect(at, {});
    Bytes buffer(10);
    const auto late = co_await with_deadline(10ms, (*stream)->read_some(buffer));
    cut = !late && late.error() == Error::timed_out;
    same = co_await round_trip(**stream, group, 1000);
    loop.stop();
  });
  loop.run();
  EXPECT_TRUE(cut);
  EXPECT_EQ(same, 1000U);
}

TEST(TcpStream, SaysThatNobodyListens) {
  SystemLoop loop;
  TaskGroup group{loop, "test"};
  std::error_code ec;
  group.spawn([&]() -> Task<> {
    const auto acceptor = loop.network().listen(*Endpoint::parse("127.0.0.1:0"));
    const Endpoint at = (*acceptor)->local();
    EXPECT_EQ(loop.network().listen(at).error(), std::errc::address_in_use);
    (*acceptor)->close();
    ec = (co_await loop.network().connect(at, {})).error();
    loop.stop();
  });
  loop.run();
  EXPECT_EQ(ec, std::errc::connection_refused);
}

TEST(VirtualNetwork, ConnectsAndRefuses) {
  VirtualLoop loop;
  TaskGroup group{loop, "test"};
  std::size_t same = 0;
  loop.run(connect_and_compare(loop, group, 5000, same));
  EXPECT_EQ(same, 5000U);
  loop.refuse_connects(1);
  EXPECT_FALSE(loop.run(loop.network().connect("localhost", 40001, {})));
}

TEST(Address, ReadsAndWritesBothFamilies) {
  for (const char* text : {"127.0.0.1", "::1", "fd00::1", "203.0.113.9"}) {
    EXPECT_EQ(IpAddress::parse(text)->to_string(), text);
  }
  EXPECT_TRUE(IpAddress::parse("::ffff:127.0.0.1")->is_loopback());
  EXPECT_FALSE(IpAddress::parse("127.1"));
  EXPECT_EQ(Endpoint::parse("[::1]:80")->to_string(), "[::1]:80");
  EXPECT_FALSE(Endpoint::parse("127.0.0.1:65536"));
  EXPECT_FALSE(Endpoint::parse("127.0.0.1"));
}

TEST(Address, RangesHoldTheirAddresses) {
  EXPECT_TRUE(IpRange::parse("10.0.0.0/8")->contains(*IpAddress::parse("10.255.0.1")));
  EXPECT_TRUE(IpRange::parse("10.0.0.0/8")->contains(*IpAddress::parse("::ffff:10.1.2.3")));
  EXPECT_FALSE(IpRange::parse("10.0.0.0/8")->contains(*IpAddress::parse("11.0.0.1")));
  EXPECT_FALSE(IpRange::parse("::/0")->to_string().empty());
  EXPECT_FALSE(IpRange::parse("10.0.0.0/33"));
}

}  // namespace
}  // namespace pronto
