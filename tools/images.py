"""Build the images of every service without a container engine, run them, and look at what they are.

    python tools/images.py            ledger, gateway, ui, setup
    python tools/images.py trainer    the trainer, too, which has PyTorch

Uses buildah with chroot isolation and base images made by mmdebstrap, so it needs root and Debian's packages, and no
registry of images. Both programs are installed with apt-get where that is possible.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from weightslab_common.embedded import free_ports, nats_command, store_command

ROOT = Path(__file__).resolve().parent.parent
TARGETS = ["ledger", "gateway", "ui", "setup"]
VERSION = "0.1.0"
SUITE = "bookworm"
# What each base has, besides Debian's smallest set.
BASES = {"build": "python3,python3-venv,python3-pip,ca-certificates", "runtime": "python3,ca-certificates"}
CACHE = Path(tempfile.gettempdir()) / "weightslab-images"
ENVIRONMENT = {**os.environ, "STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}
USER = "65532"


def run(*command: str, **options: object) -> str:
    """Run a command and return what it wrote; its errors go to the terminal."""
    found = subprocess.run(command, check=True, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload]
    return str(found.stdout)


def need(*programs: str) -> None:
    """See that programs are there; install them where that is possible, else say what to do."""
    missing = [program for program in programs if shutil.which(program) is None]
    if not missing:
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"installing {', '.join(missing)} …", flush=True)
        run("apt-get", "update", "-qq")
        run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing)
        return
    sys.exit(f"{', '.join(missing)} is needed to build images here: install it, or build with `docker compose build`")


def make_base(name: str) -> str:
    """Make a base image of Debian's packages, unless it is there; returns its name."""
    image = f"localhost/weightslab-base-{name}"
    if run("buildah", "images", "--format", "{{.Name}}").split().count(image):
        return image
    CACHE.mkdir(parents=True, exist_ok=True)
    archive = CACHE / f"{name}.tar"
    print(f"making the base for {name} …", flush=True)
    run("mmdebstrap", "--quiet", "--variant=minbase", f"--include={BASES[name]}", SUITE, str(archive))
    container = run("buildah", "from", "scratch").strip()
    run("buildah", "add", "--quiet", container, str(archive), "/")
    run("buildah", "commit", "--quiet", "--rm", container, image)
    archive.unlink()
    return image


def machine_mounts() -> list[str]:
    """How this machine reaches its package registries: pip's and npm's settings and the folders that they name."""
    # npm trusts what the machine trusts.
    CACHE.mkdir(parents=True, exist_ok=True)
    npmrc = CACHE / "npmrc"
    npmrc.write_text(f"cafile={os.environ.get('SSL_CERT_FILE', '/etc/ssl/certs/ca-certificates.crt')}\n")
    paths = {Path("/etc/pip.conf"), Path("/etc/ssl/certs"), Path("/etc/resolv.conf")}
    paths |= {Path.home() / ".config" / "pip", Path.home() / ".pip"}
    told = run(sys.executable, "-m", "pip", "config", "list")
    named = [Path(found) for found in re.findall(r"(?:file:/)?(/\w[\w./-]*)", told)]
    # An index on disk lies beside the files that it lists.
    paths |= {path.parent if path.name == "simple" else path for path in named}
    certificates = {os.environ.get(name, "") for name in ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "PIP_CERT")}
    paths |= {Path(name) for name in certificates if name}
    folders = sorted(path for path in paths if path.exists() and path != Path("/"))
    return [f"--volume={npmrc}:/root/.npmrc:ro", *(f"--volume={path}:{path}:ro" for path in folders)]


def build(targets: list[str]) -> None:
    """Build every target."""
    bases = [f"--build-arg={name.upper()}_IMAGE={make_base(name)}" for name in BASES]
    for target in targets:
        print(f"building {target} …", flush=True)
        run(
            *["buildah", "bud", "--quiet", "--layers", "--format=docker", *bases, *machine_mounts()],
            *["-f", "deploy/docker/Dockerfile", "--target", target, "-t", f"weightslab-{target}:{VERSION}", "."],
            cwd=ROOT,
        )


class Container:
    """A container of an image, for `buildah run`."""

    def __init__(self, target: str) -> None:
        self.name = run("buildah", "from", f"weightslab-{target}:{VERSION}").strip()
        self.root = Path(run("buildah", "mount", self.name).strip())

    def command(
        self, *command: str, volumes: list[str] | None = None, environment: dict[str, str] | None = None
    ) -> list[str]:
        """The command that runs `command` in it, as the image's user."""
        given = [f"--env={name}={value}" for name, value in (environment or {}).items()]
        mounted = [f"--volume={volume}" for volume in volumes or []]
        return ["buildah", "run", *given, *mounted, self.name, "--", *command]

    def run(self, *command: str) -> str:
        return run(*self.command(*command))

    def written_since(self, began: float) -> list[str]:
        """Files of its root that were written, but for those that the builder itself puts there."""
        found = []
        for path in self.root.rglob("*"):
            name = path.relative_to(self.root)
            if name.parts[0] in ("dev", "etc", "proc", "sys") or path.is_symlink() or not path.is_file():
                continue
            if path.stat().st_mtime > began:
                found.append(str(name))
        return found

    def remove(self) -> None:
        run("buildah", "rm", self.name)


