#include "pronto/http/callback.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include "callback_attempt.hpp"
#include "database_fixture.hpp"
#include "pronto/http/server.hpp"
#include "pronto/http/webhook.hpp"

namespace pronto::http {
namespace {

using namespace std::chrono_literals;
using State = CallbackView::State;
using testing::HasSubstr;

const std::string secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A receiver of callbacks that answers as the test says, and keeps what it was sent.
class Receiver {
 public:
  struct Received {
    std::string path;
    Headers headers;
    std::string body;
    WallTime at;
  };
  explicit Receiver(VirtualLoop& loop)
      : server_{loop, [this](Request& request) { return on_request(request); }},
        at_{server_.listen(*Endpoint::parse("127.0.0.1:0")).value()} {}

  std::string url(const std::string& path = "/hook") const {
    return "http://receiver.example:" + std::to_string(at_.port) + path;
  }
  std::uint16_t port() const { return at_.port; }

  std::function<Task<Response>(std::size_t nth)> answer = [](std::size_t) -> Task<Response> {
    co_return Response::empty(204);
  };
  std::vector<Received> received;

 private:
  Task<Response> on_request(Request& request) {
    received.push_back({request.path, request.headers, request.body, request.received_at});
    return answer(received.size());
  }
  Server server_;
  Endpoint at_;
};

class CallbacksTest : public DatabaseTest {
 protected:
  CallbacksTest() {
    loop.set_host("receiver.example", {*IpAddress::parse("93.184.216.34")});
    options.jitter = 0;
    open();
  }
  ~CallbacksTest() override { callbacks_.reset(); }

  Callbacks& callbacks() { return *callbacks_; }
  void open() {
    callbacks_ = std::make_unique<Callbacks>(
        loop, database(), check,
        [](std::string_view, std::string_view given) {
          return std::vector<std::string>{given.empty() ? secret : std::string{given}};
        },
        options);
    loop.run(callbacks_->prepare());
    callbacks_->start();
  }
  void reopen_with(const Callbacks::Options& changed) {
    callbacks_.reset();
    options = changed;
    open();
  }
  void crash() {
    callbacks_.reset();
    crash_database();
    open();
  }
  bool add(std::string subject, std::string url, std::string event = "ready") {
    const bool is_new = loop.run([](CallbacksTest& test, NewCallback callback) -> Task<bool> {
      bool added = false;
      co_await test.database().transact(
          [&](Transaction& tx) -> Task<> { added = co_await test.callbacks().add(tx, callback); });
      co_return added;
    }(*this, {subject, event, url, R"({"id":")" + subject + "\"}", ""}));
    callbacks().wake();
    loop.run_until_idle();
    return is_new;
  }
  CallbackView view(const std::string& subject) {
    auto found = loop.run(callbacks().of_subject(subject));
    EXPECT_EQ(found.size(), 1U);
    return found.at(0);
  }
  static std::function<Task<Response>(std::size_t)> statuses(std::vector<int> list) {
    return [list](std::size_t nth) -> Task<Response> {
      co_return Response::empty(list[std::min(nth, list.size()) - 1]);
    };
  }

  AddressCheck check;
  Callbacks::Options options;
  Receiver receiver{loop};

