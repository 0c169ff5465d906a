"""How a client asks each tool for the same: a first point, a page by loss, and edits."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

PAGE = 64
EXPERIMENT = "compare"


class Client(Protocol):
    """Every call waits for its answer. Raises whatever the tool's client raises when it is refused."""

    def has_point(self) -> bool: ...
    def page(self) -> int: ...
    def tag(self, uids: list[str], tag: str) -> None: ...
    def discard(self, uids: list[str]) -> None: ...
    def discarded_count(self) -> int: ...
    def close(self) -> None: ...


class Ours:
    """gRPC with the generated clients."""

    def __init__(self, folder: Path) -> None:
        from grpclib.client import Channel
        from weightslab_proto.weightslab import v1

        self._v1 = v1
        self._loop = asyncio.new_event_loop()
        token = (folder / "run" / "token").read_text().strip()
        metadata = {"authorization": f"Bearer {token}"}

        async def connect() -> Channel:
            return Channel("127.0.0.1", int(os.environ["GRPC_BACKEND_PORT"]))

        self._channel = self._loop.run_until_complete(connect())
        self._samples = v1.SampleServiceStub(self._channel, metadata=metadata)
        self._signals = v1.SignalServiceStub(self._channel, metadata=metadata)

    def _answer(self, call: Any) -> Any:
        return self._loop.run_until_complete(call)

    def has_point(self) -> bool:
        reply = self._answer(self._signals.list_signals(self._v1.ListSignalsRequest(experiment=EXPERIMENT)))
        return any(curve.point_count for curve in reply.curves)

    def page(self) -> int:
        request = self._v1.QuerySamplesRequest(
            experiment=EXPERIMENT,
            filter="`train/loss` > 0.5",
            sort=[self._v1.SortKey(column="train/loss", descending=True)],
            limit=PAGE,
        )
        return len(self._answer(self._samples.query_samples(request)).uids)

    def tag(self, uids: list[str], tag: str) -> None:
        self._edit(self._v1.EditOperation.ADD_TAG, uids, tag)

    def discard(self, uids: list[str]) -> None:
        self._edit(self._v1.EditOperation.DISCARD, uids)

    def _edit(self, operation: Any, uids: list[str], tag: str = "") -> None:
        v1 = self._v1
        request = v1.EditSamplesRequest(
            experiment=EXPERIMENT,
            edit_id=uuid.uuid4().hex,
            operation=operation,
            tag=tag,
            target=v1.Target(samples=v1.SampleList(samples=[v1.SampleRef(split="train", uid=uid) for uid in uids])),
        )
        self._answer(self._samples.edit_samples(request))

    def discarded_count(self) -> int:
        request = self._v1.QuerySamplesRequest(experiment=EXPERIMENT, filter="discarded", limit=1)
        return int(self._answer(self._samples.query_samples(request)).matched)

    def close(self) -> None:
        async def close() -> None:
            self._channel.close()

        self._answer(close())
        self._loop.close()


class Older:
    """gRPC with the clients in weightslab 2.0 of the package index."""

    def __init__(self, folder: Path) -> None:
        import grpc
        from weightslab.proto import experiment_service_pb2 as pb2
        from weightslab.proto import experiment_service_pb2_grpc as pb2_grpc

        self._pb2 = pb2
        options = [("grpc.max_receive_message_length", 256 << 20)]
        self._channel = grpc.insecure_channel(f"127.0.0.1:{os.environ['GRPC_BACKEND_PORT']}", options=options)
        self._stub = pb2_grpc.ExperimentServiceStub(self._channel)

    def has_point(self) -> bool:
        request = self._pb2.GetLatestLoggerDataRequest(request_full_history=True, max_points=100)
        return bool(self._stub.GetLatestLoggerData(request, timeout=60).points)

    def _records(self, query: str) -> list[Any]:
        self._query(query)
        request = self._pb2.DataSamplesRequest(start_index=0, records_cnt=PAGE, include_raw_data=False)
        return list(self._stub.GetDataSamples(request, timeout=120).data_records)

    def _query(self, query: str) -> Any:
        reply = self._stub.ApplyDataQuery(self._pb2.DataQueryRequest(query=query), timeout=120)
        assert reply.success, reply.message
        return reply

    def page(self) -> int:
        return len(self._records("`signals//train_loss` > 0.5 sortby signals//train_loss desc"))

    def tag(self, uids: list[str], tag: str) -> None:
        self._edit(uids, stat_name="tags", string_value=tag, type=self._pb2.SampleEditType.EDIT_ACCUMULATE)

    def discard(self, uids: list[str]) -> None:
        self._edit(uids, stat_name="discarded", bool_value=True, type=self._pb2.SampleEditType.EDIT_OVERRIDE)

    def _edit(self, uids: list[str], **fields: Any) -> None:
        origins = ["train_loader"] * len(uids)
        request = self._pb2.DataEditsRequest(samples_ids=uids, sample_origins=origins, **fields)
        reply = self._stub.EditDataSample(request, timeout=300)
        assert reply.success, reply.message

    def discarded_count(self) -> int:
        return int(self._query("").number_of_discarded_samples)

    def close(self) -> None:
        self._channel.close()


CLIENTS: dict[str, Callable[[Path], Client]] = {"ours": Ours, "older": Older}
