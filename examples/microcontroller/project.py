"""Makes a folder that an Arduino IDE, ESP-IDF or Zephyr opens, with an exported model in it.

python project.py arduino runs/mnist/export firmware/mnist
python project.py esp_idf runs/mnist/export firmware/mnist
python project.py zephyr runs/mnist/export firmware/mnist

The folder is new, and whole: it can be moved anywhere. Needs Python alone.
"""

import argparse
import pathlib
import shutil
import sys

HERE = pathlib.Path(__file__).parent
SHARED = ("classify.h", "classify.cc", "serve.h", "serve.cc")
MODEL = ("model.h", "model.cc")
PLACES = {"arduino": ".", "esp_idf": "main", "zephyr": "src"}  # where a project has its sources


def make(kind: str, model: pathlib.Path, out: pathlib.Path) -> None:
    """Writes the project."""
    missing = [str(model / name) for name in MODEL if not (model / name).is_file()]
    if missing:
        sys.exit(f"error: there is no {missing[0]}: give the folder that `python -m odn_keras.export` has written")
    if out.exists():
        sys.exit(f"error: {out} is there already: choose a new folder")
    shutil.copytree(HERE / "boards" / kind, out)
    for source in (*(HERE / name for name in SHARED), *(model / name for name in MODEL)):
        shutil.copy(source, out / PLACES[kind])
    if kind == "arduino":  # the sketch has the name of its folder, and sources are .cpp
        (out / "sketch.ino").rename(out / f"{out.name}.ino")
        for source in out.glob("*.cc"):
            source.rename(source.with_suffix(".cpp"))


def main() -> None:
    """Reads the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=sorted(PLACES))
    parser.add_argument("model", type=pathlib.Path, help="the folder with model.h and model.cc")
    parser.add_argument("out", type=pathlib.Path, help="the new folder; for Arduino its name is the sketch's")
    arguments = parser.parse_args()
    make(arguments.kind, arguments.model, arguments.out)
    print(arguments.out)


if __name__ == "__main__":
    main()
