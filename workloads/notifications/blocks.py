"""A message in blocks, the form that Slack shows.

By https://docs.slack.dev/reference/block-kit/blocks: a header of 150 characters at most, sections
of 3,000, 10 fields of 2,000 in a section, 50 blocks.
"""

from __future__ import annotations

from typing import Any, Final

from workloads.notifications.said import Said, cut

_HEADER: Final = 150
_TEXT: Final = 2_000
_FIELD: Final = 400
_FIELDS: Final = 10
_MARKS: Final = {"good": ":white_check_mark:", "warning": ":warning:", "attention": ":red_circle:"}


def slack(said: Said) -> dict[str, Any]:
    """A message as an incoming webhook of Slack takes it."""
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": cut(said.title, _HEADER)}},
        {
            "type": "context",
            "elements": [_marked(f"{_MARKS[said.colour]} {_escaped(said.heading)}")],
        },
        *({"type": "section", "text": _marked(_escaped(cut(text, _TEXT)))} for text in said.texts),
    ]
    fields = [_marked(f"*{name}*\n{_escaped(cut(value, _FIELD))}") for name, value in said.facts]
    blocks += [
        {"type": "section", "fields": fields[start : start + _FIELDS]}
        for start in range(0, len(fields), _FIELDS)
    ]
    if said.links:
        links = " · ".join(
            f"<{_address(address)}|{_escaped(cut(name, 40))}>" for name, address in said.links[:6]
        )
        if len(links) <= 3_000:
            blocks.append({"type": "section", "text": _marked(links)})
    # What a notification on a phone shows.
    return {"text": _escaped(cut(f"{said.heading}: {said.title}", _FIELD)), "blocks": blocks}


def _marked(text: str) -> dict[str, str]:
    return {"type": "mrkdwn", "text": text}


def _escaped(text: str) -> str:
    """Slack reads these three as its own, and would ring a whole channel for `<!channel>`."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _address(text: str) -> str:
    return _escaped(text).replace("|", "%7C")
