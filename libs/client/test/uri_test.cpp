#include "pronto/client/uri.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pronto::client {
namespace {

// The examples of RabbitMQ's URI specification, appendix A, and what clients of other languages are
// given.
TEST(Uri, ReadsWhatRabbitMqDocuments) {
  struct Case {
    const char* uri;
    const char* host;
    int port;
    const char* user;
    const char* password;
    const char* virtual_host;
  };
  for (const Case& expected : {
           Case{"amqp://user:pass@host:10000/vhost", "host", 10'000, "user", "pass", "vhost"},
           Case{"amqp://user%61:%61pass@ho%61st:10000/v%2fhost", "hoast", 10'000, "usera", "apass",
                "v/host"},
           Case{"amqp://user@host", "host", 5672, "user", "guest", "/"},
           Case{"amqp://:@host", "host", 5672, "", "", "/"},
           Case{"amqp://host", "host", 5672, "guest", "guest", "/"},
           Case{"amqp://host:", "host", 5672, "guest", "guest", "/"},
           Case{"amqp://host/", "host", 5672, "guest", "guest", "/"},
           Case{"amqp://host/%2f", "host", 5672, "guest", "guest", "/"},
           Case{"amqp://[::1]", "::1", 5672, "guest", "guest", "/"},
           Case{"amqp://u:p@[fd00::2]:1234/x", "fd00::2", 1234, "u", "p", "x"},
           Case{"amqps://host", "host", 5671, "guest", "guest", "/"},
           Case{"AMQP://host", "host", 5672, "guest", "guest", "/"},
       }) {
    SCOPED_TRACE(expected.uri);
    const Result<Address, std::string> address = parse_address(expected.uri);
    ASSERT_TRUE(address.has_value()) << address.error();
    EXPECT_EQ(address->host, expected.host);
    EXPECT_EQ(address->port, expected.port);
    EXPECT_EQ(address->user, expected.user);
    EXPECT_EQ(address->password, expected.password);
    EXPECT_EQ(address->virtual_host, expected.virtual_host);
  }
}

TEST(Uri, ReadsParameters) {
  const auto address = parse_address(
      "amqps://h/v?heartbeat=7&connection_timeout=1500&channel_max=9&frame_max=8192"
      "&cacertfile=%2Ftmp%2Fca.pem&verify=verify_none&server_name_indication=other"
      "&auth_mechanism=PLAIN");
  ASSERT_TRUE(address.has_value()) << address.error();
  EXPECT_EQ(address->heartbeat, std::chrono::seconds{7});
  EXPECT_EQ(address->connect_limit, std::chrono::milliseconds{1500});
  EXPECT_EQ(address->channels_max, 9);
  EXPECT_EQ(address->frame_bytes_max, 8192U);
  ASSERT_TRUE(address->tls.has_value());
  EXPECT_EQ(address->tls->ca_file, "/tmp/ca.pem");
  EXPECT_FALSE(address->tls->verify);
  EXPECT_EQ(address->tls->server_name, "other");
  EXPECT_EQ(parse_address("amqps://h")->tls->server_name, "h");
}

TEST(Uri, SaysWhatIsWrongAndNeverThePassword) {
  for (const char* uri : {"",
                          "host",
                          "http://host",
                          "amqp://",
                          "amqp://:5672",
                          "amqp://h:0",
                          "amqp://h:65536",
                          "amqp://h:x",
                          "amqp://[::1",
                          "amqp://[::1]x",
                          "amqp://h/a/b",
                          "amqp://h/%",
                          "amqp://u%:secret@h",
                          "amqp://u:secret%@h",
                          "amqp://h?heartbeat=x",
                          "amqp://h?heartbeat=70000",
                          "amqp://h?heartbeat",
                          "amqp://h?nonsense=1",
                          "amqp://h?connection_timeout=0",
                          "amqp://h?verify=verify_none",
                          "amqps://h?verify=perhaps",
                          "amqp://u:secret@h?auth_mechanism=external"}) {
    SCOPED_TRACE(uri);
    const Result<Address, std::string> address = parse_address(uri);
    ASSERT_FALSE(address.has_value());
    EXPECT_FALSE(address.error().empty());
    EXPECT_THAT(address.error(), testing::Not(testing::HasSubstr("secret")));
  }
}

TEST(Uri, SeveralAreSeparatedByCommas) {
  const auto addresses = parse_addresses("amqp://a, amqp://b:1/v");
  ASSERT_TRUE(addresses.has_value()) << addresses.error();
  ASSERT_EQ(addresses->size(), 2U);
  EXPECT_EQ((*addresses)[1].to_string(), "amqp://guest@b:1/v");
  EXPECT_FALSE(parse_addresses("amqp://a,").has_value());
}

TEST(Uri, IsShownWithoutThePassword) {
  EXPECT_EQ(parse_address("amqp://u:secret@h/a%2Fb")->to_string(), "amqp://u@h:5672/a%2Fb");
  EXPECT_EQ(parse_address("amqps://[::1]")->to_string(), "amqps://guest@[::1]:5671/%2F");
}

}  // namespace
}  // namespace pronto::client
