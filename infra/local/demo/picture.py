"""The demo as a picture for the documents: ``python -m infra.local.demo --picture docs/demo.svg``.

Each scene's last picture, as text that can be read and selected. It names fonts that machines have, and loads none.
"""

from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme

DARK = TerminalTheme(
    background=(13, 17, 23),
    foreground=(201, 209, 217),
    # Black, red, green, yellow, blue, magenta, cyan, white; then the same, bright.
    normal=[
        *((72, 79, 88), (255, 123, 114), (63, 185, 80), (210, 153, 34)),
        *((88, 166, 255), (188, 140, 255), (57, 197, 207), (177, 186, 196)),
    ],
    bright=[
        *((125, 133, 144), (255, 161, 152), (86, 211, 100), (227, 179, 65)),
        *((121, 192, 255), (210, 168, 255), (86, 212, 221), (240, 246, 252)),
    ],
)
FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font: {char_height}px/{line_height}px ui-monospace, Menlo, "DejaVu Sans Mono", monospace }}
.{unique_id}-title {{ font: bold 18px system-ui, sans-serif }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def save_picture(console: Console, path: Path) -> None:
    """Write what a console has printed that was opened to record it."""
    console.save_svg(str(path), title="make demo", theme=DARK, code_format=FORMAT, unique_id="demo")
