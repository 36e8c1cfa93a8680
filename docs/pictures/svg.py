"""Parts of the pictures that scripts draw as SVG: dark lines on a white card, which can be read on a dark page too."""

BLUES = ("#9cc3ec", "#c9dff5", "#7fb0e3", "#b4d2f0")
INK, GREY, PALE = "#1f2933", "#9aa5b1", "#f0f2f5"


def text(x: float, y: float, content: object, size: int = 12, anchor: str = "middle", ink: str = INK) -> str:
    """A line of text, its middle at the height y."""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}" fill="{ink}" '
        f'dominant-baseline="central">{content}</text>'
    )


def box(x: float, y: float, width: float, height: float, fill: str) -> str:
    """A rectangle with round corners."""
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="4" fill="{fill}" stroke="{GREY}" '
        'stroke-width="0.8"/>'
    )


def svg(width: float, height: float, parts: list[str]) -> str:
    """A whole picture."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" font-family="sans-serif">'
    )
    return "\n".join([head, f'<rect width="{width:g}" height="{height:g}" fill="white"/>', *parts, "</svg>\n"])
