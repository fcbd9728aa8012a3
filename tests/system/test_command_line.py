"""DESIGN.md section 3's command line: settings, mistakes, ports, ordering from a terminal.

A mistake is one clear line on stderr, exit status 2, and nothing half-started.
"""

import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

from harness import BIN, Process, Setup, eventually, free_port

PIZZERIA = BIN / "pizzeria"


def run(*arguments, seconds=30, program=PIZZERIA, **environment):
    return subprocess.run([str(program), *[str(one) for one in arguments]], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=seconds, check=False,
                          env={**os.environ, **environment})


class CommandLine(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="pizzeria-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.started = []
        self.addCleanup(self.kill_started)

    def kill_started(self):
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stdout.close()

    def up(self, *more, command="up", data=None, program=PIZZERIA):
        """Starts with free ports and waits for the ports file. Returns: (process, ports)."""
        ports = self.folder / f"ports-{len(self.started)}.json"
        data = data or self.folder / f"data-{len(self.started)}"
        process = subprocess.Popen(
            [program, command, *self.at("127.0.0.1:0", command), "--data", data, "--ports-file", ports, *more],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL)
        self.started.append(process)

        def is_there():
            if process.poll() is not None:
                raise AssertionError(process.stdout.read())
            return ports.exists()
        eventually("the ports file", is_there)
        return process, json.loads(ports.read_text())

    @staticmethod
    def at(address, command="up"):
        if command == "up":
            return ["--http", address, "--amqp", address, "--management", address]
        return ["--amqp", address, "--management", address]

    def end(self, process):
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(30), 0)

    def check_mistake(self, done, *said):
        """Exit 2 and one line that says what and what to do."""
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertTrue(done.stderr.startswith(("pizzeria: ", "pronto: ")), done.stderr)
        for text in said:
            self.assertIn(str(text), done.stderr)

    # -- help -----------------------------------------------------------------

    def test_help_shows_flag_variable_key_and_default_of_each_setting(self):
        flags = {"up": {"http": "127.0.0.1:8080", "amqp": "127.0.0.1:5672", "management": "127.0.0.1:15672",
                        "ports-file": None, "data": "data", "broker": "embedded", "store": None,
                        "workers": "prep=2,bake=2,oven=2", "stage-seconds": "prep=6,bake=8,oven=6",
                        "callback-schedule": "0,5,300,1800,7200,18000,36000,50400,72000,86400",
                        "allow-callbacks-to": None, "accept-limit": "100000"}}
        for name in ("order-service", "order-history", "order-executor", "notifier"):
            flags[name] = {"broker": None, "data": "data", "store": None}
        for command, settings in flags.items():
            done = run(command, "--help")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            for name, default in settings.items():
                with self.subTest(f"{command} --{name}"):
                    variable = "PIZZERIA_" + name.upper().replace("-", "_")
                    found = re.search(rf"^  --{name} .*\n.*\n.*\b{variable}, {name} in \[{command}\](.*)$",
                                      done.stdout, re.MULTILINE)
                    self.assertTrue(found, done.stdout)
                    if default is not None:
                        self.assertTrue(found.group(1).endswith(f"; default {default}"), found.group(0))
        for arguments in (["--help"], ["order", "--help"], ["token", "--help"], ["--version"]):
            done = run(*arguments)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertTrue(done.stdout.startswith("pizzeria"), done.stdout)

    def test_a_flag_is_stronger_than_a_variable_and_a_variable_than_the_file(self):
        config = self.folder / "pizzeria.toml"
        ports = [free_port() for _ in range(3)]
        config.write_text(f'[up]\nhttp = "127.0.0.1:{ports[0]}"\nmanagement = "127.0.0.1:{ports[2]}"\n')
        place = self.folder / "ports.json"
        process = subprocess.Popen(
            [PIZZERIA, "up", "--config", config, "--amqp", "127.0.0.1:0", "--management", "127.0.0.1:0",
             "--data", self.folder / "data", "--ports-file", place],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL,
            env={**os.environ, "PIZZERIA_HTTP": f"127.0.0.1:{ports[1]}", "PIZZERIA_AMQP": "127.0.0.1:1"})
        self.started.append(process)
        eventually("the ports file", place.exists)
        shown = json.loads(place.read_text())
        self.assertEqual(shown["http"], f"127.0.0.1:{ports[1]}")  # the variable, not the file
        self.assertNotIn(shown["management"], (f"127.0.0.1:{ports[2]}", "127.0.0.1:0"))  # the flag
        self.assertNotEqual(shown["amqp"], "127.0.0.1:1")
        self.end(process)

    # -- mistakes ---------------------------------------------------------------

    def test_a_wrong_flag_or_value_is_one_line_and_exit_2(self):
        for arguments, *said in (
                ([], "a command is missing"),
                (["cook"], "'cook'", "--help"),
                (["up", "--htpp", "127.0.0.1:0"], "--htpp", "http"),
                (["up", "--accept-limits", "5"], "--accept-limits", "accept-limit"),
                (["up", "--http"], "--http"),
                (["up", "--http", "nonsense"], "--http", "nonsense", "ADDRESS:PORT"),
                (["up", "--http", "127.0.0.1:99999"], "--http", "99999"),
                (["up", "--http", "127.0.0.1"], "--http"),
                (["up", "--workers", "prep=0"], "--workers", "prep=0"),
                (["up", "--workers", "grill=2"], "--workers", "grill=2", "prep=N"),
                (["up", "--workers", "prep=1.5"], "--workers"),
                (["up", "--stage-seconds", "prep=-1"], "--stage-seconds"),
                (["up", "--stage-seconds", "prep=soon"], "--stage-seconds", "soon"),
                (["up", "--callback-schedule", "0,x"], "--callback-schedule", "x"),
                (["up", "--accept-limit", "0"], "--accept-limit", "from 1"),
                (["up", "--accept-limit", "many"], "--accept-limit", "many"),
                (["up", "--allow-callbacks-to", "10.0.0.0/99"], "--allow-callbacks-to", "10.0.0.0/99"),
                (["up", "--secret", "abc"], "--secret"),
                (["up", "--broker", "http://127.0.0.1/"], "--broker"),
                (["up", "--store", "mysql://x"], "mysql"),
                (["up", "surplus"], "surplus"),
                (["order-executor"], "--broker"),
                (["order"], "words"),
                (["token"], "--as"),
                (["order", "2 hawaii"], "hawaii", "margherita"),
                (["order", "500 margherita"], "quantity")):
            with self.subTest(arguments):
                command, wrong = arguments[:1], arguments[1:]
                here = ["--data", self.folder / "data"] if command not in ([], ["cook"]) else []
                anywhere = self.at("127.0.0.1:0") if command == ["up"] else []
                self.check_mistake(run(*command, *anywhere, *here, *wrong), *said)
                if "--store" not in wrong:  # is only known to be wrong once it is opened
                    self.assertFalse((self.folder / "data" / "broker").exists(), "nothing was half-started")
                shutil.rmtree(self.folder / "data", ignore_errors=True)
        done = run("up", PIZZERIA_ACCEPT_LIMIT="none")
        self.check_mistake(done, "PIZZERIA_ACCEPT_LIMIT", "none")

    def test_a_wrong_line_in_the_file_is_named_by_line_and_column_with_the_nearest_name(self):
        config = self.folder / "pizzeria.toml"
        for text, *said in (
                ('[up]\nhttp = "127.0.0.1:0"\naccept-limt = 5\n', ":3:1", "accept-limt", "accept-limit"),
                ('[up]\n  stage_seconds = "1"\n', ":2:3", "stage_seconds", "stage-seconds"),
                ('[upp]\nhttp = "127.0.0.1:0"\n', ":1:", "upp", "'up'"),
                ('http = "127.0.0.1:0"\n', ":1:1", "http"),
                ('[up]\nhttp = "127.0.0.1:0\n', ":2:"),
                ('[up]\nhttp = 5\n', ":2:1", "http"),
                ('[up]\naccept-limit = [1]\n', ":2:1", "accept-limit"),
                ('[up]\naccept-limit = "none"\n', ":2:1", "accept-limit", "none")):
            with self.subTest(text):
                config.write_text(text)
                self.check_mistake(run("up", "--config", config, "--data", self.folder / "data"), config, *said)
        self.check_mistake(run("up", "--config", self.folder / "none.toml"), "none.toml")
        self.assertFalse((self.folder / "data").exists(), "nothing was made")

    def test_a_port_in_use_is_said_and_nothing_is_half_started(self):
        for flag in ("http", "amqp", "management"):
            with self.subTest(flag), socket.socket() as taken:
                taken.bind(("127.0.0.1", 0))
                taken.listen()
                port = taken.getsockname()[1]
                ports = {one: free_port() for one in ("http", "amqp", "management")}
                ports[flag] = port
                others = [one for name, one in ports.items() if name != flag]
                arguments = [word for name, one in ports.items() for word in (f"--{name}", f"127.0.0.1:{one}")]
                accepted = self.watch(others)
                place = self.folder / "ports.json"
                done = run("up", *arguments, "--data", self.folder / f"data-{flag}", "--ports-file", place)
                self.check_mistake(done, f"port {port}", "in use", f"--{flag}")
                self.assertFalse(place.exists())
                self.assertEqual(accepted(), [], "nobody was served for a moment")
                # The same folder can be used at once.
                process, _ = self.up(data=self.folder / f"data-{flag}")
                self.end(process)

    def watch(self, ports):
        """Tries to be served on `ports` without pause. Returns: a function that ends it and gives who answered."""
        is_done = threading.Event()
        answered = []

        def try_to(port):
            while not is_done.is_set():
                try:
                    with socket.create_connection(("127.0.0.1", port), timeout=1) as one:
                        one.sendall(b"AMQP\x00\x00\x09\x01\r\n\r\n")
                        if one.recv(1):
                            answered.append(port)
                except OSError:
                    pass
                time.sleep(0.001)
        threads = [threading.Thread(target=try_to, args=[port], daemon=True) for port in ports]
        for thread in threads:
            thread.start()

        def end():
            is_done.set()
            for thread in threads:
                thread.join()
            return answered
        return end

    def test_a_data_folder_that_another_process_holds_is_said_and_not_touched(self):
        process, ports = self.up(data=self.folder / "data")
        files = sorted(self.folder.joinpath("data").rglob("*"))
        done = run("up", *self.at("127.0.0.1:0"), "--data", self.folder / "data")
        self.check_mistake(done, self.folder / "data", "in use", process.pid, "--data")
        self.assertEqual(sorted(self.folder.joinpath("data").rglob("*")), files)
        with socket.create_connection(("127.0.0.1", int(ports["http"].split(":")[1])), timeout=5):
            pass
        self.end(process)
        again, _ = self.up(data=self.folder / "data")  # the lock ended with its holder
        self.end(again)

    def test_the_same_mistakes_with_the_broker_alone(self):
        process, ports = self.up(command="broker", data=self.folder / "data", program=BIN / "pronto")
        self.assertEqual(sorted(ports), ["amqp", "management"])
        pronto = BIN / "pronto"
        done = run("broker", *self.at("127.0.0.1:0", "broker"), "--data", self.folder / "data", program=pronto)
        self.check_mistake(done, "in use", process.pid, "--data")
        done = run("broker", "--amqp", ports["amqp"], "--management", "127.0.0.1:0", "--data", self.folder / "other",
                   program=pronto)
        self.check_mistake(done, "in use", "--amqp")
        done = run("broker", "--ampq", "127.0.0.1:0", program=pronto)
        self.check_mistake(done, "--ampq", "amqp")
        self.end(process)

    def test_a_data_folder_that_cannot_be_made_is_said(self):
        (self.folder / "file").write_text("not a folder")
        done = run("up", *self.at("127.0.0.1:0"), "--data", self.folder / "file")
        self.check_mistake(done, self.folder / "file")

    # -- ports and signals --------------------------------------------------------

    def test_the_ports_file_appears_whole_when_all_are_ready(self):
        place = self.folder / "ports.json"
        seen = []
        is_done = threading.Event()

        def look():  # what a reader could see at any moment
            while not is_done.is_set():
                try:
                    text = place.read_text()
                    if not seen or seen[-1] != text:
                        seen.append(text)
                except FileNotFoundError:
                    pass
        place.write_text("old")
        reader = threading.Thread(target=look, daemon=True)
        reader.start()
        process = subprocess.Popen(
            [PIZZERIA, "up", *self.at("127.0.0.1:0"), "--data", self.folder / "data", "--ports-file", place],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL)
        self.started.append(process)
        eventually("the ports file is new", lambda: seen and seen[-1] != "old")
        ports = json.loads(seen[-1])
        is_done.set()
        reader.join()
        self.assertIn(len(seen), (1, 2), seen)
        self.assertEqual(sorted(ports), ["amqp", "http", "management"])
        for at in ports.values():
            host, _, port = at.rpartition(":")
            self.assertEqual(host, "127.0.0.1")
            with socket.create_connection((host, int(port)), timeout=5):
                pass
        self.assertEqual(list(self.folder.glob("ports.json*")), [place], "nothing lies beside it")
        self.end(process)

    def test_sigterm_and_sigint_exit_with_0_also_while_orders_are_under_way(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number):
                process, ports = self.up("--stage-seconds", "prep=5,bake=5,oven=5")
                data = self.folder / f"data-{len(self.started) - 1}"
                done = run("order", "1 margherita", "--as", "alice", "--url", f"http://{ports['http']}", "--data", data)
                self.assertEqual(done.returncode, 0, done.stderr)
                process.send_signal(number)
                self.assertEqual(process.wait(30), 0)

    def test_a_terminal_that_hangs_up_ends_nothing(self):
        process, ports = self.up()
        data = self.folder / "data-0"
        process.send_signal(signal.SIGHUP)
        done = run("order", "1 margherita", "--as", "alice", "--url", f"http://{ports['http']}", "--data", data)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.end(process)
        broker, ports = self.up(command="broker", program=BIN / "pronto")
        broker.send_signal(signal.SIGHUP)
        host, _, port = ports["amqp"].rpartition(":")
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(b"AMQP\0\0\x09\x01")
            self.assertEqual(connection.recv(1), b"\x01", "connection.start")
        self.end(broker)

    # -- ordering -----------------------------------------------------------------

    def test_an_order_from_a_terminal_is_followed_until_it_is_ready(self):
        process, ports = self.up("--stage-seconds", "prep=0.1,bake=0.1,oven=0.1")
        data = self.folder / "data-0"
        who = ["--as", "alice", "--url", f"http://{ports['http']}", "--data", data]
        done = run("order", "2 margherita", *who, "--follow")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual([line.split()[0] for line in done.stdout.splitlines()],
                         ["placed", "prep", "bake", "oven", "ready"])
        self.assertIn("2 × margherita", done.stdout)
        order = done.stdout.split()[1]
        done = run("order", "1 large funghi, 2 small margherita", *who, "--follow", "--output", "json")
        self.assertEqual(done.returncode, 0, done.stderr)
        first, *events = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([(item["pizza"], item["size"], item["quantity"]) for item in first["items"]],
                         [("funghi", "large", 1), ("margherita", "small", 2)])
        self.assertEqual([event["status"] for event in events], ["placed", "prep", "bake", "oven", "ready"])

        # The token is that of the same caller: it sees both orders.
        token = run("token", "--as", "alice", "--data", data).stdout.strip()
        other = run("token", "--as", "bob", "--data", data).stdout.strip()
        shown = {}
        for name, one in (("alice", token), ("bob", other)):
            with socket.create_connection(("127.0.0.1", int(ports["http"].split(":")[1])), timeout=5) as raw:
                raw.sendall(f"GET /orders HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                            f"Authorization: Bearer {one}\r\n\r\n".encode())
                answer = b""
                while piece := raw.recv(65536):
                    answer += piece
            shown[name] = json.loads(answer.partition(b"\r\n\r\n")[2])["orders"]
        self.assertEqual({one["id"] for one in shown["alice"]}, {order, first["id"]})
        self.assertEqual(shown["bob"], [])
        self.end(process)

    def test_a_token_of_a_given_secret_is_one_of_that_server(self):
        secret = "0123456789abcdef" * 4
        process, ports = self.up("--secret", secret)
        url = f"http://{ports['http']}"
        done = run("order", "1 margherita", "--as", "alice", "--url", url, "--data", self.folder / "elsewhere",
                   PIZZERIA_SECRET=secret)
        self.assertEqual(done.returncode, 0, done.stderr)
        kept = self.folder / "secret"
        kept.write_text(secret + "\n")
        done = run("order", "1 margherita", "--as", "alice", "--url", url, "--data", self.folder / "elsewhere",
                   PIZZERIA_SECRET_FILE=str(kept))
        self.assertEqual(done.returncode, 0, done.stderr)
        done = run("order", "1 margherita", "--as", "alice", "--url", url, "--data", self.folder / "elsewhere")
        self.assertEqual(done.returncode, 1)
        self.assertIn("token", done.stderr)
        self.end(process)

    def test_ordering_where_nobody_is_says_so(self):
        done = run("order", "1 margherita", "--as", "alice", "--url", f"http://127.0.0.1:{free_port()}",
                   "--data", self.folder / "data")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertIn("--url", done.stderr)


class Accepting(unittest.TestCase):
    def test_each_service_says_where_its_health_and_metrics_are(self):
        setup = Setup("pronto", stage_seconds="0.01")
        self.addCleanup(setup.stop)
        ports = {}
        for name in ("order-history", "order-executor", "notifier"):
            ports[name] = setup.folder / f"{name}.json"
            setup.services[name].arguments += ["--management", "127.0.0.1:0", "--ports-file", str(ports[name])]
        setup.start()
        for name, place in ports.items():
            eventually(f"the ports of {name}", place.exists)
            at = json.loads(place.read_text())["management"]
            for path in ("/health/live", "/health/ready", "/metrics"):
                connection = http.client.HTTPConnection(at, timeout=5)
                connection.request("GET", path)
                answer = connection.getresponse()
                self.assertEqual(answer.status, 200, (name, path))
                answer.read()
                connection.close()

    def test_processes_of_one_service_on_one_store_are_told_apart(self):
        setup = Setup("pronto", stage_seconds="0.01")
        self.addCleanup(setup.stop)
        setup.start()
        executor = setup.services["order-executor"]
        store = setup.folder / "store.db"
        eventually("the first has its name", lambda: (setup.folder / "store.db.order-executor.lock").exists())

        def start(name, *more):
            place = setup.folder / f"{name}.json"
            setup.services[name] = Process(
                name, [*executor.arguments, *more, "--management", "127.0.0.1:0", "--ports-file", place],
                setup.folder, ready=place.exists)
            setup.services[name].start()
        start("second")
        self.assertTrue((setup.folder / "store.db.order-executor-2.lock").exists())
        for taken in ("order-executor", "order-executor-2"):
            done = run(*executor.arguments[1:], "--instance", taken)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
            for said in (f"'{taken}'", str(store), "--instance"):
                self.assertIn(said, done.stderr)
        executor.kill()  # and its name is free at once, for whoever goes on with its rows
        start("third", "--instance", "order-executor")
        token = setup.token("alice")
        self.assertEqual(setup.order(token, wait=30).json["status"], "ready")


if __name__ == "__main__":
    unittest.main()
