"""What a model says, told apart into answer, thinking and calls of tools. Pure.

`choose` says how a template's model writes (a Reply), beside the prompt; a `Parser` of that reads what comes.
`markers` are the control tokens that must come as text for it.
"""

from apps.inference.parsing.choosing import choose
from apps.inference.parsing.markers import markers
from apps.inference.parsing.parser import Parser
from apps.inference.parsing.pieces import Called, Piece, Said, Thought
from apps.inference.parsing.reply import Reply

__all__ = ["Called", "Parser", "Piece", "Reply", "Said", "Thought", "choose", "markers"]
