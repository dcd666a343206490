"""Who waits for news can be told to stop waiting at any moment, also in the very moment when there is news."""

from __future__ import annotations

import asyncio
import logging

import pytest

from sampan_hub.identity.feed import Feed
from sampan_hub.identity.notebooks import Notebook
from tests.unit.test_identity_feed import Compute

ONE = Notebook("inst.1", "ana", "", "batch-1", "running", "run", "2026", address="http://127.0.0.1:1")


async def test_news_in_the_same_moment_do_not_swallow_a_cancel() -> None:
    feed = Feed(Compute(), logging.getLogger("test"))  # type: ignore[arg-type]

    async def wait_for_ever() -> None:
        while True:
            await feed.change(60)

    for _ in range(3):
        waiting = asyncio.create_task(wait_for_ever())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        feed.learn(ONE)
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(2):
                await waiting
        assert waiting.cancelled()
