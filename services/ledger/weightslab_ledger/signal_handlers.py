"""Answers to requests for curves, and for the values that samples had over time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
from weightslab_common.calls import stop_if_unwanted
from weightslab_common.columns import F32, F64, I64, pack
from weightslab_common.errors import InvalidArgument, NotFound
from weightslab_proto.weightslab.v1 import (
    Curve,
    CurveInfo,
    GetCurvesRequest,
    GetCurvesResponse,
    GetSliceCurvesRequest,
    GetSliceCurvesResponse,
    GetStepSamplesRequest,
    GetStepSamplesResponse,
    GetTrajectoriesRequest,
    GetTrajectoriesResponse,
    ListSignalsRequest,
    ListSignalsResponse,
    SampleRef,
    Slice,
    SliceCurve,
    Trajectory,
    TrajectoryAxis,
)

from weightslab_ledger import curves
from weightslab_ledger.checks import find_rows, within
from weightslab_ledger.chunks import selection, selection_of
from weightslab_ledger.curves import Key
from weightslab_ledger.edits import Mask
from weightslab_ledger.experiment import Experiment
from weightslab_ledger.frame import Frame
from weightslab_ledger.query import evaluate
from weightslab_ledger.slices import MAX_SLICES, bucket_size, slice_curves
from weightslab_ledger.trajectories import trajectories

MAX_TRAJECTORIES = 100


def slice_mask(frame: Frame, wanted: Slice) -> Mask:
    """One bool per row: whether a sample is in a slice. Raises NotFound, QueryError."""
    for tag in wanted.tags:
        if tag not in frame.tags:
            raise NotFound(f"there is no tag {tag!r}")
    masks = [frame.tag(tag) for tag in wanted.tags]
    join = np.logical_or if wanted.any else np.logical_and
    tagged = join.reduce(masks) if masks else np.ones(frame.row_count, dtype=bool)
    return np.asarray(tagged & evaluate(wanted.filter, frame))


class SignalHandlers:
    """One method per request, named after it."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment

    def methods(self) -> dict[str, tuple[Any, Callable[[Any], Any]]]:
        """Name of the method: what makes an empty request that can be parsed, and the handler."""
        return {
            "list_signals": (ListSignalsRequest, self.list_signals),
            "get_curves": (GetCurvesRequest, self.get_curves),
            "get_step_samples": (GetStepSamplesRequest, self.get_step_samples),
            "get_slice_curves": (GetSliceCurvesRequest, self.get_slice_curves),
            "get_trajectories": (GetTrajectoriesRequest, self.get_trajectories),
        }

    async def list_signals(self, request: ListSignalsRequest) -> ListSignalsResponse:
        self._experiment.require_ownership()
        return ListSignalsResponse(
            curves=[
                CurveInfo(
                    key=curve.key.message(),
                    point_count=curve.count,
                    first_step=int(curve.steps.min()) if curve.count else 0,
                    last_step=int(curve.steps.max()) if curve.count else 0,
                    last_value=float(curve.values[-1]) if curve.count else float("nan"),
                )
                for curve in self._experiment.ingest.curves.sorted()
            ]
        )

    async def get_curves(self, request: GetCurvesRequest) -> GetCurvesResponse:
        self._experiment.require_ownership()
        budget = within("budget", request.budget, 4, curves.MAX_BUDGET, default=curves.DEFAULT_BUDGET)
        table = self._experiment.ingest.curves
        wanted = [table.curves.get(curves.key_of(key)) for key in request.keys] if request.keys else table.sorted()
        for key, curve in zip(request.keys, wanted, strict=False):
            if curve is None:
                raise NotFound(f"there is no curve of {key.signal!r} on branch {key.branch!r} in mode {key.mode}")
        known = [curve for curve in wanted if curve is not None]
        found = await asyncio.to_thread(lambda: [_curve_message(curve, request, budget) for curve in known])
        return GetCurvesResponse(curves=found)

    async def get_step_samples(self, request: GetStepSamplesRequest) -> GetStepSamplesResponse:
        self._experiment.require_ownership()
        key = curves.key_of(request.key)
        found = await asyncio.to_thread(self._experiment.ingest.values.find, key, request.step)
        if found is None:
            raise NotFound(f"no samples are kept for {key.signal!r} at or before step {request.step}")
        catalog = self._experiment.catalog
        samples = [
            SampleRef(split=catalog.splits[catalog.split_index[row]].name, uid=catalog.uids[row])
            for row in found.rows.tolist()
        ]
        return GetStepSamplesResponse(step=int(found.steps[0]), samples=samples, values=pack(found.values, F32))

    def _keys(self, signal: str, mode: int, branches: list[str]) -> list[Key]:
        """The curves of a signal with values of samples, one per branch. Raises NotFound."""
        known = self._experiment.ingest.values.keys()
        keys = [key for key in known if (key.signal, key.mode) == (signal, mode)]
        if not keys:
            there = sorted({key.signal for key in known}) or ["none yet"]
            raise NotFound(f"no values of samples are kept for {signal!r} in this mode; there are: {', '.join(there)}")
        return [key for key in keys if not branches or key.branch in branches]

    async def get_slice_curves(self, request: GetSliceCurvesRequest) -> GetSliceCurvesResponse:
        self._experiment.require_ownership()
        if not 1 <= len(request.slices) <= MAX_SLICES:
            raise InvalidArgument(f"1 to {MAX_SLICES} slices can be asked for, not {len(request.slices)}")
        if request.bucket_steps < 0:
            raise InvalidArgument(f"bucket_steps must not be negative, it is {request.bucket_steps}")
        keys = self._keys(request.signal, int(request.mode), request.branches)
        frame = self._experiment.frame()
        return await asyncio.to_thread(self._slice_curves, request, keys, frame)

    def _slice_curves(self, request: GetSliceCurvesRequest, keys: list[Key], frame: Frame) -> GetSliceCurvesResponse:
        masks = [slice_mask(frame, wanted) for wanted in request.slices]
        wanted = selection(np.logical_or.reduce(masks))
        log = self._experiment.ingest.values
        ranges = {key: _clipped(log.step_range(key), request) for key in keys}
        spans = [bucket_size(first, last) for first, last in ranges.values() if first <= last]
        bucket_steps = request.bucket_steps or max(spans, default=1)
        found: list[SliceCurve] = []
        for key, (first, last) in ranges.items():
            if first > last:
                continue
            seen = log.scan(key, first_step=first, last_step=last, wanted=wanted)
            parts = slice_curves(seen, masks, first_step=first, last_step=last, bucket_steps=bucket_steps)
            found += [
                SliceCurve(
                    slice=number,
                    branch=key.branch,
                    steps=pack(part.steps, I64),
                    means=pack(part.means, F64),
                    deviations=pack(part.deviations, F64),
                    counts=pack(part.counts, I64),
                )
                for number, part in enumerate(parts)
                if len(part.steps)
            ]
        return GetSliceCurvesResponse(
            curves=sorted(found, key=lambda curve: (curve.slice, curve.branch)),
            bucket_steps=bucket_steps,
            sample_counts=[int(mask.sum()) for mask in masks],
            truncated=log.segments.truncated,
        )

    async def get_trajectories(self, request: GetTrajectoriesRequest) -> GetTrajectoriesResponse:
        self._experiment.require_ownership()
        if not 1 <= len(request.samples) <= MAX_TRAJECTORIES:
            raise InvalidArgument(f"1 to {MAX_TRAJECTORIES} samples can be asked for, not {len(request.samples)}")
        pairs = [(sample.split, sample.uid) for sample in request.samples]
        rows = np.array(find_rows(self._experiment.catalog, pairs), dtype=np.uint32)
        keys = self._keys(request.signal, int(request.mode), request.branches)
        log = self._experiment.ingest.values
        wanted = selection_of(rows)
        seen = ((key.branch, log.scan(key, wanted=wanted)) for key in keys)
        by_epoch = request.axis is not TrajectoryAxis.STEP
        found = await asyncio.to_thread(trajectories, seen, rows, by_epoch=by_epoch)
        return GetTrajectoriesResponse(
            trajectories=[
                Trajectory(
                    sample=part.sample,
                    branch=part.branch,
                    positions=pack(part.positions, I64),
                    values=pack(part.values, F32),
                )
                for part in found
            ],
            truncated=log.segments.truncated,
        )


