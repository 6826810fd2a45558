"""What the tests of Go templates share: one call to render, one to be refused."""

from collections.abc import Mapping
from typing import Any

import pytest

from apps.inference.prompt.gotemplate import Template, TemplateError


def render(source: str, data: Mapping[str, Any] | None = None) -> str:
    return Template.parse(source).execute(data or {})


def refusal(source: str, data: Mapping[str, Any] | None = None) -> str:
    with pytest.raises(TemplateError) as caught:
        render(source, data)
    return str(caught.value)
