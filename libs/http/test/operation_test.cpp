#include "pronto/http/operation.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "pronto/async/task_group.hpp"
#include "pronto/async/virtual_loop.hpp"
#include "pronto/http/server.hpp"
#include "raw_client.hpp"

namespace pronto::http {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class Counted final : public Operation {
 public:
  Counted(std::string name, std::int64_t count, bool has_ended)
      : id_{std::move(name)}, count_{count}, has_ended_{has_ended} {}

  const std::string& id() const override { return id_; }
  std::int64_t sequence() const override { return count_; }
  bool is_final() const override { return has_ended_; }
  std::string body() const override { return "{\"at\":" + std::to_string(count_) + "}"; }
  std::vector<Entry> log_after(std::int64_t seen) const override {
    std::vector<Entry> entries;
    while (seen < count_) {
      ++seen;
      entries.push_back({seen, "{\"n\":" + std::to_string(seen) + "}"});
    }
    return entries;
  }

 private:
  std::string id_;
  std::int64_t count_;
  bool has_ended_;
};

/// Operations in a map, as a store would have them.
class MapStore final : public OperationStore {
 public:
  Task<OperationPtr> find_operation(std::string id) override {
    ++asked_count;
    const auto found = operations.find(id);
    co_return found == operations.end() ? nullptr : found->second;
  }

  std::map<std::string, OperationPtr> operations;
  int asked_count = 0;
};

/// A server with one operation, "a", whose log the test writes.
class OperationsTest : public testing::Test {
 protected:
  OperationsTest() {
    server_.emplace(loop_, [this](Request& request) { return handle(request); }, Server::Options{});
  }

  Task<Response> handle(Request& request) {
    const std::string id = request.path.substr(1);
    if (request.method == "POST") {
      std::string body = "{}";
      if (const auto seen = co_await operations_.wait_as_preferred(request, id))
        body = seen->body();
      co_return operations_.applied(request, Operations::accepted("/" + id, std::move(body)));
    }
    if (request.headers.find("Accept") == "text/event-stream") {
      co_return operations_.events(request, id);
    }
    auto shown = co_await operations_.show(request, id);
    if (!shown) co_return not_found("no such operation");
    co_return std::move(*shown);
  }

  /// The log gets an entry; who waits is told when `is_heard`.
  void add(bool is_final = false, bool is_heard = true) {
    OperationPtr& operation = store_.operations["a"];
    const std::int64_t sequence = operation ? operation->sequence() + 1 : 1;
    operation = std::make_shared<Counted>("a", sequence, is_final);
    if (is_heard) operations_.on_entry("a", sequence);
    loop_.run_until_idle();
  }

  std::string get(const std::string& more = "") {
    return "GET /a HTTP/1.1\r\nHost: a\r\n" + more + "\r\n";
  }

  VirtualLoop loop_;
  MapStore store_;
  Operations operations_{loop_, store_, {.wait_max = 60s, .first_entry_limit = 2s}};
  std::optional<Server> server_;
};

TEST_F(OperationsTest, AnAcceptSaysWhereTheStatusIs) {
  RawClient client{loop_, *server_};
  const std::string answer =
      client.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").take();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 202 Accepted\r\n"));
  EXPECT_THAT(answer, HasSubstr("Location: /a\r\n"));
  EXPECT_THAT(answer, HasSubstr("Cache-Control: no-store\r\n"));
  EXPECT_THAT(answer, Not(HasSubstr("Preference-Applied")));
}

TEST_F(OperationsTest, AnAcceptWaitsForTheEndAsLongAsItIsAskedTo) {
  const std::string post =
      "POST /a HTTP/1.1\r\nHost: a\r\nPrefer: wait=10\r\nContent-Length: 0\r\n\r\n";
  RawClient client{loop_, *server_};
  client.send(post);
  add();
  loop_.advance(3s);
  EXPECT_EQ(client.take(), "") << "it has begun and not ended";
  add(true);
  const std::string answer = client.take();
  EXPECT_THAT(answer, HasSubstr("202 Accepted"));
  EXPECT_THAT(answer, HasSubstr("Preference-Applied: wait=10\r\n"));
  EXPECT_THAT(answer, HasSubstr("{\"at\":2}"));
}

TEST_F(OperationsTest, AnAcceptShowsHowFarItCameWhenItDoesNotEndInTime) {
  RawClient client{loop_, *server_};
  client.send("POST /a HTTP/1.1\r\nHost: a\r\nPrefer: wait=10\r\nContent-Length: 0\r\n\r\n");
  add();
  loop_.advance(11s);
  EXPECT_THAT(client.take(), HasSubstr("{\"at\":1}"));
}

