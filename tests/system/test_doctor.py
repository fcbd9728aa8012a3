"""`pronto doctor` and `pronto journal inspect`: what they see in a folder that is sound, in use, damaged, newer."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import pika

from harness import BIN, eventually

MESSAGES = 200


class Doctor(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="pronto-doctor-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.data = self.folder / "data"
        self.broker = None
        self.addCleanup(self.kill)

    def start(self):
        ports = self.folder / "ports.json"
        ports.unlink(missing_ok=True)
        self.broker = subprocess.Popen(
            [BIN / "pronto", "broker", "--data", self.data, "--amqp", "127.0.0.1:0", "--management", "127.0.0.1:0",
             "--ports-file", ports], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        eventually("the ports file", ports.exists)
        return int(json.loads(ports.read_text())["amqp"].rsplit(":", 1)[1])

    def kill(self):
        if self.broker:
            self.broker.kill()
            self.broker.wait()
            self.broker = None

    def fill(self):
        """Two queues with confirmed messages; some of the one are acked. The process is killed."""
        port = self.start()
        connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port))
        channel = connection.channel()
        channel.confirm_delivery()
        for queue in ("one", "two"):
            channel.queue_declare(queue, durable=True)
        for number in range(MESSAGES):
            channel.basic_publish("", "one" if number % 2 else "two", f"body {number}".encode(),
                                  pika.BasicProperties(delivery_mode=2))
        method, _, _ = channel.basic_get("one")
        channel.basic_ack(method.delivery_tag)
        connection.close()
        self.kill()

    def run_pronto(self, *arguments, status=0):
        done = subprocess.run([BIN / "pronto", *arguments, "--data", self.data], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=60, check=False)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout, done.stderr

    def doctor(self, status=0):
        out, _ = self.run_pronto("doctor", "--amqp", "127.0.0.1:0", "--management", "127.0.0.1:0", "-o", "json",
                                 status=status)
        return json.loads(out)

    @staticmethod
    def text_of(findings, what):
        return next(one["text"] for one in findings if one["what"] == what)

    def contents(self):
        return {one.name: one.read_bytes() for one in self.data.iterdir() if one.name != "lock"}

    def test_a_sound_folder_is_well_and_nothing_is_touched(self):
        self.fill()
        before = self.contents()
        findings = self.doctor()
        self.assertTrue(all(one["status"] == "ok" for one in findings), findings)
        self.assertIn(f"{MESSAGES - 1} messages in 2 queues", self.text_of(findings, "messages"))
        self.assertIn("every body is sound", self.text_of(findings, "messages"))
        self.run_pronto("journal", "inspect")
        self.assertEqual(self.contents(), before)

    def test_a_folder_in_use_is_looked_at_and_the_broker_goes_on(self):
        port = self.start()
        findings = self.doctor()
        self.assertIn(f"in use by process {self.broker.pid}", self.text_of(findings, "folder"))
        with pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port)) as connection:
            connection.channel().queue_declare("still here", durable=True)

    def test_damage_is_told_with_its_place_and_what_to_do(self):
        self.fill()
        segment = self.data / "00000001.log"
        whole = bytearray(segment.read_bytes())
        at = whole.find(b"body 100")
        whole[at] ^= 1
        segment.write_bytes(whole)
        findings = self.doctor(status=1)
        damage = [one for one in findings if one["status"] == "damage"]
        self.assertEqual(len(damage), 1, findings)
        self.assertEqual(damage[0]["what"], "00000001.log")
        self.assertIn("missing", damage[0]["text"])
        self.assertIn("what follows is kept", damage[0]["advice"])
        self.assertIn(f"{MESSAGES - 2} messages", self.text_of(findings, "messages"))

    def test_a_body_that_rots_behind_a_checkpoint_is_told_by_queue(self):
        self.fill()
        self.start()
        self.broker.terminate()  # an orderly stop leaves a checkpoint
        self.broker.wait()
        segment = self.data / "00000001.log"
        whole = bytearray(segment.read_bytes())
        whole[whole.find(b"body 100")] ^= 1
        segment.write_bytes(whole)
        findings = self.doctor(status=1)
        self.assertIn("1 messages have bodies that cannot be read", self.text_of(findings, "queue 'two'"))

    def test_a_newer_folder_is_left_alone(self):
        self.fill()
        segment = self.data / "00000001.log"
        whole = bytearray(segment.read_bytes())
        whole[8:12] = (99).to_bytes(4, "little")
        whole[32:36] = crc32c(whole[:32]).to_bytes(4, "little")
        segment.write_bytes(whole)
        before = self.contents()
        self.assertIn("written by a newer version", self.text_of(self.doctor(status=1), "replay"))
        done = subprocess.run([BIN / "pronto", "broker", "--data", self.data, "--amqp", "127.0.0.1:0",
                               "--management", "127.0.0.1:0"], capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("was written by a newer version of Pronto; nothing was touched", done.stderr)
        self.assertEqual(self.contents(), before)

    def test_inspect_shows_files_and_records(self):
        self.fill()
        (self.data / "lost+found").mkdir()  # as in a file system of its own
        self.assertIn("every body is sound", self.text_of(self.doctor(), "messages"))
        out, _ = self.run_pronto("journal", "inspect")
        self.assertIn("00000001.log", out)
        self.assertIn(f"{MESSAGES} body", out)
        out, _ = self.run_pronto("journal", "inspect", "--file", "00000001.log", "--records", "-o", "jsonl")
        records = [json.loads(line) for line in out.splitlines()]
        self.assertEqual([one["text"] for one in records if one["type"] == "queue declared"],
                         ["queue 1 'one' in vhost '/'", "queue 2 'two' in vhost '/'"])
        self.assertEqual(sum(one["type"] == "enqueue" for one in records), MESSAGES)
        self.assertEqual([one["text"] for one in records if one["type"] == "remove runs"], ["queue 1 sequences 1 to 1"])
        out, err = self.run_pronto("journal", "inspect", "--file", "00000099.log", status=1)
        self.assertEqual((out, err), ("", f"pronto: there is no 00000099.log in {self.data}\n"))

    def test_mistakes(self):
        for command in (["doctor"], ["journal", "inspect"]):
            _, err = self.run_pronto(*command, status=2)
            self.assertIn(f"there is no data folder {self.data}", err)
        self.assertFalse(os.path.exists(self.data))
        done = subprocess.run([BIN / "pronto", "journal"], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr),
                         (2, "pronto: pronto journal has one verb: pronto journal inspect\n"))


def crc32c(data):
    """Castagnoli's, bit by bit. Source: RFC 3720, appendix B.4."""
    sum_ = 0xFFFFFFFF
    for octet in data:
        sum_ ^= octet
        for _ in range(8):
            sum_ = sum_ >> 1 ^ (0x82F63B78 if sum_ & 1 else 0)
    return sum_ ^ 0xFFFFFFFF


if __name__ == "__main__":
    unittest.main()
