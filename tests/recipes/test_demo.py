"""carryover demo: two runs hear an uploaded clip, differences are marked, and no other machine is asked anything."""

import shutil
import socket

import pytest
from typer.testing import CliRunner

from carryover.commands import load, transcription
from carryover.commands.app import app
from carryover.commands.demo import command

from .helpers import ROOT, train

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture
def page():
    pytest.importorskip("gradio", reason="gradio is not installed: pip install -e '.[demo]'")
    from carryover.commands.demo import page

    return page


@pytest.fixture
def runs(page, whisper_run, tmp_path, monkeypatch):
    """Two runs of one update with seeds that differ, loaded as the command loads them."""
    monkeypatch.chdir(ROOT)
    found = []
    for seed in ("1", "2"):
        own = {"max_updates": "1", "warmup": "1", "test_before": "False", "seed": seed, "lr": "1.0e-2"}
        run = whisper_run | own | {"output_folder": str(tmp_path / seed)}
        done = train(run)
        assert done.returncode == 0, done.stderr
        brain, hparams, _ = load.load_run(tmp_path / seed)
        found.append(page.Heard(f"run {seed}", brain, hparams, "nl"))
    return found


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def expected(runs, clip) -> list[str]:
    """What `carryover transcribe` writes."""
    found = [transcription.Listener(r.brain, r.hparams["limits"], "nl", 1).clips([clip])[0][0]["text"] for r in runs]
    return found


def test_words_that_differ_are_named(page):
    own, other = "de kat zit <b>", "de kat zat hier <b>"
    assert page.marked(own, other) == [
        ("de ", None), ("kat ", None), ("zit ", "another word"), ("∅ ", "only there"), ("<b> ", None),
    ]  # fmt: skip
    assert page.marked(other, own)[3] == ("hier ", "only here")
    assert page.marked("", "") == []


def test_it_answers_what_transcribe_writes_and_leaves_no_recording(
    page, runs, port, small_corpus, tmp_path, monkeypatch
):
    client = pytest.importorskip("gradio_client")
    clip = sorted(small_corpus.glob("*.wav"))[0]
    said = expected(runs, clip)
    with page.served(runs, "127.0.0.1", port) as blocks:
        folder = page.os.environ["GRADIO_TEMP_DIR"]
        asking = client.Client(f"http://127.0.0.1:{port}", verbose=False)
        answer = asking.predict(client.handle_file(str(clip)), api_name="/hear")
        words = [
            " ".join(part["token"].strip() for part in one if part["token"].strip() != page.NOTHING) for one in answer
        ]
        assert [word.split() for word in words] == [text.split() for text in said]
        with pytest.raises(Exception, match="Speak or upload"):
            asking.predict(None, api_name="/hear")
        broken = tmp_path / "broken.wav"
        broken.write_text("no audio")
        with pytest.raises(Exception, match="audio cannot be read"):
            asking.predict(client.handle_file(str(broken)), api_name="/hear")
        assert blocks.share_url is None and blocks.analytics_enabled is False
    assert not page.Path(folder).exists()


def test_in_a_browser(page, runs, port, small_corpus):
    api = pytest.importorskip("playwright.sync_api", reason="a browser is driven by `pip install playwright`")
    browser = next((path for name in NAMES if (path := shutil.which(name))), None)
    if browser is None:
        pytest.skip(f"no browser is installed: none of {', '.join(NAMES)} on the path")
    clip = sorted(small_corpus.glob("*.wav"))[0]
    said = expected(runs, clip)
    with page.served(runs, "127.0.0.1", port), api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        tab, asked, broken = chromium.new_page(viewport={"width": 1400, "height": 900}), [], []
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("pageerror", lambda error: broken.append(str(error)))
        tab.goto(f"http://127.0.0.1:{port}")
        tab.locator("input[type=file]").first.set_input_files(str(clip))
        api.expect(
            tab.get_by_text(clip.name).or_(tab.locator("#component-0 audio, .waveform-container")).first
        ).to_be_visible()
        assert tab.get_by_role("button", name="share").count() == 0, "a recording is not to be sent anywhere"
        tab.get_by_role("button", name="Transcribe").click()
        for n, text in enumerate(said, start=1):
            for word in set(text.split()):
                api.expect(tab.locator(f"#run{n}")).to_contain_text(word, timeout=60_000)
        chromium.close()
    elsewhere = [url for url in asked if not url.startswith((f"http://127.0.0.1:{port}", "data:", "blob:"))]
    assert elsewhere == [] and broken == []


def test_bad_input_is_one_line(port, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)

    def error(*words: str) -> str:
        done = CliRunner().invoke(app, ["demo", *words, "--port", str(port)])
        assert isinstance(done.exception, (ValueError, ImportError, OSError)), done.output
        return str(done.exception)

    assert "3 run folders; give one, or two" in error("a", "b", "c")
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: None)
    assert "pip install -e '.[demo]'" in error("a")
    monkeypatch.undo()
    monkeypatch.chdir(ROOT)
    pytest.importorskip("gradio")
    assert "is no run folder" in error(str(tmp_path))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert "cannot be listened on" in error("a")


def test_which_addresses_are_this_machine_alone():
    assert all(map(command.is_loopback, ("127.0.0.1", "::1", "localhost")))
    assert not any(map(command.is_loopback, ("0.0.0.0", "192.168.1.2", "example.org")))
