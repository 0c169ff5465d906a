"""A studio whose every process can be killed, stopped, starved of disk, and cut off from the others."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
from grpclib.client import Channel
from weightslab_common.embedded import free_ports

from tests.support.background import in_thread
from tests.support.main_job import wait_for_values
from tests.support.processes import wait_until
from tests.support.proxy import CLEAR, FaultyProxy, Trouble
from tests.support.steady_run import read_step
from tests.support.studio import TOKEN, Api, Studio

MEDIA = "media"
VICTIMS = ("nats", "store", "ledger", "gateway", "ui", "trainer", MEDIA)
_LONG_SECS = 60


class FaultyStudio(Studio):
    """Between its processes, and between them and clients, stand proxies that spoil connections on command."""

    def __init__(self, folder: Path, *, with_clocks: bool = False) -> None:
        super().__init__(folder)
        nats, store, web, grpc, page = free_ports(5)
        self.nats = FaultyProxy(self.nats_port, nats)
        self.store = FaultyProxy(self.store_port, store)
        self.grpc = FaultyProxy(self.grpc_port, grpc)
        self.web_link = FaultyProxy(self.web_port, web)
        self.page = FaultyProxy(self.page_port, page)
        self.steps_path = folder / "steps"
        environment = {
            "WL_NATS_URL": f"nats://127.0.0.1:{nats}",
            "WL_REDIS_URL": f"redis://127.0.0.1:{store}",
        }
        for name in ("ledger", "gateway", "ui", "trainer"):
            self.processes[name].change_environment(environment)
        # A full disk then is an error to the store, as it is in truth, and not a signal that ends it.
        self.processes["store"].ignores_file_limit = True
        self.processes["trainer"].command = [sys.executable, "-m", "tests.support.steady_run", str(self.steps_path)]
        if with_clocks:
            self._give_clocks()

    @property
    def proxies(self) -> tuple[FaultyProxy, ...]:
        return self.nats, self.store, self.grpc, self.web_link, self.page

    def start(self) -> None:
        for proxy in self.proxies:
            proxy.start()
        super().start()

    def stop(self) -> None:
        super().stop()
        for proxy in self.proxies:
            proxy.stop()

    def api(self, token: str = TOKEN) -> Api:
        return Api(Channel("127.0.0.1", self.grpc.port), token)

    @property
    def trained_steps(self) -> int:
        return read_step(str(self.steps_path))

    def links(self, victim: str) -> list[tuple[FaultyProxy, str]]:
        """The connections of a process, as proxies and names of clients."""
        return {
            "nats": [(self.nats, "")],
            "store": [(self.store, "")],
            "ledger": [(self.nats, "ledger"), (self.store, "")],
            "gateway": [(self.nats, "gateway"), (self.grpc, ""), (self.web_link, "")],
            "ui": [(self.page, "")],
            "trainer": [(self.nats, "trainer")],
            MEDIA: [(self.nats, "media")],
        }[victim]

    def trouble(self, victim: str, trouble: Trouble) -> None:
        for proxy, client in self.links(victim):
            proxy.trouble(trouble, client=client)

    def reset(self, victim: str) -> int:
        return sum(proxy.reset(client=client) for proxy, client in self.links(victim))

    def clear(self) -> None:
        """End all trouble of the network."""
        for victim in VICTIMS:
            self.trouble(victim, CLEAR)

    def media_pid(self) -> int:
        """The process of the media worker, which the trainer starts and starts again."""
        found: list[int] = []

        def there() -> bool:
            with contextlib.suppress(psutil.NoSuchProcess):
                children = psutil.Process(self.processes["trainer"].pid).children(recursive=True)
                found[:] = [child.pid for child in children if "weightslab.media_process" in child.cmdline()]
            return bool(found)

        wait_until(there, what="the trainer has a media worker", timeout_secs=_LONG_SECS)
        return found[0]

    def pid(self, victim: str) -> int:
        return self.media_pid() if victim == MEDIA else self.processes[victim].pid

    def kill(self, victim: str) -> None:
        """SIGKILL, and return when it is gone."""
        if victim == MEDIA:
            os.kill(self.media_pid(), signal.SIGKILL)
        else:
            self.processes[victim].kill()

    def freeze(self, victim: str) -> None:
        os.kill(self.pid(victim), signal.SIGSTOP)

    def thaw(self, victim: str) -> None:
        os.kill(self.pid(victim), signal.SIGCONT)

    def fill_disk(self, victim: str) -> None:
        """Let no file of the process grow: every write that would fails."""
        resource.prlimit(self.pid(victim), resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))

    def free_disk(self, victim: str) -> None:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(self.pid(victim), resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def set_clock(self, victim: str, *, offset_secs: int) -> None:
        """Let the wall clock of a process jump; its monotonic clock goes on. The studio must be `with_clocks`."""
        self._clock_file(victim).write_text(f"{offset_secs:+d}\n")

    def _clock_file(self, victim: str) -> Path:
        # The media worker is a child of the trainer, and has its clock.
        return self.folder / f"{'trainer' if victim == MEDIA else victim}.clock"

    def _give_clocks(self) -> None:
        """Preload libfaketime. NATS is linked statically and asks the kernel itself, so its clock cannot be moved."""
        package = importlib.util.find_spec("libfaketime")
        assert package and package.submodule_search_locations, "install the extra `faults` for jumps of the clock"
        library = Path(package.submodule_search_locations[0]) / "vendor" / "libfaketime" / "src" / "libfaketime.so.1"
        for name in ("store", "ledger", "gateway", "ui", "trainer"):
            self.set_clock(name, offset_secs=0)
            self.processes[name].change_environment(
                {
                    "LD_PRELOAD": str(library),
                    "FAKETIME_TIMESTAMP_FILE": str(self._clock_file(name)),
                    "FAKETIME_CACHE_DURATION": "1",
                    # A clock that is set moves the time of day and no timer.
                    "DONT_FAKE_MONOTONIC": "1",
                    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                }
            )

    def revive(self) -> None:
        """Start again what has ended, as a supervisor would."""
        for name, process in self.processes.items():
            if not process.running:
                self.start_one(name)


@contextlib.contextmanager
def faulty_studio(folder: Path, *, with_clocks: bool = False) -> Iterator[FaultyStudio]:
    """Yields the studio once every training sample has a loss; prints its logs on failure."""
    studio = FaultyStudio(folder, with_clocks=with_clocks)
    try:
        studio.start()
        wait_until(studio.ready, what="the studio is ready", timeout_secs=_LONG_SECS)
        in_thread(lambda: wait_for_values(studio))
        yield studio
    except BaseException:
        print(studio.logs())
        raise
    finally:
        studio.stop()
