"""What LMDB's errors mean to us: the only place where they are translated."""

import errno

import lmdb

from askonce.domain.errors import StoreUnavailable

RETRY_AFTER_S = 1

# Sentences are public: no paths in them.
_REASONS: dict[type[lmdb.Error], str] = {
    lmdb.MapFullError: "its file is full",
    lmdb.DiskError: "the disk is full",
    lmdb.CorruptedError: "its file is damaged",
    lmdb.PageNotFoundError: "its file is damaged",
    lmdb.InvalidError: "its file is damaged",
    lmdb.PanicError: "it could not be written and must be opened anew",
    lmdb.ReadersFullError: "too many processes read it",
    lmdb.ReadonlyError: "it may not be written",
    lmdb.MapResizedError: "its size was changed by another process",
}
# For the system's own errors, by number. LMDB reports a write that was cut short as EIO.
_SYSTEM_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the system allows no larger file",
    errno.EIO: "the disk is full or failing",
    errno.EACCES: "its file may not be written",
    errno.EROFS: "its file may not be written",
}
# What says that the file's contents are wrong, rather than that the machine refuses something.
BROKEN = (
    lmdb.InvalidError,
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.VersionMismatchError,
    lmdb.PanicError,
)


def reason(error: lmdb.Error) -> str:
    """Say why, in words for operators."""
    known = _REASONS.get(type(error)) or _SYSTEM_REASONS.get(error.code)
    return known or f"the system refused: {str(error).rpartition(': ')[2]}"


def unavailable(error: lmdb.Error) -> StoreUnavailable:
    """Make the error that a caller may see."""
    return StoreUnavailable(
        f"The state store cannot be used now: {reason(error)}. Try again; /ready says more.",
        retry_after_s=RETRY_AFTER_S,
    )
