"""Deeds of faults, within their time: whatever goes wrong with one is told by its proof."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from faults.needs import NotNowError, Proof

logger = logging.getLogger(__name__)


async def bounded(deed: Callable[[], Awaitable[Proof]], timeout_s: float) -> Proof:
    """A deed's proof, or a proof that fails and says why: trouble with a fault is a finding, never a crash of the
    run.

    Raises:
        NotNowError: as it came.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await deed()
    except NotNowError:
        raise
    except TimeoutError:
        return Proof(holds=False, evidence={"reason": f"not done within {timeout_s:g} s"})
    except Exception as error:
        logger.exception("a fault failed")
        return Proof(holds=False, evidence={"reason": f"{type(error).__name__}: {error}"})
