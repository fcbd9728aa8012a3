// Router, request, identity, problems, pages, static files, events: all without a server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include "pronto/async/virtual_loop.hpp"
#include "pronto/base/crypto.hpp"
#include "pronto/http/identity.hpp"
#include "pronto/http/page.hpp"
#include "pronto/http/router.hpp"
#include "pronto/http/static_files.hpp"
#include "pronto/http/wait.hpp"
#include "pronto/http/webhook.hpp"

namespace pronto::http {
namespace {

using namespace std::chrono_literals;

Request request_of(std::string method, std::string path) {
  Request request;
  request.method = std::move(method);
  request.target = path;
  request.path = std::move(path);
  return request;
}
Request with(std::string name, std::string value) {
  Request request = request_of("GET", "/");
  request.headers.add(name, value);
  return request;
}
std::string body_of(const Response& response) {
  return to_string(response.body_bytes());
}

class RouterTest : public testing::Test {
 protected:
  RouterTest() {
    const auto says = [](std::string what) {
      return [what](Request& request) -> Task<Response> {
        std::string text = what;
        for (const auto& [name, value] : request.parameters) text += " " + name + "=" + value;
        co_return Response::text(200, text);
      };
    };
    router.get("/orders/{id}", says("order"))
        .get("/orders/new", says("new"))
        .get("/orders", says("orders"))
        .post("/orders", says("place"))
        .del("/orders/{id}", says("cancel"))
        .get("/orders/{id}/events", says("events"))
        .get("/assets/{path...}", says("asset"))
        .get("/", says("root"));
  }
  Response ask(std::string method, std::string path) {
    Request request = request_of(std::move(method), std::move(path));
    return loop.run(router.handle(request));
  }
  VirtualLoop loop;
  Router router;
};

TEST_F(RouterTest, FindsTheHandlerOfMethodAndPath) {
  EXPECT_EQ(body_of(ask("GET", "/")), "root");
  EXPECT_EQ(body_of(ask("GET", "/orders")), "orders");
  EXPECT_EQ(body_of(ask("POST", "/orders")), "place");
  EXPECT_EQ(body_of(ask("GET", "/orders/a%20b")), "order id=a b");
  EXPECT_EQ(body_of(ask("GET", "/orders/a%2Fb")), "order id=a/b");
  EXPECT_EQ(body_of(ask("DELETE", "/orders/7")), "cancel id=7");
  EXPECT_EQ(body_of(ask("GET", "/orders/7/events")), "events id=7");
  EXPECT_EQ(body_of(ask("GET", "/orders/new")), "new");
  EXPECT_EQ(body_of(ask("GET", "/assets/a/b.js")), "asset path=a/b.js");
  EXPECT_EQ(body_of(ask("HEAD", "/orders")), "orders");
}

TEST_F(RouterTest, SaysWhatIsNotThereAndWhatIsNotPossible) {
  for (const char* path : {"/order", "/orders/", "/orders/7/", "/orders/7/x", "//", "/Orders"}) {
    EXPECT_EQ(ask("GET", path).status, 404) << path;
  }
  EXPECT_EQ(ask("GET", "/orders/%zz").status, 400);
  const Response response = ask("PATCH", "/orders");
  EXPECT_EQ(response.status, 405);
  EXPECT_EQ(response.headers.find("allow"), "GET, HEAD, OPTIONS, POST");
  EXPECT_EQ(ask("OPTIONS", "/orders/7").headers.find("allow"), "DELETE, GET, HEAD, OPTIONS");
}

TEST(Request, ReadsPreferWait) {
  const auto wait = [](const char* value) { return with("Prefer", value).prefer_wait(60s); };
  EXPECT_EQ(wait("wait=10"), 10s);
  EXPECT_EQ(wait("respond-async, WAIT=\"5\"; x=y"), 5s);
  EXPECT_EQ(wait("wait=60"), 60s);
  EXPECT_EQ(wait("wait=61"), 60s);
  EXPECT_EQ(wait("wait=18446744073709551615"), 60s);
  for (const char* none : {"", "wait", "wait=", "wait=x", "wait=-1", "waiting=3"}) {
    EXPECT_EQ(wait(none), std::nullopt) << none;
  }
}

TEST(Request, NegotiatesWhatItAccepts) {
  const auto best = [](const char* accept) {
    return with("Accept", accept).preferred_type({"application/json", "text/html"});
  };
  EXPECT_EQ(best("text/html"), "text/html");
  EXPECT_EQ(best("text/html,application/json;q=0.9"), "text/html");
  EXPECT_EQ(best("text/*;q=0.5, application/json;q=0.4"), "text/html");
  EXPECT_EQ(best("*/*"), "application/json");
  EXPECT_EQ(best("text/html;q=0, */*"), "application/json");
  EXPECT_EQ(best("image/png"), "");
  EXPECT_EQ(request_of("GET", "/").preferred_type({"application/json"}), "application/json");
  EXPECT_TRUE(with("Accept", "text/html,*/*;q=0.8").wants_html());
  EXPECT_FALSE(with("Accept", "*/*").wants_html());
  EXPECT_TRUE(with("Accept-Encoding", "deflate, gzip;q=0.5").accepts_gzip());
  EXPECT_FALSE(with("Accept-Encoding", "gzip;q=0, *").accepts_gzip());
  EXPECT_FALSE(request_of("GET", "/").accepts_gzip());
}

TEST(Request, ReadsJsonAndSaysWhyItIsNone) {
  Request request = with("Content-Type", "application/json; charset=utf-8");
  request.body = R"({"a": [1, 2]})";
  EXPECT_EQ(request.json().value().as_object().at("a").as_array().size(), 2U);
  for (const char* wrong : {"", "{", "{} x", "{'a': 1}", "nul", "[1,]", "\"\xFF\""}) {
    request.body = wrong;
    const auto read = request.json();
    ASSERT_FALSE(read) << wrong;
    EXPECT_EQ(read.error().status, 400) << wrong;
  }
  request.body = std::string(32, '[') + std::string(32, ']');
  EXPECT_TRUE(request.json().has_value());
  request.body = std::string(33, '[') + std::string(33, ']');
  EXPECT_FALSE(request.json().has_value());
  request.headers.set("Content-Type", "text/plain");
  EXPECT_EQ(request.json().error().status, 415);
}

TEST(Request, ReadsForms) {
  Request request = with("Content-Type", "application/x-www-form-urlencoded");
  request.body = "pizza=quattro+formaggi&size=%C3%A4&empty=&alone";
  const Fields form = request.form().value();
  EXPECT_EQ(form.find("pizza"), "quattro formaggi");
  EXPECT_EQ(form.find("size"), "\xC3\xA4");
  EXPECT_EQ(form.find("empty"), "");
  EXPECT_EQ(form.find("alone"), "");
  EXPECT_EQ(form.find("none"), std::nullopt);
  request.body = "a=%z";
  EXPECT_EQ(request.form().error().status, 400);
  EXPECT_EQ(with("Content-Type", "text/plain").form().error().status, 415);
}

TEST(Request, KnowsTheEntityTagsItHasSeen) {
  EXPECT_TRUE(with("If-None-Match", "\"a\", W/\"b\"").has_seen("\"b\""));
  EXPECT_TRUE(with("If-None-Match", "*").has_seen("\"x\""));
  EXPECT_FALSE(with("If-None-Match", "\"a\"").has_seen("\"b\""));
  const std::string tag = etag_of("content");
  const Response same = conditional(with("If-None-Match", tag), Response::text(200, "x"), tag);
  EXPECT_EQ(same.status, 304);
  EXPECT_EQ(body_of(same), "");
  const Response fresh = conditional(with("If-None-Match", "\"o\""), Response::text(200, "x"), tag);
  EXPECT_EQ(fresh.status, 200);
  EXPECT_EQ(fresh.headers.find("ETag"), tag);
}

TEST(Problem, IsADocumentThatNamesFieldsAndReasons) {
  Problem problem = unprocessable("The order is not right.", {{"items[0].size", "not \"huge\""}});
  problem.retry_after = 7s;
  const auto document = boost::json::parse(problem.to_json());
  EXPECT_EQ(document.at("title").as_string(), "Unprocessable Content");
  EXPECT_EQ(document.at("status").as_int64(), 422);
  EXPECT_EQ(document.at("errors").at(0).at("field").as_string(), "items[0].size");
  EXPECT_EQ(document.at("errors").at(0).at("reason").as_string(), "not \"huge\"");
  const Response response = problem;
  EXPECT_EQ(response.headers.find("Retry-After"), "7");
  EXPECT_EQ(response.headers.find("Content-Type"), "application/problem+json");
}

class IdentityTest : public testing::Test {
 protected:
  Bytes key = to_bytes("0123456789abcdef0123456789abcdef");
  TokenSigner signer{key, "caller"};
  WallTime now{seconds{1'800'000'000}};
};

TEST_F(IdentityTest, KnowsItsOwnTokensUntilTheyExpire) {
  const std::string token = signer.issue(
      "al\xC3\xAF"
      "ce",
      now + 60s);
  EXPECT_EQ(signer.verify(token, now),
            "al\xC3\xAF"
            "ce");
  EXPECT_EQ(signer.verify(token, now + 59s),
            "al\xC3\xAF"
            "ce");
  EXPECT_EQ(signer.verify(token, now + 60s), std::nullopt);
}

TEST_F(IdentityTest, RefusesTokensThatWereChangedAnywhere) {
  const std::string token = signer.issue("alice", now + 60s);
  for (std::size_t at = 0; at < token.size(); ++at) {
    for (const char c : {'A', '0', '.', '_'}) {
      std::string forged = token;
      if (forged[at] == c) continue;
      forged[at] = c;
      EXPECT_EQ(signer.verify(forged, now), std::nullopt) << forged;
    }
    EXPECT_EQ(signer.verify(token.substr(0, at), now), std::nullopt);
  }
  EXPECT_EQ(signer.verify(token + "A", now), std::nullopt);
  EXPECT_EQ((TokenSigner{key, "operator"}.verify(token, now)), std::nullopt);
  const TokenSigner other{to_bytes("another key of some length"), "caller"};
  EXPECT_EQ(other.verify(token, now), std::nullopt);
}

TEST_F(IdentityTest, FindsTheCallerByBearerTokenOrCookie) {
  const Sessions sessions{signer, {}};
  Response response;
  sessions.start(response, "alice", now);
  const std::string cookie{*response.headers.find("set-cookie")};
  EXPECT_THAT(cookie, testing::HasSubstr("; HttpOnly; SameSite=Lax"));
  Request request = with("Cookie", "other=1; " + cookie.substr(0, cookie.find(';')));
  request.received_at = now;
  EXPECT_EQ(sessions.find(request)->name, "alice");
  EXPECT_EQ(sessions.find(request)->by, Caller::By::cookie);
  request.headers.add("Authorization", "Bearer " + signer.issue("bob", now + 60s));
  EXPECT_EQ(sessions.find(request)->name, "bob");
  request.headers.set("Authorization", "Bearer forged");
  EXPECT_FALSE(sessions.find(request)) << "a wrong token is not made up for by a cookie";
  EXPECT_FALSE(sessions.find(with("Cookie", "pronto_session=x.1.y")));
  EXPECT_TRUE(sessions.has_credentials(with("Cookie", "pronto_session=x.1.y")));
  EXPECT_TRUE(sessions.has_credentials(with("Authorization", "Basic x")));
  EXPECT_FALSE(sessions.has_credentials(with("Cookie", "other=x")));
}

TEST(Page, EscapesValuesAndLeavesRawOnesAsTheyAre) {
  EXPECT_EQ(fill_page("<p>{{a}}</p>{{{b}}}{{a}}", {{"a", "<&\"'>"}, {"b", "<b>"}}),
            "<p>&lt;&amp;&quot;&#39;&gt;</p><b>&lt;&amp;&quot;&#39;&gt;");
  EXPECT_EQ(fill_page("{ {{ a }} {{A}} }} {{{{", {}), "{ {{ a }} {{A}} }} {{{{");
  EXPECT_EQ(fill_page("{{a}}", {{"a", "{{b}}"}, {"b", "never"}}), "{{b}}");
}

TEST(StaticFile, IsServedGzippedOrNotOrNotAtAll) {
  const StaticFile file{"text/css", "\"1\"", "public, max-age=9", "plain", "zipped"};
  const Response zipped = serve(with("Accept-Encoding", "gzip"), file);
  EXPECT_EQ(body_of(zipped), "zipped");
  EXPECT_EQ(zipped.headers.find("Content-Encoding"), "gzip");
  EXPECT_EQ(zipped.headers.find("Vary"), "Accept-Encoding");
  EXPECT_THAT(zipped.headers.find("Content-Security-Policy").value_or(""),
              testing::HasSubstr("default-src 'self'"));
  EXPECT_EQ(body_of(serve(request_of("GET", "/"), file)), "plain");
  const Response seen = serve(with("If-None-Match", "\"1\""), file);
  EXPECT_EQ(seen.status, 304);
  EXPECT_EQ(seen.headers.find("ETag"), "\"1\"");
  EXPECT_EQ(seen.headers.find("Cache-Control"), "public, max-age=9");
}

TEST(Events, AreReadAsTheyWereWrittenHoweverTheyAreCut) {
  const Event events[] = {{"1", "step", "one", {}},
                          {"2", "", "two\nlines\r\nand\rmore", 500ms},
                          {"", "x", " leading space", {}},
                          {"3", "", "", {}}};
  std::string text = "\xEF\xBB\xBF: hello\n\n";
  for (const Event& event : events) text += to_text(event);
  for (std::size_t piece = 1; piece < text.size(); ++piece) {
    EventReader reader;
    std::vector<Event> read;
    for (std::size_t at = 0; at < text.size(); at += piece) {
      for (Event& event : reader.put(text.substr(at, piece)).value()) read.push_back(event);
    }
    ASSERT_EQ(read.size(), 4U) << piece;
    EXPECT_EQ(read[0].name, "step");
    EXPECT_EQ(read[1].data, "two\nlines\nand\nmore");
    EXPECT_EQ(read[1].retry, 500ms);
    EXPECT_EQ(read[2].id, "2") << "an event without an id keeps the last one";
    EXPECT_EQ(read[2].data, " leading space");
    EXPECT_EQ(reader.last_id(), "3");
  }
}

TEST(Events, CannotBeSplitByAnIdOrAName) {
  EXPECT_EQ(to_text({"1\ndata: x", "a\r\nb", "c", {}}), "id: 1 data: x\nevent: a  b\ndata: c\n\n");
}

TEST(Events, AreBounded) {
  EventReader reader{100};
  EXPECT_TRUE(reader.put("data: " + std::string(80, 'x') + "\n").has_value());
  EXPECT_FALSE(reader.put("data: " + std::string(80, 'x') + "\n").has_value());
}

// Source: the example of the Standard Webhooks specification and its reference libraries.
TEST(WebhookSecret, SignsAsTheStandardDoes) {
  const auto secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").value();
  EXPECT_EQ(secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", WallTime{seconds{1'614'265'330}},
                        R"({"test": 2432232314})"),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
  EXPECT_EQ(secret.to_string(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
}

TEST(WebhookSecret, IsCheckedByAnyOfSeveralSignatures) {
  const Bytes key = to_bytes("a key of the server, long enough");
  const auto old_secret = WebhookSecret::derive(key, "order-1");
  const auto new_secret = WebhookSecret::derive(key, "order-2");
  const WallTime at{seconds{1'700'000'000}};
  const std::string signatures = sign_all({new_secret, old_secret}, "msg_1", at, "{}");
  EXPECT_TRUE(is_signed(old_secret, "msg_1", "1700000000", signatures, "{}"));
  EXPECT_TRUE(is_signed(new_secret, "msg_1", "1700000000", signatures, "{}"));
  EXPECT_FALSE(is_signed(new_secret, "msg_2", "1700000000", signatures, "{}"));
  EXPECT_FALSE(is_signed(new_secret, "msg_1", "1700000001", signatures, "{}"));
  EXPECT_FALSE(is_signed(new_secret, "msg_1", "1700000000", signatures, "{ }"));
  EXPECT_EQ(WebhookSecret::derive(key, "order-1").to_string(), old_secret.to_string());
}

TEST(WebhookSecret, TakesOnlySecretsOfTheRightSize) {
  const auto of_size = [](std::size_t size) {
    return WebhookSecret::parse("whsec_" + to_base64(Bytes(size, std::byte{1}))).has_value();
  };
  EXPECT_FALSE(of_size(23));
  EXPECT_TRUE(of_size(24));
  EXPECT_TRUE(of_size(64));
  EXPECT_FALSE(of_size(65));
  EXPECT_FALSE(WebhookSecret::parse("whsec_!").has_value());
  EXPECT_FALSE(WebhookSecret::parse("").has_value());
}

TEST(CloudEvent, IsStructuredJson) {
  const CloudEvent event{"pizzeria.order-ready", "/pizzeria", "e1", WallTime{}, R"({"id":"7"})"};
  const auto document = boost::json::parse(event.to_json());
  EXPECT_EQ(document.at("specversion").as_string(), "1.0");
  EXPECT_EQ(document.at("type").as_string(), "pizzeria.order-ready");
  EXPECT_EQ(document.at("data").at("id").as_string(), "7");
}

}  // namespace
}  // namespace pronto::http