 private:
  std::unique_ptr<Callbacks> callbacks_;
};

TEST_F(CallbacksTest, SendsASignedCloudEventOnce) {
  EXPECT_TRUE(add("o1", receiver.url("/hook?a=b")));
  ASSERT_EQ(receiver.received.size(), 1U);
  const auto& got = receiver.received[0];
  EXPECT_EQ(got.path, "/hook");
  EXPECT_EQ(got.body, R"({"id":"o1"})");
  EXPECT_EQ(got.headers.find("content-type"), "application/cloudevents+json");
  EXPECT_THAT(std::string{*got.headers.find("webhook-id")}, testing::StartsWith("msg_"));
  EXPECT_TRUE(is_signed(*WebhookSecret::parse(secret), *got.headers.find("webhook-id"),
                        *got.headers.find("webhook-timestamp"),
                        *got.headers.find("webhook-signature"), got.body));
  EXPECT_EQ(view("o1").state, State::delivered);
  EXPECT_EQ(view("o1").last_status, 204);
  EXPECT_EQ(view("o1").attempts, 1);

  EXPECT_FALSE(add("o1", receiver.url())) << "one state change, one callback";
  EXPECT_TRUE(add("o1", receiver.url(), "cancelled"));
  EXPECT_EQ(receiver.received.size(), 2U);
}

TEST_F(CallbacksTest, TriesAgainByTheScheduleWithTheSameId) {
  receiver.answer = statuses({500, 500, 200});
  add("o1", receiver.url());
  EXPECT_EQ(view("o1").state, State::waiting);
  EXPECT_EQ(view("o1").last_status, 500);
  EXPECT_EQ(view("o1").last_error, "answered 500");
  loop.advance(4999ms);
  EXPECT_EQ(receiver.received.size(), 1U);
  loop.advance(1ms);
  EXPECT_EQ(receiver.received.size(), 2U);
  loop.advance(300s - 1ms);
  EXPECT_EQ(receiver.received.size(), 2U);
  loop.advance(1ms);
  ASSERT_EQ(receiver.received.size(), 3U);
  EXPECT_EQ(view("o1").state, State::delivered);
  EXPECT_EQ(view("o1").attempts, 3);
  for (const auto& got : receiver.received) {
    EXPECT_EQ(got.headers.find("webhook-id"), receiver.received[0].headers.find("webhook-id"));
  }
  EXPECT_NE(receiver.received[0].headers.find("webhook-timestamp"),
            receiver.received[2].headers.find("webhook-timestamp"));
}

TEST_F(CallbacksTest, IsGivenUpAfterTheWholeScheduleAndCanBeSentAgain) {
  receiver.answer = statuses({500});
  add("o1", receiver.url());
  loop.advance(24h * 6);
  EXPECT_EQ(receiver.received.size(), 10U);
  const SteadyTime::duration whole = 5s + 5min + 30min + 2h + 5h + 10h + 14h + 20h + 24h;
  EXPECT_EQ(receiver.received.back().at - receiver.received.front().at, whole);
  EXPECT_EQ(view("o1").state, State::dead);
  EXPECT_EQ(loop.run(callbacks().list(State::dead, 10)).size(), 1U);

  receiver.answer = statuses({200});
  EXPECT_TRUE(loop.run(callbacks().resend(view("o1").id)));
  loop.run_until_idle();
  EXPECT_EQ(view("o1").state, State::delivered);
  EXPECT_EQ(receiver.received.front().headers.find("webhook-id"),
            receiver.received.back().headers.find("webhook-id"));
  EXPECT_FALSE(loop.run(callbacks().resend(view("o1").id))) << "it was delivered";
  EXPECT_FALSE(loop.run(callbacks().resend("msg_unknown")));
}

TEST_F(CallbacksTest, SentAgainItIsNotUndoneByTheAttemptThatWasUnderWay) {
  options.schedule = {0s};
  reopen_with(options);
  receiver.answer = [](std::size_t nth) -> Task<Response> {
    co_await sleep_for(nth == 1 ? 5s : 7s);
    co_return Response::empty(nth == 1 ? 500 : 200);
  };
  add("o1", receiver.url());
  loop.advance(1s);
  EXPECT_TRUE(loop.run(callbacks().resend(view("o1").id)));
  loop.run_until_idle();
  EXPECT_EQ(receiver.received.size(), 2U) << "at once";
  loop.advance(5s);  // the first attempt, which would have been the last, ends
  EXPECT_EQ(view("o1").state, State::waiting);
  EXPECT_EQ(view("o1").last_status, 0);
  loop.advance(5s);
  EXPECT_EQ(view("o1").state, State::delivered);
  EXPECT_EQ(receiver.received.size(), 2U);
}

TEST_F(CallbacksTest, EndsWhenTheReceiverHasGone) {
  receiver.answer = statuses({410});
  add("o1", receiver.url());
  loop.advance(24h);
  EXPECT_EQ(receiver.received.size(), 1U);
  EXPECT_EQ(view("o1").state, State::ended);
}

TEST_F(CallbacksTest, WaitsAsLongAsTheReceiverAsksFor) {
  receiver.answer = [](std::size_t nth) -> Task<Response> {
    if (nth == 1) co_return too_many_requests("", 120s);
    if (nth == 2) {
      Response response = unavailable("", 0s);
      co_return std::move(response).with("Retry-After", "Tue, 24 Nov 2026 15:20:00 GMT");
    }
    co_return Response::empty(200);
  };
  add("o1", receiver.url());
  loop.advance(120s - 1ms);
  EXPECT_EQ(receiver.received.size(), 1U);
  loop.advance(1ms);
  EXPECT_EQ(receiver.received.size(), 2U);
  loop.advance(17min + 59s);
  EXPECT_EQ(receiver.received.size(), 2U);
  loop.advance(1s);
  EXPECT_EQ(receiver.received.size(), 3U);
}

TEST_F(CallbacksTest, IgnoresARetryAfterOfOtherAnswersAndCutsOneWithoutEnd) {
  EXPECT_EQ(parse_retry_after("7", WallTime{}), 7s);
  EXPECT_EQ(parse_retry_after("x", WallTime{}), std::nullopt);
  EXPECT_EQ(parse_retry_after("Tue, 31 Feb 2026 15:20:00 GMT", WallTime{}), std::nullopt);
  receiver.answer = [](std::size_t nth) -> Task<Response> {
    if (nth == 1) co_return Response::empty(500).with("Retry-After", "99999");
    co_return too_many_requests("", 100'000'000s);
  };
  add("o1", receiver.url());
  loop.advance(5s);
  EXPECT_EQ(receiver.received.size(), 2U);
  EXPECT_EQ(view("o1").next_try_at - loop.wall_now(), 24h);
}

TEST_F(CallbacksTest, DoesNotFollowRedirects) {
  receiver.answer = [this](std::size_t) -> Task<Response> {
    co_return Response::see_other(receiver.url("/elsewhere"));
  };
  add("o1", receiver.url());
  EXPECT_EQ(receiver.received.size(), 1U);
  EXPECT_THAT(view("o1").last_error, HasSubstr("redirects are not followed"));
}

TEST_F(CallbacksTest, GivesUpOnAReceiverThatHangs) {
  receiver.answer = [](std::size_t) -> Task<Response> {
    co_await sleep_for(1h);
    co_return Response::empty();
  };
  add("o1", receiver.url());
  loop.advance(9999ms);
  EXPECT_EQ(view("o1").last_error, "");
  loop.advance(1ms);
  EXPECT_THAT(view("o1").last_error, HasSubstr("no answer within 10 s"));
  EXPECT_EQ(view("o1").last_duration, 10s);
}

TEST_F(CallbacksTest, DoesNotReadAnAnswerWithoutEnd) {
  receiver.answer = [](std::size_t) -> Task<Response> {
    co_return Response::text(200, std::string(16 * 1024 + 1, 'x'));
  };
  add("o1", receiver.url());
  EXPECT_EQ(view("o1").state, State::waiting);
  EXPECT_NE(view("o1").last_error, "");
}

TEST_F(CallbacksTest, GoesOnAfterACrashWithTheSameId) {
  receiver.answer = [](std::size_t nth) -> Task<Response> {
    if (nth == 1) co_await sleep_for(1h);
    co_return Response::empty();
  };
  add("o1", receiver.url());
  EXPECT_EQ(receiver.received.size(), 1U);
  crash();
  loop.run_until_idle();
  ASSERT_EQ(receiver.received.size(), 2U);
  EXPECT_EQ(receiver.received[0].headers.find("webhook-id"),
            receiver.received[1].headers.find("webhook-id"));
  EXPECT_EQ(view("o1").state, State::delivered);
}

TEST_F(CallbacksTest, KeepsTheScheduleOverARestart) {
  receiver.answer = statuses({500, 200});
  add("o1", receiver.url());
  loop.advance(2s);
  loop.run(callbacks().stop(1s));
  crash();
  loop.advance(2999ms);
  EXPECT_EQ(receiver.received.size(), 1U);
  loop.advance(1ms);
  EXPECT_EQ(receiver.received.size(), 2U);
}

TEST_F(CallbacksTest, LeavesACallbackToTheSenderThatHasIt) {
  receiver.answer = [](std::size_t) -> Task<Response> {
    co_await sleep_for(3s);
    co_return Response::empty();
  };
  Callbacks::Options other_options = options;
  other_options.instance = "other";
  Callbacks other{loop, database(), check,
                  [](std::string_view, std::string_view) { return std::vector{secret}; },
                  other_options};
  other.start();
  add("o1", receiver.url());
  other.wake();
  loop.advance(10min);
  EXPECT_EQ(receiver.received.size(), 1U);
  loop.run(other.stop(1s));
}

TEST_F(CallbacksTest, OneBadReceiverHoldsUpNobodyElse) {
  Receiver slow{loop};
  slow.answer = [](std::size_t) -> Task<Response> {
    co_await sleep_for(1h);
    co_return Response::empty();
  };
  for (int i = 0; i < 500; ++i) add("slow" + std::to_string(i), slow.url());
  EXPECT_EQ(slow.received.size(), options.concurrent_per_destination_max);
  add("o1", receiver.url());
  EXPECT_EQ(view("o1").state, State::delivered) << "at once, time stands still";
}

TEST_F(CallbacksTest, OpensTheCircuitOfADeadDestinationAndProbesIt) {
  receiver.answer = statuses({500});
  for (int i = 0; i < 100; ++i) add("o" + std::to_string(i), receiver.url());
  const std::size_t opened_after = receiver.received.size();
  EXPECT_GT(opened_after, options.circuit_failures_max);
  EXPECT_LE(opened_after,
            options.circuit_failures_max + options.concurrent_per_destination_max + 1);
  EXPECT_TRUE(loop.run(callbacks().destinations(10)).at(0).is_circuit_open);
  loop.advance(4999ms);
  EXPECT_EQ(receiver.received.size(), opened_after);
  loop.advance(1ms);
  EXPECT_EQ(receiver.received.size(), opened_after + 1) << "one probe";
  loop.advance(10s);
  EXPECT_EQ(receiver.received.size(), opened_after + 2) << "after twice the time";
  receiver.answer = statuses({200});
  loop.advance(20s);
  // The probe has closed it; those that wait for their schedule's next step come later.
  loop.advance(10min);
  EXPECT_EQ(loop.run(callbacks().list(State::delivered, 1000)).size(), 100U);
  EXPECT_FALSE(loop.run(callbacks().destinations(10)).at(0).is_circuit_open);
}

TEST_F(CallbacksTest, GivesUpWhatWaitsBehindAnOpenCircuitForTooLong) {
  options.schedule = {0s, 1s};
  options.circuit_failures_max = 1;
  options.circuit_open_max = 60s;
  reopen_with(options);
  receiver.answer = statuses({500});
  for (int i = 0; i < 50; ++i) add("o" + std::to_string(i), receiver.url());
  loop.advance(10min);
  EXPECT_EQ(loop.run(callbacks().list(State::dead, 1000)).size(), 50U);
  EXPECT_LT(receiver.received.size(), 30U);
}

TEST_F(CallbacksTest, ChecksTheAddressWhenTheNameIsResolved) {
  loop.set_host("receiver.example", {*IpAddress::parse("10.0.0.1")});
  EXPECT_TRUE(callbacks().check_url(receiver.url()).has_value()) << "names pass at the accept";
  add("o1", receiver.url());
  EXPECT_EQ(receiver.received.size(), 0U);
  EXPECT_THAT(view("o1").last_error, HasSubstr("10.0.0.0/8 (private network)"));
  loop.set_host("receiver.example",
                {*IpAddress::parse("93.184.216.34"), *IpAddress::parse("127.0.0.1")});
  loop.advance(5s);
  EXPECT_EQ(receiver.received.size(), 0U) << "a mixed answer is refused";
  loop.set_host("receiver.example", {*IpAddress::parse("93.184.216.34")});
  loop.advance(300s);
  EXPECT_EQ(receiver.received.size(), 1U);
  EXPECT_EQ(callbacks().counts().refused, 2U);
}

TEST_F(CallbacksTest, RefusesUrlsAtTheAcceptWithTheReason) {
  const auto why = [&](const char* url) { return callbacks().check_url(url).error(); };
  EXPECT_THAT(why("http://10.0.0.1/"), HasSubstr("10.0.0.0/8 (private network)"));
  EXPECT_THAT(why("http://10.0.0.1/"), HasSubstr("--allow-callbacks-to"));
  EXPECT_THAT(why("http://u:p@example.com/"), HasSubstr("user or password"));
  EXPECT_THAT(why("ftp://example.com/"), HasSubstr("http"));
}

TEST_F(CallbacksTest, SurvivesADatabaseThatIsClosed) {
  loop.run(database().close());
  callbacks().wake();
  loop.advance(10s);
  loop.run(callbacks().stop(1s));
}

TEST_F(CallbacksTest, WaitsForAttemptsUnderWayWhenItStops) {
  receiver.answer = [](std::size_t) -> Task<Response> {
    co_await sleep_for(2s);
    co_return Response::empty();
  };
  add("o1", receiver.url());
  loop.run(callbacks().stop(5s));
  EXPECT_EQ(view("o1").state, State::delivered);
}

TEST_F(CallbacksTest, ForgetsWhatWasDeliveredAfterAWeek) {
  add("o1", receiver.url());
  loop.advance(24h * 6);
  EXPECT_EQ(loop.run(callbacks().list({}, 10)).size(), 1U);
  loop.advance(24h * 2);
  EXPECT_EQ(loop.run(callbacks().list({}, 10)).size(), 0U);
}

TEST(Schedule, IsReadInSeconds) {
  EXPECT_EQ(parse_schedule("0, 0.25,5,300").value(),
            (std::vector<milliseconds>{0ms, 250ms, 5s, 300s}));
  for (const char* wrong : {"", "x", "1,", "-1", "1e99", "99999999"}) {
    EXPECT_FALSE(parse_schedule(wrong)) << wrong;
  }
}

/// A network whose resolver answers otherwise each time, and that keeps who was connected to.
class LyingNetwork final : public Network {
 public:
  Task<Result<std::vector<IpAddress>>> resolve(std::string) override {
    ++resolved;
    co_return std::vector{*IpAddress::parse(resolved == 1 ? "93.184.216.34" : "127.0.0.1")};
  }
  Task<Result<std::unique_ptr<Stream>>> connect(Endpoint to, ConnectOptions) override {
    connected.push_back(to);
    co_return std::make_error_code(std::errc::connection_refused);
  }
  Result<std::unique_ptr<Acceptor>> listen(const Endpoint&) override { return Error::refused; }

