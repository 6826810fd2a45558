"""Query sets compiled once, and several questions in one round trip, for the few that every request asks.

Django writes the SQL of a query set anew each time it is asked, which takes about a millisecond where the rule is long,
and PostgreSQL plans it anew, which takes as long again: what is asked here is prepared once a connection
(CORRAL_DB_PREPARE).
"""

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from typing import Any, TypeVar

import psycopg
from django.db import connection, models

Value = int | str | datetime | uuid.UUID
Build = Callable[..., models.QuerySet[Any, Any]]
Row = TypeVar("Row", bound=models.Model)
Rows = list[tuple[Any, ...]]
Convert = Callable[[Rows], Rows]

_NUMBER = 2_000_000_001  # fits any column of numbers; no query set names it
_MOMENT = datetime(1, 1, 2, tzinfo=UTC)


@dataclass(frozen=True)
class Question:
    """A statement and the values of its places."""

    sql: str
    bound: Sequence[Any] = ()
    convert: Convert = list


def together(*questions: Question, commit: bool = False) -> list[Rows]:
    """The rows of each question, asked one after the other in a single round trip; that of a transaction's BEGIN is
    saved too. Each sees what was committed before it ran, as ever.

    With `commit` the transaction ends behind them, in the same round trip: `atomic` finds nothing left to commit. One
    that is part of a greater one ends with that. A constraint that only the end of a transaction checks is raised here.
    """
    commit = commit and not connection.savepoint_ids
    connection.ensure_connection()
    # Django's own cursor sends the values inside of the text, which PostgreSQL would have to plan each time.
    with connection.wrap_database_errors, ExitStack() as stack:
        cursors = [stack.enter_context(psycopg.Cursor(connection.connection)) for _ in questions]
        with connection.connection.pipeline() if len(questions) + commit > 1 else nullcontext():
            for cursor, question in zip(cursors, questions, strict=True):
                cursor.execute(question.sql, question.bound, prepare=True)
            if commit:
                stack.enter_context(psycopg.Cursor(connection.connection)).execute("COMMIT", prepare=False)
        return [question.convert(cursor.fetchall()) for cursor, question in zip(cursors, questions, strict=True)]


@dataclass(frozen=True)
class _Statement:
    """`places` holds for each place of the SQL the parameter's name."""

    sql: str
    places: list[str]
    convert: Convert


class Compiled:
    """`build` is called once, with a stand-in for each parameter, and returns a `values_list` of plain columns.

    Every later call binds values of the same types in the places of the stand-ins and returns the rows. A parameter
    must come out of the query set as it went in (a string that is lowered must be given in lower case).
    """

    def __init__(self, build: Build, **parameters: type[Value]) -> None:
        self._build = build
        self._parameters = parameters

    def __call__(self, **values: Value) -> Rows:
        return together(self.ask(**values))[0]

    def ask(self, **values: Value) -> Question:
        """The question with its values, for `together`."""
        statement = self._compiled
        return Question(statement.sql, [values[name] for name in statement.places], statement.convert)

    @cached_property
    def _compiled(self) -> _Statement:
        stand_ins = {name: _stand_in(number, kind) for number, (name, kind) in enumerate(self._parameters.items())}
        compiler = self._build(**stand_ins).query.get_compiler(connection=connection)
        sql, bound = compiler.as_sql()
        names: Mapping[Any, str] = {value: name for name, value in stand_ins.items()}
        places = [names.get(value, "") if isinstance(value, Value) else "" for value in bound]
        if missing := self._parameters.keys() - set(places):
            raise ValueError(f"the query does not use {', '.join(sorted(missing))}")
        written = _with_constants(sql, [None if name else value for name, value in zip(places, bound, strict=True)])
        converters = compiler.get_converters([column for column, _, _ in compiler.select])
        return _Statement(
            written,
            [name for name in places if name],
            lambda rows: [tuple(row) for row in compiler.apply_converters(rows, converters)],
        )


def _with_constants(sql: str, constants: Sequence[Any]) -> str:
    """The SQL with its constants in their places, None where a value is bound later: what a prepared statement knows
    of them, such as the states that a partial index holds, its plan can use."""
    connection.ensure_connection()
    left = iter(constants)

    def place(match: re.Match[str]) -> str:
        constant = None if match[0] == "%%" else next(left)
        if constant is None:
            return match[0]
        return psycopg.sql.Literal(constant).as_string(connection.connection).replace("%", "%%")

    return re.sub(r"%%|%s", place, sql)


def _stand_in(number: int, kind: type[Value]) -> Value:
    if kind is int:
        return _NUMBER + number
    if kind is uuid.UUID:
        return uuid.UUID(int=number)
    return f"stand-in {number}" if kind is str else _MOMENT + timedelta(days=number)


def columns(model: type[models.Model], prefix: str = "") -> tuple[str, ...]:
    """All columns of a model, as `values_list` wants them; `prefix` is the way to it, such as "user__"."""
    return tuple(prefix + field.attname for field in model._meta.concrete_fields)


def instance(model: type[Row], values: Sequence[Any]) -> Row:
    """The instance of a row that was asked for by `columns`."""
    return model.from_db("default", columns(model), values)


def insert(row: models.Model, *, commit: bool = False) -> None:
    """As `row.save(force_insert=True)`, for a model without a base of its own, signals, and values that the database
    makes. `commit` as for `together`."""
    together(insertion(row), commit=commit)
    row._state.adding, row._state.db = False, connection.alias


def insertion(row: models.Model) -> Question:
    """The INSERT of `insert`, for `together`. A number that the database counts up is left to it and not told."""
    return Question(_insertion(type(row)), [_value(row, field, add=True) for field in _given(type(row))])


def updating(row: models.Model, *names: str) -> Question:
    """The UPDATE of `row.save(update_fields=names)`, for `together`; without signals."""
    fields = [row._meta.get_field(name) for name in names]
    return Question(_updating(type(row), names), [*(_value(row, field, add=False) for field in fields), row.pk])


def _value(row: models.Model, field: Any, *, add: bool) -> Any:
    return field.get_db_prep_save(field.pre_save(row, add=add), connection)


def _given(model: type[models.Model]) -> list[models.Field[Any, Any]]:
    return [field for field in model._meta.concrete_fields if not isinstance(field, models.AutoField)]


@cache
def _insertion(model: type[models.Model]) -> str:
    names = [_column(field) for field in _given(model)]
    places = ", ".join(["%s"] * len(names))
    return f"INSERT INTO {model._meta.db_table} ({', '.join(names)}) VALUES ({places}) RETURNING 1"


@cache
def _updating(model: type[models.Model], names: tuple[str, ...]) -> str:
    changes = ", ".join(f"{_column(model._meta.get_field(name))} = %s" for name in names)
    return f"UPDATE {model._meta.db_table} SET {changes} WHERE {_column(model._meta.pk)} = %s RETURNING 1"


def _column(field: Any) -> str:
    return connection.ops.quote_name(str(field.column))