def _clipped(kept: tuple[int, int] | None, request: GetSliceCurvesRequest) -> tuple[int, int]:
    """The steps that are both kept and asked for; an empty range when there are none."""
    first, last = kept or (0, -1)
    if request.first_step is not None:
        first = max(first, request.first_step)
    if request.last_step is not None:
        last = min(last, request.last_step)
    return first, last


def _curve_message(curve: curves.Curve, request: GetCurvesRequest, budget: int) -> Curve:
    stop_if_unwanted()
    chosen = curve.choose(
        curves.Wanted(
            first_step=request.first_step,
            last_step=request.last_step,
            first_ordinal=request.first_ordinal,
            budget=budget,
            raw=request.raw,
        )
    )
    ordinals, reduced = chosen.reduced.ordinals, chosen.reduced
    return Curve(
        key=curve.key.message(),
        point_count=chosen.point_count,
        range_count=chosen.range_count,
        reduced=len(ordinals) < chosen.range_count,
        steps=pack(curve.steps[ordinals], I64),
        values=pack(curve.values[ordinals], F64),
        deviations=pack(curve.deviations[ordinals], F64) if curve.has_deviations else b"",
        bucket_steps=pack(curve.steps[reduced.bucket_firsts], I64),
        bucket_means=pack(reduced.bucket_means, F64),
    )
