"""apps/compiled.py: what is compiled once answers like the query set it was made of."""

import uuid

import psycopg
import pytest
from django.db import DataError, IntegrityError, connection, transaction
from django.db.models import Q, QuerySet

from apps.accounts.models import User
from apps.compiled import Compiled, Question, columns, insert, insertion, instance, together, updating
from apps.inference.models import Run
from apps.usage.models import Usage
from tests import factories


def named(name: str, number: int = 0) -> QuerySet[User, tuple[int, str]]:
    return User.objects.filter(Q(username=name) | Q(pk=number), is_active=True).values_list("pk", "username")


@pytest.mark.django_db
def test_each_call_binds_its_own_values() -> None:
    alice, bob = factories.user("alice"), factories.user("bob")
    ask = Compiled(named, name=str, number=int)
    assert ask(name="alice", number=0) == [(alice.pk, "alice")]
    assert ask(name="nobody", number=bob.pk) == [(bob.pk, "bob")]


@pytest.mark.django_db
def test_constants_of_the_query_set_are_kept() -> None:
    alice = factories.user("alice")
    ask = Compiled(named, name=str, number=int)
    User.objects.filter(pk=alice.pk).update(is_active=False)
    assert ask(name="alice", number=alice.pk) == []


def prepared() -> list[str]:
    """What this connection's server has planned for good."""
    (rows,) = together(Question("SELECT statement FROM pg_prepared_statements"))
    return [statement for (statement,) in rows]


@pytest.mark.django_db(transaction=True)
def test_a_statement_is_prepared_once_with_its_constants_in_it() -> None:
    """A plan that is kept may use a partial index only if it knows which states are asked for."""
    ask = Compiled(lambda user: Run.objects.open().filter(user=user, kind="100%").values_list("pk"), user=int)
    for number in range(3):
        assert ask(user=number) == []
    (statement,) = [text for text in prepared() if "100%" in text]
    assert "'queued'" in statement and "'100%'" in statement and "$1" in statement and "$2" not in statement


@pytest.mark.django_db(transaction=True)
def test_a_statement_that_failed_can_be_asked_again() -> None:
    sql = "SELECT 6 / %s"
    for _ in range(2):
        with pytest.raises(DataError), transaction.atomic():
            together(Question("SELECT 5"), Question(sql, [0]), Question("SELECT 7"))
        assert together(Question("SELECT 5"), Question(sql, [3]), Question("SELECT 7")) == [[(5,)], [(2,)], [(7,)]]


@pytest.mark.django_db
def test_a_parameter_that_the_query_does_not_use_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="unused"):
        Compiled(lambda name, unused: named(name), name=str, unused=str)(name="a", unused="b")


@pytest.mark.django_db
def test_several_questions_are_answered_in_turn_in_one_round_trip() -> None:
    alice = factories.user("alice")
    ask = Compiled(named, name=str, number=int)
    told = together(ask.ask(name="alice", number=0), Question("SELECT %s + 1", [41]), ask.ask(name="nobody", number=0))
    assert told == [[(alice.pk, "alice")], [(42,)], []]


@pytest.mark.django_db
def test_a_question_that_fails_among_others_raises_what_it_raises_alone() -> None:
    wrong = Question("SELECT 1 / %s", [0])
    for questions in ([wrong], [Question("SELECT 1"), wrong, Question("SELECT 2")]):
        with pytest.raises(DataError, match="division by zero"), transaction.atomic():
            together(*questions)
    assert together(Question("SELECT 1")) == [[(1,)]]


