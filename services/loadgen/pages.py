"""The pages of the load test: templates, and how figures are written in them."""

import re

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, Template

from loadgen.charts import number
from loadgen.words import percent, share, significant

_MARKDOWN = re.compile(r"([\\`*_\[\]<>|#&~])")


def template(name: str) -> Template:
    """A template of this package; what it is given cannot become markup."""
    jinja = Environment(
        loader=ChoiceLoader([PackageLoader("loadgen"), PackageLoader("course", ".")]),  # course has what pages share
        autoescape=name.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters |= {
        "number": number,
        "ms": milliseconds,
        "percent": percent,
        "short": significant,
        "share": lambda ratio: share(ratio, 1),
        "markdown": markdown,
    }
    return jinja.get_template(name)


def milliseconds(value: float) -> str:
    """Milliseconds with three significant digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def markdown(text: str) -> str:
    """A text for Markdown that stands there as it is, on one line."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))
