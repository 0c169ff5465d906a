"""The suite of the JavaScript clients, generated and bundled from what `tools/build_page.py` has installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tools.generate_proto import PROTO, run_protoc

JS = Path(__file__).parent / "js"
BIN = JS / "node_modules" / ".bin"
ADVICE = "the JavaScript clients are not installed: run `python tools/build_page.py test`"


def build(out: Path) -> None:
    """Write `node.cjs` and `browser.js` into `out`."""
    assert BIN.exists(), ADVICE
    sources = out / "source"
    shutil.copytree(JS / "src", sources / "src")
    (sources / "node_modules").symlink_to(JS / "node_modules")
    protos = sorted(path.relative_to(PROTO) for path in (PROTO / "weightslab" / "v1").glob("*.proto"))
    for folder, plugin, options in (
        ("es", "protoc-gen-es", ["--es_opt=target=ts"]),
        ("ts", "protoc-gen-ts", ["--ts_opt=generate_dependencies,client_generic"]),
    ):
        generated = sources / "build" / folder
        generated.mkdir(parents=True)
        name = plugin.removeprefix("protoc-gen-")
        run_protoc([f"--plugin={plugin}={BIN / plugin}", f"--{name}_out={generated}", *options], protos)
    quiet = ["--log-level=error", "--preserve-symlinks"]
    for entry, target, flags in (
        ("node.ts", out / "node.cjs", ["--platform=node", "--format=cjs"]),
        ("browser.ts", out / "browser.js", ["--platform=browser", "--format=iife"]),
    ):
        subprocess.run(
            [str(BIN / "esbuild"), str(sources / "src" / entry), "--bundle", f"--outfile={target}", *flags, *quiet],
            check=True,
            cwd=sources,
        )
