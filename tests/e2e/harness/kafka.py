"""Kafka without Java: the mock cluster that librdkafka has for tests, and a consumer, in this process through ctypes."""

import ctypes
import ctypes.util
import threading

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
    """One broker with one topic, from which everything is read as it comes. The mock forgets what is old."""

    def __init__(self, topic, partitions=4):
        self.lib = library()
        self.handle = self._new(PRODUCER, {})
        self.cluster = ctypes.c_void_p(self.lib.rd_kafka_mock_cluster_new(self.handle, 1))
        assert self.cluster, "no mock cluster"
        self.servers = self.lib.rd_kafka_mock_cluster_bootstraps(self.cluster).decode()
        error = self.lib.rd_kafka_mock_topic_create(self.cluster, topic.encode(), partitions, 1)
        assert error == 0, f"mock topic: error {error}"
        self.messages = []  # (partition, offset, key, value)
        self.stopping = threading.Event()
        consumer = self._new(CONSUMER, {"bootstrap.servers": self.servers, "group.id": "e2e"})
        rkt = ctypes.c_void_p(self.lib.rd_kafka_topic_new(consumer, topic.encode(), None))
        self.threads = [threading.Thread(target=self._consume, args=(rkt, number), daemon=True) for number in range(partitions)]
        for thread in self.threads:
            thread.start()

    def _new(self, kind, settings):
        conf = ctypes.c_void_p(self.lib.rd_kafka_conf_new())
        text = ctypes.create_string_buffer(512)
        for name, value in settings.items():
            assert self.lib.rd_kafka_conf_set(conf, name.encode(), value.encode(), text, ctypes.c_size_t(512)) == 0, text.value
        handle = ctypes.c_void_p(self.lib.rd_kafka_new(kind, conf, text, ctypes.c_size_t(512)))
        assert handle, text.value
        return handle

    def _consume(self, rkt, partition):
        self.lib.rd_kafka_consume_start(rkt, partition, ctypes.c_int64(BEGINNING))
        while not self.stopping.is_set():
            message = self.lib.rd_kafka_consume(rkt, partition, 200)
            if not message:
                continue
            one = message.contents
            if one.err == 0:
                key = ctypes.string_at(one.key, one.key_len).decode() if one.key else ""
                value = ctypes.string_at(one.payload, one.len).decode() if one.payload else ""
                self.messages.append((partition, one.offset, key, value))
            self.lib.rd_kafka_message_destroy(message)

    def set_down(self, down):
        change = self.lib.rd_kafka_mock_broker_set_down if down else self.lib.rd_kafka_mock_broker_set_up
        assert change(self.cluster, 1) == 0

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(timeout=10)
