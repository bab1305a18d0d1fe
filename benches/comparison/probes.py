"""What is measured once a process: import time, memory, sizes."""

import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from importlib import metadata

from .libraries import LIBRARIES
from .registry import probe
from .workloads.training import notebook_step


@probe("import", "ms")
def import_time(name, threads):
    """The import in a fresh process, numpy and the interpreter not counted."""
    start = time.perf_counter()
    LIBRARIES[name](name, threads)
    return (time.perf_counter() - start) * 1e3


@probe("memory after import", "MB")
def memory_after_import(name, threads):
    """Resident memory, of which an interpreter with numpy has its part."""
    LIBRARIES[name](name, threads)
    return resident_megabytes()


@probe("memory after 200 steps 64x1000x100x10", "MB")
def memory_after_training(name, threads):
    step = notebook_step(LIBRARIES[name](name, threads), "float32")
    for _ in range(200):
        step()
    return resident_megabytes()


@probe("steps a second 64x1000x100x10", "")
def steps_a_second(name, threads):
    """In about a second; from the time in START_AT on, so that several processes can run at once."""
    step = notebook_step(LIBRARIES[name](name, threads), "float32")
    for _ in range(50):
        step()
    time.sleep(max(0, float(os.environ.get("START_AT", 0)) - time.time()))
    count, start = 0, time.perf_counter()
    while time.perf_counter() < start + 1:
        step()
        count += 1
    return count / (time.perf_counter() - start)


@probe("speed kept by two processes side by side", "%")
def side_by_side(name, threads):
    """What the slower of two trainings at once keeps of the speed it has alone."""
    LIBRARIES[name](name, threads)
    (alone,) = trainings(1, name, threads)
    return 100 * min(trainings(2, name, threads)) / alone


def trainings(count, name, threads):
    command = [sys.executable, sys.argv[0], "--threads", str(threads), "--probe", "steps a second 64x1000x100x10", name]
    environment = os.environ | {"START_AT": str(time.time() + 4)}
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) for _ in range(count)]
    return [json.loads(process.communicate()[0])["value"] for process in running]


@probe("installed size", "MB", once=True)
def installed_size(name, threads):
    """Of the distribution itself, without what it depends on."""
    LIBRARIES[name](name, threads)
    return sum(os.path.getsize(path) for path in installed_files(name)) / 1e6


@probe("wheel size", "MB", once=True)
def wheel_size(name, threads):
    """The same, compressed as wheels are."""
    LIBRARIES[name](name, threads)
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as wheel:
            for path in installed_files(name):
                wheel.write(path)
        return file.tell() / 1e6


def installed_files(name):
    """The files of a distribution; of an editable install, which lists none of its own, those beside the module."""
    listed = [str(file.locate()) for file in metadata.files(name) or []] if has_metadata(name) else []
    folder = os.path.dirname(sys.modules[name].__file__)
    walked = [os.path.join(at, file) for at, _, names in os.walk(folder) for file in names]
    files = {os.path.realpath(path) for path in [*listed, *walked] if os.path.isfile(path)}
    return sorted(path for path in files if not path.endswith(".pyc"))


def has_metadata(name):
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def resident_megabytes():
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except OSError:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 1e6 if sys.platform == "darwin" else peak / 1e3
