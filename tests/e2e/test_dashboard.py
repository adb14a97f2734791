"""The dashboard in a real browser: it shows the data, stays live, acts through REST, and is usable by everybody."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect
from sqlmodel import select

from tests.support import seed_db
from tests.support.browser import chromium
from tests.support.processes import patience
from tests.support.uploading import MODEL, zipped
from tests.support.web import Web, serve
from tuner.db import artifacts, devices, events, jobs, uploads
from tuner.db.engine import read, write
from tuner.db.models import Job, Model

DONE, RUNNING, FAILED = "job-a1b2c3d4e5", "job-f00dcafe42", "job-0bad0bad00"
PATHS = ["/", "/?state=failed", f"/jobs/{DONE}", f"/jobs/{RUNNING}", f"/jobs/{FAILED}", "/artifacts", "/devices"]
PATHS.append("/history?model=bert-base-uncased")
PATIENT_MS = 1000 * patience(10)
expect.set_options(timeout=PATIENT_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A service with one job of each kind, for tests that only look."""
    with serve(tmp_path_factory.mktemp("gallery")) as web:
        with write(web.engine) as session:
            seed_db.everything(session)
        yield web


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Web]:
    with serve(tmp_path) as web:
        yield web


@pytest.fixture
def web(empty: Web) -> Web:
    """The same, for a test that changes something."""
    with write(empty.engine) as session:
        seed_db.everything(session)
    return empty


@pytest.fixture(scope="module")
def visitor(browser: Browser) -> Iterator[BrowserContext]:
    """Somebody whose browser keeps what services gave it; each is an origin of its own."""
    with newcomer(browser) as found:
        found.new_page()  # others open beside it: a window, with all of its own pages, takes a second of a core
        yield found


def newcomer(browser: Browser) -> BrowserContext:
    """A browser's user whom no service knows, and who waits."""
    found = browser.new_context(reduced_motion="reduce")  # what moves is drawn on a core
    found.set_default_timeout(PATIENT_MS)
    return found


class Watched:
    """A page that remembers what went wrong on it and where its requests went.

    A test names it after the service, so that it is gone, with its open stream, before the service stops.
    """

    def __init__(self, visitor: BrowserContext) -> None:
        self.page: Page = visitor.new_page()
        self.problems: list[str] = []
        self.hosts: set[str] = set()
        self.page.on("console", lambda m: self.problems.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))


def sign_in(page: Page, web: Web) -> Page:
    """Give the browser its cookie."""
    name = f"tunesmith-{urlsplit(web.url).port}"
    page.context.add_cookies([{"name": name, "value": web.token, "url": web.url}])
    return page


@pytest.fixture
def stranger(browser: Browser) -> Iterator[Watched]:
    """Nobody that a service knows."""
    with newcomer(browser) as context:
        yield Watched(context)


@pytest.fixture
def watched(visitor: BrowserContext, request: pytest.FixtureRequest) -> Iterator[Watched]:
    """One that the test's service knows."""
    found = Watched(visitor)
    for name in {"gallery", "empty"} & set(request.fixturenames):
        sign_in(found.page, request.getfixturevalue(name))
    yield found
    found.page.close()


