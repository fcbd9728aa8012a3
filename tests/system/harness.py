"""Starts the pizzeria in each of its set-ups, and speaks to it as its users do.

A set-up keeps its ports over restarts, so that a killed process comes back where it was. Everything listens on
loopback, lives in a folder of its own, and is ended by its process id.
"""

import base64
import contextlib
import hashlib
import hmac
import http.client
import http.server
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("PRONTO_BIN", ROOT / "build" / "bin"))
START_SECONDS = 60


def eventually(what, condition, seconds=30.0, every=0.02):
    """Returns the first true value of condition() within the deadline, or fails saying what was awaited."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(every)


def free_port():
    """A port that no outgoing connection is given, so that it is still free after a restart."""
    for _ in range(1000):
        port = random.randrange(10_000, 32_000)  # below Linux's range for outgoing ones
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


class Process:
    """A program that can be killed and started again with the same arguments; its output goes to a file."""

    def __init__(self, name, arguments, folder, environment=None, ready=None):
        self.name = name
        self.arguments = [str(argument) for argument in arguments]
        self.log = folder / f"{name}.log"
        self.environment = environment
        self.ready = ready  # a callable that is true once the process can be used
        self.running = None

    def start(self, wait=True):
        output = open(self.log, "ab")
        self.running = subprocess.Popen(
            self.arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            env=self.environment, start_new_session=True)
        output.close()
        if wait:
            self.wait_ready()

    def wait_ready(self):
        def is_ready():
            if self.running.poll() is not None:
                raise AssertionError(
                    f"{self.name} ended with {self.running.returncode}:\n{self.log_tail()}")
            return self.ready is None or self.ready()
        try:
            eventually(f"{self.name} is ready", is_ready, START_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log_tail()}") from None

    def is_running(self):
        return self.running is not None and self.running.poll() is None

    def kill(self):
        """SIGKILL to the whole process group, and waits for its end."""
        if self.running is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.running.pid, signal.SIGKILL)
        self.running.wait()

    def terminate(self, seconds=30):
        """SIGTERM; returns the exit status."""
        self.running.send_signal(signal.SIGTERM)
        return self.running.wait(seconds)

    def log_tail(self, lines=30):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def accepts(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


class RabbitMq:
    """RabbitMQ as Debian packages it, with node, data and port mapper of its own."""

    def __init__(self, folder):
        self.port = free_port()
        self.home = folder / "rabbitmq"
        self.home.mkdir()
        self.epmd_port = free_port()
        config = self.home / "rabbitmq.conf"
        config.write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            "loopback_users.guest = true\n"
            "disk_free_limit.absolute = 50MB\n"
            "log.console = true\nlog.console.level = warning\n")
        plugins = self.home / "enabled_plugins"
        plugins.write_text("[].\n")
        self.environment = dict(
            os.environ,
            HOME=str(self.home),
            ERL_EPMD_PORT=str(self.epmd_port),
            ERL_EPMD_ADDRESS="127.0.0.1",
            RABBITMQ_NODENAME="pronto@localhost",
            RABBITMQ_NODE_PORT=str(self.port),
            RABBITMQ_DIST_PORT=str(free_port()),
            RABBITMQ_CONFIG_FILE=str(config),
            RABBITMQ_MNESIA_BASE=str(self.home / "mnesia"),
            RABBITMQ_LOG_BASE=str(self.home / "log"),
            RABBITMQ_LOGS="-",
            RABBITMQ_PID_FILE=str(self.home / "pid"),
            RABBITMQ_ENABLED_PLUGINS_FILE=str(plugins),
            RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}")
        # A port mapper that is there already is used; else each start would leave one behind.
        self.epmd = Process("epmd", ["epmd", "-port", self.epmd_port, "-address", "127.0.0.1"],
                            folder, self.environment, ready=lambda: accepts(self.epmd_port))
        self.epmd.start()
        self.process = Process(
            "rabbitmq", ["/usr/lib/rabbitmq/bin/rabbitmq-server"], folder, self.environment,
            ready=lambda: accepts(self.port))

    def stop(self):
        self.process.kill()
        self.epmd.kill()


class Setup:
    """A running pizzeria. `kind` is embedded, pronto or rabbitmq."""

    KINDS = ("embedded", "pronto", "rabbitmq")

    def __init__(self, kind, stage_seconds="0.05", workers=2, options=(), allowed=("127.0.0.0/8",),
                 callback_schedule="0,0.2,0.5,1,2,5,10"):
        self.kind = kind
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="pizzeria-"))
        self.data = self.folder / "data"
        self.http_port = free_port()
        self.amqp_port = free_port()
        self.rabbitmq = None
        seconds = stage_seconds if "=" in str(stage_seconds) else \
            f"prep={stage_seconds},bake={stage_seconds},oven={stage_seconds}"
        hands = workers if "=" in str(workers) else f"prep={workers},bake={workers},oven={workers}"
        common = ["--data", self.data, "--stage-seconds", seconds, "--workers", hands]
        allowing = [word for one in allowed for word in ("--allow-callbacks-to", one)]
        scheduling = ["--callback-schedule", callback_schedule]
        accepting = [*allowing, *options]
        calling = [*allowing, *scheduling]
        http_at = ["--http", f"127.0.0.1:{self.http_port}"]
        pizzeria = BIN / "pizzeria"
        self.broker = None
        self.services = {}
        if kind == "embedded":
            self.services["up"] = Process(
                "up", [pizzeria, "up", *http_at, "--amqp", f"127.0.0.1:{self.amqp_port}",
                       "--management", "127.0.0.1:0", *common, *accepting, *scheduling],
                self.folder, ready=self.is_serving)
            return
        if kind == "pronto":
            self.broker = Process(
                "broker", [BIN / "pronto", "broker", "--amqp", f"127.0.0.1:{self.amqp_port}",
                           "--management", "127.0.0.1:0", "--data", self.folder / "broker"],
                self.folder, ready=lambda: accepts(self.amqp_port))
        else:
            self.rabbitmq = RabbitMq(self.folder)
            self.amqp_port = self.rabbitmq.port
            self.broker = self.rabbitmq.process
        common += ["--broker", f"amqp://guest:guest@127.0.0.1:{self.amqp_port}",
                   "--store", f"sqlite:{self.folder / 'store.db'}"]
        self.services["order-service"] = Process(
            "order-service", [pizzeria, "order-service", *http_at, *common, *accepting], self.folder,
            ready=self.is_serving)
        for name, more in (("order-history", []), ("order-executor", []), ("notifier", calling)):
            self.services[name] = Process(name, [pizzeria, name, *common, *more], self.folder)

    # -- life ---------------------------------------------------------------

    def processes(self):
        return ([self.broker] if self.broker else []) + list(self.services.values())

    def start(self):
        if self.broker and not self.broker.is_running():
            self.broker.start()
        for service in self.services.values():
            if not service.is_running():
                service.start(wait=False)
        for service in self.services.values():
            service.wait_ready()
        eventually("the pizzeria is ready", self.is_ready, START_SECONDS)

    def kill_all(self):
        for process in self.processes():
            if process.is_running():
                os.killpg(process.running.pid, signal.SIGKILL)
        for process in self.processes():
            process.kill()

    def stop(self, keep=False):
        """Ends everything and removes the folder; keeps it and says where after a failure."""
        for process in self.processes():
            process.kill()
        if self.rabbitmq:
            self.rabbitmq.stop()
        if keep:
            print(f"logs and data are kept in {self.folder}")
            for process in self.processes():
                if process.log.exists():
                    print(f"--- {process.name}\n{process.log_tail()}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def is_serving(self):
        try:
            return self.call("GET", "/health/live").status == 200
        except OSError:
            return False

    def is_ready(self):
        try:
            return self.call("GET", "/health/ready").status == 200
        except OSError:
            return False

    # -- speaking -----------------------------------------------------------

    def token(self, name):
        return subprocess.run(
            [BIN / "pizzeria", "token", "--as", name, "--data", self.data], check=True,
            capture_output=True, text=True).stdout.strip()

    def call(self, method, path, body=None, token=None, headers=None, timeout=30):
        """One request on a connection of its own. Returns an Answer. Raises OSError when nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=timeout)
        sent = {"Accept": "application/json", **(headers or {})}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
            sent.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error
        finally:
            connection.close()

    def order(self, token, key=None, wait=None, **extra):
        headers = {}
        if key:
            headers["Idempotency-Key"] = key
        if wait is not None:
            headers["Prefer"] = f"wait={wait}"
        body = {"items": [{"pizza": "margherita", "size": "large", "quantity": 1}], **extra}
        return self.call("POST", "/orders", body, token, headers)

    def status(self, order, token):
        answer = self.call("GET", f"/orders/{order}", token=token)
        return answer.json["status"] if answer.status == 200 else None

    def wait_for(self, order, token, status="ready", seconds=60):
        eventually(f"{order} is {status}", lambda: self.status(order, token) == status, seconds)

    def events(self, order, token, last_id=None, timeout=60):
        """Yields (id, data) of the order's event stream until the server ends it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=timeout)
        headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {token}"}
        if last_id is not None:
            headers["Last-Event-ID"] = str(last_id)
        connection.request("GET", f"/orders/{order}/events", headers=headers)
        answer = connection.getresponse()
        assert answer.status == 200, answer.status
        fields = {}
        try:
            for line in answer:
                line = line.decode().rstrip("\r\n")
                if line == "":
                    if "data" in fields:
                        assert fields["event"] == "order-status", fields
                        yield int(fields["id"]), json.loads(fields["data"])
                    fields = {}
                elif not line.startswith(":"):
                    name, _, value = line.partition(":")
                    fields[name] = value.removeprefix(" ")
        finally:
            connection.close()


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)


class CallbackReceiver:
    """An HTTP server that keeps what it is sent: (webhook_id, body, headers). `answer` decides the status."""

    def __init__(self):
        receiver = self
        self.received = []
        self.lock = threading.Lock()
        self.answer = lambda count: 204

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with receiver.lock:
                    receiver.received.append((self.headers["webhook-id"], body, dict(self.headers)))
                    count = len(receiver.received)
                self.send_response(receiver.answer(count))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments):
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 256
            daemon_threads = True

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/ready"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def of_order(self, order):
        with self.lock:
            return [entry for entry in self.received if json.loads(entry[1])["data"]["id"] == order]

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def is_signed(secret, headers, body):
    """Checks a callback as its receiver does. Source: Standard Webhooks."""
    headers = {name.lower(): value for name, value in headers.items()}
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return any(hmac.compare_digest(expected, one) for one in headers["webhook-signature"].split())
