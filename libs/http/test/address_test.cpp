#include <gtest/gtest.h>

#include "pronto/http/address_check.hpp"
#include "pronto/http/url.hpp"

namespace pronto::http {
namespace {

/// Whether a callback to `url` would be refused at the accept.
bool is_refused(const std::string& url, const AddressCheck& check = {}) {
  const auto parsed = Url::parse(url);
  return !parsed || !check.check_host(*parsed);
}

TEST(AddressCheck, RefusesAddressesInEveryNotation) {
  for (const char* url : {
           "http://127.0.0.1/",
           "http://127.0.0.1:8080/",
           "http://127.1/",
           "http://127.0.1/",
           "http://2130706433/",
           "http://0x7f000001/",
           "http://0x7F.1/",
           "http://0177.0.0.1/",
           "http://017700000001/",
           "http://0x7f.0x0.0x0.0x1/",
           "http://127.0.0.1./",
           "http://%31%32%37.0.0.1/",
           "http://0/",
           "http://0.0.0.0/",
           "http://00000000000/",
           "http://10.0.0.1/",
           "http://10.1/",
           "http://0x0a000001/",
           "http://012.0.0.1/",
           "http://172.16.0.1/",
           "http://172.31.255.255/",
           "http://192.168.0.1/",
           "http://3232235521/",
           "http://100.64.0.1/",
           "http://100.127.255.255/",
           "http://100.100.100.200/",
           "http://169.254.169.254/latest/meta-data",
           "http://169.254.1.1/",
           "http://2852039166/",
           "http://0xa9fea9fe/",
           "http://168.63.129.16/",
           "http://192.0.0.192/",
           "http://192.0.2.1/",
           "http://198.18.0.1/",
           "http://198.51.100.7/",
           "http://203.0.113.7/",
           "http://192.88.99.1/",
           "http://224.0.0.1/",
           "http://239.255.255.255/",
           "http://240.0.0.1/",
           "http://255.255.255.255/",
           "http://4294967295/",
           "http://[::1]/",
           "http://[::]/",
           "http://[0:0:0:0:0:0:0:1]/",
           "http://[::ffff:127.0.0.1]/",
           "http://[::ffff:7f00:1]/",
           "http://[::ffff:10.0.0.1]/",
           "http://[::ffff:169.254.169.254]/",
           "http://[::127.0.0.1]/",
           "http://[::7f00:1]/",
           "http://[::ffff:0:127.0.0.1]/",
           "http://[64:ff9b::127.0.0.1]/",
           "http://[64:ff9b::a9fe:a9fe]/",
           "http://[64:ff9b:1::1]/",
           "http://[2002:7f00:1::]/",
           "http://[2002:808:808::1]/",
           "http://[2001::1]/",
           "http://[2001:db8::1]/",
           "http://[fc00::1]/",
           "http://[fd00::1]/",
           "http://[fd00:ec2::254]/",
           "http://[fe80::1]/",
           "http://[fe80::1%25eth0]/",
           "http://[fe80::1%eth0]/",
           "http://[2606:4700::1%25eth0]/",
           "http://[fec0::1]/",
           "http://[ff02::1]/",
           "http://[100::1]/",
           "http://[4000::1]/",
           "http://[5f00::1]/",
           "http://[3fff::1]/",
           "http://localhost/",
           "http://LOCALHOST/",
           "http://localhost./",
           "http://localhost:5672/",
           "http://a.localhost/",
           "http://ip6-localhost/",
           "http://localhost.localdomain/",
           // What is no address, but would be taken for one by somebody.
           "http://256.0.0.1/",
           "http://1.2.3.4.5/",
           "http://0x1ffffffff/",
           "http://1.2.3.08/",
           "http://127.0.0.1..../",
           "http://example.0x7f/",
       }) {
    EXPECT_TRUE(is_refused(url)) << url;
  }
}

TEST(AddressCheck, LetsPublicAddressesAndNamesThrough) {
  for (const char* url :
       {"http://8.8.8.8/", "https://example.com/x?y=z", "http://example.com:8080/", "http://1.1/",
        "http://0x08080808/", "http://172.15.255.255/", "http://172.32.0.1/",
        "http://100.63.255.255/", "http://100.128.0.1/", "http://11.0.0.1/", "http://128.0.0.1/",
        "http://[2606:4700:4700::1111]/", "http://[::ffff:8.8.8.8]/", "http://[64:ff9b::808:808]/",
        "http://xn--bcher-kva.example/", "http://my_host.example/"}) {
    EXPECT_FALSE(is_refused(url)) << url;
  }
}

TEST(AddressCheck, RefusesWhatIsNoHttpUrl) {
  for (const char* url : {"ftp://example.com/",
                          "file:///etc/passwd",
                          "javascript:alert(1)",
                          "nonsense",
                          "",
                          "//example.com/",
                          "/path",
                          "http:/example.com",
                          "http://",
                          "http:///x",
                          "http://:80/",
                          "http://user@example.com/",
                          "http://user:password@example.com/",
                          "http://example.com@127.0.0.1/",
                          "http://127.0.0.1\\@example.com/",
                          "http://example.com:0/",
                          "http://example.com:65536/",
                          "http://example.com:x/",
                          "http://exa mple.com/",
                          "http://example.com/\r\nX: y",
                          "http://\xE2\x91\xA0.example/",
                          "http://%E2%91%A0/",
                          "http://[v1.x]/",
                          "http://a%2fb/",
                          "http://a%00b/"}) {
    EXPECT_FALSE(Url::parse(url)) << url;
  }
  EXPECT_FALSE(Url::parse("http://example.com/" + std::string(3000, 'a')));
}

TEST(AddressCheck, SaysWhichRangeRefuses) {
  const AddressCheck check;
  const auto why = [&](const char* url) { return check.check_host(*Url::parse(url)).error(); };
  EXPECT_EQ(why("http://0x0a000001/").to_string(), "10.0.0.1 is in 10.0.0.0/8 (private network)");
  EXPECT_EQ(why("http://[::ffff:127.0.0.1]/").to_string(),
            "127.0.0.1 is in 127.0.0.0/8 (loopback)");
  EXPECT_EQ(why("http://169.254.169.254/").reason, "cloud metadata");
  EXPECT_EQ(why("http://localhost/").to_string(), "localhost is in 127.0.0.0/8 (loopback)");
  EXPECT_EQ(why("http://[64:ff9b::7f00:1]/").range, "64:ff9b::/96");
}

TEST(AddressCheck, LetsThroughWhatTheOperatorAllowed) {
  AddressCheck check;
  ASSERT_TRUE(check.allow("127.0.0.0/8"));
  ASSERT_TRUE(check.allow("fd00:1::/32"));
  ASSERT_TRUE(check.allow("Hooks.Internal"));
  EXPECT_FALSE(is_refused("http://127.0.0.1:9/", check));
  EXPECT_FALSE(is_refused("http://0x7f000001/", check));
  EXPECT_FALSE(is_refused("http://[::ffff:127.0.0.1]/", check));
  EXPECT_FALSE(is_refused("http://localhost/", check));
  EXPECT_FALSE(is_refused("http://[fd00:1::7]/", check));
  EXPECT_TRUE(is_refused("http://[fd01::7]/", check));
  EXPECT_TRUE(is_refused("http://10.0.0.1/", check));
  const IpAddress inside = *IpAddress::parse("10.0.0.1");
  EXPECT_TRUE(check.check(inside, "hooks.internal").has_value());
  EXPECT_TRUE(check.check(inside, "HOOKS.internal.").has_value());
  EXPECT_FALSE(check.check(inside, "other.internal").has_value());
  for (const char* wrong : {"", "10.0.0.0/33", "a b", "300.1.1.1", "http://x/"}) {
    EXPECT_FALSE(check.allow(wrong)) << wrong;
  }
}

TEST(AddressCheck, RefusesAMixedAnswerAndAnEmptyOne) {
  const AddressCheck check;
  const IpAddress good = *IpAddress::parse("93.184.216.34");
  const IpAddress bad = *IpAddress::parse("192.168.1.1");
  EXPECT_TRUE(check.check_all({good}, "a.example").has_value());
  EXPECT_FALSE(check.check_all({good, bad}, "a.example").has_value());
  EXPECT_FALSE(check.check_all({bad, good}, "a.example").has_value());
  EXPECT_FALSE(check.check_all({}, "a.example").has_value());
}

TEST(Url, IsTakenApart) {
  const Url url = *Url::parse("HTTPS://Example.COM:8443/a%20b?c=d#e");
  EXPECT_TRUE(url.is_https);
  EXPECT_EQ(url.host, "example.com");
  EXPECT_EQ(url.port, 8443);
  EXPECT_EQ(url.target, "/a%20b?c=d");
  EXPECT_EQ(url.authority(), "example.com:8443");
  EXPECT_EQ(Url::parse("http://[2606::1]")->authority(), "[2606::1]");
  EXPECT_EQ(Url::parse("http://[2606::1]")->target, "/");
  EXPECT_EQ(Url::parse("http://a?b")->target, "/?b");
}

}  // namespace
}  // namespace pronto::http