@pytest.mark.parametrize("path", PATHS)
def test_a_page_loads_cleanly_is_accessible_in_both_themes_and_fits_a_phone(
    gallery: Web, watched: Watched, path: str
) -> None:
    page = watched.page
    page.emulate_media(reduced_motion="no-preference")
    page.goto(gallery.url + path)
    expect_charts(page)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # no colour is half way to another
        violations = Axe().run(page).response["violations"]
        assert [(v["id"], [node["target"] for node in v["nodes"]]) for v in violations] == [], scheme
    page.set_viewport_size({"width": 360, "height": 740})
    page.reload()
    expect_charts(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert watched.problems == []
    assert watched.hosts == {urlsplit(gallery.url).netloc}


def expect_charts(page: Page) -> None:
    for chart in page.locator(".chart").all():
        expect(chart.locator("canvas")).to_be_visible()


@pytest.mark.parametrize("width", [841, 1201, 1280])
def test_a_long_name_stays_in_its_column(visitor: BrowserContext, web: Web, width: int) -> None:
    with write(web.engine) as session:
        model = session.get(Model, jobs.get(session, FAILED).model_id)
        assert model is not None
        model.name = "/home/somebody/models/" + "a-very-finely-tuned-" * 5 + "bert"
    page = sign_in(visitor.new_page(), web)
    page.set_viewport_size({"width": width, "height": 740})
    for path in ("/", "/artifacts"):
        page.goto(web.url + path)
        table, section = (page.locator(f"#live{inner}").bounding_box() for inner in (" table", ""))
        assert table is not None
        assert section is not None
        assert table["x"] + table["width"] <= section["x"] + section["width"] + 1
    page.close()


def test_dark_mode_follows_the_system(gallery: Web, watched: Watched) -> None:
    def background() -> list[int]:
        colour: str = watched.page.evaluate("getComputedStyle(document.body).backgroundColor")
        return [int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]

    watched.page.goto(f"{gallery.url}/jobs/{DONE}")
    light = background()
    watched.page.emulate_media(color_scheme="dark")
    assert sum(background()) < 150 < 600 < sum(light)
    assert watched.problems == []


def test_jobs_page_lists_and_filters(gallery: Web, watched: Watched) -> None:
    page = watched.page
    page.goto(gallery.url)
    expect(page.locator("tbody tr")).to_have_count(3)
    page.get_by_role("link", name="failed 1").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody")).to_contain_text("The outputs differ")


def test_empty_jobs_page_names_both_ways_to_start(empty: Web, watched: Watched) -> None:
    watched.page.goto(empty.url)
    expect(watched.page.locator("#live")).to_contain_text("tunesmith tune minilm-l6")
    expect(watched.page.get_by_role("link", name="Go to the form")).to_be_visible()


def test_finished_job_shows_the_result_and_its_evidence(gallery: Web, watched: Watched) -> None:
    page = watched.page
    page.goto(f"{gallery.url}/jobs/{DONE}")
    expect(page.locator(".verdict")).to_contain_text("2.6× faster than PyTorch")
    for words in ("51.3 ms vs 134 ms", "3.1e-06", "60 runs", "± 2.0 %", "99 %", "AMD EPYC"):
        expect(page.locator(".verdict")).to_contain_text(words)
    expect(page.locator(".wide-rows tbody tr")).to_have_count(len(seed_db.BERT_KERNELS))
    page.locator("#flow summary").click()
    expect(page.locator("#flow rect.kernel")).to_have_count(len(seed_db.BERT_KERNELS))
    failures = page.locator("#failures")
    expect(failures.locator("summary")).to_contain_text("20 of 944")
    failures.locator("summary").click()
    expect(failures).to_contain_text("cannot split")
    expect(failures).to_contain_text(f"tunesmith retry {DONE}")
    expect(page.locator(".artifact")).to_contain_text("tunesmith run art-")
    with read(gallery.engine) as session:
        artifact_id = jobs.get(session, DONE).artifact_id
    link = page.locator(".artifact").get_by_role("link", name="Download")
    expect(link).to_have_attribute("href", f"/v1/artifacts/{artifact_id}/download")


def test_contestants_say_what_they_cost_and_why_one_is_missing(gallery: Web, watched: Watched) -> None:
    page = watched.page
    page.goto(f"{gallery.url}/jobs/{DONE}")
    table = page.get_by_role("region", name="Table of contestants")
    first, last = table.locator("tbody tr").first, table.locator("tbody tr").last
    for words in ("ONNX Runtime int8", "41.2 ms", "41.6 ms (0.824 ms)", "812 ms", "944 MB", "int8"):
        expect(first).to_contain_text(words)
    expect(last).to_contain_text("Keras not timed")
    expect(last.locator("code")).to_have_text("python -m venv DIR")


def test_finished_job_shows_where_the_time_goes(gallery: Web, watched: Watched) -> None:
    page = watched.page
    page.goto(f"{gallery.url}/jobs/{DONE}")
    chart = page.locator("#roofline")
    expect(chart).to_have_attribute(
        "aria-label", re.compile(r"The device reaches 530 GFLOPS and reads 42.0 GB/s, as measured\.")
    )
    expect(chart.locator("canvas")).to_be_visible()
    first = page.locator(".wide-rows tbody tr").first
    expect(first.locator("[data-label='Of peak']")).to_have_text("82 %")
    assert watched.problems == []


def test_job_without_a_known_peak_shows_no_roofline(web: Web, watched: Watched) -> None:
    with write(web.engine) as session:
        for device in devices.find(session):
            device.facts = devices.told(device)
    watched.page.goto(f"{web.url}/jobs/{DONE}")
    expect(watched.page.locator("#roofline")).to_have_count(0)
    expect(watched.page.locator("[data-label='Of peak']").first).to_have_text("–")


def test_artifacts_are_listed_with_what_was_tuned_and_tested(web: Web, watched: Watched) -> None:
    page = watched.page
    page.goto(f"{web.url}/artifacts")
    row = page.locator("tbody tr").first
    expect(row.locator("[data-label='Coverage']")).to_have_text("99 %")
    with write(web.engine) as session:
        (artifact,) = artifacts.find(session).rows
        told = {"coverage": 0.0, "load_check": "symbols", "tested": "not load-tested on a Mac"}
        artifact.manifest = artifact.manifest | told
        events.emit(session, "artifact", {}, DONE)
    expect(row.locator("[data-label='Coverage']")).to_have_text("0 %")
    expect(row.locator("[data-label='Tested']")).to_have_text("not load-tested on a Mac")
    row.get_by_role("link", name="bert-base-uncased").click()
    expect(page.get_by_role("heading", name="bert-base-uncased")).to_be_visible()


def test_failed_job_says_what_happened_and_what_to_do(gallery: Web, watched: Watched) -> None:
    watched.page.goto(f"{gallery.url}/jobs/{FAILED}")
    box = watched.page.locator(".error")
    expect(box).to_contain_text("differ from PyTorch's by 0.31")
    expect(box.locator("code").first).to_have_text("tunesmith tune distilbert-base-uncased --cold")
    expect(watched.page.locator(".steps .stopped")).to_have_text("verifying")


def test_random_weights_are_marked_wherever_the_job_shows(gallery: Web, watched: Watched) -> None:
    for path in ("/", f"/jobs/{RUNNING}"):
        watched.page.goto(gallery.url + path)
        expect(watched.page.get_by_text("seeded random weights")).to_be_visible()


def test_unknown_job_is_a_page_with_a_way_back(gallery: Web, watched: Watched) -> None:
    response = watched.page.goto(f"{gallery.url}/jobs/job-nowhere")
    assert response is not None
    assert response.status == 404
    expect(watched.page.locator("main")).to_contain_text("There is no job job-nowhere.")
    watched.page.get_by_role("link", name="Back to the jobs").click()
    expect(watched.page.get_by_role("heading", name="Jobs")).to_be_visible()


def test_a_round_shows_without_reloading_the_page(web: Web, watched: Watched) -> None:
    page = watched.page
    page.goto(f"{web.url}/jobs/{RUNNING}")
    expect(page.locator("#link")).to_have_text("live")
    page.evaluate("window.here = true")
    before = page.locator("#curve").get_attribute("data-option")
    with write(web.engine) as session:
        job = jobs.get(session, RUNNING)
        job.trials, job.progress, job.predicted_ms = 246, 0.5, 8.8
        events.emit(session, "round", {"t_sec": 143.0, "trials": 246, "predicted_ms": 8.8}, RUNNING)
    expect(page.locator(".stats")).to_contain_text("246")
    expect(page.locator(".bar")).to_contain_text("50 %")
    assert page.locator("#curve").get_attribute("data-option") != before
    expect(page.locator("#curve canvas")).to_be_visible()
    assert page.evaluate("window.here") is True
    assert watched.problems == []


def test_a_new_job_shows_in_the_list_without_reloading(empty: Web, watched: Watched) -> None:
    watched.page.goto(empty.url)
    expect(watched.page.locator("#link")).to_have_text("live")
    with write(empty.engine) as session:
        seed_db.running_job(session)
    expect(watched.page.locator("tbody")).to_contain_text("minilm-l6")


def test_what_a_person_opened_stays_open_when_the_page_updates(web: Web, watched: Watched) -> None:
    page = watched.page
    page.goto(f"{web.url}/jobs/{RUNNING}")
    expect(page.locator("#link")).to_have_text("live")
    page.locator("#log summary").click()
    with write(web.engine) as session:
        events.emit(session, "message", {"message": "fifteen is next"}, RUNNING)
    expect(page.locator("#log")).to_contain_text("fifteen is next")
    expect(page.locator("#log ol")).to_be_visible()


def test_cancel_asks_first_and_then_asks_the_service(web: Web, watched: Watched) -> None:
    page = watched.page
    page.goto(f"{web.url}/jobs/{RUNNING}")
    questions: list[str] = []
    page.once("dialog", lambda dialog: (questions.append(dialog.message), dialog.accept()))
    with page.expect_response("**/cancel") as answer:
        page.get_by_role("button", name="Cancel").click()
    assert answer.value.ok
    expect(page.get_by_role("button", name="Cancel")).to_be_disabled()
    assert "What it measured is kept" in questions[0]
    with read(web.engine) as session:
        assert jobs.get(session, RUNNING).wish == "cancel"


def test_pause_and_resume(web: Web, watched: Watched) -> None:
    page = watched.page
    page.goto(f"{web.url}/jobs/{RUNNING}")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()


def test_delete_leads_back_to_the_list(web: Web, watched: Watched) -> None:
    page = watched.page
    page.goto(f"{web.url}/jobs/{FAILED}")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete").click()
    page.wait_for_url(f"{web.url}/")
    expect(page.locator("tbody tr")).to_have_count(2)


def test_an_action_the_service_refuses_says_why(web: Web, watched: Watched) -> None:
    page = watched.page
    page.goto(f"{web.url}/jobs/{RUNNING}")
    page.route("**/v1/events*", lambda route: route.abort())
    with write(web.engine) as session:
        jobs.get(session, RUNNING).state = "compiling"
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("alert")).to_contain_text("can't be paused")


