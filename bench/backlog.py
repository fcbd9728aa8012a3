"""A backlog that nobody takes: what it costs `pronto broker` in rate, memory and start, and how fast it drains.

Bytes are sent and counted by hand, since no client in Python would keep up: every message is the same, so frames can be
counted by their length.
"""

import pathlib
import socket
import struct
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "system"))
from harness import Process, accepts, eventually, free_port  # noqa: E402
from pika import spec  # noqa: E402
from wire import FRAME_END, Wire, method_frame  # noqa: E402

SIZE = 1024
BURST = 500
WINDOW = 10_000
ACK_BYTES = 21  # a basic.ack frame


def publish(port, queue, count, part):
    """Publishes `count` confirmed messages. Returns: messages a second of each `part` of them."""
    wire = Wire(port)
    wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    header = struct.pack(">HHQH", 60, 0, SIZE, 0x1000) + b"\x02"
    one = method_frame(1, spec.Basic.Publish(exchange="", routing_key=queue)) + \
        struct.pack(">BHI", 2, 1, len(header)) + header + FRAME_END + \
        struct.pack(">BHI", 3, 1, SIZE) + b"x" * SIZE + FRAME_END
    burst = one * BURST
    sent = known = 0
    rates, begin, begun_at = [], time.perf_counter(), 0
    held = b""
    while known < count:
        if sent < count and sent - known < WINDOW:
            wire.socket.sendall(burst)
            sent += BURST
            if sent - known < WINDOW and sent < count:
                continue
        held += wire.socket.recv(1 << 20)
        whole = len(held) // ACK_BYTES * ACK_BYTES
        if whole:
            known = struct.unpack(">Q", held[whole - ACK_BYTES + 11:whole - ACK_BYTES + 19])[0]
            held = held[whole:]
        if known - begun_at >= part:
            now = time.perf_counter()
            rates.append((known - begun_at) / (now - begin))
            begin, begun_at = now, known
    wire.socket.close()
    return rates


def delay(port, count):
    """Has `count` confirmed messages wait for an hour in an x-delayed-message exchange."""
    wire = Wire(port)
    wire.send(1, spec.Exchange.Declare(exchange="late", type="x-delayed-message", durable=True,
                                       arguments={"x-delayed-type": "fanout"}))
    wire.expect(spec.Exchange.DeclareOk)
    table = b"\x07x-delayI" + struct.pack(">i", 3_600_000)
    header = struct.pack(">HHQH", 60, 0, SIZE, 0x3000) + struct.pack(">I", len(table)) + table + b"\x02"
    one = method_frame(1, spec.Basic.Publish(exchange="late", routing_key="")) + \
        struct.pack(">BHI", 2, 1, len(header)) + header + FRAME_END + \
        struct.pack(">BHI", 3, 1, SIZE) + b"x" * SIZE + FRAME_END
    confirmed = 0
    wire.socket.settimeout(120)
    for _ in range(count // BURST):
        wire.socket.sendall(one * BURST)
        sent = confirmed + BURST
        held = b""
        while confirmed < sent:
            held += wire.socket.recv(1 << 20)
            whole = len(held) // ACK_BYTES * ACK_BYTES
            if whole:
                confirmed = struct.unpack(">Q", held[whole - ACK_BYTES + 11:whole - ACK_BYTES + 19])[0]
                held = held[whole:]
    wire.socket.close()


def drain(port, queue, count):
    """Takes all of them without acks. Returns: messages a second."""
    wire = Wire(port)
    wire.send(1, spec.Basic.Consume(queue=queue, consumer_tag="c", no_ack=True))
    wire.expect(spec.Basic.ConsumeOk)
    begin = time.perf_counter()
    deliver = method_frame(1, spec.Basic.Deliver(consumer_tag="c", delivery_tag=1, redelivered=False, exchange="",
                                                 routing_key=queue))
    wanted = count * (len(deliver) + 8 + 15 + 8 + SIZE)
    got = len(wire.buffer)
    buffer = bytearray(1 << 20)
    wire.socket.settimeout(60)
    while got < wanted:
        more = wire.socket.recv_into(buffer)
        if not more:
            raise SystemExit("backlog: the broker has gone")
        got += more
    took = time.perf_counter() - begin
    wire.socket.close()
    return count / took


def resident_mib(pid):
    return int(next(line.split()[1] for line in open(f"/proc/{pid}/status") if line.startswith("VmRSS"))) / 1024


def measure(binary, folder, count, say):
    port = free_port()
    broker = Process("backlog", [binary / "pronto", "broker", "--amqp", f"127.0.0.1:{port}", "--management",
                                 "127.0.0.1:0", "--data", folder / "backlog", "--log-level", "warning"],
                     folder, ready=lambda: accepts(port))
    found = {"messages": count}

    def start():
        begin = time.perf_counter()
        broker.start(wait=False)
        eventually("the broker listens", lambda: accepts(port), 120, every=0.002)
        Wire(port).socket.close()  # who comes before it is ready waits for its greeting
        return time.perf_counter() - begin

    start()
    try:
        wire = Wire(port)
        wire.send(1, spec.Queue.Declare(queue="backlog", durable=True))
        wire.expect(spec.Queue.DeclareOk)
        wire.socket.close()
        found["idle_mib"] = resident_mib(broker.running.pid)
        rates = publish(port, "backlog", count, max(count // 10, BURST))
        found["publish_per_second_first_tenth"] = rates[0]
        found["publish_per_second_last_tenth"] = rates[-1]
        found["publish_per_second_by_tenths"] = rates
        found["resident_mib"] = resident_mib(broker.running.pid)
        say(f"backlog of {count:,}: published {rates[0]:,.0f}/s at first, {rates[-1]:,.0f}/s at last, "
            f"{found['resident_mib']:.0f} MiB resident")
        broker.kill()
        found["start_after_kill_seconds"] = start()
        broker.terminate()
        found["start_after_stop_seconds"] = start()
        found["resident_mib_after_start"] = resident_mib(broker.running.pid)
        say(f"start: {found['start_after_kill_seconds']:.2f} s after a kill, "
            f"{found['start_after_stop_seconds']:.2f} s after a stop")
        found["drain_per_second"] = drain(port, "backlog", count)
        say(f"drained {found['drain_per_second']:,.0f}/s")
    finally:
        broker.kill()
    return found
