"""Ask PyPI's and npm's advisory databases about every version that we pin: `make audit`.

Ends with 0 when both answered and know nothing, 1 when one knows of a vulnerability, 2 when one could not be asked:
no answer is not a good answer.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

from tools.build_page import CLIENTS, WEB, npm_command

ROOT = Path(__file__).resolve().parent.parent
# pip-audit has dependencies of its own, which are not ours.
ENVIRONMENT = ROOT / ".weightslab" / "audit"
PIP_AUDIT = "pip-audit==2.10.1"
NOTHING, FOUND, NOT_ASKED = 0, 1, 2


def python_packages() -> int:
    """Audit `requirements/constraints.txt`."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        venv.create(ENVIRONMENT, with_pip=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", PIP_AUDIT]
    subprocess.run(pip, check=True)
    listed = ROOT / "requirements" / "constraints.txt"
    # Without `--strict` a package of which the database said nothing at all would count as clean.
    audit = [str(python), "-m", "pip_audit", "--strict", "--disable-pip", "--no-deps", "--format", "json"]
    done = subprocess.run([*audit, "-r", str(listed)], capture_output=True, text=True)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(f"PyPI could not be asked: {done.stderr.strip().splitlines()[-1]}")
        return NOT_ASKED
    found = [(package["name"], entry["id"]) for package in packages for entry in package.get("vulns", [])]
    for name, advisory in found:
        print(f"PyPI: {name}: {advisory}")
    if not found:
        print(f"PyPI: nothing is known against the {len(packages)} packages that we pin")
    return FOUND if found else NOTHING


def javascript_packages(folder: Path) -> int:
    """Audit the lock file of `folder`."""
    what = folder.relative_to(ROOT)
    done = subprocess.run([*npm_command(), "audit", "--json"], cwd=folder, capture_output=True, text=True)
    report = json.loads(done.stdout or "{}")
    if "vulnerabilities" not in report:
        print(f"npm could not be asked about {what}: {report.get('message', done.stderr.strip())}")
        return NOT_ASKED
    for name, entry in report["vulnerabilities"].items():
        print(f"npm: {what}: {name}: {entry['severity']}")
    if not report["vulnerabilities"]:
        print(f"npm: nothing is known against the packages of {what}")
    return FOUND if report["vulnerabilities"] else NOTHING


def main() -> int:
    results = {python_packages(), *map(javascript_packages, (WEB, CLIENTS))}
    return FOUND if FOUND in results else max(results)


if __name__ == "__main__":
    sys.exit(main())
