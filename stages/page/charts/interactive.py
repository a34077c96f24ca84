"""The interactive figures' data: Vega's scripts and each figure's specification, both inlined in the page.

They are compressed, so that a page of ten models stays small enough to send; script.js decompresses them. It also makes
Vega interpret expressions instead of compiling them to functions. So the page's content-security policy can allow the
two scripts by their hashes and forbid all others, including evaluated text.
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

# Makes Vega-Embed available to script.js.
_EXPORT_EMBED = "window.vegaEmbed = vegaEmbed;"


@cache
def bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, in the version that Altair writes for."""
    version = alt.SCHEMA_VERSION.removeprefix("v").rpartition(".")[0]
    script: str = vl_convert.javascript_bundle(_EXPORT_EMBED, vl_version=version)
    return script


def specification(chart: alt.TopLevelMixin) -> str:
    """The chart as packed JSON."""
    return packed(json.dumps(chart.to_dict(), ensure_ascii=False, separators=(",", ":")))


def packed(text: str) -> str:
    """A text compressed with zlib and encoded in base 64, so that any text is safe inside HTML."""
    return b64encode(zlib.compress(text.encode(), level=9)).decode()


def policy_hash(content: str) -> str:
    """The content-security-policy source that allows an inline style or script with exactly this content."""
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"
