#include <boost/asio/buffer.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/write.hpp>

#include "pronto/async/stream.hpp"
#include "system_inside.hpp"

namespace pronto {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

std::error_code to_std(const boost::system::error_code& ec) {
  if (ec == asio::error::eof || ec == asio::ssl::error::stream_truncated) {
    return Error::end_of_stream;
  }
  if (ec == asio::error::operation_aborted || ec == asio::error::bad_descriptor) {
    return Error::closed;
  }
  return ec;
}

tcp::endpoint to_asio(const Endpoint& endpoint) {
  if (endpoint.address.is_v4()) {
    asio::ip::address_v4::bytes_type bytes;
    std::copy_n(endpoint.address.bytes().begin() + 12, 4, bytes.begin());
    return {asio::ip::address_v4{bytes}, endpoint.port};
  }
  return {asio::ip::address_v6{endpoint.address.bytes()}, endpoint.port};
}

IpAddress from_asio(const asio::ip::address& address) {
  if (address.is_v4()) return IpAddress::from_v4(address.to_v4().to_uint());
  return IpAddress::from_bytes(address.to_v6().to_bytes());
}

/// A plain socket or TLS over one; kept alive by the operations that are under way.
template <class Layer>
struct Connection {
  template <class... Args>
  explicit Connection(Args&&... args) : layer{std::forward<Args>(args)...} {}

  tcp::socket& socket() {
    if constexpr (std::is_same_v<Layer, tcp::socket>) {
      return layer;
    } else {
      return layer.next_layer();
    }
  }
  void close() {
    boost::system::error_code ignored;
    socket().close(ignored);
  }

  Layer layer;
};

template <class Layer>
class SocketStream final : public Stream {
 public:
  SocketStream(std::shared_ptr<Connection<Layer>> connection, Endpoint peer,
               std::shared_ptr<asio::ssl::context> tls = nullptr)
      : tls_{std::move(tls)}, connection_{std::move(connection)}, peer_{peer} {}
  ~SocketStream() override { connection_->close(); }

  Task<Result<std::size_t>> read_some(std::span<std::byte> into) override {
    const auto connection = connection_;
    const auto done = co_await detail::AsioOperation{[&](auto handler) {
                                                       connection->layer.async_read_some(
                                                           asio::buffer(into.data(), into.size()),
                                                           keep(connection, handler));
                                                     },
                                                     [&] { stop(*connection); }};
    if (done.ec) co_return to_std(done.ec);
    co_return done.bytes;
  }

  Task<Result<void>> write(std::span<const BytesView> parts) override {
    const auto connection = connection_;
    std::vector<asio::const_buffer> buffers;
    buffers.reserve(parts.size());
    for (const BytesView part : parts) buffers.emplace_back(part.data(), part.size());
    const auto done = co_await detail::AsioOperation{[&](auto handler) {
                                                       asio::async_write(connection->layer, buffers,
                                                                         keep(connection, handler));
                                                     },
                                                     [&] { stop(*connection); }};
    if (done.ec) co_return to_std(done.ec);
    co_return Result<void>{};
  }

  void shutdown_write() override {
    boost::system::error_code ignored;
    connection_->socket().shutdown(tcp::socket::shutdown_send, ignored);
  }

  void close() override { connection_->close(); }
  std::string peer_name() const override { return peer_.to_string(); }
  std::optional<Endpoint> peer() const override { return peer_; }

 private:
  template <class Handler>
  static auto keep(std::shared_ptr<Connection<Layer>> connection, Handler handler) {
    return [connection = std::move(connection), handler](const boost::system::error_code& ec,
                                                         std::size_t bytes) { handler(ec, bytes); };
  }
  static void stop(Connection<Layer>& connection) {
    if constexpr (std::is_same_v<Layer, tcp::socket>) {
      boost::system::error_code ignored;
      connection.socket().cancel(ignored);
    } else {
      connection.close();  // a TLS record cut in the middle leaves nothing to go on with
    }
  }

  std::shared_ptr<asio::ssl::context> tls_;
  std::shared_ptr<Connection<Layer>> connection_;
  Endpoint peer_;
};

using TlsLayer = asio::ssl::stream<tcp::socket>;

class TcpAcceptor final : public Acceptor {
 public:
  TcpAcceptor(tcp::acceptor acceptor, Endpoint local)
      : acceptor_{std::make_shared<tcp::acceptor>(std::move(acceptor))}, local_{local} {}
  ~TcpAcceptor() override { close(); }

  Task<Result<std::unique_ptr<Stream>>> accept() override {
    const auto acceptor = acceptor_;
    auto connection = std::make_shared<Connection<tcp::socket>>(acceptor->get_executor());
    const auto done = co_await detail::AsioOperation{
        [&](auto handler) {
          acceptor->async_accept(connection->layer,
                                 [acceptor, connection,
                                  handler](const boost::system::error_code& ec) { handler(ec); });
        },
        [&] {
          boost::system::error_code ignored;
          acceptor->cancel(ignored);
        }};
    if (done.ec) co_return to_std(done.ec);
    boost::system::error_code ec;
    connection->layer.set_option(tcp::no_delay{true}, ec);
    const tcp::endpoint peer = connection->layer.remote_endpoint(ec);
    co_return std::unique_ptr<Stream>{std::make_unique<SocketStream<tcp::socket>>(
        connection, Endpoint{from_asio(peer.address()), peer.port()})};
  }

