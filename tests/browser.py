"""A real Chromium without a window, driven by its own protocol: what tests see of a web page."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from harness import CHECKOUT, eventually

__all__ = ["AXE", "Chromium", "WebPage", "chromium"]

FOLDER = CHECKOUT / "build" / "browser"
AXE = FOLDER / "node_modules" / "axe-core" / "axe.min.js"
ANSWER_S = 30.0
ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-zygote",
    "--no-first-run", "--hide-scrollbars", "--disable-background-networking", "--mute-audio",
    "--disable-component-update", "--lang=en-US", "--remote-debugging-port=0",
)  # fmt: skip
KEYS: Mapping[str, tuple[str, int, str]] = {
    "Tab": ("Tab", 9, ""),
    "Enter": ("Enter", 13, "\r"),
    "Escape": ("Escape", 27, ""),
    " ": ("Space", 32, " "),
}


class WebPage:
    """A tab.

    Parameters
    ----------
    browser
        The browser it is in.
    session
        Its name there.
    """

    def __init__(self, browser: Chromium, session: str) -> None:
        self._browser, self._session = browser, session

    async def tell(self, method: str, **given: Any) -> Any:
        """The answer to a command of the protocol."""
        return await self._browser.tell(method, given, self._session)

    async def look(self, width: int, height: int, *, dark: bool = False) -> None:
        """The size of the screen, and whether it prefers dark."""
        await self.tell(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.tell("Emulation.setEmulatedMedia", features=[scheme])

    async def go(self, url: str) -> None:
        """Load a page, to the end."""
        await self.tell("Page.navigate", url=url)
        await self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    async def run(self, script: str) -> Any:
        """What an expression comes to, once it has been awaited."""
        answer = await self.tell(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def until(self, script: str, timeout_s: float = 20.0) -> Any:
        """Ask until an expression is true; what it came to."""
        deadline = time.monotonic() + timeout_s
        while not (found := await self.run(script)):
            assert time.monotonic() < deadline, f"not so after {timeout_s:.0f} s: {script}"
            await asyncio.sleep(0.05)
        return found

    async def press(self, key: str) -> None:
        """Press a key, or type a character."""
        code, number, text = KEYS.get(key, ("", 0, key))
        named = {"key": key, "code": code, "windowsVirtualKeyCode": number}
        await self.tell("Input.dispatchKeyEvent", type="keyDown", text=text, **named)
        await self.tell("Input.dispatchKeyEvent", type="keyUp", **named)

    async def type(self, text: str) -> None:
        """Type into what has the focus."""
        await self.tell("Input.insertText", text=text)

    async def screenshot(self, *, whole: bool = True) -> bytes:
        """A picture of the page in PNG: all of it, or what is on the screen."""
        answer = await self.tell(
            "Page.captureScreenshot", format="png", captureBeyondViewport=whole
        )
        return base64.b64decode(answer["data"])

    async def close(self) -> None:
        """Close the tab."""
        with contextlib.suppress(AssertionError):
            await self.tell("Page.close")


class Chromium:
    """The browser: what it is told, and what it answers and logs."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._number = 0
        self.events: list[dict[str, Any]] = []
        self._reading = asyncio.ensure_future(self._read())

    async def page(self) -> WebPage:
        """A new tab that tells its errors and requests."""
        target = await self.tell("Target.createTarget", {"url": "about:blank"})
        given = {"targetId": target["targetId"], "flatten": True}
        attached = await self.tell("Target.attachToTarget", given)
        page = WebPage(self, attached["sessionId"])
        for domain in ("Page", "Runtime", "Log", "Network"):
            await page.tell(f"{domain}.enable")
        return page

    async def tell(self, method: str, given: Mapping[str, Any], session: str = "") -> Any:
        """The answer to a command."""
        self._number += 1
        said: dict[str, Any] = {"id": self._number, "method": method, "params": dict(given)}
        if session:
            said["sessionId"] = session
        future = asyncio.get_running_loop().create_future()
        self._answers[self._number] = future
        await self._socket.send_str(json.dumps(said))
        answer = await asyncio.wait_for(future, ANSWER_S)
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def troubles(self) -> list[str]:
        """Errors of scripts and what was blocked, since the browser was started."""
        found = []
        for event in self.events:
            given = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                found.append(json.dumps(given["exceptionDetails"]))
            elif event["method"] == "Log.entryAdded" and given["entry"]["level"] == "error":
                found.append(given["entry"]["text"])
        return found

    async def close(self) -> None:
        """Tell it nothing more."""
        self._reading.cancel()
        await self._socket.close()

    async def _read(self) -> None:
        async for message in self._socket:
            said = json.loads(message.data)
            if "id" in said:
                self._answers.pop(said["id"]).set_result(said)
            else:
                self.events.append(said)


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Chromium]:
    """A Chromium with a profile of its own, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        process = _started(Path(profile))
        try:
            async with aiohttp.ClientSession() as session:
                address = await asyncio.to_thread(_address, process, Path(profile))
                socket = await session.ws_connect(address, max_msg_size=0)
                browser = Chromium(socket)
                try:
                    yield browser
                finally:
                    await browser.close()
        finally:
            process.kill()
            await asyncio.to_thread(process.wait, 10)


def _started(profile: Path) -> subprocess.Popen[bytes]:
    env = {**os.environ, "LD_LIBRARY_PATH": str(FOLDER / "lib"), "FONTCONFIG_PATH": str(FOLDER)}
    env |= {"HOME": str(profile), "LANG": "en_US.UTF-8"}
    argv = [str(FOLDER / "chromium"), *ARGUMENTS, f"--user-data-dir={profile}"]
    with (profile / "log").open("wb") as log:
        return subprocess.Popen(argv, stdout=log, stderr=log, env=env)


def _address(process: subprocess.Popen[bytes], profile: Path) -> str:
    """Where it takes commands, once it does."""
    told = profile / "DevToolsActivePort"

    def lines() -> list[str]:
        assert process.poll() is None, (profile / "log").read_text()
        return told.read_text().split() if told.exists() else []

    port, path = eventually(lines, ANSWER_S)
    return f"ws://127.0.0.1:{port}{path}"