TEST_F(OperationsTest, TheStatusHasATagAndIsNotSentTwice) {
  add();
  RawClient client{loop_, *server_};
  const std::string first = client.send(get()).take();
  EXPECT_THAT(first, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(first, HasSubstr("ETag: \"a-1\"\r\n"));
  EXPECT_THAT(first, HasSubstr("{\"at\":1}"));
  EXPECT_THAT(client.send(get("If-None-Match: \"a-1\"\r\n")).take(), StartsWith("HTTP/1.1 304"));
  add();
  EXPECT_THAT(client.send(get("If-None-Match: \"a-1\"\r\n")).take(), HasSubstr("{\"at\":2}"));
}

TEST_F(OperationsTest, ALongPollAnswersAtTheNextChange) {
  add();
  RawClient client{loop_, *server_};
  client.send(get("Prefer: wait=30\r\n"));
  loop_.advance(29s);
  EXPECT_EQ(client.take(), "");
  add();
  const std::string answer = client.take();
  EXPECT_THAT(answer, HasSubstr("{\"at\":2}"));
  EXPECT_THAT(answer, HasSubstr("Preference-Applied: wait=30\r\n"));
}

TEST_F(OperationsTest, ALongPollIsBoundedAndSaysWhatIsSo) {
  add();
  RawClient client{loop_, *server_};
  client.send(get("Prefer: wait=1000\r\nIf-None-Match: \"a-1\"\r\n"));
  loop_.advance(59s);
  EXPECT_EQ(client.take(), "");
  loop_.advance(2s);
  const std::string answer = client.take();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 304"));
  EXPECT_THAT(answer, HasSubstr("Preference-Applied: wait=60\r\n"));
}

TEST_F(OperationsTest, ALongPollWhoseClientKnowsLessAnswersAtOnce) {
  add();
  add();
  RawClient client{loop_, *server_};
  EXPECT_THAT(client.send(get("Prefer: wait=30\r\nIf-None-Match: \"a-1\"\r\n")).take(),
              HasSubstr("{\"at\":2}"));
}

TEST_F(OperationsTest, WhatHasEndedIsNotWaitedFor) {
  add(true);
  RawClient client{loop_, *server_};
  EXPECT_THAT(client.send(get("Prefer: wait=30\r\n")).take(), HasSubstr("{\"at\":1}"));
}

TEST_F(OperationsTest, WhatWasAcceptedAMomentAgoIsWaitedForABit) {
  RawClient client{loop_, *server_};
  client.send(get());
  loop_.advance(1s);
  EXPECT_EQ(client.take(), "");
  add();
  EXPECT_THAT(client.take(), HasSubstr("{\"at\":1}"));
  client.send("GET /b HTTP/1.1\r\nHost: a\r\n\r\n");
  loop_.advance(3s);
  EXPECT_THAT(client.take(), StartsWith("HTTP/1.1 404"));
}

TEST_F(OperationsTest, AChangeThatNobodyToldIsFoundNeverthelessAndTheStoreIsLeftInPeace) {
  add();
  RawClient client{loop_, *server_};
  client.send(get("Prefer: wait=60\r\n"));
  loop_.advance(30s);
  EXPECT_LT(store_.asked_count, 40);
  add(false, false);
  loop_.advance(2s);
  EXPECT_THAT(client.take(), HasSubstr("{\"at\":2}"));
}

TEST_F(OperationsTest, AnEventStreamGoesOnAfterWhatWasSeenUntilTheEnd) {
  add();
  add();
  RawClient client{loop_, *server_};
  client.send(get("Accept: text/event-stream\r\nLast-Event-ID: 1\r\n"));
  std::string got = client.take();
  EXPECT_THAT(got, HasSubstr("text/event-stream"));
  EXPECT_THAT(got, Not(HasSubstr("\"n\":1}")));
  EXPECT_THAT(got, HasSubstr("id: 2\nevent: status\ndata: {\"n\":2}\n"));
  add();
  EXPECT_THAT(client.take(), HasSubstr("{\"n\":3}"));
  EXPECT_FALSE(client.is_closed());
  add(true);
  got = client.take();
  EXPECT_THAT(got, HasSubstr("{\"n\":4}"));
  EXPECT_THAT(got, HasSubstr("0\r\n\r\n")) << "the stream has ended";
}

}  // namespace
}  // namespace pronto::http
