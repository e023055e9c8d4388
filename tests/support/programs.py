"""Programs that tests run in processes of their own: forks, limits and signals are a process's.

Each has a session of its own and a time after which it is ended; what reads from it or waits for it ends then, too.
"""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import threading
import time

import psutil

TIMEOUT = 300  # seconds; only what hangs takes as long, on a busy machine, too


class Program(subprocess.Popen):
    """A process that remembers what it wrote to stderr, for the message of a test that fails."""

    errors = ""

    def communicate(self, *arguments, **options):
        out, self.errors = super().communicate(*arguments, **options)
        return out, self.errors

    def finished(self):
        """Wait for its end; return it with all that it wrote."""
        out, errors = self.communicate()
        return subprocess.CompletedProcess(self.args, self.returncode, out, errors)

    def last_words(self):
        """What it wrote to stderr that the test has not read, or has read by communicate(); waits for no more."""
        if self.stderr is None or self.stderr.closed:
            return self.errors or ""
        os.set_blocking(self.stderr.fileno(), False)
        return (self.stderr.buffer.read() or b"").decode(errors="replace")


def session(leader):
    """The processes of a session that have not ended."""
    members = []
    for pid in psutil.pids():
        with contextlib.suppress(OSError, psutil.Error):  # it has ended since, or is another user's
            if os.getsid(pid) == leader and (process := psutil.Process(pid)).status() != psutil.STATUS_ZOMBIE:
                members.append(process)
    return members


def wait_for_end(leader, seconds):
    """Wait until a session has no process, at most for some seconds; return whether it has none."""
    deadline = time.monotonic() + seconds
    while left := session(leader):
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    return not left


def signal_all(leader, number):
    """Send a signal to the processes of a session; return their command lines."""
    commands = []
    for process in session(leader):
        with contextlib.suppress(psutil.Error):
            commands.append(f"process {process.pid}: {process.cmdline()}"[:300])
            process.send_signal(number)
    return commands


def kill(leader):
    """Kill the processes of a session, also those that they start meanwhile."""
    for _ in range(100):
        if not signal_all(leader, signal.SIGKILL) or wait_for_end(leader, 0.1):
            return


@contextlib.contextmanager
def started(command, *, timeout=TIMEOUT, **options):
    """A program, with pipes for what it writes; what is left of its session is killed when the block ends.

    After `timeout` seconds it is aborted, and the block raises TimeoutError: `readline` has returned "" then, `wait`
    and `communicate` have returned, too. Processes of Python write the stacks of their threads to stderr, which is
    part of the message. A program that is to end by itself must be waited for within the block.
    """
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    environment = options.pop("env", os.environ) | {"PYTHONFAULTHANDLER": "1"}
    program = Program(list(map(str, command)), text=True, start_new_session=True, env=environment, **(pipes | options))
    overdue = []

    def abort():
        overdue.extend(signal_all(program.pid, signal.SIGABRT))
        if not wait_for_end(program.pid, 5):
            kill(program.pid)

    watchdog = threading.Timer(timeout, abort)
    watchdog.start()
    try:
        yield program
        watchdog.cancel()
        watchdog.join()
        if overdue:
            raise TimeoutError(f"after {timeout} s these processes had not ended:\n" + "\n".join(overdue))
    except BaseException as error:
        kill(program.pid)
        error.add_note(f"process {program.pid} wrote to stderr:\n{program.last_words()}")
        raise
    finally:
        watchdog.cancel()
        watchdog.join()
        kill(program.pid)
        program.wait(timeout=60)
        for stream in filter(None, (program.stdin, program.stdout, program.stderr)):
            stream.close()


def finished(command, **options):
    """A program that ends by itself, once it has, with what it wrote; options as of `started`."""
    with started(command, **options) as program:
        return program.finished()


def run(code, *arguments, timeout=TIMEOUT, stack_bytes=None, **environment):
    """What a program prints; it must end by itself, without an error. stack_bytes: of each of its threads."""

    def limit():
        resource.setrlimit(resource.RLIMIT_STACK, (stack_bytes, resource.getrlimit(resource.RLIMIT_STACK)[1]))

    done = finished(
        [sys.executable, "-c", code, *arguments],
        timeout=timeout,
        env=os.environ | environment,
        preexec_fn=limit if stack_bytes else None,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
