from __future__ import annotations

import math

import pytest
from sqlalchemy import Engine

from tests.support.submitting import submit_job
from tuner.config import Settings
from tuner.db import events, jobs, models_
from tuner.db.engine import read, write
from tuner.db.models import Device
from tuner.errors import BudgetInvalid, InvalidInput, MemoryShort, ModelUnknown, SequenceTooLong, TargetUnknown
from tuner.jobs import terms, view
from tuner.jobs.submit import budget
from tuner.schemas import BudgetIn, JobIn


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ({}, (1000, 600.0)),
        ({"preset": "express"}, (1000, 600.0)),
        ({"preset": "full"}, (5000, 3600.0)),
        ({"trials": 64}, (64, None)),
        ({"minutes": 2.5}, (100_000, 150.0)),
        ({"trials": 64, "minutes": 1}, (64, 60.0)),
        ({"preset": "express", "trials": 64}, (64, 600.0)),
    ],
)
def test_a_budget_is_trials_and_seconds(
    wish: dict[str, object], expected: tuple[int, float | None], settings: Settings
) -> None:
    assert budget(BudgetIn.model_validate(wish), settings) == expected


@pytest.mark.parametrize(("preset", "trials", "seconds"), [(None, 500, 120), ("express", 500, 120), ("full", 500, 120)])
def test_a_preset_is_at_most_what_the_settings_allow(
    preset: str | None, trials: int, seconds: float, settings: Settings
) -> None:
    tight = settings.model_copy(update={"max_trials": 500, "max_minutes": 2.0})
    assert budget(BudgetIn.model_validate({"preset": preset}), tight) == (trials, seconds)


@pytest.mark.parametrize(
    "wish",
    [
        BudgetIn(trials=0),
        BudgetIn(trials=-5),
        BudgetIn(trials=10**30),
        BudgetIn(minutes=0),
        BudgetIn(minutes=-1),
        BudgetIn(minutes=math.nan),
        BudgetIn(minutes=math.inf),
        BudgetIn(minutes=1e9),
    ],
    ids=repr,
)
def test_a_budget_out_of_range_is_refused_with_the_limit(wish: BudgetIn, settings: Settings) -> None:
    with pytest.raises(BudgetInvalid) as caught:
        budget(wish, settings)
    assert "100000" in caught.value.hint or "10080" in caught.value.hint


def test_a_submitted_job_waits_and_is_announced(engine: Engine, settings: Settings) -> None:
    job = submit_job(engine, settings, JobIn(model="bert-base-uncased", budget=BudgetIn(trials=64)))
    with read(engine) as session:
        assert jobs.get(session, job.id).state == "submitted"
        assert [(event.kind, event.data["state"]) for event in events.since(session, 0, job.id)] == [
            ("state", "submitted")
        ]


def test_the_same_model_is_kept_once_and_known_by_its_id(engine: Engine, settings: Settings) -> None:
    first = submit_job(engine, settings, JobIn(model="minilm-l6"))
    second = submit_job(engine, settings, JobIn(model=first.model_id, seq_len=64))
    other_head = submit_job(engine, settings, JobIn(model="minilm-l6", head="sequence-classification"))
    assert first.model_id == second.model_id != other_head.model_id
    with read(engine) as session:
        assert models_.find(session).total == 2


def test_a_job_that_only_compiles_has_no_budget(engine: Engine, settings: Settings) -> None:
    wish = JobIn(model="minilm-l6", target="m1-metal", compile_only=True)
    job = submit_job(engine, settings, wish)
    assert (job.compile_only, job.budget_trials, job.budget_sec) == (True, 0, None)
    assert job.target_family == "metal-apple-m1-1024t"
    with pytest.raises(BudgetInvalid, match="does not tune"):
        submit_job(engine, settings, wish.model_copy(update={"budget": BudgetIn(trials=64)}))


