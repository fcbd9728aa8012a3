// The limit of this machine: a process that reads messages from one loopback socket, appends them
// to a preallocated file, syncs, and writes them to another socket; no broker in between. What a
// broker reaches of it is what its rules cost.
//
// Usage: relay none|log|sync MESSAGE_BYTES SECONDS FOLDER
// Prints: {"per_second": messages, "bytes_per_second": ..., "syncs_per_second": ...}

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

constexpr std::size_t buffer_bytes = 1024 * 1024;
constexpr std::uint64_t file_bytes = 256ULL * 1024 * 1024;

[[noreturn]] void fail(const char* what) {
  fmt::print(stderr, "relay: {}: {}\n", what, std::strerror(errno));
  std::exit(1);
}

/// Both ends of a TCP connection over loopback.
struct Link {
  int from = -1;
  int to = -1;
};

Link make_link() {
  const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  void* raw = &address;
  auto* at = static_cast<sockaddr*>(raw);
  if (::bind(listener, at, size) != 0 || ::listen(listener, 1) != 0 ||
      ::getsockname(listener, at, &size) != 0) {
    fail("listen");
  }
  Link link;
  link.from = ::socket(AF_INET, SOCK_STREAM, 0);
  if (::connect(link.from, at, size) != 0) fail("connect");
  link.to = ::accept(listener, nullptr, nullptr);
  if (link.to < 0) fail("accept");
  ::close(listener);
  const int on = 1;
  ::setsockopt(link.from, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return link;
}

bool write_all(int socket, const char* data, std::size_t size) {
  while (size > 0) {
    const ssize_t wrote = ::send(socket, data, size, MSG_NOSIGNAL);
    if (wrote <= 0) return false;
    data += wrote;
    size -= static_cast<std::size_t>(wrote);
  }
  return true;
}

int make_file(const std::string& folder) {
  const std::string path = folder + "/relay.log";
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0) fail("open");
  ::unlink(path.c_str());
  const std::vector<char> zeros(buffer_bytes);
  for (std::uint64_t at = 0; at < file_bytes; at += zeros.size()) {
    if (::pwrite(file, zeros.data(), zeros.size(), static_cast<off_t>(at)) < 0) fail("write");
  }
  if (::fsync(file) != 0) fail("sync");
  return file;
}

}  // namespace

int main(int count, char** values) {
  if (count != 5) {
    fmt::print(stderr, "Usage: relay none|log|sync MESSAGE_BYTES SECONDS FOLDER\n");
    return 2;
  }
  const std::string_view mode = values[1];
  const std::size_t message_bytes = std::strtoull(values[2], nullptr, 10);
  const double seconds = std::strtod(values[3], nullptr);
  const bool writes = mode != "none";
  const bool syncs = mode == "sync";
  const int file = writes ? make_file(values[4]) : -1;

  const Link in = make_link();
  const Link out = make_link();
  std::atomic<bool> is_over = false;
  std::atomic<std::uint64_t> received = 0;
  std::atomic<std::uint64_t> synced = 0;
  std::thread sender{[&] {
    const std::vector<char> block(buffer_bytes / 4, 'x');
    while (!is_over && write_all(in.from, block.data(), block.size())) {
    }
    ::shutdown(in.from, SHUT_WR);
  }};
  std::thread receiver{[&] {
    std::vector<char> buffer(buffer_bytes);
    for (;;) {
      const ssize_t got = ::recv(out.to, buffer.data(), buffer.size(), 0);
      if (got <= 0) return;
      received += static_cast<std::uint64_t>(got);
    }
  }};
  std::thread relay{[&] {
    std::vector<char> buffer(buffer_bytes);
    std::uint64_t at = 0;
    for (;;) {
      const ssize_t got = ::recv(in.to, buffer.data(), buffer.size(), 0);
      if (got <= 0) break;
      const auto size = static_cast<std::size_t>(got);
      if (writes) {
        if (at + size > file_bytes) at = 0;
        if (::pwrite(file, buffer.data(), size, static_cast<off_t>(at)) != got) fail("write");
        at += size;
      }
      if (syncs) {
        if (::fdatasync(file) != 0) fail("sync");
        ++synced;
      }
      if (!write_all(out.from, buffer.data(), size)) break;
    }
    ::shutdown(out.from, SHUT_WR);
  }};
  std::this_thread::sleep_for(std::chrono::seconds{1});
  const std::uint64_t received_before = received;
  const std::uint64_t synced_before = synced;
  const auto began = std::chrono::steady_clock::now();
  std::this_thread::sleep_for(std::chrono::duration<double>{seconds});
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  const auto bytes = static_cast<double>(received - received_before);
  const auto sync_count = static_cast<double>(synced - synced_before);
  is_over = true;
  sender.join();
  relay.join();
  receiver.join();
  fmt::print(
      "{{\"per_second\": {:.0f}, \"bytes_per_second\": {:.0f}, \"syncs_per_second\": {:.0f}}}\n",
      bytes / static_cast<double>(message_bytes) / took.count(), bytes / took.count(),
      sync_count / took.count());
  return 0;
}
