"""Go's text/template, interpreted: what a Modelfile's TEMPLATE is written in. Pure, and hostile templates are expected.

    template = gotemplate.Template.parse(source)     # TemplateError(text); the text is Go's, or Ollama's
    template.variables                               # {"messages", "role", …}: lower-case names of all fields used
    template.execute(data)                           # the text; TemplateError(text) with Go's text of the error
    template.until("Response").execute(data)         # the last turn of a legacy template, up to where a reply begins
    template.call_tag                                # "<tool_call>"; "": calls are bare JSON; None: no `if .ToolCalls`
    template.thinking_tags                           # ("<think>", "</think>") or None

For the part that renders prompts (contract, 19): `data` is a plain dict with Go's names; a name it lacks is nil, false
in `if` and printed as `<no value>`. `.Response` is not appended here: where `variables` has neither "messages" nor
"response", parse the source with `{{ .Response }}` behind it. Values are described in values.py. In short: plain dicts
are maps; `Struct(fields, go_type)`, or any mapping with an attribute `go_type`, is a struct, where a missing field is
an error (messages, tools, calls and their functions should be structs); a container with its own `__str__` prints as
that (and `json` takes it for JSON), keeping its order in a `range`; `toTypeScriptType` reads `Type` and `AnyOf`.

For the part that parses replies (contract, 20) and for capabilities (23.2): `call_tag`, `thinking_tags` and `variables`
need no data. "tools" in variables: tools; "suffix": insert; thinking_tags: thinking.

Go's syntax and functions are all here but for what needs Go's types: methods, channels, functions as data. Limits are
in limits.py: what goes beyond is refused with a sentence, within tenths of a second at most.
"""

from apps.inference.prompt.gotemplate.limits import Limits, TemplateError
from apps.inference.prompt.gotemplate.template import Template
from apps.inference.prompt.gotemplate.values import Struct

__all__ = ["Limits", "Struct", "Template", "TemplateError"]
