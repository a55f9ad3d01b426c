"""Where users post: the list of targets."""

import pytest

from course.settings import BadSetting
from loadgen.targets import parse_targets


def test_a_list_of_targets_is_separated_by_commas():
    assert parse_targets("http://10.0.0.1:30080, https://lab.example/,http://[::1]:80") == [
        "http://10.0.0.1:30080",
        "https://lab.example",
        "http://[::1]:80",
    ]


@pytest.mark.parametrize("text", ["", "localhost:8080", "http://a,,http://b", "http://a b", "ftp://a", "http://"])
def test_what_is_no_url_is_refused(text):
    with pytest.raises(BadSetting, match="must be URLs"):
        parse_targets(text)