def test_the_form_submits_what_was_chosen(empty: Web, watched: Watched) -> None:
    page = watched.page
    page.goto(empty.url)
    page.get_by_role("button", name="minilm-l6").click()
    page.get_by_role("radio", name="Custom").check()
    page.get_by_label("Trials").fill("64")
    page.get_by_label("Sequence").fill("32")
    page.get_by_text("More options").click()
    page.get_by_role("checkbox", name="Cold start").check()
    page.get_by_label("Time beside").fill("torch, onnxruntime")
    page.get_by_role("button", name="Start job").click()
    page.wait_for_url(f"{empty.url}/jobs/*")
    expect(page.get_by_role("heading", name="minilm-l6")).to_be_visible()
    with read(empty.engine) as session:
        job = session.exec(select(Job)).one()
    assert job.against == ["torch", "onnxruntime"]
    assert (job.budget_trials, job.budget_sec, job.seq_len, job.batch, job.cold) == (64, None, 32, 1, True)


def test_a_form_whose_answer_was_lost_makes_one_job_when_it_is_sent_again(empty: Web, watched: Watched) -> None:
    page = watched.page
    page.goto(empty.url)
    page.get_by_role("button", name="minilm-l6").click()

    def lose_the_answer(route: Route) -> None:
        route.fetch()
        route.abort()

    page.route("**/v1/jobs", lose_the_answer, times=1)
    page.get_by_role("button", name="Start job").click()
    expect(page.get_by_role("alert")).to_contain_text("did not answer")
    page.get_by_role("button", name="Start job").click()
    page.wait_for_url(f"{empty.url}/jobs/*")
    page.goto(empty.url)
    page.get_by_role("button", name="minilm-l6").click()
    page.get_by_role("button", name="Start job").click()  # another wish, however alike
    page.wait_for_url(f"{empty.url}/jobs/*")
    with read(empty.engine) as session:
        assert len(session.exec(select(Job)).all()) == 2


