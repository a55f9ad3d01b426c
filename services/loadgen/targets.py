"""Where the users post: one base URL or several, such as every node of a cluster, any of which may go away."""

import re

from course.settings import BadSetting

BASE_URL = re.compile(r"https?://[^\s/,]+(/[^\s,]*)?")


def parse_targets(text: str) -> list[str]:
    """The base URLs of a list that is separated by commas, without the slash at their end.

    Raises `course.settings.BadSetting` for what is no URL.
    """
    targets = [part.strip().rstrip("/") for part in text.split(",")]
    if not all(map(BASE_URL.fullmatch, targets)):
        raise BadSetting(f"the target must be URLs like http://10.0.0.1:30080, with commas between them, not {text!r}")
    return targets
