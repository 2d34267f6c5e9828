"""One provisioner of a pool on a machine, seen by the kernel; see `provisioners.core.elsewhere`."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import socket
from collections.abc import Iterator

from streams.errors import ProvisionerRuns

__all__ = ["sole_provisioner"]

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def sole_provisioner(pool: str, *flow: str) -> Iterator[None]:
    """Be the only provisioner of a pool here; the kernel ends that with the process, however it ends.

    One in another network namespace, as a container's, is not seen.

    Parameters
    ----------
    pool
        Its name.
    flow
        What tells the flow from others that may run here: its broker, and its prefix.

    Raises
    ------
    ProvisionerRuns
        There is another one.
    """
    told = "\0".join((pool, *flow)).encode()
    name = f"\0foremesh-provision-{hashlib.sha256(told).hexdigest()}"
    with socket.socket(socket.AF_UNIX) as held:
        try:
            held.bind(name)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ProvisionerRuns(
                    f"A provisioner of pool {pool!r} runs on this machine: end it first, a second"
                    " one would have its instances ended"
                ) from None
            logger.warning("It cannot be seen whether another provisioner runs here: %s", error)
        yield
