"""The browser example in a real browser: its answers are those of LiteRT in Python, and drawn digits are read."""

import base64
import functools
import http.server
import io
import pathlib
import shutil
import subprocess
import tempfile
import threading

import numpy as np
import pytest
from chromium import Page, installed
from PIL import Image

from odn_keras import NetworkSpec, build, export_tflite, load_dataset

ROOT = pathlib.Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "browser"
MNIST = ROOT / "tflite_models" / "mnist_rgb.tflite"

NEXT_PREDICTION = "await new Promise((done) => setTimeout(done, 200))"  # the page predicts ten times a second

# the strokes of one hand's digits, as points (x, y) in tenths of the board
HANDWRITING = {
    0: [[(5, 2), (3.5, 3), (3, 5), (3.5, 7), (5, 8), (6.5, 7), (7, 5), (6.5, 3), (5, 2)]],
    1: [[(5, 2), (5, 8)]],
    2: [[(3, 3.5), (3.6, 2.4), (5, 2), (6.4, 2.6), (6.6, 4), (5.5, 5.6), (3, 8), (7, 8)]],
    3: [[(3.2, 2.6), (4.6, 2), (6.2, 2.5), (6.3, 3.9), (4.8, 4.8), (6.5, 5.6), (6.6, 7.2), (5, 8), (3.2, 7.4)]],
    4: [[(4, 2), (3, 5.4), (7, 5.4)], [(6, 2.5), (6, 8)]],
    5: [[(6.6, 2), (3.7, 2), (3.5, 4.6), (5, 4.2), (6.5, 5), (6.6, 6.8), (5.2, 8), (3.2, 7.4)]],
    6: [[(6, 2), (4.4, 3.2), (3.5, 5.2), (3.5, 7), (4.8, 8), (6.3, 7.2), (6.2, 5.8), (4.8, 5.2), (3.6, 6.2)]],
    7: [[(3, 2), (7, 2), (5.6, 5), (4.6, 8)]],
    8: [[(6.2, 2.8), (5, 2), (3.8, 2.9), (4.3, 4.2), (6.4, 6.6), (5, 8), (3.6, 7), (5.7, 4.3), (6.2, 2.8)]],
    9: [[(6.4, 3.4), (5.2, 2), (3.7, 3), (3.9, 4.6), (5.3, 5), (6.4, 3.6), (6.3, 6), (5.8, 8)]],
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder served at `url`: the example as `page/`, and whatever a test puts beside it."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "page").symlink_to(EXAMPLE)
    handler = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=folder))
    threading.Thread(target=server.serve_forever).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser():
    if not installed():
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    if not (EXAMPLE / "node_modules").is_dir():
        pytest.skip("examples/browser/node_modules is missing (run `npm ci` in examples/browser)")
    with Page() as page:
        yield page


@pytest.fixture
def open_page(browser, site):
    """Opens the example with a model file, and waits until it is loaded, or refused."""
    folder, url = site

    def opened(model: pathlib.Path, *, labels: str | None = None) -> Page:
        beside = pathlib.Path(tempfile.mkdtemp(dir=folder))
        shutil.copy(model, beside / "model.tflite")
        if labels:
            (beside / "labels.txt").write_text(labels)
        browser.open(f"{url}/page/?model=../{beside.name}/model.tflite")
        browser.run("globalThis.app = await import(new URL('app.js', location).href)")
        return browser

    return opened


@pytest.fixture(scope="module")
def mnist_test(real_data_dir):
    images, labels = load_dataset("mnist", data_dir=real_data_dir).test
    return images[:1000], labels[:1000]


@pytest.fixture
def mnist_page(open_page):
    if not MNIST.exists():
        pytest.skip(f"{MNIST.relative_to(ROOT)} is missing")
    return open_page(MNIST)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    brightness = np.linspace(0, 256, 100)[:, np.newaxis, np.newaxis, np.newaxis]
    return (brightness * rng.random((100, 28, 28, 1))).astype(np.uint8)


@pytest.fixture(scope="module")
def small_models(images, tmp_path_factory):
    """Files of each kind that the page takes, of untrained networks that answer each image differently."""
    pytest.importorskip("tensorflow")
    folder = tmp_path_factory.mktemp("models")
    for channels in (1, 3):
        network = build(NetworkSpec("resnet18" if channels == 1 else "mobilenetv2", (28, 28, channels), 10, width=8), 2)
        head = network.get_layer("head")
        head.kernel.assign(100 * head.kernel)
        pixels = images.repeat(channels, axis=-1)
        export_tflite(network, pixels, folder / f"uint8_{channels}.tflite", integer_type="uint8")
        export_tflite(network, None, folder / f"float32_{channels}.tflite", quantize="none")
    return folder


