"""Equations: TeX becomes MathML when the site is built, so that a reader's browser needs no script and no font."""

import html
import re

from latex2mathml.converter import convert

MARKED = re.compile(
    r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL
)  # of a page of Markdown
DOLLARS = re.compile(
    r"\$\$(.+?)\$\$|(?<![\\$\w])\$(?!\s)([^$\n]+(?:\n[^$\n]+)*?)(?<!\s)\$(?![\w$])",
    re.DOTALL,
)  # of a notebook
OPERATOR = re.compile(  # but not one with an index or an exponent, whose element takes no third child
    r"(?<!<msup>)(?<!<msub>)(?<!<munder>)(?<!<msubsup>)(<mi>[a-z]{2,}</mi>)(?!<mo|</m)"
)
VERBATIM = re.compile(
    r"(<(pre|code|script|style|svg|clipboard-copy)\b.*?</\2>|<[^>]*>)", re.DOTALL
)


def mathml(tex: str, display: bool) -> str:
    """Return MathML, with the TeX as its text for readers that know no MathML, and TeX's space after log, exp and the like."""
    tex = html.unescape(tex).strip()
    tree = convert(tex, display="block" if display else "inline")
    return OPERATOR.sub(
        r'\1<mspace width="0.17em"/>',
        tree.replace("<math ", f'<math alttext="{html.escape(tex)}" ', 1),
    )


def in_page(content: str) -> str:
    """Replace what `pymdownx.arithmatex` has marked."""
    return MARKED.sub(lambda found: mathml(found[2], display=found[1] == "div"), content)


def in_notebook(content: str) -> str:
    """Replace $…$ and $$…$$ in the prose of a notebook: in text, that is, outside of tags and of code."""
    made = lambda found: mathml(found[1] or found[2], display=found[1] is not None)
    parts = VERBATIM.split(
        content
    )  # text, a verbatim piece, the name of its tag or None, text, …
    parts[0::3] = [DOLLARS.sub(made, text) for text in parts[0::3]]
    return "".join(part for number, part in enumerate(parts) if number % 3 != 2)
