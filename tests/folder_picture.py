"""Writes docs/images/folders.svg, the picture of the folders, from the contracts of import-linter in pyproject.toml.

python tests/folder_picture.py            writes it
python tests/folder_picture.py --check    fails where it is not as it would be written
"""

import pathlib
import sys
import tomllib
from xml.sax.saxutils import escape

ROOT = pathlib.Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "folders.svg"

ROW, GAP, MARGIN = 28, 22, 16  # heights of a layer and of the arrow to the next one; around everything, in pixels
LETTER = 7.3  # width of a letter of the font, about
BETWEEN = 8  # boxes of one layer
COLUMNS = 60  # between the two stacks
PAINT = 'fill="#e8f0f8" stroke="#41678c" font-family="monospace" font-size="12" text-anchor="middle"'


def picture() -> str:
    """The picture as SVG: the layers of each contract from above, an arrow wherever one may import those below."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layered = [contract for contract in contracts if contract["type"] == "layers"]
    stacks = [(container, contract["layers"]) for contract in layered for container in contract["containers"]]
    widths = [max(_row_width(names) for names in _rows(container, layers)) for container, layers in stacks]
    height = 2 * MARGIN + max(len(layers) for _, layers in stacks) * (ROW + GAP)
    width = 2 * MARGIN + sum(widths) + COLUMNS * (len(stacks) - 1)
    shapes, left, places = [], MARGIN, {}
    for (container, layers), wide in zip(stacks, widths, strict=True):
        shapes.append(_text(left + wide / 2, MARGIN + 10, container.replace(".", "/") + "/", 'font-weight="bold"'))
        for index, names in enumerate(_rows(container, layers)):
            top = MARGIN + GAP + index * (ROW + GAP)
            x = left + (wide - _row_width(names)) / 2
            for name in names:
                shapes += [_box(x, top, name), _text(x + _box_width(name) / 2, top + ROW / 2 + 4, name)]
                places[f"{container}.{name.removesuffix('/')}"] = (x + _box_width(name), top + ROW / 2)
                x += _box_width(name) + BETWEEN
            if index + 1 < len(layers):
                shapes.append(_arrow(left + wide / 2, top + ROW))
        if container in places:  # a folder of the stack before, opened
            x, y = places[container]
            side, bottom = left - 12, MARGIN + len(layers) * (ROW + GAP)
            shapes.append(
                _line(f"M{x:.0f} {y:.0f} H{side:.0f} M{side:.0f} {MARGIN} V{bottom}", 'stroke-dasharray="4 4"')
            )
        left += wide + COLUMNS
    size = f'width="{width:.0f}" height="{height}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" {size}>',
            "<!-- Written by tests/folder_picture.py. -->",
            f'<rect {size} fill="white"/>',
            f"<g {PAINT}>",
            *shapes,
            "</g>",
            "</svg>\n",
        ]
    )


def _rows(container: str, layers: list[str]) -> list[list[str]]:
    """For each layer its modules and folders, as they are called on disk."""
    base = ROOT.joinpath(*container.split("."))
    names = [[name.strip() for name in layer.split("|")] for layer in layers]
    return [[f"{name}/" if (base / name).is_dir() else f"{name}.py" for name in row] for row in names]


def _box_width(name: str) -> float:
    return len(name) * LETTER + 14


def _row_width(names: list[str]) -> float:
    return sum(map(_box_width, names)) + BETWEEN * (len(names) - 1)


def _box(x: float, y: float, name: str) -> str:
    return f'<rect x="{x:.0f}" y="{y}" width="{_box_width(name):.0f}" height="{ROW}" rx="4"/>'


def _text(x: float, y: float, text: str, attributes: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" fill="#1b2733" stroke="none" {attributes}>{escape(text)}</text>'


def _line(path: str, attributes: str = "") -> str:
    return f'<path d="{path}" fill="none" {attributes}/>'


def _arrow(x: float, y: float) -> str:
    return _line(f"M{x:.0f} {y + 3} v{GAP - 6} m-4 -5 l4 5 l4 -5")


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        same = PICTURE.exists() and PICTURE.read_text() == picture()
        sys.exit(None if same else f"python {sys.argv[0]} writes {PICTURE.relative_to(ROOT)}")
    PICTURE.write_text(picture())
