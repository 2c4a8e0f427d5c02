"""Names of the files in a run's folder: those of the run, and those that other commands make of it."""

import pathlib

REPORT, PAGE, MODEL = "report.json", "report.html", "model.keras"
RUN_FILES = (
    "model.tflite",
    MODEL,
    "labels.txt",
    "history.csv",
    "growth.png",
    "augmentation.png",
    PAGE,
    REPORT,
)
SUPERNET = "supernet.keras"  # of a run with exits or shrunk widths only: the network that holds the smaller ones
BOARD, EVENTS = "tensorboard", "**/events.out.tfevents.*"  # the folder of a run with --tensorboard, and its files
CHECKPOINT, RECORD = "checkpoint", "run.json"  # the folder, and the file in it, of an unfinished run
SNAPSHOTS = "epoch[0-9]*-step[0-9]*.npz"  # what `odn_keras.Checkpoint` writes
EXPORT, ROUTED, LATENCY = "export", "routed", "latency.json"  # where other commands leave what they make of the run
EVALUATION, COMPARISON = "evaluation.json", "comparison.json"  # beside the pages that say the same
FINETUNING = ".finetuning"  # checkpoints of `odn_keras.specialize`, while it fine-tunes

_EXPORTED = ("model.tflite", "android.tflite", "model_vela.tflite", "model.cc", "model.h", "labels.txt")

# What other commands write, by the marker: the file that identifies a folder of theirs.
DERIVED = {
    "export.json": _EXPORTED,
    "specialize.json": (*_EXPORTED, "model.keras", FINETUNING),
    "frontier.json": ("frontier.png", "frontier.csv", PAGE),
    EVALUATION: (PAGE,),
    COMPARISON: (PAGE,),
    "routing.json": (
        PAGE,
        "stage[0-9]*.tflite",
        "stage[0-9]*.cc",
        "stage[0-9]*.h",
        "routing.h",
        "routing.png",
        "labels.txt",
    ),
}


def is_unfinished(folder: pathlib.Path) -> bool:
    """True for the folder of a run that was begun and can be resumed."""
    return (folder / CHECKPOINT / RECORD).is_file()


def is_run(folder: pathlib.Path) -> bool:
    """True for the folder of a run, finished or not."""
    return is_unfinished(folder) or (folder / REPORT).exists()
