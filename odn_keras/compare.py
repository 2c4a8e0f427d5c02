"""Puts finished runs side by side: figures, pictures, and the options in which they differ.

    python -m odn_keras.compare runs/a runs/b runs/c --out=comparison

Prints a table, and writes report.html and comparison.json into the folder --out. Exit status: 0, or 2 for bad input.
"""

import pathlib

from absl import flags

from odn_keras import cli
from odn_keras.errors import InputError
from odn_keras.files import write_json
from odn_keras.runs.finished_run import finished_report
from odn_keras.runs.output_folder import check_output, output
from odn_keras.runs.run_files import COMPARISON, PAGE


def define_flags() -> None:
    """Defines the flags of the command."""
    cli.define_path("out", "comparison", "The folder for report.html and comparison.json.")


def main(runs: list[str]) -> None:
    """Compares the runs in these folders."""
    from odn_keras.runs.report import comparison

    if len(runs) < 2:
        raise InputError("give the folders of two finished runs or more, such as: odn compare runs/a runs/b")
    folders = [pathlib.Path(run).expanduser() for run in runs]
    if twice := [run for run, folder in zip(runs, folders, strict=True) if folders.count(folder) > 1]:
        raise InputError(f"{twice[0]} is given twice: give different runs")
    out = pathlib.Path(flags.FLAGS.out)
    check_output(out, None, COMPARISON)
    names = comparison.names_of(runs)
    reports = {name: finished_report(folder, *comparison.NEEDED) for name, folder in zip(names, folders, strict=True)}
    table, differing = comparison.rows(reports), comparison.differing_options(reports)
    lines = [comparison.text_table(table)]
    if differing:
        lines += ["\noptions that differ", comparison.text_table(differing)]
    if not comparison.same_data(reports):
        lines.append(f"\n{comparison.OTHER_DATA}")
    print("\n".join(lines))
    with output(out):
        comparison.write_comparison_page(reports, folders, out / PAGE)
        write_json(
            {"runs": dict(zip(names, runs, strict=True)), "figures": table, "options": differing}, out / COMPARISON
        )
    print(f"\n  {out / PAGE}\n  {out / COMPARISON}")


if __name__ == "__main__":
    cli.run(main, define_flags)