def in_page(page: Page, images: np.ndarray, expression: str) -> list:
    """For each image the value of a JavaScript expression of its `pixels`."""
    return page.run(f"""
        const bytes = Uint8Array.from(atob("{base64.b64encode(images.tobytes()).decode()}"), (c) => c.charCodeAt(0));
        const {{ likeMnist }} = await import(new URL("preprocess.js", location).href);
        const values = [];
        for (let start = 0; start < bytes.length; start += 784) {{
          const pixels = bytes.subarray(start, start + 784);
          values.push({expression});
        }}
        return values;""")


def in_python(path: pathlib.Path, images: np.ndarray) -> np.ndarray:
    """Probabilities that LiteRT in Python gives for the same file."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    (entry,), (output,) = interpreter.get_input_details(), interpreter.get_output_details()
    outputs = []
    for image in images:
        pixels = np.broadcast_to(image, entry["shape"]).astype(entry["dtype"])
        interpreter.set_tensor(entry["index"], pixels)
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(output["index"])[0])
    return np.array(outputs) / (256 if output["dtype"] is np.uint8 else 1)


def text(page: Page, element: str) -> str:
    return page.run(f"return document.getElementById('{element}').textContent")


def place_of_board(page: Page) -> tuple[float, float, float]:
    return page.run("const { left, top, width } = board.getBoundingClientRect(); return [left, top, width]")


def drawn(page: Page, strokes: list) -> str:
    """Draws strokes with the mouse, given in tenths of the board, and returns what the page reads."""
    left, top, side = place_of_board(page)
    for stroke in strokes:
        points = [{"x": left + side * x / 10, "y": top + side * y / 10} for x, y in stroke]
        events = [("mousePressed", points[0]), *(("mouseMoved", p) for p in points), ("mouseReleased", points[-1])]
        for kind, point in events:
            page.send("Input.dispatchMouseEvent", type=kind, button="left", buttons=1, clickCount=1, **point)
    page.run(NEXT_PREDICTION)
    return text(page, "prediction")


def press(page: Page, key: str) -> None:
    page.send("Input.dispatchKeyEvent", type="keyDown", key=key, text="\r" if key == "Enter" else "")
    page.send("Input.dispatchKeyEvent", type="keyUp", key=key)


def test_the_preprocessing():
    if not shutil.which("node"):
        pytest.skip("Node.js is missing")
    result = subprocess.run(["node", "--test"], cwd=EXAMPLE, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("model", ["uint8_1", "uint8_3", "float32_1", "float32_3"])
def test_each_kind_of_file_gives_the_outputs_of_python(open_page, small_models, images, model):
    path = small_models / f"{model}.tflite"
    answers = in_page(open_page(path), images, "(await app.classify(pixels)).probabilities")
    expected = in_python(path, images)
    assert expected.std(axis=0).max() > 0.03  # the answers differ from image to image
    np.testing.assert_allclose(answers, expected, atol=1 / 256 if model.startswith("uint8") else 1e-5)


def test_mnist_gives_the_outputs_of_python(mnist_page, mnist_test):
    images, labels = mnist_test
    answers = in_page(mnist_page, images, "await app.classify(pixels)")
    probabilities = np.array([answer["probabilities"] for answer in answers])
    expected = in_python(MNIST, images)
    equal = np.mean((probabilities == expected).all(axis=-1))
    milliseconds = np.median([answer["milliseconds"] for answer in answers])
    print(f"{equal:.1%} of {len(images)} images have outputs equal to Python's; {milliseconds:.1f} ms per image")
    assert np.abs(probabilities - expected).max() <= 1 / 256
    assert (probabilities.argmax(axis=-1) == expected.argmax(axis=-1)).all()
    assert np.mean(probabilities.argmax(axis=-1) == labels) > 0.97


def test_mnists_own_images_pass_the_preprocessing_unchanged(mnist_page, mnist_test):
    unchanged = in_page(mnist_page, mnist_test[0], "likeMnist(pixels, 28, 28).every((grey, i) => grey === pixels[i])")
    assert np.mean(unchanged) >= 0.998


def test_mnist_painted_on_the_board_is_read(mnist_page, mnist_test):
    images, labels = mnist_test
    read = in_page(
        mnist_page,
        images[:200],
        """await (async () => {
          const small = new OffscreenCanvas(28, 28);
          const image = new ImageData(28, 28);
          pixels.forEach((grey, i) => image.data.set([255, 255, 255, grey], 4 * i));
          small.getContext("2d").putImageData(image, 0, 0);
          const ink = board.getContext("2d");
          const side = 250 + (values.length % 4) * 100; // half of the board to all of it, from corner to corner
          const place = ((board.width - side) * (values.length % 5)) / 4;
          ink.clearRect(0, 0, board.width, board.height);
          ink.drawImage(small, place, place, side, side);
          await app.predict();
          return document.getElementById("prediction").textContent;
        })()""",
    )
    right = np.mean(np.array(read) == labels[:200].astype(str))
    print(f"{right:.1%} of 200 painted digits are read")
    assert right >= 0.96


def test_handwriting_is_read(mnist_page):
    read = {}
    for digit, strokes in HANDWRITING.items():
        read[digit] = drawn(mnist_page, strokes)
        mnist_page.run("document.getElementById('clear').click()")
    assert sum(str(digit) == answer for digit, answer in read.items()) >= 9, read


def test_a_vertical_line_is_a_one_and_the_keyboard_clears_it(mnist_page):
    assert text(mnist_page, "prediction") == "?"
    assert drawn(mnist_page, HANDWRITING[1]) == "1"
    rows = [row.split() for row in mnist_page.run("return [...classes.children].map((row) => row.innerText)")]
    assert [row[0] for row in rows] == list("0123456789")
    assert sum(float(row[1]) for row in rows) == pytest.approx(100, abs=4)
    assert float(rows[1][1]) > 50
    assert "ms" in text(mnist_page, "time")
    press(mnist_page, "Tab")
    assert mnist_page.run("return document.activeElement.textContent") == "Clear"
    press(mnist_page, "Enter")
    assert text(mnist_page, "prediction") == "?"
    assert mnist_page.run("return board.getContext('2d').getImageData(0, 0, 560, 560).data.every((value) => !value)")


def test_a_finger_draws(mnist_page):
    left, top, _ = place_of_board(mnist_page)
    for kind, y in [("touchStart", 60), *(("touchMove", y) for y in range(80, 300, 20))]:
        mnist_page.send("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": left + 150, "y": top + y}])
    mnist_page.send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    mnist_page.run(NEXT_PREDICTION)
    assert text(mnist_page, "prediction") == "1"
    assert mnist_page.run("return scrollY") == 0


def test_a_tap_is_a_dot(open_page, small_models):
    page = open_page(small_models / "uint8_1.tflite")
    drawn(page, [[(5, 5)]])
    assert page.run("return board.getContext('2d').getImageData(0, 0, 560, 560).data.some((value) => value)")


def test_labels_beside_the_model_name_the_classes(open_page, small_models):
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    page = open_page(small_models / "uint8_1.tflite", labels="\n".join(names))
    assert page.run("return [...document.querySelectorAll('.label')].map((label) => label.textContent)") == names


@pytest.fixture(scope="module")
def colour_model(tmp_path_factory):
    """A file of colour images of 12 x 16 pixels, cropped to that shape, with labels on board, as export writes it."""
    pytest.importorskip("tensorflow")
    from odn_keras.deploy.android.rgb_file import export_android
    from odn_keras.deploy.tflite_file.resize_metadata import write_resize

    network = build(NetworkSpec("resnet18", (12, 16, 3), 4, width=8), 1)
    head = network.get_layer("head")
    head.kernel.assign(100 * head.kernel)
    calibration = np.random.default_rng(0).integers(0, 256, (100, 12, 16, 3)).astype(np.uint8)
    path = tmp_path_factory.mktemp("colour") / "android.tflite"
    export_android(network, calibration, ["bolt", "nut", "washer", "café"], path=path, name="parts")
    write_resize(path, "crop")
    return path


def photo(image: Image.Image, kind: str, **options) -> str:
    """JavaScript for a photo, a file."""
    content = io.BytesIO()
    image.save(content, kind, **options)
    encoded = base64.b64encode(content.getvalue()).decode()
    return f"new File([Uint8Array.from(atob('{encoded}'), (c) => c.charCodeAt(0))], 'photo')"


def test_a_photo_is_turned_upright_and_cropped_as_training_did(open_page, colour_model):
    page = open_page(colour_model)
    assert page.run("return [...document.querySelectorAll('.label')].map((label) => label.textContent)") == [
        "bolt", "nut", "washer", "café"
    ]  # fmt: skip
    upright = np.zeros((48, 128, 3), np.uint8)  # the middle 64 columns are what is seen
    upright[:, 32:96] = [200, 30, 60]
    upright[:24, 32:96] = [10, 90, 220]
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held sideways
    sideways = Image.fromarray(np.rot90(upright).copy())
    page.run(f"await app.takePhoto({photo(sideways, 'jpeg', quality=100, subsampling=0, exif=exif)})")
    seen = page.run("return [...document.getElementById('seen').getContext('2d').getImageData(0, 0, 16, 12).data]")
    seen = np.array(seen).reshape(12, 16, 4)[..., :3]
    assert np.abs(seen[1:5] - [10, 90, 220]).max() < 12 and np.abs(seen[7:11] - [200, 30, 60]).max() < 12
    shown = page.run("return [...document.querySelectorAll('.percent')].map((share) => parseFloat(share.textContent))")
    expected = in_python(colour_model, seen[np.newaxis].astype(np.uint8))[0]
    np.testing.assert_allclose(np.array(shown) / 100, expected, atol=2 / 256)
    best = ["bolt", "nut", "washer", "café"][int(expected.argmax())]
    assert text(page, "prediction") == best


def test_what_is_transparent_in_a_photo_is_white(open_page, colour_model):
    page = open_page(colour_model)
    page.run(f"await app.takePhoto({photo(Image.new('RGBA', (40, 30)), 'png')})")
    seen = page.run("return [...document.getElementById('seen').getContext('2d').getImageData(0, 0, 16, 12).data]")
    assert set(seen) == {255}


def test_what_is_no_picture_is_said(open_page, colour_model):
    page = open_page(colour_model)
    page.run("await app.takePhoto(new File(['text'], 'notes.txt'))")
    assert "notes.txt is no picture" in text(page, "time")


def test_the_camera_is_read_until_something_is_drawn(open_page, colour_model):
    page = open_page(colour_model)
    page.run("document.getElementById('camera').click()")
    page.run("await new Promise((done) => setTimeout(done, 1500))")
    assert text(page, "prediction") in {"bolt", "nut", "washer", "café"}
    assert page.run("return document.getElementById('camera').getAttribute('aria-pressed')") == "true"
    assert drawn(page, [[(3, 3), (7, 7)]]) in {"bolt", "nut", "washer", "café"}
    assert page.run("return document.getElementById('video').srcObject") is None
    page.run("document.getElementById('clear').click()")
    assert text(page, "prediction") == "?"


def test_a_file_of_ones_own_is_opened(open_page, small_models, colour_model):
    page = open_page(small_models / "uint8_1.tflite")
    content = base64.b64encode(colour_model.read_bytes()).decode()
    page.run(f"""
        const files = new DataTransfer();
        files.items.add(new File([Uint8Array.from(atob("{content}"), (c) => c.charCodeAt(0))], "mine.tflite"));
        const input = document.getElementById("model-file");
        input.files = files.files;
        input.dispatchEvent(new Event("change"));
        await new Promise((done) => setTimeout(done, 1000));""")
    assert page.run("return document.querySelectorAll('.label').length") == 4


@pytest.mark.parametrize(
    ("content", "labels", "reason"),
    [
        (ROOT / "tflite_models" / "mnist.tflite", None, "INT8"),
        (ROOT / "tflite_models" / "README.md", None, "load"),
        ("uint8_1.tflite", "a\nb", "2 lines"),
    ],
)
def test_a_model_of_another_kind_is_refused_in_the_page(open_page, small_models, content, labels, reason):
    page = open_page(small_models / content, labels=labels)
    assert page.run("return document.getElementById('error').checkVisibility()")
    assert reason in text(page, "error")


def test_a_page_without_a_server_says_so(browser):
    browser.open((EXAMPLE / "index.html").as_uri())
    assert "needs a web server" in text(browser, "time")


def test_a_missing_model_is_said_so(browser, site):
    browser.open(f"{site[1]}/page/?model=gone.tflite")
    browser.run("await import(new URL('app.js', location).href)")
    assert "gone.tflite: there is no such file" in text(browser, "error")


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_cut_off(open_page, small_models, width):
    page = open_page(small_models / "uint8_1.tflite")
    page.send("Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1, mobile=width < 500)
    needed = page.run("return document.documentElement.scrollWidth")
    page.send("Emulation.clearDeviceMetricsOverride")
    assert needed <= width
