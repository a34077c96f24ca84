"""What the page's figures are drawn from: Vega's own scripts, inlined, and each figure's specification.

All of it stands in the page compressed, so that ten models fit into what can be sent; script.js takes it out again.
Vega compiles expressions to functions unless it is told to interpret them, which script.js does: so the page's policy
can name the two scripts by their hashes and forbid all others, evaluated text included.
"""

import json
import zlib
from base64 import b64encode
from functools import cache
from hashlib import sha256
from pathlib import Path

import altair as alt
import vl_convert

SCRIPT = Path(__file__).parents[1] / "script.js"

_NAME_OF_EMBED = "window.vegaEmbed = vegaEmbed;"


@cache
def bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, of the version that altair writes for."""
    version = alt.SCHEMA_VERSION.removeprefix("v").rpartition(".")[0]
    script: str = vl_convert.javascript_bundle(_NAME_OF_EMBED, vl_version=version)
    return script


def specification(chart: alt.TopLevelMixin) -> str:
    """The chart as packed JSON."""
    return packed(json.dumps(chart.to_dict(), ensure_ascii=False, separators=(",", ":")))


def packed(text: str) -> str:
    """A text compressed (zlib) and in base 64, which can stand in a page whatever it says."""
    return b64encode(zlib.compress(text.encode(), level=9)).decode()


def policy_hash(content: str) -> str:
    """The source by which a content-security policy allows an inline style or script of exactly this content."""
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"
