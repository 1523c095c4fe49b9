"""Errors that a person can act on."""


class KwsError(Exception):
    """One clear sentence that says what is wrong and what to do about it.

    The command line prints it on one line and exits with 1; a library caller may catch it.
    """


class DiskFullError(KwsError):
    """There is no room for a file; what was there is as it was."""


class UsageError(KwsError):
    """The request itself cannot be met as asked; the command line exits with 2."""
