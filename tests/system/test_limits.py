"""What the system gives out of: `pronto broker` with few open files (BROKER.md, case 35)."""

import contextlib
import json
import pathlib
import resource
import shutil
import socket
import subprocess
import tempfile
import unittest

import pika

from harness import BIN, eventually

FILES = 64


class Files(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="pronto-limits-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        ports = self.folder / "ports.json"
        self.broker = subprocess.Popen(
            [BIN / "pronto", "broker", "--data", self.folder / "data", "--amqp", "127.0.0.1:0",
             "--management", "127.0.0.1:0", "--ports-file", ports],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES)))
        self.addCleanup(self.end)
        eventually("the ports file", ports.exists)
        self.port = int(json.loads(ports.read_text())["amqp"].rsplit(":", 1)[1])

    def end(self):
        self.broker.terminate()
        self.assertEqual(self.broker.wait(30), 0)

    def test_who_comes_when_no_file_is_left_waits_and_the_others_go_on(self):
        parameters = pika.ConnectionParameters("127.0.0.1", self.port)
        with pika.BlockingConnection(parameters) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            channel.queue_declare("q", durable=True)
            with contextlib.ExitStack() as crowd:
                for _ in range(2 * FILES):
                    crowd.enter_context(socket.create_connection(("127.0.0.1", self.port), timeout=10))
                for number in range(100):
                    channel.basic_publish("", "q", str(number).encode(), pika.BasicProperties(delivery_mode=2))
            with pika.BlockingConnection(parameters) as other:  # once the crowd has gone
                self.assertEqual(other.channel().queue_declare("q", passive=True).method.message_count, 100)


if __name__ == "__main__":
    unittest.main()
