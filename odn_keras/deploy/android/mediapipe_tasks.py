"""MediaPipe's image classifier, the library that Android apps use, on this machine.

It is made for photographs: it takes uint8 or float files of three channels with metadata. Needs NumPy and MediaPipe.
"""

import importlib.util
import os

import numpy as np

from odn_keras.deploy.runtimes import Classifier, first_line, read_file
from odn_keras.errors import InputError
from odn_keras.quiet import quiet_in_commands


class MediaPipeClassifier(Classifier):
    """A classifier in MediaPipe. It must be closed: MediaPipe prints an error if it is still open when Python ends.

    Args:
        path: a `.tflite` file that `export_android` wrote, or another with metadata that MediaPipe takes.

    Raises:
        InputError: where MediaPipe is not installed or cannot load, or does not take the file.
    """

    def __init__(self, path: str | os.PathLike):
        super().__init__()
        if importlib.util.find_spec("mediapipe") is None:
            raise InputError("this needs MediaPipe, in an environment of its own: pip install 'odn_keras[mediapipe]'")
        content = read_file(path)
        try:
            with quiet_in_commands():
                import mediapipe
                from mediapipe.tasks import python as tasks
                from mediapipe.tasks.python import vision

                options = vision.ImageClassifierOptions(base_options=tasks.BaseOptions(model_asset_buffer=content))
                self._classifier = vision.ImageClassifier.create_from_options(options)
        except (ImportError, OSError) as error:
            raise InputError(f"MediaPipe cannot be loaded here ({first_line(error)})") from error
        except (ValueError, RuntimeError) as error:
            raise InputError(f"MediaPipe does not take {path} ({first_line(error)})") from error
        self._path, self._closed = path, False
        self._mediapipe = mediapipe
        self.input_shape = self._input_shape(content)
        blank = self._categories(np.zeros(self.input_shape, np.uint8))
        self.classes = len(blank)

    @staticmethod
    def _input_shape(content: bytes) -> tuple[int, ...]:
        from mediapipe.tasks.metadata import schema_py_generated as schema

        graph = schema.Model.GetRootAs(content, 0).Subgraphs(0)
        return tuple(int(n) for n in graph.Tensors(graph.Inputs(0)).ShapeAsNumpy()[1:])

    def _categories(self, pixels: np.ndarray):
        image = self._mediapipe.Image(image_format=self._mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(pixels))
        with self._lock:
            if self._closed:
                raise InputError(f"the classifier of {self._path} is closed: open another")
            return self._classifier.classify(image).classifications[0].categories

    def run(self, pixels: np.ndarray) -> np.ndarray:
        """Raw uint8 pixels of shape (height, width, 3) -> class probabilities, float32 (classes,)."""
        probabilities = np.zeros(self.classes, np.float32)
        for category in self._categories(pixels):
            probabilities[category.index] = category.score
        return probabilities

    def close(self) -> None:
        """Closes MediaPipe's classifier."""
        with self._lock:
            if not self._closed:
                self._classifier.close()
            self._closed = True
