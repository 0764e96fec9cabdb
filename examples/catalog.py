#!/usr/bin/python3
"""Tenure's catalog from a program of your own: plain gRPC and the messages of proto/, no library of ours.

    apt-get install python3-grpcio python3-protobuf protobuf-compiler
    ./dev up                            # in another terminal
    examples/catalog.py                 # or: examples/catalog.py HOST:PORT,HOST:PORT,...

Puts and gets, a lock by a condition, a thousand puts on one stream, a watch. What refusals mean and when a request may be
sent again: docs/errors.md."""

import importlib
import pathlib
import queue
import random
import subprocess
import sys
import tempfile
import time

import grpc

PROTO = pathlib.Path(__file__).resolve().parent.parent / "proto"
# The details of an error, as every service of gRPC sends them. Libraries for it: grpcio-status, Go's grpc/status, ...
RPC_STATUS = """syntax = "proto3";
package google.rpc;
import "google/protobuf/any.proto";
message Status { int32 code = 1; string message = 2; repeated google.protobuf.Any details = 3; }
"""


# A peer that is gone without a word is noticed, and one that comes back is reached soon; refusals may be long.
CHANNEL = [("grpc.keepalive_time_ms", 5000), ("grpc.keepalive_timeout_ms", 3000), ("grpc.http2.max_pings_without_data", 0),
           ("grpc.max_reconnect_backoff_ms", 1000), ("grpc.max_metadata_size", 128 << 10)]


def compiled():
    """The messages, which a program of yours would compile when it is built."""
    with tempfile.TemporaryDirectory() as out:
        pathlib.Path(out, "rpc_status.proto").write_text(RPC_STATUS, encoding="utf-8")
        subprocess.run(["protoc", f"-I{PROTO}", f"-I{out}", f"--python_out={out}", "tenure/v1/catalog.proto", "rpc_status.proto"], check=True)
        sys.path.insert(0, out)
        try:
            return importlib.import_module("tenure.v1.catalog_pb2"), importlib.import_module("rpc_status_pb2")
        finally:
            sys.path.remove(out)


pb, rpc_status = compiled()


class Refused(Exception):
    """Nothing was done, and asking for the same again would not help."""

    def __init__(self, refusal):
        super().__init__(f"{pb.Reason.Name(refusal.reason)}: {refusal.message}")
        self.refusal = refusal


class Unknown(Exception):
    """It may or may not have been done: look before you ask for it again."""


def refusal_of(error):
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in rpc_status.Status.FromString(value).details:
                refusal = pb.Refusal()
                if detail.Unpack(refusal):
                    return refusal
    return None


def is_unknown(refusal):
    """Whether who was asked may have done it all the same; None: there was no answer."""
    return refusal is None or refusal.reason in (pb.REASON_UNKNOWN_OUTCOME, pb.REASON_DUPLICATE_EXPIRED)