def test_a_job_keeps_what_it_tunes_and_how_it_takes_times(engine: Engine, settings: Settings) -> None:
    asked = {"only": ["matmul*"], "skip": ["*gelu"], "repeat": 2, "min_repeat_ms": 300, "rounds": 20}
    asked |= {"strategy": "random", "timeout_sec": 7}
    with_terms = submit_job(engine, settings, JobIn.model_validate({"model": "minilm-l6", **asked}))
    usual = submit_job(engine, settings, JobIn(model="minilm-l6"))
    assert terms.told(with_terms) == asked
    times = {"repeat": 5, "min_repeat_ms": 2, "rounds": 10}
    assert terms.told(usual) == {"only": [], "skip": [], "strategy": "auto", "timeout_sec": None, **times}
    with read(engine) as session:
        shown = [terms.in_words(view.job_out(session, jobs.get(session, job.id))) for job in (with_terms, usual)]
    said = "only matmul*, without *gelu, 2 repeats, of 300 ms at least, 20 rounds, searched at random, "
    assert shown == [said + "7 s at most for a candidate", ""]


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"compile_only": True, "skip": ["softmax"], "rounds": 6}, "Leave out skip and rounds."),
        ({"compile_only": True, "strategy": "random"}, "Leave out strategy."),
        ({"repeat": 50, "min_repeat_ms": 101}, "5,000 ms"),
    ],
)
def test_terms_that_can_not_be_kept_are_refused(
    wish: dict[str, object], said: str, engine: Engine, settings: Settings
) -> None:
    with pytest.raises(InvalidInput) as caught:
        submit_job(engine, settings, JobIn.model_validate({"model": "minilm-l6", **wish}))
    assert said in caught.value.hint


def test_a_job_says_why_it_is_for_one_shape(engine: Engine, settings: Settings) -> None:
    texts = submit_job(engine, settings, JobIn(model="minilm-l6", target="m1-cpu"))
    shape = submit_job(engine, settings, JobIn(model="minilm-l6", target="m1-metal"))
    assert texts.lengths
    assert (shape.batch, shape.seq_len, shape.lengths) == (1, 128, None)
    with read(engine) as session:
        told = {job.id: [e.data["message"] for e in events.since(session, 0, job.id)][1:] for job in (texts, shape)}
    assert told == {
        texts.id: [],
        shape.id: ["Texts of any lengths are for CPUs; m1-metal is none. So it is 1 x 128."],
    }


def test_a_refused_job_leaves_nothing_behind(engine: Engine, settings: Settings) -> None:
    refused = [
        (JobIn(model="bert-base-uncasde"), ModelUnknown, "bert-base-uncasde"),
        (JobIn(model="minilm-l6", target="lokal"), TargetUnknown, "lokal"),
        (JobIn(model="minilm-l6", seq_len=513), SequenceTooLong, "512.*513"),
        (JobIn(model="minilm-l6", budget=BudgetIn(trials=0)), BudgetInvalid, "0 trials"),
    ]
    for wish, error, message in refused:
        with pytest.raises(error, match=message):
            submit_job(engine, settings, wish)
    with read(engine) as session:
        assert jobs.find(session).total == models_.find(session).total == events.last_id(session) == 0


def test_a_job_knows_its_target_once_the_device_was_seen(engine: Engine, settings: Settings) -> None:
    facts = {"mtriple": "x86_64-unknown-linux-gnu", "mcpu": "znver5", "threads": 2}
    assert submit_job(engine, settings, JobIn(model="minilm-l6")).target_family == ""
    with write(engine) as session:
        session.add(Device(key=settings.device_key, facts=facts))
    assert submit_job(engine, settings, JobIn(model="minilm-l6")).target_family == "llvm-x86_64-znver5-2c"


def test_a_shape_that_takes_more_memory_than_there_is_is_refused_and_leaves_no_job(
    engine: Engine, settings: Settings
) -> None:
    wish = JobIn(model="bert-base-uncased", batch=1024, seq_len=512)
    tight = settings.model_copy(update={"import_memory_bytes": 8 * 10**9})
    with pytest.raises(MemoryShort, match=r"bert-base-uncased at batch 1024 .* 8.0 GB may be used"):
        submit_job(engine, tight, wish)
    with read(engine) as session:
        assert jobs.find(session).total == 0
    submit_job(engine, tight, wish.model_copy(update={"batch": 8}))
    elsewhere = settings.model_copy(update={"engine": "tls://scheduler:8786"})
    submit_job(engine, elsewhere, wish)  # its memory is not known here
