"""One process at a time, whatever has become of the one before, and whatever the clocks say."""

import os
import signal
import subprocess
import sys
import time

import pytest

from facerestore import lease
from facerestore.errors import BusyError
from facerestore.lease import is_free, leased

HOLD = """
import sys, time
from pathlib import Path
from facerestore.lease import leased
with leased(Path(sys.argv[1])) as lease:
    print("held", flush=True)
    for line in sys.stdin:
        lease.check()
        print("still", flush=True)
"""


@pytest.fixture
def hold():
    """Another process that holds a folder; every line on stdin makes it look after its lease."""
    processes = []

    def start(folder):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        processes.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in processes:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.communicate()


@pytest.fixture
def hurried(monkeypatch):
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.2)
    monkeypatch.setattr(lease, "WATCHED_SECONDS", 1.0)


def test_a_living_holder_is_left_alone(tmp_path, hold):
    process = hold(tmp_path / "f")
    with pytest.raises(BusyError, match=f"process {process.pid}"), leased(tmp_path / "f"):
        pass
    process.communicate("")
    with leased(tmp_path / "f"):
        assert not is_free(tmp_path / "f")
    assert is_free(tmp_path / "f")


def test_a_killed_holder_is_followed_at_once(tmp_path, hold):
    process = hold(tmp_path / "f")
    process.kill()
    process.wait()
    begin = time.monotonic()
    with leased(tmp_path / "f") as mine:
        mine.check()
    assert time.monotonic() - begin < 1


def stranger(folder, *, age, text="another-host/boot/1 4711"):
    folder.mkdir()
    path = folder / "lease.3"
    path.write_text(text)
    os.utime(path, (time.time() - age,) * 2)
    return path


@pytest.mark.parametrize("age", [3600, -3600])  # a clock that has jumped, either way
def test_a_holder_elsewhere_that_gives_no_sign_of_life(tmp_path, hurried, age):
    stranger(tmp_path / "f", age=age)
    with leased(tmp_path / "f") as mine:
        assert mine.number == 4


def test_a_number_that_another_process_has_got_meanwhile(tmp_path, hurried):
    stranger(tmp_path / "f", age=3600, text=f"{lease._place()} {os.getpid()}")
    with leased(tmp_path / "f") as mine:
        mine.check()


def test_a_holder_elsewhere_is_believed_while_it_gives_signs(tmp_path):
    stranger(tmp_path / "f", age=5)
    with pytest.raises(BusyError, match="another-host"), leased(tmp_path / "f"):
        pass


def test_a_sign_of_life_counts_whatever_the_clock_says(tmp_path, hold):
    """The holder's file is an hour old for us, but it changes while we watch."""
    process = hold(tmp_path / "f")
    os.utime(tmp_path / "f" / "lease.1", (1, 1))
    assert not is_free(tmp_path / "f")
    process.communicate("")


def test_a_holder_that_was_asleep_learns_that_it_was_followed(tmp_path, hold, hurried):
    process = hold(tmp_path / "f")
    process.send_signal(signal.SIGSTOP)
    os.utime(tmp_path / "f" / "lease.1", (1, 1))
    with leased(tmp_path / "f"):
        process.send_signal(signal.SIGCONT)
        _, err = process.communicate("\n")
    assert "taken over" in err


def test_only_one_of_many_takes_over(tmp_path):
    stranger(tmp_path / "f", age=0).rename(tmp_path / "f" / "lease.3.free")
    command = [sys.executable, "-c", HOLD, str(tmp_path / "f")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [subprocess.Popen(command, text=True, **pipes) for _ in range(6)]
    end = time.monotonic() + 60
    while sum(p.poll() is None for p in processes) > 1 and time.monotonic() < end:
        time.sleep(0.05)
    said = [process.communicate("") for process in processes]
    assert sorted(out for out, _ in said) == [""] * 5 + ["held\n"]
    assert sum("BusyError" in err for _, err in said) == 5
