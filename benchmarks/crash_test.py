"""Kills a run again and again and compares its result with that of an uninterrupted run.

    python -m benchmarks.crash_test --kills=20

A run on the embedded digits is trained to its end; then the same run starts in another folder, is killed with SIGKILL
after a random time, resumed, and so on; once finished it starts again, until there were so many kills.
Printed at the end: how many kills, after how many of them a complete epoch was lost or the run did not resume, and
whether weights, history, report and .tflite file are the same, bit for bit.
"""

import json
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np
from absl import flags

from odn_keras import cli
from odn_keras.runs.run_folder import RunFolder

RUN = ["--dataset=digits", "--width=8", "--target_accuracy=0.99", "--shift=1"]
OVER = (0, 3)  # exit statuses of a run that has come to its end


def define_flags() -> None:
    flags.DEFINE_integer("kills", 20, "How often to kill.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Of the moments.")
    flags.DEFINE_string("epochs", "14", "Epochs of the run.")


def start(out: pathlib.Path, *more: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "odn_keras.train", *RUN, f"--epochs={flags.FLAGS.epochs}", f"--out={out}", *more]
    log = (out.parent / "log.txt").open("a")
    return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)


def result(out: pathlib.Path) -> dict[str, Any]:
    """Everything that must not depend on how often a run was killed."""
    from odn_keras import load

    report = json.loads((out / "report.json").read_text())
    for stage in report["stages"]:
        del stage["seconds"], stage["setup_seconds"]
    return {
        "weights": [np.asarray(w) for w in load(out / "model.keras").get_weights()],
        "history": (out / "history.csv").read_text(),
        "report": report,
        ".tflite": (out / "model.tflite").read_bytes(),
    }


def same(ours, theirs) -> bool:
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(np.array_equal, ours, theirs))
    return ours == theirs


def kept_epochs(out: pathlib.Path) -> int:
    """Complete epochs that a resumed run has: all of a finished one; -1 before the first checkpoint."""
    if RunFolder(out).report():
        return int(flags.FLAGS.epochs)
    return max((int(file.name[5:11]) for file in (out / "checkpoint").glob("epoch*.npz")), default=-1)


def main() -> int:
    moments = random.Random(flags.FLAGS.seed)
    kills = lost = 0
    different: set[str] = set()
    with tempfile.TemporaryDirectory() as folder:
        peaceful, killed = pathlib.Path(folder, "peaceful"), pathlib.Path(folder, "killed")
        begun = time.perf_counter()
        if start(peaceful).wait() not in OVER:
            raise RuntimeError(pathlib.Path(folder, "log.txt").read_text())
        duration = time.perf_counter() - begun
        expected = result(peaceful)
        print(f"left in peace: {duration:.0f} s, depth {expected['report']['depth']}", flush=True)
        before, again = -1, ["--overwrite"]
        while True:
            process = start(killed, *again)
            again = ["--resume"]
            try:
                if kills == flags.FLAGS.kills:
                    process.wait()
                else:
                    process.wait(moments.uniform(0.1, 1.0) * duration)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
                epoch = kept_epochs(killed)
                lost += epoch < before
                finished = ", finished" if RunFolder(killed).report() else ""
                print(f"kill {kills}: {max(epoch, 0)} epochs done{finished}", flush=True)
                before = epoch
                if not RunFolder(killed).unfinished and not RunFolder(killed).report():
                    again = []  # killed before it had begun
                continue
            if process.returncode not in OVER:
                print(pathlib.Path(folder, "log.txt").read_text()[-2000:])
                lost += 1
                break
            found = result(killed)
            different |= {name for name in expected if not same(found[name], expected[name])}
            if kills == flags.FLAGS.kills:
                break
            before, again = -1, ["--overwrite"]
    verdict = f"different: {', '.join(sorted(different))}" if different else "identical"
    print(f"{kills} kills, {lost} lost, {verdict}")
    return 1 if lost or different else 0


if __name__ == "__main__":
    cli.run(main, define_flags)
