"""Draws docs/step.svg, a step of a cohort: python docs/step_diagram.py"""

from pathlib import Path

BOX = '<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="6" fill="{fill}" stroke="#555"/>'
TEXT = '<text x="{x}" y="{y}" text-anchor="middle">{text}</text>'
ARROW = '<path d="M{x1} {y1} L{x2} {y2}" stroke="#555" fill="none" marker-end="url(#head)"/>'
HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 330" font-family="sans-serif" font-size="13">
<defs><marker id="head" markerWidth="9" markerHeight="8" refX="8" refY="4" orient="auto"><path d="M0 0 L9 4 L0 8 z" fill="#555"/></marker></defs>
<rect width="900" height="330" fill="white"/>"""  # noqa: E501
PLAIN, STUDENT, SHARED = "#f2f2f2", "#dcecf9", "#fdebd0"
ROWS = {"student 0": 60, "student 1": 145, "student K−1": 230}
HEIGHT = 55


def box(x: int, y: int, w: int, h: int, fill: str, *lines: str) -> str:
    """A rectangle with centred lines."""
    first = y + h / 2 + 5 - 9 * (len(lines) - 1)
    texts = [TEXT.format(x=x + w / 2, y=first + 18 * n, text=line) for n, line in enumerate(lines)]
    return "\n".join([BOX.format(x=x, y=y, w=w, h=h, fill=fill), *texts])


def arrow(x1: int, x2: int, y: float) -> str:
    """A level arrow."""
    return ARROW.format(x1=x1, y1=y, x2=x2, y2=y)


def draw() -> str:
    """The picture as SVG."""
    parts = [
        HEAD,
        box(
            470, 50, 105, 245, SHARED, "exchange:", "object store,", "collective, or", "one process"
        ),
        box(785, 50, 105, 245, PLAIN, "records,", "evaluation,", "checkpoints", "of all at once"),
    ]
    for name, y in ROWS.items():
        middle = y + HEIGHT / 2
        parts += [
            box(10, y, 150, HEIGHT, PLAIN, "batch of step t,", "made from (seed, t)"),
            arrow(160, 195, middle),
            box(195, y, 130, HEIGHT, STUDENT, name, "predict: forward"),
            arrow(325, 470, middle),
            TEXT.format(x=397, y=middle - 6, text="log-posterior [B, C]"),
            arrow(575, 625, middle),
            TEXT.format(x=599, y=middle - 6, text="peers'"),
            box(625, y, 125, HEIGHT, STUDENT, "learn: CE + KL,", "backward, update"),
            arrow(750, 785, middle),
        ]
    parts.append(
        TEXT.format(x=450, y=30, text="step t: no picture and no weight travels, only posteriors")
    )
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("step.svg").write_text(draw(), encoding="utf-8")
