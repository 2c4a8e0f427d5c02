"""`report.html` in a real browser: every picture is drawn, and a phone need not scroll sideways."""

import numpy as np
import pytest
from chromium import Page as BrowserPage
from chromium import installed

from odn_keras.runs.report.evaluation import Evaluation, sections
from odn_keras.runs.report.page import Page


@pytest.mark.parametrize("classes", [3, 60])
def test_it_is_readable_on_a_phone(tmp_path, classes):
    if not installed():
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    rng = np.random.default_rng(0)
    labels, names = rng.integers(0, classes, 200), [f"{n} " + "very long name " * 6 for n in range(classes)]
    outputs = {"int8 file": rng.random((200, classes)), "float network": rng.random((200, classes))}
    images = rng.integers(0, 256, (200, 8, 8, 3)).astype(np.uint8)
    Page("x" * 200, [], sections(Evaluation(images, labels, names, outputs))).write(tmp_path / "report.html")
    with BrowserPage() as page:
        page.send("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=True)
        page.open((tmp_path / "report.html").as_uri())
        every = "const all = [...document.images]; all.forEach((one) => { one.loading = 'eager' });"
        drawn = (
            f"{every} await Promise.all(all.map((one) => one.decode())); return all.every((one) => one.naturalWidth)"
        )
        assert page.run(drawn)
        assert page.run("return document.documentElement.scrollWidth") == 390
