"""`matchGlob`: glob patterns over whole object names.

https://cloud.google.com/storage/docs/json_api/v1/objects/list#list-objects-and-prefixes-using-glob
"""

from __future__ import annotations

import re
from functools import lru_cache

from localcloud.services.storage.errors import invalid


@lru_cache(maxsize=256)
def compile_glob(pattern: str) -> re.Pattern[str]:
    """A regular expression for a glob: `*` and `?` stop at a slash, `**` does not, `[a-z]` is a
    set, `{a,b}` alternatives, a backslash quotes.

    Raises:
        StorageError: 400 when brackets or braces do not match.
    """
    regex = ""
    depth = position = 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == "\\" and position < len(pattern):
            regex += re.escape(pattern[position])
            position += 1
        elif character == "*":
            if pattern.startswith("*", position):
                position += 1
                # `**/` matches no folder as well.
                if pattern.startswith("/", position):
                    position += 1
                    regex += "(?:.*/)?"
                else:
                    regex += ".*"
            else:
                regex += "[^/]*"
        elif character == "?":
            regex += "[^/]"
        elif character == "[":
            end = pattern.find("]", position + 1)
            if end < 0:
                raise _malformed(pattern, "[")
            inside = pattern[position:end]
            negated = inside[:1] in ("!", "^")
            inside = re.sub(r"([\\\[\]^&~|])", r"\\\1", inside[1:] if negated else inside)
            regex += f"(?!/)[{'^' if negated else ''}{inside}]"
            position = end + 1
        elif character == "{":
            depth += 1
            regex += "(?:"
        elif character == "}" and depth:
            depth -= 1
            regex += ")"
        elif character == "," and depth:
            regex += "|"
        else:
            regex += re.escape(character)
    if depth:
        raise _malformed(pattern, "{")
    try:
        return re.compile(regex, re.DOTALL)
    except re.error:
        raise invalid(f"matchGlob {pattern!r} holds an empty or reversed set.") from None


def _malformed(pattern: str, bracket: str) -> Exception:
    return invalid(f"matchGlob {pattern!r} opens {bracket!r} and does not close it.", "matchGlob")
