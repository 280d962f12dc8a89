"""What the operators' commands have in common: ``main(arguments)`` returns the exit code, and this says why it failed.

Nothing is imported here that takes time: some of them need neither the AWS SDK nor a database.
"""

import sys

EXIT_FAILED, EXIT_BAD_SETTINGS = 1, 2


def failed(why: object, code: int = EXIT_FAILED) -> int:
    """Tell on stderr why a command failed and return its exit code."""
    print(why, file=sys.stderr)
    return code
