"""A page in headless Chromium, driven by the Chrome DevTools protocol over a pipe."""

import json
import shutil
import subprocess
import tempfile


def installed() -> str | None:
    """The path of the installed Chromium, None where there is none."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Page:
    """One page of a browser of its own; leaving the context ends the browser."""

    def __init__(self):
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        options = [
            "--headless",
            "--no-sandbox",
            *camera,
            "--remote-debugging-pipe",
            f"--user-data-dir={self._profile.name}",
        ]
        self._browser = subprocess.Popen(  # the protocol's pipes are the descriptors 3 and 4
            ["sh", "-c", 'exec "$@" 3<&0 4>&1 </dev/null >/dev/null', "sh", installed(), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._sent = 0
        self._unread = b""
        self._session: dict = {}
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = {"sessionId": self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._browser.terminate()
        self._browser.communicate(timeout=30)
        self._profile.cleanup()

    def send(self, method: str, **parameters) -> dict:
        """Sends a command of the protocol and returns its result."""
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": parameters, **self._session}
        self._browser.stdin.write(json.dumps(message).encode() + b"\0")
        self._browser.stdin.flush()
        while (answer := self._receive()).get("id") != self._sent:
            pass  # an event
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def _receive(self) -> dict:
        while b"\0" not in self._unread:
            piece = self._browser.stdout.read1()
            if not piece:
                raise RuntimeError("Chromium ended")
            self._unread += piece
        message, _, self._unread = self._unread.partition(b"\0")
        return json.loads(message)

    def open(self, url: str) -> None:
        self.send("Page.navigate", url=url)
        self.run("if (document.readyState !== 'complete') await new Promise((done) => addEventListener('load', done))")

    def run(self, body: str):
        """Runs the body of an async JavaScript function in the page and returns what it returns."""
        result = self.send(
            "Runtime.evaluate", expression=f"(async () => {{{body}}})()", awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"]["exception"]["description"])
        return result["result"].get("value")
