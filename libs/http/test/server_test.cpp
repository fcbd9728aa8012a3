#include "pronto/http/server.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "pronto/base/log.hpp"
#include "pronto/bus/database.hpp"
#include "pronto/http/client.hpp"
#include "pronto/http/wait.hpp"
#include "raw_client.hpp"

namespace pronto::http {
namespace {

using namespace std::chrono_literals;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

const std::string get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A server whose handler the test chooses; says "hello" by default.
class ServerTest : public testing::Test {
 protected:
  ServerTest() { log::set_level(log::Level::off); }
  ~ServerTest() override { log::set_level(log::Level::info); }

  Server& server() {
    if (!server_) {
      server_ = std::make_unique<Server>(
          loop, [this](Request& request) { return handler(request); }, options);
    }
    return *server_;
  }
  RawClient connect() { return RawClient{loop, server()}; }

  VirtualLoop loop;
  Server::Options options;
  Handler handler = [](Request& request) -> Task<Response> {
    co_return Response::text(200, "hello " + request.body);
  };
  std::unique_ptr<Server> server_;
};

TEST_F(ServerTest, AnswersARequestAndKeepsTheConnection) {
  RawClient client{loop, server()};
  const std::string first = client.send(get).take();
  EXPECT_THAT(first, StartsWith("HTTP/1.1 200 OK\r\nDate: Tue, 24 Nov 2026 15:00:00 GMT\r\n"));
  EXPECT_THAT(first, HasSubstr("Content-Length: 6\r\n"));
  EXPECT_THAT(first, HasSubstr("X-Content-Type-Options: nosniff\r\n"));
  EXPECT_THAT(first, EndsWith("\r\n\r\nhello "));
  EXPECT_THAT(client.send(get).take(), StartsWith("HTTP/1.1 200"));
  EXPECT_FALSE(client.is_closed());
  EXPECT_EQ(server().counts().requests, 2U);
}

TEST_F(ServerTest, AnswersPipelinedRequestsInOrder) {
  handler = [](Request& request) -> Task<Response> {
    if (request.path == "/slow") co_await sleep_for(5s);
    co_return Response::text(200, request.path + "!");
  };
  RawClient client{loop, server()};
  client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\nGET /fast HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(client.take(), "");
  loop.advance(5s);
  const std::string answers = client.take();
  EXPECT_LT(answers.find("/slow!"), answers.find("/fast!"));
  EXPECT_EQ(count_of(answers, "HTTP/1.1 200"), 2U);
}

TEST_F(ServerTest, ClosesWhenTheClientAsksForIt) {
  RawClient client{loop, server()};
  client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(client.take(), HasSubstr("Connection: close\r\n"));
  EXPECT_TRUE(client.is_closed());
}

TEST_F(ServerTest, KeepsAnHttp10ConnectionOnlyWhenAsked) {
  RawClient plain{loop, server()};
  EXPECT_THAT(plain.send("GET / HTTP/1.0\r\n\r\n").take(), HasSubstr("Connection: close"));
  RawClient kept{loop, server()};
  kept.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_THAT(kept.take(), HasSubstr("Connection: keep-alive"));
  EXPECT_FALSE(kept.is_closed());
}

TEST_F(ServerTest, AnswersHeadWithoutABody) {
  RawClient client{loop, server()};
  client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
  const std::string answer = client.take();
  EXPECT_THAT(answer, HasSubstr("Content-Length: 6\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\n"));
}

TEST_F(ServerTest, SaysContinueOnlyToABodyItWillRead) {
  RawClient client{loop, server()};
  client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
  EXPECT_EQ(client.take(), "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_THAT(client.send("you").take(), EndsWith("hello you"));

  RawClient large{loop, server()};
  large.send(
      "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9999999\r\n\r\n");
  EXPECT_THAT(large.take(), StartsWith("HTTP/1.1 413 "));
}

TEST_F(ServerTest, AnswersNonsenseWithAProblemAndCloses) {
  RawClient client{loop, server()};
  client.send("GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n" + get);
  const std::string answer = client.take();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 400 Bad Request\r\n"));
  EXPECT_THAT(answer, HasSubstr("Content-Type: application/problem+json\r\n"));
  EXPECT_THAT(answer, HasSubstr("NAME: VALUE"));
  EXPECT_EQ(count_of(answer, "HTTP/1.1"), 1U) << "what follows nonsense is not looked at";
  client.end_sending();
  EXPECT_TRUE(client.is_closed());
  EXPECT_EQ(server().counts().requests, 0U);
  EXPECT_EQ(server().counts().refused, 1U);
}

TEST_F(ServerTest, ReadsOnForAMomentSoThatTheRefusalOfALargeBodyArrives) {
  RawClient client{loop, server(), 64 * 1024};
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n" +
              std::string(2'000'000, 'x'));
  EXPECT_THAT(client.take(), StartsWith("HTTP/1.1 413 "));
  client.end_sending();
  EXPECT_EQ(server().counts().connections_open, 0U) << "all of it was read, and nothing is kept";
}

TEST_F(ServerTest, NeverHandsASmuggledRequestToTheHandler) {
  std::vector<std::string> paths;
  handler = [&](Request& request) -> Task<Response> {
    paths.push_back(request.path);
    co_return Response::empty();
  };
  RawClient client{loop, server()};
  client.send(
      "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
      "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_THAT(client.take(), StartsWith("HTTP/1.1 400"));
  EXPECT_TRUE(paths.empty());
}

TEST_F(ServerTest, TellsTlsAndAmqpClientsInTheirOwnProtocol) {
  options.amqp_address = "127.0.0.1:5672";
  RawClient tls{loop, server()};
  const std::string alert = tls.send("\x16\x03\x01\x02").take();
  EXPECT_EQ(alert.substr(0, 2), "\x15\x03");
  RawClient amqp{loop, server()};
  const std::string close = amqp.send(std::string{"AMQP\0\0\x09\x01", 8}).take();
  EXPECT_EQ(close.front(), '\x01');
  EXPECT_EQ(close.back(), '\xCE');
  EXPECT_THAT(close, HasSubstr("HTTP is spoken at this port; AMQP is at 127.0.0.1:5672"));
  const auto size = static_cast<std::size_t>(static_cast<unsigned char>(close[6]));
  EXPECT_EQ(close.size(), size + 8);
}

TEST_F(ServerTest, CutsAHeadThatDripsIn) {
  RawClient client{loop, server()};
  for (int second = 0; second < 9; ++second) {
    client.send(second == 0 ? "GET / HTTP/1.1\r\nX: " : "x");
    loop.advance(1s);
  }
  EXPECT_EQ(client.take(), "");
  client.send("x");
  loop.advance(1s);
  EXPECT_THAT(client.take(), StartsWith("HTTP/1.1 408 "));
  loop.advance(3s);
  EXPECT_TRUE(client.is_closed());
  EXPECT_EQ(server().counts().connections_open, 0U);
}

TEST_F(ServerTest, CutsABodyThatDoesNotCome) {
  RawClient client{loop, server()};
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhal");
  loop.advance(29s);
  EXPECT_EQ(client.take(), "");
  loop.advance(1s);
  EXPECT_THAT(client.take(), StartsWith("HTTP/1.1 408 "));
}

TEST_F(ServerTest, ClosesAnIdleConnectionWithoutAWord) {
  RawClient client{loop, server()};
  client.send(get).take();
  loop.advance(74s);
  EXPECT_FALSE(client.is_closed());
  loop.advance(1s);
  EXPECT_TRUE(client.is_closed());
  EXPECT_EQ(client.take(), "");
  loop.advance(3s);
  EXPECT_EQ(server().counts().connections_open, 0U);
}

TEST_F(ServerTest, ServesOthersWhileSomeAreSlow) {
  std::vector<std::unique_ptr<RawClient>> slow;
  for (int i = 0; i < 100; ++i) {
    slow.push_back(std::make_unique<RawClient>(loop, server()));
    slow.back()->send("POST / HTTP/1.1\r\nHost: a\r\nContent-Le");
  }
  RawClient client{loop, server()};
  EXPECT_THAT(client.send(get).take(), StartsWith("HTTP/1.1 200"));
}

TEST_F(ServerTest, RefusesOneConnectionPastTheLimitAndServesAgainWhenOneHasGone) {
  options.limits.connections_max = 2;
  RawClient first{loop, server()};
  auto second = std::make_unique<RawClient>(loop, server());
  EXPECT_THAT(second->send(get).take(), StartsWith("HTTP/1.1 200"));
  RawClient third{loop, server()};
  EXPECT_THAT(third.take(), StartsWith("HTTP/1.1 503 "));
  second.reset();
  loop.run_until_idle();
  RawClient fourth{loop, server()};
  EXPECT_THAT(fourth.send(get).take(), StartsWith("HTTP/1.1 200"));
}

TEST_F(ServerTest, ClosesAClientThatDoesNotReadItsAnswer) {
  handler = [](Request&) -> Task<Response> {
    co_return Response::text(200, std::string(1'000'000, 'x'));
  };
  RawClient client{loop, server(), 1024};
  client.send(get);
  EXPECT_EQ(server().counts().connections_open, 1U);
  loop.advance(33s);
  EXPECT_EQ(server().counts().connections_open, 0U);
}

TEST_F(ServerTest, TurnsWhatAHandlerThrowsIntoAProblem) {
  handler = [](Request& request) -> Task<Response> {
    if (request.path == "/database") {
      throw DatabaseError{DatabaseError::Kind::unavailable, "disk full: secret path"};
    }
    throw std::runtime_error{"secret"};
    co_return Response::empty();
  };
  RawClient client{loop, server()};
  const std::string answer = client.send(get).take();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 500 "));
  EXPECT_THAT(answer, testing::Not(HasSubstr("secret")));
  const std::string other = client.send("GET /database HTTP/1.1\r\nHost: a\r\n\r\n").take();
  EXPECT_THAT(other, StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(other, HasSubstr("Retry-After: 5\r\n"));
  EXPECT_THAT(other, testing::Not(HasSubstr("secret")));
}

TEST_F(ServerTest, DoesNotLetAValueBeginAFieldOfItsOwn) {
  handler = [](Request&) -> Task<Response> {
    co_return Response::empty().with("Location", "/x\r\nSet-Cookie: a=b");
  };
  RawClient client{loop, server()};
  EXPECT_THAT(client.send(get).take(), testing::Not(HasSubstr("\r\nSet-Cookie")));
}

TEST_F(ServerTest, StopsInOrder) {
  handler = [](Request& request) -> Task<Response> {
    if (request.path == "/slow") co_await sleep_for(3s);
    co_return Response::text(200, "done");
  };
  RawClient idle{loop, server()};
  RawClient busy{loop, server()};
  busy.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n" + get);
  bool stopped = false;
  TaskGroup tasks{loop, "test"};
  tasks.spawn([&]() -> Task<> {
    co_await server().stop(10s);
    stopped = true;
  });
  loop.run_until_idle();
  EXPECT_TRUE(idle.is_closed());
  EXPECT_FALSE(stopped);
  loop.advance(3s);
  const std::string answer = busy.take();
  EXPECT_EQ(count_of(answer, "HTTP/1.1 200"), 1U);
  EXPECT_THAT(answer, HasSubstr("Connection: close"));
  busy.leave();
  loop.run_until_idle();
  EXPECT_TRUE(stopped);
}

TEST_F(ServerTest, StopsWithinItsLimitWhateverHandlersDo) {
  handler = [](Request&) -> Task<Response> {
    co_await sleep_for(1000s);
    co_return Response::empty();
  };
  RawClient busy{loop, server()};
  busy.send(get);
  const SteadyTime began = loop.now();
  loop.run(server().stop(2s));
  EXPECT_EQ(loop.now() - began, 2s);
  EXPECT_TRUE(busy.is_closed());
  EXPECT_EQ(server().counts().connections_open, 0U);
}

TEST_F(ServerTest, ListensAndAnswersTheClientOfThisLayer) {
  const Endpoint at = server().listen(*Endpoint::parse("127.0.0.1:0")).value();
  Client client{loop};
  const std::string url = "http://" + at.to_string() + "/x";
  const auto response =
      loop.run(client.send(url, {.method = "POST", .headers = {}, .body = "you"}));
  EXPECT_EQ(response.value().status, 200);
  EXPECT_EQ(response.value().body, "hello you");
  loop.run(server().stop(1s));
  EXPECT_FALSE(loop.run(client.send(url, {})));
}

TEST_F(ServerTest, HoldsALongPollUntilTheChangeOrTheLimit) {
  Signal changed;
  bool is_ready = false;
  handler = [&](Request& request) -> Task<Response> {
    const seconds wait = request.prefer_wait(60s).value_or(0s);
    const bool ready = co_await wait_until(changed, wait, [&] { return is_ready; });
    co_return Response::text(200, ready ? "ready" : "not yet");
  };
  const std::string poll = "GET / HTTP/1.1\r\nHost: a\r\nPrefer: respond-async, wait=20\r\n\r\n";
  RawClient client{loop, server()};
  client.send(poll);
  loop.advance(19s);
  EXPECT_EQ(client.take(), "");
  loop.advance(1s);
  EXPECT_THAT(client.take(), EndsWith("not yet"));
  client.send(poll);
  is_ready = true;
  changed.notify_all();
  loop.run_until_idle();
  EXPECT_THAT(client.take(), EndsWith("ready"));
}

/// Events 1, 2, 3, ... from a log that the test makes longer.
class EventStreamTest : public ServerTest {
 protected:
  EventStreamTest() {
    handler = [this](Request& request) -> Task<Response> {
      const auto seen = request.last_event_id().value_or(0);
      co_return Response::stream([this, seen](EventWriter& writer) -> Task<> {
        ++open;
        struct Closed {
          int& count;
          ~Closed() { --count; }
        } closed{open};
        for (std::uint64_t next = seen + 1;; ++next) {
          while (next > log_size && !is_over) co_await changed.wait();
          if (next > log_size) co_return;
          Event event{.id = std::to_string(next), .name = "step", .data = data};
          if (!co_await writer.send(std::move(event))) co_return;
          ++sent;
        }
      });
    };
  }
  ~EventStreamTest() override { server_.reset(); }  // before what its handlers use

  void add(std::uint64_t count) {
    log_size += count;
    changed.notify_all();
    loop.run_until_idle();
  }
  void finish() {
    is_over = true;
    changed.notify_all();
    loop.run_until_idle();
  }

  std::uint64_t log_size = 0;
  std::uint64_t sent = 0;
  bool is_over = false;
  int open = 0;
  std::string data = "x";
  Signal changed;
};

TEST_F(EventStreamTest, SendsEachEventOnceAndInOrderAndEndsInGoodOrder) {
  const Endpoint at = server().listen(*Endpoint::parse("127.0.0.1:0")).value();
  Client client{loop};
  log_size = 2;
  auto events = loop.run(client.follow("http://" + at.to_string() + "/", {})).value();
  EXPECT_EQ(events.response().headers.find("content-type"), "text/event-stream");
  EXPECT_EQ(loop.run(events.next()).value().id, "1");
  EXPECT_EQ(loop.run(events.next()).value().id, "2");
  add(1);
  const Event third = loop.run(events.next()).value();
  EXPECT_EQ(third.id, "3");
  EXPECT_EQ(third.name, "step");
  EXPECT_EQ(third.data, "x");
  finish();
  EXPECT_EQ(loop.run(events.next()).error(), make_error_code(Error::end_of_stream));
}

TEST_F(EventStreamTest, ResumesAfterTheLastEventSeen) {
  log_size = 5;
  is_over = true;
  RawClient client{loop, server()};
  client.send("GET / HTTP/1.1\r\nHost: a\r\nLast-Event-ID: 3\r\n\r\n");
  const std::string answer = client.take();
  EXPECT_THAT(answer, testing::Not(HasSubstr("id: 3")));
  EXPECT_LT(answer.find("id: 4"), answer.find("id: 5"));
  EXPECT_THAT(answer, EndsWith("0\r\n\r\n"));
}

TEST_F(EventStreamTest, SendsACommentWhenThereIsNothingToSend) {
  RawClient client{loop, server()};
  client.send(get).take();
  loop.advance(14s);
  EXPECT_EQ(client.take(), "");
  loop.advance(1s);
  EXPECT_THAT(client.take(), HasSubstr(": alive\n\n"));
  loop.advance(15s);
  EXPECT_THAT(client.take(), HasSubstr(": alive\n\n"));
}

TEST_F(EventStreamTest, EndsItsHandlerWhenTheClientLeaves) {
  RawClient client{loop, server()};
  client.send(get);
  EXPECT_EQ(open, 1);
  EXPECT_EQ(server().counts().event_streams_open, 1U);
  client.leave();
  EXPECT_EQ(open, 0);
  EXPECT_EQ(server().counts().event_streams_open, 0U);
  EXPECT_EQ(server().counts().connections_open, 0U);
}

TEST_F(EventStreamTest, HoldsASlowReaderToABoundedBufferAndThenLetsItGo) {
  data = std::string(1000, 'x');
  log_size = 10'000;
  RawClient client{loop, server(), 4096};
  client.send(get);
  // Two buffers (one being written, one filling up) of 64 KiB and what is on its way.
  EXPECT_LT(sent, 150U);
  EXPECT_GT(sent, 60U);
  EXPECT_EQ(open, 1);
  loop.advance(31s);
  EXPECT_EQ(open, 0);
  EXPECT_EQ(server().counts().connections_open, 0U);
}

TEST_F(EventStreamTest, EndsWellWhenTheServerStops) {
  log_size = 1;
  RawClient client{loop, server()};
  client.send(get).listen();
  loop.run(server().stop(5s));
  EXPECT_THAT(client.take(), EndsWith("0\r\n\r\n"));
  EXPECT_EQ(open, 0);
}

TEST_F(EventStreamTest, IsCutWhenItsHandlerFails) {
  handler = [](Request&) -> Task<Response> {
    co_return Response::stream([](EventWriter& writer) -> Task<> {
      (void)co_await writer.send({.id = "1", .name = "", .data = "x"});
      throw std::runtime_error{"broken"};
    });
  };
  RawClient client{loop, server()};
  const std::string answer = client.send(get).take();
  EXPECT_TRUE(client.is_closed());
  EXPECT_THAT(answer, testing::Not(EndsWith("0\r\n\r\n")));
}

TEST_F(EventStreamTest, AnswersHeadWithoutStarting) {
  RawClient client{loop, server()};
  client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_THAT(client.take(), HasSubstr("text/event-stream"));
  EXPECT_EQ(sent, 0U);
  EXPECT_EQ(open, 0);
}

// Goal: whatever clients send, in whatever pieces, and whenever they leave, others are served and
// nothing is left behind. Method: random bytes made of pieces of requests, at random times.
TEST_F(ServerTest, OutlivesClientsThatSendAnything) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random{seed};
  const std::string pieces[] = {get,
                                "GET / HTTP/1.1\r\n",
                                "Host: a\r\n",
                                "\r\n",
                                "\r",
                                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
                                "hello",
                                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
                                "5\r\nhello\r\n",
                                "0\r\n\r\n",
                                "Expect: 100-continue\r\n",
                                "AMQP",
                                "\x16\x03\x01",
                                std::string(20'000, 'a')};
  for (int round = 0; round < 300; ++round) {
    RawClient client{loop, server()};
    if (random() % 2 == 0) client.listen();
    for (std::uint64_t count = random() % 8; count > 0; --count) {
      std::string bytes = pieces[random() % std::size(pieces)];
      if (random() % 4 == 0) bytes = bytes.substr(0, random() % bytes.size());
      client.send(std::move(bytes));
      if (random() % 8 == 0) loop.advance(seconds{random() % 40});
    }
    if (random() % 2 == 0) client.end_sending();
  }
  RawClient client{loop, server()};
  EXPECT_THAT(client.send(get).take(), StartsWith("HTTP/1.1 200"));
  client.leave();
  loop.advance(200s);
  EXPECT_EQ(server().counts().connections_open, 0U);
}

}  // namespace
}  // namespace pronto::http
