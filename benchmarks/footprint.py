"""Flash and arena of int8 networks: predicted from the spec, and measured of the file and in TFLite Micro.

    python -m benchmarks.footprint

The networks have random weights, which cost as many bytes as others.
"""

import pathlib
import tempfile

import numpy as np

from odn_keras import cli
from odn_keras.networks.architectures import NetworkSpec

SPECS = [
    *((NetworkSpec("resnet18", (28, 28, 1), 10, width), depth) for width in (8, 16, 64) for depth in (1, 2, 3)),
    (NetworkSpec("resnet18", (28, 28, 1), 10, 32, stem_stride=2), 4),
    (NetworkSpec("resnet34", (28, 28, 1), 26, 12), 6),
    (NetworkSpec("resnet50", (32, 32, 3), 100, 8), 5),
    (NetworkSpec("resnet18", (96, 96, 1), 2, 8, stem_stride=2), 3),
    (NetworkSpec("resnet8", (32, 32, 3), 10), 3),
    (NetworkSpec("ds_cnn", (28, 28, 1), 10, 8), 1),
    (NetworkSpec("ds_cnn", (28, 28, 1), 10, 16), 3),
    (NetworkSpec("ds_cnn", (32, 32, 3), 10, 32), 6),
    (NetworkSpec("ds_cnn", (96, 96, 1), 2, 16, stem_stride=2), 5),
    (NetworkSpec("mobilenetv2", (28, 28, 1), 10, 8), 2),
    (NetworkSpec("mobilenetv2", (32, 32, 3), 10, 16), 7),
    (NetworkSpec("mobilenetv2", (32, 32, 3), 10), 17),
]
IMAGES = 100


def random_network(spec: NetworkSpec, depth: int):
    """A network whose biases, once BatchNorm is folded, are not all zero: equal ones would share their bytes."""
    from odn_keras import build

    rng = np.random.default_rng(0)
    network = build(spec, depth)
    for layer in network.layers:
        shifted = [w if w.ndim > 1 else w + rng.uniform(0, 0.2, w.shape) for w in layer.get_weights()]
        layer.set_weights(shifted)
    return network


def main() -> None:
    cli.import_keras()
    from odn_keras import export_tflite, footprint
    from odn_keras.deploy.micro.tflite_micro import measure_arena
    from odn_keras.deploy.tflite_file.flatbuffer import without_plan

    print(f"{'':<44}{'flash, bytes':^30}{'arena, bytes':^40}")
    print(f"{'network':<44}{'file':>10}{'predicted':>11}{'':>9}{'unplanned':>10}{'planned':>9}{'predicted':>11}")
    with tempfile.TemporaryDirectory() as folder:
        path, unplanned = pathlib.Path(folder, "model.tflite"), pathlib.Path(folder, "unplanned.tflite")
        for spec, depth in SPECS:
            images = np.random.default_rng(0).integers(0, 256, (IMAGES, *spec.input_shape)).astype(np.uint8)
            flash = export_tflite(random_network(spec, depth), images, path)
            unplanned.write_bytes(without_plan(path.read_bytes()))
            arenas = measure_arena(unplanned), measure_arena(path)
            predicted_flash, predicted_arena = footprint.flash_bytes(spec, depth), footprint.arena_bytes(spec, depth)
            shape = "x".join(map(str, spec.input_shape))
            name = f"{spec.name} {shape}, width {spec.width}/{spec.stem_stride}, depth {depth}"
            print(
                f"{name:<44}{flash:>10,}{predicted_flash:>11,}{predicted_flash / flash - 1:>+8.2%} "
                f"{arenas[0]:>10,}{arenas[1]:>9,}{predicted_arena:>11,}{predicted_arena / arenas[1] - 1:>+8.2%}",
                flush=True,
            )


if __name__ == "__main__":
    cli.run(main)
