"""A table of the accuracy and the cost of routing through a chain of files."""

from typing import Any

from odn_keras.deploy.chain.chain_measurement import LATENCY_IMAGES


def table(result: dict[str, Any]) -> str:
    """A row for each stage, the promise, and the routed network beside its end.

    Args:
        result: what `routing.json` holds.
    """
    lines = [
        f"{'stage':<16}{'bytes':>10}{'arena':>10}{'MACs so far':>14}{'threshold':>11}{'accuracy':>10}{'leave here':>12}"
    ]
    lines += map(_stage_line, result["stages"])
    if any(row["arena_bytes"] is None for row in result["stages"]):
        lines.append("arenas were not measured: that needs TFLite Micro, pip install 'odn_keras[micro]'")
    return "\n".join([*lines, promise(result), "", *_comparison(result)])


def _stage_line(row: dict[str, Any]) -> str:
    threshold = row.get("threshold")
    shown = "end" if threshold is None else "not used" if threshold > 1 else f"{threshold:.4f}"
    arena = "-" if row["arena_bytes"] is None else f"{row['arena_bytes']:,}"
    return (
        f"{row['file']:<16}{row['bytes']:>10,}{arena:>10}{row['macs']:>14,}{shown:>11}"
        f"{row['test_accuracy']:>10.4f}{row['test_share']:>12.1%}"
    )


def _comparison(result: dict[str, Any]) -> list[str]:
    test, end_macs = result["test"], result["stages"][-1]["macs"]
    return [
        f"{'':<16}{'accuracy':>10}{'mean MACs':>14}{'mean ms':>10}",
        f"{'end only':<16}{test['end_accuracy']:>10.4f}{end_macs:>14,}{test['end_mean_ms']:>10.3f}",
        f"{'routed':<16}{test['accuracy']:>10.4f}{test['mean_macs']:>14,.0f}{test['mean_ms']:>10.3f}",
        f"{'change':<16}{test['accuracy'] - test['end_accuracy']:>+10.4f}{test['mean_macs'] / end_macs - 1:>14.1%}"
        f"{test['mean_ms'] / test['end_mean_ms'] - 1:>10.1%}",
        f"int8, on {test['images']:,} test images (latency on the first {min(LATENCY_IMAGES, test['images']):,}), "
        "in LiteRT on this machine, one thread",
    ]


def promise(result: dict[str, Any]) -> str:
    """The promised accuracy; where no image can leave early under it, the number of images needed."""
    drop, validation = result["max_accuracy_drop"], result["validation"]
    promised = f"promised: at most {drop:.4f} of accuracy lost"
    if any(row["validation_share"] for row in result["stages"][:-1]):
        return (
            f"{promised}, with 95 % confidence, tested on {validation['images'] // 2:,} of the "
            f"{validation['images']:,} validation images"
        )
    if validation["images_needed"]:
        return (
            f"{promised}: NO image leaves early. With 95 % confidence that takes about {validation['images_needed']:,} "
            f"validation images, there are {validation['images']:,}: give more, or a larger --max_accuracy_drop"
        )
    return f"{promised}: NO image leaves early, the exits lose more than that however many validation images there are"