def test_the_form_submits_a_job_for_texts(empty: Web, watched: Watched) -> None:
    page = watched.page
    page.goto(empty.url)
    page.get_by_label("Model").fill("minilm-l6")
    page.get_by_text("More options").click()
    page.get_by_label("Texts of any lengths").fill("4:9999")
    page.get_by_role("button", name="Start job").click()
    expect(page.get_by_role("alert")).to_contain_text("at most 512 tokens")
    page.get_by_label("Texts of any lengths").fill("4:64")
    page.get_by_role("button", name="Start job").click()
    page.wait_for_url(f"{empty.url}/jobs/*")
    expect(page.get_by_text("texts of 4 to 64 tokens")).to_be_visible()
    with read(empty.engine) as session:
        lengths = session.exec(select(Job)).one().lengths
    assert lengths is not None
    assert (lengths[0], lengths[-1]) == (4, 64)


def test_the_form_offers_to_compile_only_for_a_machine_that_is_not_there(empty: Web, watched: Watched) -> None:
    page = watched.page
    page.goto(empty.url)
    page.get_by_label("Model").fill("minilm-l6")
    page.get_by_label("Target").select_option("m1-metal")
    page.get_by_role("checkbox", name="Compile only").check()
    expect(page.get_by_role("group", name="Budget")).to_be_hidden()
    page.get_by_role("button", name="Start job").click()
    page.wait_for_url(f"{empty.url}/jobs/*")
    expect(page.locator(".steps li")).to_have_text(["importing", "extracting", "compiling", "verifying"])
    expect(page.get_by_role("button", name="Pause")).to_have_count(0)
    with read(empty.engine) as session:
        job = session.exec(select(Job)).one()
    assert (job.compile_only, job.target, job.budget_trials) == (True, "m1-metal", 0)