def inspect(target: str) -> None:
    """See that an image is what it should be."""
    container = Container(target)
    try:
        assert container.run("python", "-c", "import os; print(os.getuid())").strip() == USER
        has = "import importlib.util as u; print([n for n in ('torch', 'pip') if u.find_spec(n)])"
        expected = "['torch']" if target == "trainer" else "[]"
        assert container.run("python", "-c", has).strip() == expected
        tools = [name for name in ("gcc", "cc", "make", "git", "curl") if (container.root / "usr/bin" / name).exists()]
        assert not tools, f"{target} has {tools}"
        sbom = container.root / "opt/weightslab/share/sbom.cdx.json"
        assert '"weightslab"' in sbom.read_text(), f"{target} has no list of what is in it"
        told = run("buildah", "inspect", "--type=image", f"weightslab-{target}:{VERSION}")
        for expected in ("org.opencontainers.image.version", f'"User": "{USER}:{USER}"', "Healthcheck"):
            assert expected in told, f"{target} lacks {expected}"
    finally:
        container.remove()


def smoke(folder: Path) -> None:
    """Run the four images as compose does, with a bus and a store of this machine, and ask each how it is."""
    nats, store, grpc, web, admin, page, ledger_port = map(str, free_ports(7))
    secrets, data = folder / "secrets", folder / "data"
    for path in (secrets, data):
        path.mkdir()
        os.chown(path, int(USER), int(USER))
    containers = {target: Container(target) for target in TARGETS}
    mounted = [f"{secrets}:/run/weightslab/secrets"]
    run(
        *containers["setup"].command(
            *["python", "-m", "weightslab_common.secret_files", "/run/weightslab/secrets"],
            volumes=mounted,
            environment={"WL_REDIS_ADDRESS": f"127.0.0.1:{store}"},
        )
    )
    token, password = ((secrets / name).read_text().strip() for name in ("WL_NATS_TOKEN", "WL_REDIS_PASSWORD"))
    common = {"WL_SECRETS_DIR": "/run/weightslab/secrets", "WL_NATS_URL": f"nats://127.0.0.1:{nats}"}
    mounted_data = [*mounted, f"{data}:/var/lib/weightslab/data"]
    ports = {"GRPC_BACKEND_PORT": grpc, "ENVOY_PORT": web, "ENVOY_ADMIN_PORT": admin}
    commands = [
        nats_command(folder / "nats", port=int(nats), token=token),
        store_command(folder / "store", port=int(store), password=password),
        containers["ledger"].command(
            *["python", "-m", "weightslab_ledger"],
            volumes=mounted_data,
            environment={**common, "WL_LEDGER_ADMIN_PORT": ledger_port},
        ),
        containers["gateway"].command(
            *["python", "-m", "weightslab_gateway"], volumes=mounted, environment={**common, **ports}
        ),
        containers["ui"].command("python", "-m", "weightslab_ui", environment={"VITE_PORT": page}),
    ]
    addresses = {"ledger": f"{ledger_port}/readyz", "gateway": f"{admin}/readyz", "ui": f"{page}/healthz"}
    began = time.time()
    processes = [subprocess.Popen(command, env=ENVIRONMENT) for command in commands]
    try:
        for target, address in addresses.items():
            wait_until_healthy(containers[target], f"http://127.0.0.1:{address}")
            print(f"{target} runs", flush=True)
        for target, container in containers.items():
            written = container.written_since(began)
            assert not written, f"{target} wrote into its own root, which is read-only where it is deployed: {written}"
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(60)
        for container in containers.values():
            container.remove()


def wait_until_healthy(container: Container, address: str, timeout_secs: float = 60.0) -> None:
    """Ask as the container's own health check does, until it says yes."""
    end = time.monotonic() + timeout_secs
    command = container.command("python", "-m", "weightslab_common.healthcheck", address)
    while subprocess.run(command, env=ENVIRONMENT, capture_output=True).returncode != 0:
        if time.monotonic() > end:
            sys.exit(f"{address} did not become healthy within {timeout_secs:g} s")
        time.sleep(0.5)


def main(arguments: list[str]) -> int:
    targets = TARGETS + arguments
    need("buildah", "mmdebstrap")
    build(targets)
    for target in targets:
        inspect(target)
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        smoke(Path(folder))
    print(run("buildah", "images", "--format", "{{.Name}}:{{.Tag}} {{.Size}}"))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except subprocess.CalledProcessError as error:
        sys.exit(
            f"`{' '.join(map(str, error.cmd[:6]))} …` ended with status {error.returncode}; its messages are above"
        )
