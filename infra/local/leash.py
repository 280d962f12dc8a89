"""Becomes a command that dies with the process that started it.

Run as a script in front of each service's command. Whatever happens to the stack, ``kill -9`` and a crash
included, the kernel then signals the service, so no Postgres stays behind holding the data folder. It is a small
program of its own, and not a ``preexec_fn``, because the stack starts services while it runs threads, where Python
code between fork and exec may deadlock. Only the standard library: it runs as root with any environment.
"""

import argparse
import ctypes
import os
import pwd
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Change the user if asked, ask the kernel for the signal, then become the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parent", type=int, required=True, help="process id of the starter")
    parser.add_argument("--signal", type=int, required=True, help="signal number to get when the starter dies")
    parser.add_argument("--user", help="system user to run as; needs root")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if options.user:
        _become(options.user)
    # After the change of user, which clears it.
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, options.signal, 0, 0, 0)
    if os.getppid() != options.parent:
        sys.exit("the process that started this one is already gone")
    # Python ignores SIGPIPE, and what is ignored stays ignored in the command.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvp(options.command[0], options.command)  # noqa: S606 - becomes what processes.py starts
    except OSError as error:
        sys.exit(f"{options.command[0]} cannot be started: {error.strerror}")


def _become(name: str) -> None:
    user = pwd.getpwnam(name)
    os.initgroups(name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)


if __name__ == "__main__":
    main()