def test_trials_typed_for_a_custom_budget_do_not_leak_into_a_preset(empty: Web, watched: Watched) -> None:
    page = watched.page
    page.goto(empty.url)
    page.get_by_label("Model").fill("minilm-l6")
    page.get_by_role("radio", name="Custom").check()
    page.get_by_label("Trials").fill("7")
    page.get_by_role("radio", name="Express").check()
    page.get_by_role("button", name="Start job").click()
    page.wait_for_url(f"{empty.url}/jobs/*")
    with read(empty.engine) as session:
        assert session.exec(select(Job)).one().budget_trials > 7


@pytest.mark.parametrize(
    ("label", "value", "said"),
    [("Model", "no-such-model", "no-such-model"), ("Sequence", "4096", "512"), ("Trials", "0", "0 trials")],
)
def test_the_form_shows_what_is_wrong_at_the_field(
    empty: Web, watched: Watched, label: str, value: str, said: str
) -> None:
    page = watched.page
    page.goto(empty.url)
    page.get_by_label("Model").fill("minilm-l6")
    page.get_by_role("radio", name="Custom").check()
    page.get_by_label("Trials").fill("64")
    page.get_by_label(label).fill(value)
    page.get_by_role("button", name="Start job").click()
    expect(page.get_by_role("alert")).to_contain_text(said)
    expect(page.get_by_label(label)).to_be_focused()
    expect(page.get_by_label(label)).to_have_attribute("aria-invalid", "true")
    with read(empty.engine) as session:
        assert session.exec(select(Job)).all() == []


