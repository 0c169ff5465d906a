"""The comparison: one command, one table, one plot.

    python -m bench.compare.run [--only TOOL …]

Makes an environment per tool in `.bench/`, runs the same work under each, one after the other, and writes
`result.json`, `result.png` and the table of `README.md` beside itself. Give it a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
ENVIRONMENTS = ROOT / ".bench"
RESULT = HERE / "result.json"
TABLE_BEGIN, TABLE_END = "<!-- table -->\n", "<!-- end of table -->\n"

# Of each environment: what pip is asked for. Ours is the one that runs this.
PACKAGES = {
    "ours": [],
    "scalars": ["torch==2.13.0", "psutil", "scikit-learn", "tensorboard==2.21.0", "wandb==0.31.0", "mlflow==3.17.2"],
    "older": ["weightslab==2.0.3", "torch==2.9.0", "torchvision==0.24.0", "scikit-learn"],
}
ENVIRONMENT_OF = {
    "plain": "ours",
    "ours": "ours",
    "tensorboard": "scalars",
    "wandb": "scalars",
    "mlflow": "scalars",
    "older": "older",
}
NAMES = {
    "plain": "plain PyTorch",
    "ours": "WeightsLab",
    "tensorboard": "TensorBoard",
    "wandb": "W&B offline",
    "mlflow": "MLflow local",
    "older": "weightslab 2.0.3",
}
CURATED = ("ours", "older")
DATASETS = ("digits", "synthetic")


def _python(name: str) -> str:
    """The interpreter of an environment, made when it is not there."""
    if not PACKAGES[name]:
        return sys.executable
    folder = ENVIRONMENTS / name
    python = folder / "bin" / "python"
    if not (folder / "made").exists():
        print(f"making the environment {name} …", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES[name]], check=True)
        (folder / "made").touch()
    return str(python)


def _measured(script: str, tool: str, dataset: str, *more: str) -> dict[str, Any]:
    print(f"{script} {tool} {dataset} …", flush=True)
    command = [_python(ENVIRONMENT_OF[tool]), "-m", f"bench.compare.{script}", tool, dataset, *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "WL_NO_TELEMETRY": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment["PYTHONPATH"] = str(ROOT)
    # Elsewhere than here: some tools write into the folder they are started in.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        ran = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=1200, cwd=folder, check=False
        )
    try:
        result = json.loads(ran.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        return {"tool": tool, "dataset": dataset, "failed": (ran.stdout + ran.stderr)[-1500:]}
    assert isinstance(result, dict)
    return result


def _steps(tools: list[str], datasets: Iterable[str], *more: str) -> list[dict[str, Any]]:
    results = []
    for dataset in datasets:
        for tool in tools:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                results.append(_measured("steps", tool, dataset, "--folder", folder, *more))
    return results


def _interval(added_us: dict[str, float]) -> str:
    return f"{added_us['median']:,.0f} µs ({added_us['median_low_95']:,.0f} – {added_us['median_high_95']:,.0f})"


def _table(steps: list[dict[str, Any]], added: list[dict[str, Any]], curation: list[dict[str, Any]]) -> str:
    lines = [
        "| tool | data | step time, watched / plain (5 % – 95 %) | memory per step | disk per step |",
        "|---|---|---|---|---|",
    ]
    for row in steps:
        if "failed" in row:
            lines.append(f"| {NAMES[row['tool']]} | {row['dataset']} | did not run | | |")
            continue
        ratio = row["ratio"]
        lines.append(
            f"| {NAMES[row['tool']]} | {row['dataset']} "
            f"| {ratio['median']:.3f} ({ratio['p5']:.3f} – {ratio['p95']:.3f}) "
            f"| {row['memory_bytes_per_step']:,.0f} B | {row['disk_bytes_per_step']:,.0f} B |"
        )
    lines += ["", "| tool | added to a step by the clock | added to the thread that trains |", "|---|---|---|"]
    for row in added:
        cells = " | ".join(map(_interval, (row["added_us"], row["added_thread_us"]))) if "failed" not in row else " | "
        lines.append(f"| {NAMES[row['tool']]} | {cells} |")
    lines += [
        "",
        "| tool | data | first point | tag 1 | tag 1,000 | after SIGKILL | page alone | 1/16/64 viewers | step time |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in curation:
        if "failed" in row:
            lines.append(f"| {NAMES[row['tool']]} | {row['dataset']} | did not run | | | | | | |")
            continue
        pages = " / ".join(f"{many['p50_ms']:,.0f}" if "p50_ms" in many else "none" for many in row["viewers"])
        ratios = " / ".join(f"{many['step_time_ratio']:.2f}" for many in row["viewers"])
        lines.append(
            f"| {NAMES[row['tool']]} | {row['dataset']} | {row['first_point_secs']:.1f} s "
            f"| {row['tag_1']['p50_ms']:,.1f} ms | {row['tag_1000']['p50_ms']:,.1f} ms "
            f"| {row['edits_kept_after_sigkill']} | {row['page']['p50_ms']:,.1f} ms | {pages} ms | {ratios} |"
        )
    return "\n".join(lines) + "\n"


def _write_table(result: dict[str, Any]) -> None:
    table = _table(result["steps"], result["added"], result["curation"])
    print(table)
    page = HERE / "README.md"
    before, _, rest = page.read_text().partition(TABLE_BEGIN)
    where = f"{result['where']}, {result['when']}.\n\n"
    page.write_text(before + TABLE_BEGIN + where + table + TABLE_END + rest.partition(TABLE_END)[2])


def _plot(steps: list[dict[str, Any]]) -> None:
    """Step time of each tool, with its spread, drawn by Pillow as the other plots of the benches are."""
    from PIL import Image, ImageDraw, ImageFont

    rows = [row for row in steps if "failed" not in row and row["tool"] != "plain"]
    font = ImageFont.load_default(15)
    height, left, width = 34, 260, 900
    image = Image.new("RGB", (width, height * len(rows) + 60), "white")
    draw = ImageDraw.Draw(image)
    greatest = max(row["ratio"]["p95"] for row in rows)
    scale = (width - left - 90) / max(greatest - 0.8, 0.4)

    def x(ratio: float) -> float:
        return float(left + (max(ratio, 0.8) - 0.8) * scale)

    draw.line([(x(1), 10), (x(1), height * len(rows) + 20)], fill="#888", width=1)
    draw.text((x(1) - 30, height * len(rows) + 26), "plain = 1", fill="#555", font=font)
    for number, row in enumerate(rows):
        middle = 10 + height * number + height / 2
        draw.text((10, middle - 9), f"{NAMES[row['tool']]}, {row['dataset']}", fill="black", font=font)
        ratio = row["ratio"]
        draw.line([(x(ratio["p5"]), middle), (x(ratio["p95"]), middle)], fill="#9bb4ff", width=5)
        draw.ellipse(
            [x(ratio["median"]) - 5, middle - 5, x(ratio["median"]) + 5, middle + 5],
            fill="#2f5bd7" if row["tool"] == "ours" else "#444",
        )
        draw.text((x(ratio["p95"]) + 12, middle - 9), f"{ratio['median']:.2f}", fill="black", font=font)
    image.save(HERE / "result.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=NAMES, help="Only these tools.")
    tools = parser.parse_args().only or list(NAMES)
    steps = _steps(tools, DATASETS)
    # The older one adds a tenth of a second to each, as the steps of the CNN tell: that would take ten minutes more.
    added = _steps([tool for tool in tools if tool != "older"], ("digits",), "--model", "linear", "--steps", "200")
    curation = [_measured("curation", tool, dataset) for dataset in DATASETS for tool in CURATED if tool in tools]
    result = {
        "where": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "when": datetime.now(UTC).date().isoformat(),
        "load_average": round(os.getloadavg()[0], 2),
        "packages": PACKAGES,
        "steps": steps,
        "added": added,
        "curation": curation,
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    _write_table(result)
    _plot(steps)


if __name__ == "__main__":
    main()
