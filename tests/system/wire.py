"""An AMQP connection by hand, for where pika would be the bottleneck."""

import socket
import struct

from pika import spec

FRAME_END = b"\xce"


def method_frame(channel, method):
    payload = struct.pack(">I", method.INDEX) + b"".join(method.encode())
    return struct.pack(">BHI", 1, channel, len(payload)) + payload + FRAME_END


class Wire:
    """A connection with channel 1 open, in confirm mode."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.buffer = b""
        self.socket.sendall(b"AMQP\0\0\x09\x01")
        self.expect(spec.Connection.Start)
        self.send(0, spec.Connection.StartOk({}, "PLAIN", "\0guest\0guest", "en_US"))
        self.expect(spec.Connection.Tune)
        self.send(0, spec.Connection.TuneOk(0, 131072, 0))
        self.send(0, spec.Connection.Open("/"))
        self.expect(spec.Connection.OpenOk)
        self.send(1, spec.Channel.Open())
        self.expect(spec.Channel.OpenOk)
        self.send(1, spec.Confirm.Select())
        self.expect(spec.Confirm.SelectOk)

    def send(self, channel, method):
        self.socket.sendall(method_frame(channel, method))

    def expect(self, method):
        while True:
            index, _ = self.read_method()
            if index == method.INDEX:
                return

    def read_method(self):
        """The next method frame: (its number, its fields)."""
        while True:
            if len(self.buffer) >= 7:
                kind, _, size = struct.unpack(">BHI", self.buffer[:7])
                if len(self.buffer) >= size + 8:
                    payload, self.buffer = self.buffer[7:7 + size], self.buffer[8 + size:]
                    if kind == 1:
                        return struct.unpack(">I", payload[:4])[0], payload[4:]
                    continue
            more = self.socket.recv(65536)
            if not more:
                raise ConnectionError("the broker has gone")
            self.buffer += more