class Catalog:
    """For one thread: a change says that all before it are answered."""

    MOST_PUTS = 4096  # of one put_many: so many answers of a client are remembered, should they have to be sent again

    def __init__(self, controllers):
        self.channels = {address: grpc.insecure_channel(address, CHANNEL) for address in controllers}
        self.leader = controllers[0]
        # Names this client: a change that is sent again under its (client_id, sequence) is made once.
        self.client_id = random.getrandbits(63) | 1
        self.sequence = 0

    def method(self, kind, name, answer):
        return getattr(self.channels[self.leader], kind)(
            f"/tenure.v1.Catalog/{name}", request_serializer=lambda m: m.SerializeToString(), response_deserializer=answer.FromString)

    def next_id(self):
        self.sequence += 1
        return pb.RequestId(client_id=self.client_id, sequence=self.sequence, answered_below=self.sequence)

    def call(self, name, request, answer, timeout=10):
        """Follows the leader and waits out elections; the same request each time, so it takes effect once."""
        deadline = time.monotonic() + timeout
        unsure = False
        while True:
            try:
                return self.method("unary_unary", name, answer)(request, timeout=2)
            except grpc.RpcError as error:
                refusal = refusal_of(error)
                unsure = unsure or is_unknown(refusal)
                final = refusal is not None and not refusal.retryable
                if final or time.monotonic() > deadline:
                    if unsure or refusal is None:
                        raise Unknown(f"{self.leader}: {error.details()}") from error
                    raise Refused(refusal) from error
                self.turn(refusal)

    def turn(self, refusal):
        """To the leader that is named; to whoever comes next; or it stays, if this one only asks for time."""
        if refusal is not None and refusal.not_leader.leader_address:
            self.leader = refusal.not_leader.leader_address
            if self.leader not in self.channels:
                self.channels[self.leader] = grpc.insecure_channel(self.leader, CHANNEL)
            return
        if refusal is None or refusal.reason not in (pb.REASON_WARMING_UP, pb.REASON_OVERLOADED, pb.REASON_BUSY):
            addresses = list(self.channels)
            self.leader = addresses[(addresses.index(self.leader) + 1) % len(addresses)]
        time.sleep(max(refusal.retry_after_ms if refusal is not None else 0, 50) / 1000)

    def put(self, key, value, **condition):
        request = pb.PutEntryRequest(id=self.next_id(), key=key.encode(), value=value.encode(), **condition)
        return self.call("PutEntry", request, pb.ChangeResponse).revision

    def get(self, key):
        """The entry, with its value, version and revision; None: there is none."""
        record = self.call("GetEntry", pb.GetEntryRequest(key=key.encode()), pb.GetEntryResponse).record
        return record.entry if record.HasField("entry") else None

    def delete(self, key):
        return self.call("DeleteEntry", pb.DeleteEntryRequest(id=self.next_id(), key=key.encode()), pb.ChangeResponse).revision

    def put_many(self, pairs, timeout=10):
        """All of them at once on one stream. Returns their revisions, in the order of the pairs."""
        if len(pairs) > self.MOST_PUTS:
            raise ValueError(f"pairs: there are {len(pairs)}, the limit is {self.MOST_PUTS}")
        deadline = time.monotonic() + timeout
        lowest = self.sequence + 1
        missing = {}
        for tag, (key, value) in enumerate(pairs):
            put = pb.PutEntryRequest(id=self.next_id(), key=key.encode(), value=value.encode())
            put.id.answered_below = lowest
            missing[tag] = pb.StreamRequest(tag=tag, put=put)
        revisions = {}
        unsure = False
        while missing:
            refusal = None
            try:
                for response in self.answers(list(missing.values())):
                    if not response.HasField("refusal"):
                        revisions[response.tag] = response.change.revision
                        del missing[response.tag]
                        continue
                    refusal = response.refusal
                    unsure = unsure or is_unknown(refusal)
                    if not refusal.retryable:
                        raise Unknown(refusal.message) if unsure else Refused(refusal)
            except grpc.RpcError as error:
                refusal = refusal_of(error)
                unsure = unsure or is_unknown(refusal)
            if missing:  # under the same ids, so whatever was done already is not done again
                if time.monotonic() > deadline:
                    raise Unknown(f"{len(missing)} of {len(pairs)} puts have no answer within {timeout} s")
                self.turn(refusal)
        return [revisions[tag] for tag in sorted(revisions)]

    def answers(self, requests):
        """Of one stream, in order of completion, until each request has one."""
        to_send = queue.SimpleQueue()
        to_send.put(pb.StreamRequests(requests=requests))
        stream = self.method("stream_stream", "Stream", pb.StreamResponses)(iter(to_send.get, None), timeout=5)
        left = len(requests)
        try:
            for message in stream:
                yield from message.responses
                left -= len(message.responses)
                if left == 0:
                    return
        finally:
            to_send.put(None)
            stream.cancel()

    def watch(self, prefix, after):
        """Every change below `prefix` after that revision, each once, in order, whoever leads. Ends with Refused if that was
        too long ago (OUT_OF_RANGE): list again, and watch from there."""
        while True:
            to_send = queue.SimpleQueue()
            to_send.put(pb.WatchRequest(after_revision=after, kinds=[pb.RECORD_ENTRY], prefix=prefix.encode()))
            stream = self.method("stream_stream", "Watch", pb.WatchResponse)(iter(to_send.get, None))
            refusal = None
            try:
                for message in stream:
                    for event in message.events:
                        after = event.revision  # of entries there is one in a revision
                        yield event
                    after = max(after, message.progress_revision)
            except grpc.RpcError as error:
                refusal = refusal_of(error)
                if refusal is not None and not refusal.retryable:
                    raise Refused(refusal) from error
            finally:
                to_send.put(None)
                stream.cancel()
            self.turn(refusal)


def main():
    controllers = (sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:7110,127.0.0.1:7120,127.0.0.1:7130").split(",")
    catalog = Catalog(controllers)

    began = catalog.put("example/greeting", "hello")
    print(f"put at revision {began}: {catalog.get('example/greeting').value.decode()}")

    catalog.put("example/lock", "me", if_absent=True)
    try:
        catalog.put("example/lock", "somebody else", if_absent=True)
    except Refused as refused:
        print(f"the lock is taken: {pb.Reason.Name(refused.refusal.reason)}")
    catalog.delete("example/lock")

    began_at = time.monotonic()
    revisions = catalog.put_many([(f"example/many/{i}", str(i)) for i in range(1000)])
    print(f"{len(revisions)} puts on one stream in {time.monotonic() - began_at:.2f} s")

    seen = 0
    for event in catalog.watch("example/", began):
        seen += 1
        if event.revision == max(revisions):
            break
    print(f"a watch from revision {began} told of {seen} changes")


if __name__ == "__main__":
    main()
