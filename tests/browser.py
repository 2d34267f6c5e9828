"""A real Chromium without a window, driven by its own protocol: what tests see of a web page."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from harness import CHECKOUT

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
        async with asyncio.timeout(timeout_s):
            while not (found := await self.run(script)):
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

    async def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """A picture of the page: all of it, or what is on the screen."""
        answer = await self.tell(
            "Page.captureScreenshot", format="png", captureBeyondViewport=whole
        )
        path.write_bytes(base64.b64decode(answer["data"]))

    async def close(self) -> None:
        """Close the tab."""
        with contextlib.suppress(AssertionError):
            await self.tell("Page.close")


class Chromium:
    """The browser: what it is told, and what it answers and logs."""

    def __init__(self, process: subprocess.Popen[bytes], socket: Any) -> None:
        self._process, self._socket = process, socket
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
        """End it."""
        self._reading.cancel()
        await self._socket.close()
        self._process.kill()
        await asyncio.to_thread(self._process.wait, 10)

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
    with tempfile.TemporaryDirectory(prefix="chromium-") as profile:
        async with _Started(Path(profile)) as browser:
            yield browser


class _Started:
    """The process, and the session of HTTP to it."""

    def __init__(self, profile: Path) -> None:
        self._profile = profile

    async def __aenter__(self) -> Chromium:
        folder = os.environ | {"LD_LIBRARY_PATH": f"{FOLDER / 'lib'}"}
        folder |= {"FONTCONFIG_PATH": str(FOLDER), "HOME": str(self._profile), "LANG": "en_US.UTF-8"}
        argv = [str(FOLDER / "chromium"), *ARGUMENTS, f"--user-data-dir={self._profile}"]
        self._log = (self._profile / "log").open("wb")
        process = subprocess.Popen(argv, stdout=self._log, stderr=self._log, env=folder)
        self._session = aiohttp.ClientSession()
        try:
            socket = await self._session.ws_connect(await self._address(process), max_msg_size=0)
        except BaseException:
            process.kill()
            await self._session.close()
            raise
        self._browser = Chromium(process, socket)
        return self._browser

    async def _address(self, process: subprocess.Popen[bytes]) -> str:
        told = self._profile / "DevToolsActivePort"
        for _ in range(400):
            assert process.poll() is None, (self._profile / "log").read_text()
            if told.exists() and len(lines := told.read_text().split()) == 2:
                return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
            await asyncio.sleep(0.05)
        raise AssertionError((self._profile / "log").read_text())

    async def __aexit__(self, *_: object) -> None:
        await self._browser.close()
        await self._session.close()
        self._log.close()
