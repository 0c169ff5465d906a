"""Generate the Python and TypeScript code of `proto/`, or check that the committed code is what it gives.

python tools/generate_proto.py           write
python tools/generate_proto.py --check   exit 1 and name the files that differ
"""

from __future__ import annotations

import argparse
import filecmp
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
PYTHON_OUT = PROTO / "python" / "weightslab_proto"
WEB = ROOT / "services" / "ui" / "web"
WEB_OUT = WEB / "src" / "proto"


WIRE_ENUM_IMPORT = "from weightslab_proto.wire_enum import WireEnum"
# betterproto's Enum is built by a metaclass that type checkers cannot follow; to them it is an IntEnum.
WIRE_ENUM = '''"""The base of generated enums."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from enum import IntEnum as WireEnum
else:
    from betterproto import Enum as WireEnum

__all__ = ["WireEnum"]
'''


def run_protoc(arguments: list[str], sources: list[Path]) -> None:
    """Run protoc on `sources`, which are below `proto/`."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}", *arguments, *map(str, sources)],
        check=True,
        env=environment,
        cwd=PROTO,
    )


def generate_python(out: Path) -> None:
    """Write the betterproto modules and the serialized descriptors that reflection serves into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    sources = sorted(path.relative_to(PROTO) for path in PROTO.rglob("*.proto"))
    run_protoc([f"--python_betterproto_out={out}"], sources)
    for module in out.rglob("__init__.py"):
        code = module.read_text()
        if "(betterproto.Enum)" in code:
            code = code.replace("(betterproto.Enum)", "(WireEnum)")
            code = code.replace("import betterproto\n", f"import betterproto\n{WIRE_ENUM_IMPORT}\n", 1)
            module.write_text(code)
    (out / "wire_enum.py").write_text(WIRE_ENUM)
    public = [path for path in sources if "bus" not in path.parts]
    run_protoc([f"--descriptor_set_out={out / 'descriptors.binpb'}", "--include_imports"], public)
    (out / "__init__.py").write_text('"""Generated from `proto/`; never edited by hand."""\n')
    (out / "py.typed").touch()


def generate_web(out: Path) -> None:
    """Write the TypeScript modules of the public API into `out`; needs the page's `node_modules`."""
    plugin = WEB / "node_modules" / ".bin" / "protoc-gen-es"
    out.mkdir(parents=True, exist_ok=True)
    sources = sorted(path.relative_to(PROTO) for path in (PROTO / "weightslab" / "v1").glob("*.proto"))
    run_protoc([f"--plugin=protoc-gen-es={plugin}", f"--es_out={out}", "--es_opt=target=ts"], sources)


def _differing(expected: Path, committed: Path) -> list[str]:
    names = {p.relative_to(d) for d in (expected, committed) for p in d.rglob("*") if p.is_file()}
    return sorted(
        str(committed.relative_to(ROOT) / name)
        for name in names
        if "__pycache__" not in name.parts
        and not (
            (expected / name).is_file()
            and (committed / name).is_file()
            and filecmp.cmp(expected / name, committed / name, shallow=False)
        )
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    parser.add_argument("--web", action="store_true", help="also the TypeScript code (needs node_modules)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        jobs = [(Path(folder) / "python", PYTHON_OUT, generate_python)]
        if options.web:
            jobs.append((Path(folder) / "web", WEB_OUT, generate_web))
        differing: list[str] = []
        for fresh, committed, generate in jobs:
            generate(fresh)
            differing += _differing(fresh, committed)
            if not options.check:
                shutil.rmtree(committed, ignore_errors=True)
                shutil.copytree(fresh, committed)
        if options.check and differing:
            print("generated code differs from proto/; run `make proto`:", *differing, sep="\n  ")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