  int resolved = 0;
  std::vector<Endpoint> connected;
};

TEST(CallbackAttempt, ConnectsToTheAddressThatWasCheckedWhateverTheNameSaysNext) {
  VirtualLoop loop;
  LyingNetwork network;
  const AddressCheck check;
  const auto attempt = [&] {
    return loop.run(attempt_callback(
        network, check, {"msg_1", "http://rebind.example/", "{}", {secret}, {}, "test", ""}, {}));
  };
  EXPECT_THAT(attempt().error, HasSubstr("cannot connect"));
  EXPECT_EQ(network.resolved, 1) << "asked once, so there is no second answer to be had";
  ASSERT_EQ(network.connected.size(), 1U);
  EXPECT_EQ(network.connected[0].to_string(), "93.184.216.34:80");
  EXPECT_TRUE(attempt().is_refused);
  EXPECT_EQ(network.connected.size(), 1U) << "the second answer is never connected to";
}

TEST(CallbackAttempt, AsksNobodyForAnAddress) {
  VirtualLoop loop;
  LyingNetwork network;
  const AddressCheck check;
  for (const char* url : {"http://0x08080808/", "http://8.8.8.8/", "http://[2606:4700::1]/"}) {
    (void)loop.run(
        attempt_callback(network, check, {"msg_1", url, "{}", {secret}, {}, "test", ""}, {}));
  }
  EXPECT_EQ(network.resolved, 0);
  EXPECT_EQ(network.connected.size(), 3U);
  EXPECT_EQ(network.connected[0].to_string(), "8.8.8.8:80");
}

}  // namespace
}  // namespace pronto::http
