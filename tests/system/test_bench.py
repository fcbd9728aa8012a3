"""`pronto bench` against `pronto broker`: every kind of load for a moment, and what it must find.

RabbitMQ is measured by bench/run; here it is the command that is tested.
"""

import base64
import json
import pathlib
import shutil
import subprocess
import tempfile
import unittest
import urllib.request

import pika

from harness import BIN, Process, accepts, eventually, free_port


class Bench(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="pronto-bench-"))
        cls.port = free_port()
        cls.management = free_port()
        cls.broker = Process(
            "broker", [BIN / "pronto", "broker", "--amqp", f"127.0.0.1:{cls.port}",
                       "--management", f"127.0.0.1:{cls.management}", "--data", cls.folder / "data"],
            cls.folder, ready=lambda: accepts(cls.port))
        cls.broker.start()

    @classmethod
    def tearDownClass(cls):
        cls.broker.kill()
        shutil.rmtree(cls.folder, ignore_errors=True)

    def start(self, *options):
        return subprocess.Popen(
            [BIN / "pronto", "bench", "--broker", f"amqp://127.0.0.1:{self.port}", *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run_bench(self, *options, status=0):
        process = self.start(*options)
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, status, f"{options}\n{out}\n{err}")
        return out, err

    def measure(self, *options):
        out, err = self.run_bench("-o", "json", "--duration", "0.5", "--warmup", "0.1", *options)
        self.assertEqual(err, "")
        result = json.loads(out)
        self.assertTrue(result["check"]["right"])
        self.assertGreater(result["per_second"]["published"], 0)
        return result

    def queues(self):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.management}/api/queues",
            headers={"Authorization": "Basic " + base64.b64encode(b"guest:guest").decode()})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return [queue["name"] for queue in json.load(answer)]

    def test_each_kind_of_load_is_right_and_leaves_no_queue_behind(self):
        for options in (
                ["--window", "1"],
                ["--window", "1000", "--publishers", "2", "--consumers", "2"],
                ["--queues", "3", "--publishers", "2", "--ack-every", "1"],
                ["--queues", "3", "--consumers", "2", "--share-connection"],
                ["--queues", "2", "--bindings", "5", "--size", "16"],
                ["--priorities", "5", "--publishers", "2"],
                ["--fan-out", "3", "--size", "100"],
                ["--queue-type", "quorum", "--prefetch", "10", "--ack-every", "10"],
                ["--transient", "--no-confirms", "--backlog", "5000", "--ack-every", "0"],
                ["--size", "300000", "--window", "5"],
                ["--consumers", "0"],
                ["--rate", "2000"]):
            with self.subTest(" ".join(options)):
                self.measure(*options)
                self.assertEqual(self.queues(), [])

    def test_percentiles_grow_and_count_what_was_measured(self):
        result = self.measure("--window", "10")
        for what in ("confirm_microseconds", "end_to_end_microseconds"):
            times = result[what]
            self.assertGreater(times["count"], 0)
            self.assertLessEqual(0, times["p50"])
            self.assertLessEqual(times["p50"], times["p90"])
            self.assertLessEqual(times["p90"], times["p99"])
            self.assertLessEqual(times["p99"], times["p99.9"])
            self.assertLessEqual(times["p99.9"], times["max"])

    def test_a_counted_load_publishes_that_many(self):
        out, _ = self.run_bench("-o", "json", "--count", "1001", "--publishers", "4")
        self.assertEqual(json.loads(out)["messages"],
                         {"published": 1001, "confirmed": 1001, "delivered": 1001})

    def test_an_open_loop_keeps_its_rate(self):
        result = self.measure("--rate", "1000", "--publishers", "2", "--duration", "2")
        self.assertAlmostEqual(result["per_second"]["published"], 1000, delta=50)

    # Goal: no coordinated omission. Method: a broker that stands still for a second while messages
    # are due; all of them waited, not only those that a closed loop would have sent.
    def test_an_open_loop_counts_the_wait_of_messages_that_were_due(self):
        process = self.start("-o", "jsonl", "--rate", "1000", "--duration", "3", "--warmup", "0")
        self.assertIn("interval", process.stdout.readline())
        self.broker.running.send_signal(19)  # SIGSTOP
        try:
            self.assertIn("interval", process.stdout.readline())
        finally:
            self.broker.running.send_signal(18)  # SIGCONT
        out, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0)
        result = json.loads(out.splitlines()[-1])
        self.assertGreater(result["confirm_microseconds"]["max"], 800_000)
        self.assertGreater(result["confirm_microseconds"]["p90"], 100_000)

    def test_jsonl_has_a_line_for_each_second_and_then_the_result(self):
        out, _ = self.run_bench("-o", "jsonl", "--duration", "2.2", "--warmup", "0")
        kinds = [json.loads(line)["type"] for line in out.splitlines()]
        self.assertEqual(kinds, ["interval", "interval", "result"])

    def test_the_table_says_what_was_found(self):
        out, err = self.run_bench("--duration", "0.3", "--warmup", "0")
        self.assertEqual(err, "")
        for word in ("published", "confirmed", "delivered", "p99.9", "all right"):
            self.assertIn(word, out)

    def test_lost_messages_end_it_with_status_1(self):
        process = self.start("-o", "json", "--duration", "2", "--warmup", "0", "--prefetch", "1",
                             "--ack-every", "1", "--no-confirms", "--backlog", "5000",
                             "--drain-seconds", "2")
        queue = eventually("a backlog", lambda: (self.queues() or [None])[0])
        with pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", self.port)) as connection:
            channel = connection.channel()
            eventually("something to purge", lambda: channel.queue_purge(queue).method.message_count)
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 1, out + err)
        self.assertGreater(json.loads(out)["check"]["lost"], 0)

    def test_sigint_ends_it_early_with_what_was_measured(self):
        process = self.start("-o", "jsonl", "--duration", "60", "--warmup", "0")
        process.stdout.readline()
        process.send_signal(2)
        out, _ = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 0)
        result = json.loads(out.splitlines()[-1])
        self.assertTrue(result["interrupted"])
        self.assertTrue(result["check"]["right"])
        self.assertEqual(self.queues(), [])

    def test_mistakes_are_told_in_one_line(self):
        for options, status, word in (
                (["--broker", f"amqp://127.0.0.1:{free_port()}"], 1, "127.0.0.1"),
                (["--broker", f"amqp://guest:wrong@127.0.0.1:{self.port}"], 1, "ACCESS_REFUSED"),
                (["--broker", "nonsense"], 2, "--broker"),
                (["--prefetch", "10", "--ack-every", "11"], 2, "--ack-every"),
                (["--queues", "2", "--fan-out", "2"], 2, "--fan-out"),
                (["--rate", "fast"], 2, "--rate"),
                (["--duraton", "1"], 2, "'duration'")):
            with self.subTest(" ".join(options)):
                _, err = self.run_bench(*options, status=status)
                self.assertIn(word, err)
                self.assertEqual(err.count("\n"), 1, err)


if __name__ == "__main__":
    unittest.main()
