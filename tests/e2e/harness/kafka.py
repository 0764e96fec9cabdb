"""Kafka without Java: the mock cluster that librdkafka has for tests, and a consumer, in this process through ctypes."""

import ctypes
import ctypes.util
import threading
import time

PRODUCER, CONSUMER = 0, 1
BEGINNING = -2


class Message(ctypes.Structure):
    """rd_kafka_message_t"""
    _fields_ = [("err", ctypes.c_int), ("topic", ctypes.c_void_p), ("partition", ctypes.c_int32), ("payload", ctypes.c_void_p),
                ("len", ctypes.c_size_t), ("key", ctypes.c_void_p), ("key_len", ctypes.c_size_t), ("offset", ctypes.c_int64)]


def library():
    lib = ctypes.CDLL(ctypes.util.find_library("rdkafka") or "librdkafka.so.1")
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new", "rd_kafka_topic_new"):
        getattr(lib, name).restype = ctypes.c_void_p
    lib.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    lib.rd_kafka_consume.restype = ctypes.POINTER(Message)
    lib.rd_kafka_message_destroy.argtypes = [ctypes.POINTER(Message)]
    return lib


class MockKafka:
    """One broker with one topic, from which everything is read as it comes unless `follow` is False. The mock forgets what is old:
    of each partition it keeps 5 MB."""

    def __init__(self, topic, partitions=4, follow=True):
        self.lib = library()
        self.handle = self._new(PRODUCER, {})
        self.cluster = ctypes.c_void_p(self.lib.rd_kafka_mock_cluster_new(self.handle, 1))
        assert self.cluster, "no mock cluster"
        self.servers = self.lib.rd_kafka_mock_cluster_bootstraps(self.cluster).decode()
        error = self.lib.rd_kafka_mock_topic_create(self.cluster, topic.encode(), partitions, 1)
        assert error == 0, f"mock topic: error {error}"
        self.messages = []  # (partition, offset, key, value)
        self.stopping = threading.Event()
        self.topic, self.partitions = topic, partitions
        # The mock answers a fetch that finds nothing only after that time, whatever comes meanwhile.
        self.consumer = self._new(CONSUMER, {"bootstrap.servers": self.servers, "group.id": "e2e", "fetch.wait.max.ms": "10"})
        self.rkt = ctypes.c_void_p(self.lib.rd_kafka_topic_new(self.consumer, topic.encode(), None))
        self.threads = [threading.Thread(target=self._consume, args=(number,), daemon=True) for number in range(partitions)]
        for thread in self.threads if follow else []:
            thread.start()

    def _new(self, kind, settings):
        conf = ctypes.c_void_p(self.lib.rd_kafka_conf_new())
        text = ctypes.create_string_buffer(512)
        # What it complains of shows in what it does not deliver.
        for name, value in {"log_level": "2", **settings}.items():
            assert self.lib.rd_kafka_conf_set(conf, name.encode(), value.encode(), text, ctypes.c_size_t(512)) == 0, text.value
        handle = ctypes.c_void_p(self.lib.rd_kafka_new(kind, conf, text, ctypes.c_size_t(512)))
        assert handle, text.value
        return handle

    def _next(self, partition):
        """(partition, offset, key, value) of the next message, if one comes soon."""
        message = self.lib.rd_kafka_consume(self.rkt, partition, 200)
        if not message:
            return None
        one, found = message.contents, None
        if one.err == 0:
            key = ctypes.string_at(one.key, one.key_len).decode() if one.key else ""
            value = ctypes.string_at(one.payload, one.len).decode() if one.payload else ""
            found = (partition, one.offset, key, value)
        self.lib.rd_kafka_message_destroy(message)
        return found

    def _consume(self, partition):
        self.lib.rd_kafka_consume_start(self.rkt, partition, ctypes.c_int64(BEGINNING))
        while not self.stopping.is_set():
            if message := self._next(partition):
                self.messages.append(message)

    def read(self, partition, count, seconds):
        """Up to `count` messages of a partition that is not followed, of those that are kept."""
        found, deadline = [], time.monotonic() + seconds
        self.lib.rd_kafka_consume_start(self.rkt, partition, ctypes.c_int64(BEGINNING))
        while len(found) < count and time.monotonic() < deadline:
            if message := self._next(partition):
                found.append(message)
        self.lib.rd_kafka_consume_stop(self.rkt, partition)
        return found

    def produced(self):
        """How many messages all partitions have ever got."""
        low, high, total = ctypes.c_int64(), ctypes.c_int64(), 0
        for partition in range(self.partitions):
            error = self.lib.rd_kafka_query_watermark_offsets(self.consumer, self.topic.encode(), partition, ctypes.byref(low),
                                                              ctypes.byref(high), 5000)
            assert error == 0, f"watermarks of partition {partition}: error {error}"
            total += high.value
        return total

    def set_down(self, down):
        change = self.lib.rd_kafka_mock_broker_set_down if down else self.lib.rd_kafka_mock_broker_set_up
        assert change(self.cluster, 1) == 0

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            if thread.ident:
                thread.join(timeout=10)
