"""Does the input keep up? Images a second and core of augmentation, and what it adds to an epoch of training.

    python -m benchmarks.input
    KERAS_BACKEND=jax python -m benchmarks.input --parts=keras,epochs
    KERAS_BACKEND=torch python -m benchmarks.input --parts=keras,epochs

Parts, all measured in one run, medians over rounds in turns:

    rates     images a second of processor time of `odn_keras.Augmentation`, and of one affine transform of SciPy for
              each image and channel, which is how a batch would be changed without a library made for images
    keras     the same changes by Keras's own layers, as the backend runs them on this machine
    epochs    seconds of an epoch of small networks on augmented batches by those on the batches as they are
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
from absl import flags

from odn_keras import cli
from odn_keras.data.augmentation import Augmentation, preset
from odn_keras.data.presets import PRESETS
from odn_keras.errors import InputError

SHAPES = ((28, 28, 1), (32, 32, 3), (96, 96, 3))
BATCH = 128
# Image shape, width, depth, stem stride, preset.
NETWORKS = (
    ((28, 28, 1), 16, 3, 1, "light"),
    ((32, 32, 3), 16, 3, 1, "standard"),
    ((96, 96, 3), 8, 3, 2, "standard"),
)
PARTS = ("rates", "keras", "epochs")


def define_flags() -> None:
    flags.DEFINE_list("parts", list(PARTS), "What to measure.")
    flags.DEFINE_integer("rounds", 5, "Measurements of each, of which the median counts.", lower_bound=1)
    flags.DEFINE_integer("steps", 40, "Training steps of an epoch.", lower_bound=1)


def main() -> None:
    values = flags.FLAGS
    if unknown := set(values.parts) - set(PARTS):
        raise InputError(f"--parts must be among {', '.join(PARTS)}, got {', '.join(sorted(unknown))}")
    if "rates" in values.parts:
        _rates(values.rounds)
    if "keras" in values.parts:
        _keras(values.rounds)
    if "epochs" in values.parts:
        _epochs(values.rounds, values.steps)


def _images(shape: tuple[int, ...], count: int = BATCH) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)


def _shift_and_flip(shape: tuple[int, ...]) -> Augmentation:
    return Augmentation(shift=min(shape[:2]) / 8, flip=True)


def _per_second(change: Callable[[], object], rounds: int, clock: Callable[[], float]) -> float:
    change()
    seconds = []
    for _ in range(rounds):
        began, calls = clock(), 0
        while clock() - began < 0.3:
            change()
            calls += 1
        seconds.append((clock() - began) / (calls * BATCH))
    return 1 / statistics.median(seconds)


def _rates(rounds: int) -> None:
    print(
        f"\n{'images a second and core':<28}" + "".join(f"{name:>14}" for name in ("shift, flip", "SciPy", "ratio")),
        end="",
    )
    print("".join(f"{name:>12}" for name in PRESETS if name != "none"))
    labels = np.eye(10, dtype=np.float32)[np.arange(BATCH) % 10]
    for shape in SHAPES:
        images = _images(shape)

        def rate(augmentation: Augmentation, images: np.ndarray = images) -> float:
            given = labels if augmentation.mixes else None
            return _per_second(lambda: augmentation(images, np.random.default_rng(0), given), rounds, time.process_time)

        def scipy(images: np.ndarray = images, shape: tuple[int, ...] = shape) -> object:
            return _with_scipy(images, _shift_and_flip(shape))

        ours, theirs = rate(_shift_and_flip(shape)), _per_second(scipy, rounds, time.process_time)
        others = "".join(f"{rate(preset(name, shape, mirror=True)):>12,.0f}" for name in PRESETS if name != "none")
        print(
            f"{'x'.join(map(str, shape)):<28}{ours:>14,.0f}{theirs:>14,.0f}{ours / theirs:>14.1f}{others}", flush=True
        )


def _with_scipy(images: np.ndarray, augmentation: Augmentation) -> np.ndarray:
    from scipy import ndimage

    draws = augmentation.draw(np.random.default_rng(0), len(images), images.shape[1:])
    changed = np.empty_like(images)
    for image, matrix, target in zip(images, draws.affine if draws.affine is not None else [], changed, strict=True):
        for channel in range(image.shape[-1]):
            ndimage.affine_transform(
                image[..., channel],
                matrix[::-1, 1::-1],
                matrix[::-1, 2],
                output=target[..., channel],
                order=1,
                mode="nearest",
            )
    return changed


def _keras(rounds: int) -> None:
    cli.import_keras()
    import keras
    from keras import layers

    print(f"\nshift and flip, images a second in {keras.backend.backend()}, whole machine")
    print(f"{'':<28}{'ours':>14}{'Keras layers':>14}{'ratio':>14}")
    for shape in SHAPES:
        images = _images(shape)
        by_layers = keras.Sequential([layers.RandomTranslation(1 / 8, 1 / 8), layers.RandomFlip("horizontal")])

        def change(images: np.ndarray = images, by_layers: keras.Sequential = by_layers) -> np.ndarray:
            return np.asarray(keras.ops.convert_to_numpy(by_layers(images.astype(np.float32), training=True)))

        def change_ours(images: np.ndarray = images, shape: tuple[int, ...] = shape) -> object:
            return _shift_and_flip(shape)(images, np.random.default_rng(0))

        ours = _per_second(change_ours, rounds, time.perf_counter)
        theirs = _per_second(change, rounds, time.perf_counter)
        print(f"{'x'.join(map(str, shape)):<28}{ours:>14,.0f}{theirs:>14,.0f}{ours / theirs:>14.1f}", flush=True)


def _epochs(rounds: int, steps: int) -> None:
    cli.import_keras()
    import keras

    from odn_keras.data.batches import Batches
    from odn_keras.growing.optimally_deep_network import OptimallyDeepNetwork
    from odn_keras.growing.optimizers import sgd
    from odn_keras.growing.precision import precision

    print(f"\nan epoch of {steps} steps of {BATCH} images in {keras.backend.backend()}, {precision()}")
    print(f"{'network':<40}{'augmentation':>14}{'images/s':>12}{'without':>12}{'seconds, ratio':>16}")
    for shape, width, depth, stride, name in NETWORKS:
        images = _images(shape, steps * BATCH)
        split = images, np.arange(len(images)) % 10
        model = OptimallyDeepNetwork(
            "resnet18", shape, 10, width=width, depth=depth, stem_stride=stride, dtype=precision()
        )
        model.compile(sgd(0.01, 0.0), loss="categorical_crossentropy")
        epochs = {
            which: Batches(split, 10, BATCH, augmentation=preset(which, shape, mirror=True)) for which in (name, "none")
        }
        seconds: dict[str, list[float]] = {which: [] for which in epochs}
        for round_ in range(rounds + 1):
            for which, batches in epochs.items():
                began = time.perf_counter()
                model.fit(batches, epochs=1, verbose=0, shuffle=False)
                if round_:  # the first one traces
                    seconds[which].append(time.perf_counter() - began)
        ratio = statistics.median(a / b for a, b in zip(seconds[name], seconds["none"], strict=True))
        rates = [len(images) / statistics.median(seconds[which]) for which in (name, "none")]
        what = f"{'x'.join(map(str, shape))}, width {width}, depth {depth}, stem stride {stride}"
        print(f"{what:<40}{name:>14}{rates[0]:>12,.0f}{rates[1]:>12,.0f}{ratio:>16.3f}", flush=True)


if __name__ == "__main__":
    cli.run(main, define_flags)