def test_a_job_can_be_submitted_with_the_keyboard_alone(empty: Web, watched: Watched) -> None:
    page = watched.page
    page.goto(empty.url)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.get_by_label("Model").focus()
    page.keyboard.type("minilm-l6")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{empty.url}/jobs/*")


def test_the_printed_url_leads_in_and_the_token_is_gone_from_it(gallery: Web, stranger: Watched) -> None:
    page = stranger.page
    page.goto(f"{gallery.url}/jobs/{RUNNING}?token={gallery.token}")
    expect(page).to_have_url(f"{gallery.url}/jobs/{RUNNING}")
    expect(page.locator("#link")).to_have_text("live")
    assert gallery.token not in page.content()
    assert page.evaluate("document.cookie") == ""
    page.get_by_role("link", name="Devices").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Devices")
    assert stranger.problems == []


def test_a_stranger_is_asked_and_led_on(gallery: Web, stranger: Watched) -> None:
    page = stranger.page
    page.goto(f"{gallery.url}/artifacts")
    page.get_by_label("Token").fill("not this one")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("This service does not know that token.")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    page.get_by_label("Token").fill(gallery.token)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{gallery.url}/artifacts")
    expect(page.get_by_role("heading", level=1)).to_have_text("Artifacts")


def dropped(page: Page, files: dict[str, bytes]) -> None:
    """Files are let go of over the form, as from a file manager."""
    transfer = page.evaluate_handle(
        """(files) => {
            const transfer = new DataTransfer();
            for (const [name, bytes] of files) transfer.items.add(new File([new Uint8Array(bytes)], name));
            return transfer;
        }""",
        [[name, list(content)] for name, content in files.items()],
    )
    page.locator("#drop").dispatch_event("drop", {"dataTransfer": transfer})


def test_files_that_are_dropped_on_the_form_become_its_model(empty: Web, watched: Watched) -> None:
    page = watched.page
    page.goto(empty.url)
    dropped(page, {**MODEL, "README.md": b"hello", "pytorch_model.bin": b"pickle"})
    expect(page.locator("#drop [role=status]")).to_contain_text("is here")
    expect(page.locator("#model")).to_have_value(re.compile("upload:model-[0-9a-f]{8}"))
    page.get_by_role("button", name="Start job").click()
    page.wait_for_url(f"{empty.url}/jobs/*")
    with read(empty.engine) as session:
        model, job = session.exec(select(Model)).one(), session.exec(select(Job)).one()
        (upload,) = uploads.complete(session)
    assert (job.model_id, model.name) == (model.id, f"upload:{upload.name}")
    assert {file["path"] for file in upload.files} == set(MODEL)
    assert watched.problems == []


def test_a_folder_that_is_chosen_is_sent_with_its_subfolders(empty: Web, watched: Watched, tmp_path: Path) -> None:
    folder = tmp_path / "my-embedder"
    for name, content in {**MODEL, "1_Pooling/config.json": b"{}", "runs/log.txt": b"x"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    watched.page.goto(empty.url)
    watched.page.locator("#drop-folder").set_input_files(folder)
    expect(watched.page.locator("#model")).to_have_value(re.compile("upload:my-embedder-[0-9a-f]{8}"))
    with read(empty.engine) as session:
        (upload,) = uploads.complete(session)
    assert {file["path"] for file in upload.files} == {*MODEL, "1_Pooling/config.json"}
    watched.page.reload()
    expect(watched.page.locator(f"#presets option[value='upload:{upload.name}']")).to_be_attached()


def test_an_archive_that_is_dropped_is_unpacked_by_the_service(empty: Web, watched: Watched) -> None:
    watched.page.goto(empty.url)
    dropped(watched.page, {"bert.zip": zipped(MODEL)})
    expect(watched.page.locator("#model")).to_have_value(re.compile("upload:bert-[0-9a-f]{8}"))


def test_what_can_not_be_uploaded_is_said_beside_the_form(empty: Web, watched: Watched) -> None:
    page = watched.page
    page.goto(empty.url)
    alert = page.locator("#drop [role=alert]")
    dropped(page, {"holiday.png": b"x"})
    expect(alert).to_contain_text("None of these files is a model's.")
    dropped(page, {"config.json": b"{}", "pytorch_model.bin": b"pickle"})
    expect(alert).to_contain_text("pytorch_model.bin is pickled")
    expect(alert.locator("code").first).to_contain_text("save_file")
    dropped(page, {"bert.zip": b"no archive"})
    expect(alert).to_contain_text("no archive")
    violations = Axe().run(page).response["violations"]
    assert [violation["id"] for violation in violations] == []


def test_an_upload_that_broke_off_is_gone_on_with(empty: Web, watched: Watched) -> None:
    page = watched.page
    page.goto(empty.url)
    page.route("**/files/**", lambda route: route.abort(), times=1)
    dropped(page, MODEL)
    expect(page.locator("#drop [role=status]")).to_contain_text("is here")


def test_an_upload_is_cancelled_and_leaves_nothing(empty: Web, watched: Watched) -> None:
    page = watched.page
    page.goto(empty.url)
    held: list[Route] = []
    page.route("**/files/**", lambda route: held.append(route))
    with page.expect_request("**/files/**"):
        dropped(page, MODEL)
    expect(page.get_by_role("progressbar", name="Upload")).to_be_visible()
    with page.expect_response(lambda response: response.request.method == "DELETE") as answer:
        page.get_by_role("button", name="Cancel").click()
    assert answer.value.status == 204
    expect(page.locator("#drop [role=status]")).to_have_text("cancelled")
    with read(empty.engine) as session:
        assert uploads.find(session).total == 0
    assert list(empty.settings.uploads_dir.iterdir()) == []
