"""The lines that are printed when a stage begins."""

from odn_keras.growing.depth_growth import DepthGrowth
from odn_keras.growing.stage import CYCLE, HEAD, PRUNE, RECOVER, SETTLE, SHRINK, Stage


def headline(growth: DepthGrowth) -> str:
    """Describes the present stage and, where that was a decision on a depth, why the stage before it has ended."""
    stage = growth.stages[-1]
    lines = [""]
    if len(growth.stages) > 1 and stage.phase in (SETTLE, CYCLE) and growth.stages[-2].phase == CYCLE:
        lines.append(_verdict(growth, growth.stages[-2], stage))
    lines.append(f"== depth {stage.depth} of {growth.deepest}: {_length(stage)}")
    return "\n".join(lines)


def _verdict(growth: DepthGrowth, earlier: Stage, stage: Stage) -> str:
    if earlier.depth not in growth.plan.results:
        return f"== depth {earlier.depth} cannot be pruned as wanted: one block deeper"
    ended = f"ended at {earlier.best:.4f}" if earlier.complete else f"forecast to end at {growth.forecast(earlier):.4f}"
    then = "one block deeper" if earlier.depth < stage.depth else "trained on"
    return f"== depth {earlier.depth} {ended}, below the target of {growth.target:.4f}: {then}"


def _length(stage: Stage) -> str:
    length = (stage.end_step - stage.first_step) / stage.epoch_steps
    epochs = f"{length:.3g} {'epoch' if length == 1 else 'epochs'}"
    rest = "the rest of the learning-rate cycle," if stage.progress else "a learning-rate cycle of"
    return {
        HEAD: f"{epochs} for the head, on blocks that were carried over",
        SETTLE: f"{epochs} for the newest block and the head",
        CYCLE: f"{rest} {epochs}",
        PRUNE: f"{epochs} in which channels are removed",
        RECOVER: f"{epochs} for the network without them",
        SHRINK: f"{epochs} at smaller and smaller widths",
    }[stage.phase]
