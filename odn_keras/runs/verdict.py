"""Describes the end of a run: why it ended, what would help, and which commands come next."""

from typing import Any

from odn_keras.growing.depth_growth import DepthGrowth
from odn_keras.growing.growth_plan import meets
from odn_keras.growing.stage import CYCLE, PRUNE, RECOVER, SHRINK
from odn_keras.runs import next_step
from odn_keras.runs.options import RunOptions
from odn_keras.runs.report.summary import val_score

TARGET_MET, FIXED_DEPTH, DEEPEST, EPOCHS = "target met", "fixed depth", "deepest network tried", "epochs used"
SMALLER = "made smaller"  # pruning or shrinking has taken the network below the target
LOUD_LOSS = 0.01  # of accuracy, by int8
LONGER_CYCLE = "a longer cycle (--cycle_epochs, and --epochs three times as many)"


def ending(growth: DepthGrowth, options: RunOptions, deepest: int) -> dict[str, Any]:
    """Why a run ended, as JSON: `reason`, the depth of the `deepest` network it might have tried, and `epochs_left`.

    Args:
        growth: of the run, when it is over.
        options: of the run.
        deepest: depth of the deepest network that it might have tried.
    """
    if growth.target is None:
        reason = FIXED_DEPTH
    elif growth.target_met:
        reason = TARGET_MET
    elif _lost_when_smaller(growth):
        reason = SMALLER
    else:
        reason = DEEPEST if max(stage.depth for stage in growth.stages) >= deepest else EPOCHS
    used = round(sum(stage.epochs for stage in growth.stages))
    return {"reason": reason, "deepest": deepest, "epochs_left": options.epochs - used}


def _lost_when_smaller(growth: DepthGrowth) -> bool:
    """Whether the search had found a depth, by its accuracy or by a forecast, before the network was made smaller."""
    last, searched = growth.stages[-1], [stage for stage in growth.stages if stage.phase == CYCLE]
    if growth.target is None or last.phase not in (PRUNE, RECOVER, SHRINK) or not searched:
        return False
    best = max((stage.best for stage in searched if stage.depth == last.depth), default=0.0)
    return not searched[-1].complete or meets(growth.target, best)


def describe_ending(report: dict[str, Any]) -> list[str]:
    """Why the run ended and, where the target was missed, what would help; a sentence an item."""
    ended, asked = report.get("ended"), report["options"]
    if ended is None or report["target_met"] is not False:  # of earlier versions
        return []
    missed = f"The target was not met: {val_score(report):.4f} of {report['target_accuracy']:.4f}."
    budget = any(asked.get(name) for name in ("max_flash", "max_arena", "max_latency_ms", "device"))
    deepest = ended["deepest"]
    helps = ["a lower --target_accuracy"]
    if asked.get("depth"):  # not in reports of earlier versions
        why = f"The network of depth {deepest}, the only one that --depth allows, had {report['epochs']} epochs."
        deeper = "a larger --depth, or none" if deepest < report["max_depth"] else "a deeper --backbone"
        helps[:0] = ["more --epochs", deeper]
        if budget:
            helps.insert(0, "a larger budget")
    elif ended["reason"] == SMALLER:
        ways = [f"--{name}" for name in ("prune", "shrink_epochs") if asked.get(name)]
        why = f"Depth {report['depth']} was good enough, or forecast to be, until it was made smaller."
        helps[:0] = [f"less of {' or '.join(ways)}", LONGER_CYCLE]
    elif ended["reason"] == EPOCHS:
        why = f"The {asked['epochs']} epochs did not suffice for a deeper network than depth {report['depth']}."
        helps.insert(0, "more --epochs")
    else:
        by_budget = budget and deepest != asked["max_depth"] and deepest < report["max_depth"]
        limit = (
            f"that fits the budget ({report['backbone']} of width {report['width']})"
            if by_budget
            else f"that --max_depth={deepest} allows"
            if deepest < report["max_depth"]
            else f"of {report['backbone']}"
        )
        left = f", with {ended['epochs_left']} epochs left" if ended["epochs_left"] else ""
        why = f"The run ended at depth {deepest}, the deepest {limit}{left}."
        helps.insert(0, LONGER_CYCLE)
        if by_budget:
            helps.insert(0, "a larger budget")
        elif deepest < report["max_depth"]:
            helps.insert(0, "a larger --max_depth")
        elif report["backbone"] == "resnet18":
            helps.insert(0, "a deeper --backbone")
    if not budget:
        helps.insert(1, "a larger --width")
    if asked.get("augment", "none") == "none" and not any(asked[name] for name in ("shift", "rotate", "zoom", "flip")):
        helps.insert(-1, "augmentation (--augment=light)")
    return [missed, why, f"The best network is exported. What may help: {', '.join(helps)}."]


def warn_of_int8(report: dict[str, Any]) -> list[str]:
    """A sentence where the int8 file is more than a point less accurate than the float network; else nothing."""
    lost = report["test_accuracy"] - report["int8_test_accuracy"]
    if lost <= LOUD_LOSS:
        return []
    return [
        f"WARNING: int8 costs {100 * lost:.1f} points of accuracy. Fine-tune under int8 arithmetic: "
        "export with --quantize=qat."
    ]


def warn_of_continued(report: dict[str, Any]) -> list[str]:
    """A sentence where the network that a run began with was better on the validation images; else nothing."""
    start = report.get("continued")
    if not start or start["val_score"] <= val_score(report):
        return []
    return [
        f"WARNING: the network that it began with, of {start['run']}, is better: {start['val_score']:.4f} on the same "
        f"validation images, this one {val_score(report):.4f}."
    ]


def next_commands(report: dict[str, Any], out: str) -> list[str]:
    """The commands to run after a finished run in the folder `out`, ready to paste."""
    commands = [
        next_step.classification(f"{out}/model.tflite"),
        next_step.command("export", run=out),
    ]
    if report.get("supernet"):
        commands.append(next_step.command("specialize", run=out, frontier=True))
        if len(report["supernet"]["val_accuracy"]) > 1:
            commands.append(next_step.command("route", run=out))
    return commands
