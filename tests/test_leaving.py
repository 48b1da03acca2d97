"""A process that ends at once ends no differently."""

import subprocess
import sys

import pytest

_PROGRAM = """
import atexit, sys, threading, time
from ablations.leaving import leave_quickly

class Torn:
    def __del__(self):
        print("torn down", flush=True)

ended_with = leave_quickly()
atexit.register(print, "handler")
threading.Thread(target=lambda: (time.sleep(0.2), print("thread"))).start()
torn = Torn()
print("said")
print("complained", file=sys.stderr)
{end}
"""


def ended(end: str) -> tuple[int, list[str], str]:
    program = _PROGRAM.format(end=end)
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    return process.returncode, process.stdout.splitlines(), process.stderr


@pytest.mark.parametrize("code", [0, 2])
def test_threads_and_handlers_are_waited_for_and_nothing_is_torn_down(code: int) -> None:
    said = ended(f"ended_with({code})")
    assert said == (code, ["said", "thread", "handler"], "complained\n")


def test_untold_it_ends_as_any_other() -> None:
    assert ended("sys.exit(3)") == (3, ["said", "thread", "handler", "torn down"], "complained\n")


def test_a_traceback_is_seen() -> None:
    code, said, complained = ended("raise KeyError('lost')")
    assert (code, said[-1]) == (1, "torn down")
    assert complained.endswith("KeyError: 'lost'\n")


def test_the_command_says_how_it_ended() -> None:
    """Bad input is 2, help is 0; what it printed is whole."""
    command = [sys.executable, "-m", "ablations"]
    bad = subprocess.run([*command, "table", "nope"], capture_output=True, text=True)
    assert (bad.returncode, bad.stderr.count("\n")) == (2, 1)
    helped = subprocess.run([*command, "--help"], capture_output=True, text=True)
    assert helped.returncode == 0
    assert "Usage" in helped.stdout
