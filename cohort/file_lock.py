"""Locks of the operating system on files and folders: released however a process ends."""

import errno
import fcntl

WITHOUT = (errno.ENOLCK, errno.ENOTSUP, errno.EBADF, errno.EINVAL)
"""What some network disks say, which have no locks, or none of folders."""


def lock(file: int, *, shared: bool = False, wait: bool = False) -> bool:
    """Whether an open file or folder is locked now, until it is closed; False if another has it.

    ``shared`` with others that want it so; ``wait`` for its turn. On a disk without locks it is
    nobody's, and so anyone's.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(file, kind if wait else kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in WITHOUT:
            raise
    return True
