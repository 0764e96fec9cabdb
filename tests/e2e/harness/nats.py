"""A NATS server with JetStream, and as much of its protocol as it takes to make a stream and read it."""

import base64
import json
import socket

from harness import system

STREAM = "feed"


class Nats:
    """nats-server with one stream, which keeps what is published to `subject`. `user` and `password` are asked for."""

    def __init__(self, case, subject, user, password):
        self.case, self.subject, self.user, self.password = case, subject, user, password
        self.port = system.find_base_port()
        self.start()
        self.ask("STREAM.CREATE." + STREAM, {"name": STREAM, "subjects": [subject], "storage": "file"})

    @property
    def address(self):
        return f"nats://{self.user}:{self.password}@127.0.0.1:{self.port}/{self.subject}"

    def start(self):
        self.process = self.case.start("nats-server", "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", self.case.directory / "nats",
                                       "--user", self.user, "--pass", self.password)
        system.until(lambda: socket.create_connection(("127.0.0.1", self.port), timeout=1).close() is None, 20, "nats-server answers")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def ask(self, what, *questions):
        """Answers of the JetStream API, each to one question, all over one connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            stream = connection.makefile("rb")
            stream.readline()  # INFO
            hello = {"verbose": False, "user": self.user, "pass": self.password}
            connection.sendall(f"CONNECT {json.dumps(hello)}\r\nSUB answers 1\r\n".encode())
            answers = []
            for question in questions:
                payload = json.dumps(question).encode()
                connection.sendall(f"PUB $JS.API.{what} answers {len(payload)}\r\n".encode() + payload + b"\r\n")
                answers.append(self._answer(connection, stream))
        return answers

    @staticmethod
    def _answer(connection, stream):
        while True:
            line = stream.readline()
            assert line and not line.startswith(b"-ERR"), f"NATS: {line}"
            if line.startswith(b"PING"):
                connection.sendall(b"PONG\r\n")
            elif line.startswith(b"MSG"):
                answer = json.loads(stream.read(int(line.split()[-1]) + 2))
                assert "error" not in answer, f"NATS: {answer}"
                return answer

    def messages(self):
        """What the stream has, in its order, as objects."""
        state = self.ask("STREAM.INFO." + STREAM, {})[0]["state"]
        questions = [{"seq": number} for number in range(state["first_seq"], state["last_seq"] + 1)] if state["messages"] else []
        return [json.loads(base64.b64decode(answer["message"]["data"])) for answer in self.ask("STREAM.MSG.GET." + STREAM, *questions)]