@pytest.mark.django_db
def test_a_row_that_is_inserted_is_the_one_that_would_be_saved() -> None:
    kind = {"kind": "chat", "model": "m", "version": "v", "weights": "w", "context": 64, "request": 'a "b" %s'}
    run = Run(
        user=factories.user("alice"), options={"num_thread": 2}, sizing={"a": [1.5, None]}, keep_alive=2.5, **kind
    )
    insert(run)
    found = Run.objects.get(pk=run.pk)
    fields = [field.attname for field in Run._meta.concrete_fields]
    assert [getattr(found, name) for name in fields] == [getattr(run, name) for name in fields]
    run.model = "n"
    run.save()  # an update: it is known to be stored
    assert Run.objects.get(pk=run.pk).model == "n"
    with pytest.raises(IntegrityError), transaction.atomic():
        insert(run)


@pytest.mark.django_db
def test_a_number_that_the_database_counts_up_is_left_to_it() -> None:
    users = [factories.user("alice"), factories.user("bob")]
    rows = [Usage(run_id=uuid.uuid4(), user=user, user_name=user.username, output_tokens=7) for user in users]
    together(*map(insertion, rows))
    found = list(Usage.objects.order_by("pk"))
    assert [row.run_id for row in found] == [row.run_id for row in rows] and found[0].pk != found[1].pk
    assert [(row.user, row.output_tokens) for row in found] == [(user, 7) for user in users]


@pytest.mark.django_db
def test_only_the_fields_that_are_named_are_updated() -> None:
    rows = [Usage.objects.create(run_id=uuid.uuid4(), user_name=name, outcome="stop") for name in ("alice", "bob")]
    rows[0].user_name, rows[0].outcome = "carol", "error"
    together(updating(rows[0], "user_name"))
    found = Usage.objects.order_by("pk").values_list("user_name", "outcome")
    assert list(found) == [("carol", "stop"), ("bob", "stop")]


@pytest.mark.django_db
def test_a_whole_row_is_the_one_that_a_query_set_finds() -> None:
    kind = {"kind": "chat", "model": "m", "version": "v", "weights": "w", "context": 64}
    run = Run.objects.create(user=factories.user("alice"), options={"num_thread": 2}, sizing={"a": [1.5]}, **kind)
    ask = Compiled(lambda run: Run.objects.filter(pk=run).values_list(*columns(Run)), run=uuid.UUID)
    assert ask(run=uuid.uuid4()) == []
    (row,) = ask(run=run.pk)
    again = Run.objects.get(pk=run.pk)
    assert vars(instance(Run, row)) | {"_state": None} == vars(again) | {"_state": None}
    assert again.options == run.options


def seen_by_others(email: str) -> bool:
    """Whether it is committed: found over another connection."""
    with psycopg.connect(connection.connection.info.dsn, password=connection.connection.info.password) as other:
        found = other.execute(f"SELECT 1 FROM {User._meta.db_table} WHERE email = %s", [email]).fetchone()
    return found is not None


@pytest.mark.django_db(transaction=True)
def test_a_transaction_may_end_with_its_last_question() -> None:
    change = f"UPDATE {User._meta.db_table} SET email = %s WHERE id = %s RETURNING 1"
    alice = factories.user("alice")
    with transaction.atomic():
        together(Question(change, ["bob@x", alice.pk]), commit=True)
        assert seen_by_others("bob@x")
    with pytest.raises(DataError), transaction.atomic():
        together(Question(change, ["carol@x", alice.pk]), Question("SELECT 1 / 0"), commit=True)
    with pytest.raises(RuntimeError), transaction.atomic():
        with transaction.atomic():
            together(Question(change, ["dora@x", alice.pk]), commit=True)
        assert not seen_by_others("dora@x")  # the greater transaction goes on, and is undone
        raise RuntimeError
    assert User.objects.get(pk=alice.pk).email == "bob@x"


@pytest.mark.django_db(transaction=True)
def test_a_constraint_that_the_end_checks_is_raised_by_the_commit() -> None:
    run = Run(user_id=-1, kind="chat", model="m", version="v", weights="w", context=64)
    with pytest.raises(IntegrityError), transaction.atomic():
        insert(run, commit=True)
    assert not Run.objects.exists()
