"""Every failure the tool can explain: one sentence naming the file, the fact and the remedy."""

import errno

NOT_ALLOWED = (errno.EACCES, errno.EROFS, errno.EPERM)  # the system's numbers


class FaceRestoreError(Exception):
    """A failure with a sentence for the user; `exit_code` is what the process ends with."""

    exit_code = 1


class UsageError(FaceRestoreError):
    """The command line asks for something impossible."""

    exit_code = 2


class BadInputError(FaceRestoreError):
    """An input file is missing, unreadable or of a kind the tool does not take."""

    exit_code = 3


class ModelError(FaceRestoreError):
    """Model or weights are absent, damaged or of the wrong kind."""

    exit_code = 4


class DoneError(FaceRestoreError):
    """The output is there already, made of the same input with the same model and options."""

    exit_code = 0


class ResourceError(FaceRestoreError):
    """Memory, disk or device is not enough or not there."""

    exit_code = 5


class BusyError(ResourceError):
    """Another process works on this film."""