  void close() override {
    boost::system::error_code ignored;
    acceptor_->close(ignored);
  }
  Endpoint local() const override { return local_; }

 private:
  std::shared_ptr<tcp::acceptor> acceptor_;
  Endpoint local_;
};

class SystemNetwork final : public Network {
 public:
  explicit SystemNetwork(asio::io_context& io) : io_{io} {}

  Task<Result<std::vector<IpAddress>>> resolve(std::string host) override {
    if (const auto address = IpAddress::parse(host)) co_return std::vector{*address};
    auto resolver = std::make_shared<tcp::resolver>(io_);
    auto found = std::make_shared<std::vector<IpAddress>>();
    const auto done = co_await detail::AsioOperation{
        [&](auto handler) {
          resolver->async_resolve(host, "",
                                  [resolver, found, handler](const auto& ec, const auto& entries) {
                                    for (const auto& entry : entries) {
                                      found->push_back(from_asio(entry.endpoint().address()));
                                    }
                                    handler(ec);
                                  });
        },
        [&] { resolver->cancel(); }};
    if (done.ec) co_return to_std(done.ec);
    co_return std::move(*found);
  }

  Task<Result<std::unique_ptr<Stream>>> connect(Endpoint to, ConnectOptions options) override {
    auto connection = std::make_shared<Connection<tcp::socket>>(io_);
    const auto connected = co_await detail::AsioOperation{
        [&](auto handler) {
          connection->layer.async_connect(to_asio(to),
                                          [connection, handler](const auto& ec) { handler(ec); });
        },
        [&] { connection->close(); }};
    if (connected.ec) co_return to_std(connected.ec);
    boost::system::error_code ec;
    connection->layer.set_option(tcp::no_delay{true}, ec);
    if (!options.tls) {
      co_return std::unique_ptr<Stream>{
          std::make_unique<SocketStream<tcp::socket>>(std::move(connection), to)};
    }
    co_return co_await secure(std::move(connection->layer), to, *options.tls);
  }

  Result<std::unique_ptr<Acceptor>> listen(const Endpoint& at) override {
    boost::system::error_code ec;
    tcp::acceptor acceptor{io_};
    const tcp::endpoint local = to_asio(at);
    acceptor.open(local.protocol(), ec);
    if (ec) return to_std(ec);
    acceptor.set_option(tcp::acceptor::reuse_address{true}, ec);
    if (ec) return to_std(ec);
    acceptor.bind(local, ec);
    if (ec) return to_std(ec);
    acceptor.listen(tcp::acceptor::max_listen_connections, ec);
    if (ec) return to_std(ec);
    const tcp::endpoint bound = acceptor.local_endpoint(ec);
    if (ec) return to_std(ec);
    return std::unique_ptr<Acceptor>{std::make_unique<TcpAcceptor>(
        std::move(acceptor), Endpoint{from_asio(bound.address()), bound.port()})};
  }

 private:
  static Task<Result<std::unique_ptr<Stream>>> secure(tcp::socket socket, Endpoint to,
                                                      TlsClientOptions options) {
    boost::system::error_code ec;
    auto context = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_client);
    SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION);
    if (options.ca_file.empty()) {
      context->set_default_verify_paths(ec);
    } else {
      context->load_verify_file(options.ca_file, ec);
    }
    if (ec) co_return to_std(ec);
    auto connection = std::make_shared<Connection<TlsLayer>>(std::move(socket), *context);
    TlsLayer& layer = connection->layer;
    layer.set_verify_mode(options.verify ? asio::ssl::verify_peer : asio::ssl::verify_none, ec);
    if (options.verify) {
      layer.set_verify_callback(asio::ssl::host_name_verification{options.server_name}, ec);
    }
    if (!IpAddress::parse(options.server_name)) {
      SSL_set_tlsext_host_name(layer.native_handle(), options.server_name.c_str());
    }
    const auto shaken = co_await detail::AsioOperation{
        [&](auto handler) {
          layer.async_handshake(
              asio::ssl::stream_base::client,
              [connection, context, handler](const auto& error) { handler(error); });
        },
        [&] { connection->close(); }};
    if (shaken.ec) co_return to_std(shaken.ec);
    co_return std::unique_ptr<Stream>{
        std::make_unique<SocketStream<TlsLayer>>(std::move(connection), to, std::move(context))};
  }

  asio::io_context& io_;
};

}  // namespace

std::unique_ptr<Network> make_system_network(asio::io_context& io) {
  return std::make_unique<SystemNetwork>(io);
}

}  // namespace pronto
