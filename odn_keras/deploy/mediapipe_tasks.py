"""MediaPipe's image classifier, the library that Android apps use, on this machine.

It is made for photographs: it takes uint8 or float files of three channels with metadata. Needs NumPy and MediaPipe.
"""

import importlib.util
import os
import pathlib

import numpy as np

from odn_keras.deploy.runtimes import Classifier
from odn_keras.errors import InputError
from odn_keras.quiet import quiet


class MediaPipeClassifier(Classifier):
    """A classifier in MediaPipe; it must be closed, for when Python ends it no longer can be, and says so.

    Args:
        path: a `.tflite` file that `export_android` wrote, or another with metadata that MediaPipe takes.

    Raises:
        InputError: where MediaPipe is not installed or cannot load, or does not take the file.
    """

    def __init__(self, path: str | os.PathLike):
        if importlib.util.find_spec("mediapipe") is None:
            raise InputError("this needs MediaPipe, in an environment of its own: pip install 'odn_keras[mediapipe]'")
        if not pathlib.Path(path).is_file():
            raise InputError(f"no such file: {path}")
        try:
            with quiet(show_on_failure=False):
                import mediapipe
                from mediapipe.tasks import python as tasks
                from mediapipe.tasks.python import vision

                options = vision.ImageClassifierOptions(
                    base_options=tasks.BaseOptions(model_asset_buffer=pathlib.Path(path).read_bytes())
                )
                self._classifier = vision.ImageClassifier.create_from_options(options)
        except (ImportError, OSError) as error:
            raise InputError(f"MediaPipe cannot be loaded here ({str(error).splitlines()[0]})") from error
        except (ValueError, RuntimeError) as error:
            raise InputError(f"MediaPipe does not take {path} ({str(error).splitlines()[0]})") from error
        self._mediapipe = mediapipe
        self.input_shape = self._input_shape(path)
        blank = self._categories(np.zeros(self.input_shape, np.uint8))
        self.classes = len(blank)

    @staticmethod
    def _input_shape(path: str | os.PathLike) -> tuple[int, ...]:
        from mediapipe.tasks.metadata import schema_py_generated as schema

        graph = schema.Model.GetRootAs(pathlib.Path(path).read_bytes(), 0).Subgraphs(0)
        return tuple(int(n) for n in graph.Tensors(graph.Inputs(0)).ShapeAsNumpy()[1:])

    def _categories(self, pixels: np.ndarray):
        image = self._mediapipe.Image(image_format=self._mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(pixels))
        return self._classifier.classify(image).classifications[0].categories

    def run(self, pixels: np.ndarray) -> np.ndarray:
        probabilities = np.zeros(self.classes, np.float32)
        for category in self._categories(pixels):
            probabilities[category.index] = category.score
        return probabilities

    def close(self) -> None:
        self._classifier.close()
