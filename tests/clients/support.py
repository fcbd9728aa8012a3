"""Brokers to speak to, and a client that says exactly what it is told to, right or wrong.

Pronto and RabbitMQ are started the same way, so that a test can ask both the same and compare the answers.
"""

import contextlib
import pathlib
import re
import shutil
import socket
import struct
import sys
import tempfile

from pika import frame, spec

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))

from harness import BIN, Process, RabbitMq, accepts, eventually, free_port  # noqa: E402,F401

ANSWER_SECONDS = 20
HEADER_0_9_1 = b"AMQP\x00\x00\x09\x01"
FRAME_END = 0xCE


class Pronto:
    """`pronto broker` on a folder and a port of its own."""

    name = "pronto"

    def __init__(self, *options):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="pronto-clients-"))
        self.port = free_port()
        self.process = Process(
            "broker", [BIN / "pronto", "broker", "--amqp", f"127.0.0.1:{self.port}",
                       "--management", "127.0.0.1:0", "--data", self.folder / "data", *options],
            self.folder, ready=lambda: accepts(self.port))

    def start(self):
        self.process.start()
        return self

    def stop(self):
        """Ends the broker as its users do. Raises AssertionError when it had crashed or cannot end."""
        try:
            status = self.process.terminate() if self.process.is_running() else self.process.running.returncode
            assert status == 0, f"the broker ended with {status}:\n{self.process.log_tail()}"
        finally:
            self.process.kill()
            shutil.rmtree(self.folder, ignore_errors=True)


class Rabbit:
    """RabbitMQ 3.10.8, started by the test."""

    name = "rabbitmq"

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="rabbit-clients-"))
        self.server = RabbitMq(self.folder)
        self.port = self.server.port

    def start(self):
        self.server.process.start()
        return self

    def stop(self):
        self.server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def start_all(*brokers):
    """Starts brokers at the same time; ends those that came up when one does not."""
    processes = [getattr(broker, "server", broker).process for broker in brokers]
    try:
        for process in processes:
            process.start(wait=False)
        for process in processes:
            process.wait_ready()
    except BaseException:
        for process in processes:
            process.kill()
        raise


def stop_all(*brokers):
    """Ends all of them, also when one does not end well."""
    with contextlib.ExitStack() as endings:
        for broker in brokers:
            endings.callback(broker.stop)


class Gone(Exception):
    """The broker ended the connection; `how` says whether it was cut or closed in order."""


def frame_bytes(kind, channel, payload, end=FRAME_END):
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + bytes([end])


class Peer:
    """A client that is a socket and a codec, and does nothing of its own accord, not even heartbeats."""

    def __init__(self, port, seconds=ANSWER_SECONDS):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=seconds)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.waiting = b""

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.close()

    def close(self):
        self.socket.close()

    # -- bytes --------------------------------------------------------------

    def send_bytes(self, data):
        """Sends as much as the broker takes: one that has had enough may cut us off meanwhile."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def receive_bytes(self):
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError as error:
            raise Gone("cut") from error
        if not data:
            raise Gone("closed")
        return data

    def receive_to_end(self):
        """All that comes until the broker closes."""
        try:
            while True:
                self.waiting += self.receive_bytes()
        except Gone:
            return self.waiting

    # -- frames -------------------------------------------------------------

    def receive_frame(self):
        """The next frame that is no heartbeat. Raises Gone; socket.timeout when nothing comes."""
        while True:
            consumed, decoded = frame.decode_frame(self.waiting)
            if decoded is None:
                self.waiting += self.receive_bytes()
                continue
            self.waiting = self.waiting[consumed:]
            if not isinstance(decoded, frame.Heartbeat):
                return decoded

    def receive(self):
        """The next method, whatever the channel; contents on the way are passed over."""
        while True:
            decoded = self.receive_frame()
            if isinstance(decoded, frame.Method):
                return decoded.method

    def send(self, channel, method):
        self.send_bytes(frame.Method(channel, method).marshal())

    def call(self, channel, method):
        self.send(channel, method)
        return self.receive()

    def publish(self, channel, exchange="", routing_key="", body=b"", properties=None, **flags):
        method = spec.Basic.Publish(exchange=exchange, routing_key=routing_key, **flags)
        self.send_bytes(
            frame.Method(channel, method).marshal() +
            frame.Header(channel, len(body), properties or spec.BasicProperties()).marshal() +
            (frame.Body(channel, body).marshal() if body else b""))

    # -- opening ------------------------------------------------------------

    def start(self):
        self.send_bytes(HEADER_0_9_1)
        return self.receive()

    def log_in(self, user="guest", password="guest", mechanism="PLAIN", response=None, capabilities=None):
        """Answers connection.start. Returns what the broker says to it."""
        can = {"authentication_failure_close": True, "consumer_cancel_notify": True, "basic.nack": True,
               "publisher_confirms": True, "connection.blocked": True}
        if response is None:
            response = f"\0{user}\0{password}"
        return self.call(0, spec.Connection.StartOk(
            client_properties={"product": "raw peer", "capabilities": can if capabilities is None else capabilities},
            mechanism=mechanism, response=response))

    def open(self, virtual_host="/", channel_max=2047, frame_max=131072, channels=(1,)):
        """The whole handshake, with channels opened."""
        self.start()
        assert isinstance(self.log_in(), spec.Connection.Tune)
        self.send(0, spec.Connection.TuneOk(channel_max=channel_max, frame_max=frame_max, heartbeat=0))
        answer = self.call(0, spec.Connection.Open(virtual_host=virtual_host))
        assert isinstance(answer, spec.Connection.OpenOk), answer
        for channel in channels:
            answer = self.call(channel, spec.Channel.Open())
            assert isinstance(answer, spec.Channel.OpenOk), answer
        return self


def without_chance(text):
    """Names that a broker makes up are different each time; that they have the same form is what counts."""
    return re.sub(r"(amq\.(?:gen|ctag)-)[A-Za-z0-9_-]{22}\b", r"\1GENERATED", text)


def told(method):
    """A method as one line, to be compared: the exception with its severity, or the answer with its fields."""
    if isinstance(method, (spec.Channel.Close, spec.Connection.Close)):
        severity = "CHANNEL" if isinstance(method, spec.Channel.Close) else "CONNECTION"
        where = f"class {method.class_id} method {method.method_id}"
        return without_chance(f"{severity} {method.reply_code} {method.reply_text} ({where})")
    fields = ", ".join(f"{name}={value!r}" for name, value in sorted(vars(method).items()))
    return without_chance(f"ok {method.NAME}({fields})")
