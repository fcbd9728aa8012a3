#include <algorithm>
#include <cstring>

#include "pronto/async/stream.hpp"
#include "pronto/async/sync.hpp"

namespace pronto {
namespace {

/// One direction: a bounded buffer that knows whether either end has gone.
struct Pipe {
  explicit Pipe(std::size_t limit) : bytes_max{limit} {}

  std::size_t bytes_max;
  Bytes bytes;
  std::size_t taken = 0;  // of `bytes`, already read
  bool ended = false;     // the writer will write no more
  bool broken = false;    // one side has closed
  Signal changed;

  std::size_t size() const { return bytes.size() - taken; }
};

class MemoryStream final : public Stream {
 public:
  MemoryStream(std::shared_ptr<Pipe> in, std::shared_ptr<Pipe> out)
      : in_{std::move(in)}, out_{std::move(out)} {}
  ~MemoryStream() override { close(); }

  Task<Result<std::size_t>> read_some(std::span<std::byte> into) override {
    const std::shared_ptr<Pipe> in = in_;
    while (in->size() == 0 && !in->ended && !in->broken) co_await in->changed.wait();
    if (closed_) co_return Error::closed;
    if (in->size() == 0) co_return Error::end_of_stream;
    const std::size_t count = std::min(into.size(), in->size());
    std::memcpy(into.data(), in->bytes.data() + in->taken, count);
    in->taken += count;
    if (in->taken == in->bytes.size()) {
      in->bytes.clear();
      in->taken = 0;
    }
    in->changed.notify_all();
    co_return count;
  }

  Task<Result<void>> write(std::span<const BytesView> parts) override {
    const std::shared_ptr<Pipe> out = out_;
    for (BytesView part : parts) {
      while (!part.empty()) {
        while (out->size() >= out->bytes_max && !out->broken) co_await out->changed.wait();
        if (closed_) co_return Error::closed;
        if (out->broken || out->ended) co_return std::make_error_code(std::errc::broken_pipe);
        const std::size_t count = std::min(part.size(), out->bytes_max - out->size());
        append(out->bytes, part.first(count));
        part = part.subspan(count);
        out->changed.notify_all();
      }
    }
    co_return Result<void>{};
  }

  void shutdown_write() override {
    out_->ended = true;
    out_->changed.notify_all();
  }

  void close() override {
    if (closed_) return;
    closed_ = true;
    in_->broken = true;
    out_->ended = true;
    out_->broken = true;
    in_->changed.notify_all();
    out_->changed.notify_all();
  }

  std::string peer_name() const override { return "embedded"; }
  std::optional<Endpoint> peer() const override { return std::nullopt; }

 private:
  std::shared_ptr<Pipe> in_;
  std::shared_ptr<Pipe> out_;
  bool closed_ = false;
};

}  // namespace

std::pair<std::unique_ptr<Stream>, std::unique_ptr<Stream>> make_memory_streams(
    std::size_t bytes_max) {
  auto there = std::make_shared<Pipe>(bytes_max);
  auto back = std::make_shared<Pipe>(bytes_max);
  return {std::make_unique<MemoryStream>(back, there), std::make_unique<MemoryStream>(there, back)};
}

}  // namespace pronto
