"""The bus's conformance suite, which its unit tests run on the embedded broker, on brokers behind an address.

PRONTO_SETUP=pronto|rabbitmq
"""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

from harness import BIN, Process, RabbitMq, accepts, free_port

KIND = os.environ.get("PRONTO_SETUP", "pronto")


class BusConformance(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="pronto-bus-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def start_broker(self):
        if KIND == "rabbitmq":
            rabbitmq = RabbitMq(self.folder)
            self.addCleanup(rabbitmq.stop)
            rabbitmq.process.start()
            return rabbitmq.port
        port = free_port()
        broker = Process(
            "broker", [BIN / "pronto", "broker", "--amqp", f"127.0.0.1:{port}", "--management", "127.0.0.1:0",
                       "--data", self.folder / "data"], self.folder, ready=lambda: accepts(port))
        self.addCleanup(broker.kill)
        broker.start()
        return port

    def test_the_bus_keeps_its_promises_on_this_broker(self):
        address = f"amqp://guest:guest@127.0.0.1:{self.start_broker()}"
        report = self.folder / "report.txt"
        with open(report, "wb") as output:
            ended = subprocess.run(
                [BIN / "bus_test", "--gtest_filter=All/BusConformance.*:-*embedded*"], check=False, timeout=200,
                env=dict(os.environ, PRONTO_TEST_BROKER=address), stdout=output, stderr=output)
        text = report.read_text(errors="replace")
        self.assertEqual(ended.returncode, 0, text[-4000:])
        self.assertIn("[  PASSED  ] 4 tests.", text)


if __name__ == "__main__":
    unittest.main()
