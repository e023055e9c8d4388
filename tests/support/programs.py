"""Programs that tests run in a process of their own: forks, limits and signals are a process's."""

import os
import resource
import subprocess
import sys


def run(code, *, timeout=120, stack_bytes=None, **environment):
    """What a program prints; it must end by itself, without an error. stack_bytes: of each of its threads."""

    def limit():
        resource.setrlimit(resource.RLIMIT_STACK, (stack_bytes, resource.getrlimit(resource.RLIMIT_STACK)[1]))

    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=os.environ | environment,
        check=False,
        preexec_fn=limit if stack_bytes else None,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
