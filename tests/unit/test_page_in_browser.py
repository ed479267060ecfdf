"""The report's page in a headless Chromium, where one is installed: it renders, filters, and its console is empty."""

import shutil
import subprocess

import made_runs
import pytest

from carryover.report import find_runs
from carryover.report.page import page
from carryover.report.tables.table import Table

EVIL = "<img/src=x/onerror=document.title='broken'>"


@pytest.fixture(scope="module")
def browser():
    """Path of a Chromium."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser is installed: none of {', '.join(names)} on the path")
    return found


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """A page of two runs of 60 utterances, with a hostile word; errors by their number modulo 4: s, i, d, none."""
    folder = tmp_path_factory.mktemp("results")
    for seed in (1, 2):
        kinds = [("a b", "a x"), ("a b", "a b c"), ("a b", "a"), ("a b", "a b")]
        rows = [(*kinds[i % 4], ("anna", "ben")[i % 2], 1.0 + i) for i in range(60)]
        run = made_runs.make(folder / "run" / str(seed), seed=seed, tests={("de", "best"): rows})
        path = run / "predictions_test_de_best.csv"
        path.write_text(path.read_text().replace("a x,a b,a x", f"a x,a b,a {EVIL}"))
    runs = find_runs.load([folder])
    return page.write(folder / "index.html", runs, [], [], {}, "Methods.")


def test_it_renders_without_an_error(browser, index, tmp_path):
    words = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--enable-logging=stderr"]
    command = [browser, *words, "--virtual-time-budget=2000", "--dump-dom", index.as_uri()]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert found.stdout.count('<li><div class="about">') == 40
    assert "40 of 120 utterances shown" in found.stdout and "Show 40 more" in found.stdout
    assert "<title>carryover report</title>" in found.stdout and "&lt;img/src=x" in found.stdout
    assert not [line for line in found.stderr.splitlines() if "CONSOLE" in line]


def test_filters_by_clicking(browser, index):
    api = pytest.importorskip("playwright.sync_api", reason="clicking needs `pip install playwright`")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for width in (1400, 400):
            tab = chromium.new_page(viewport={"width": width, "height": 900})
            said, asked = [], []
            tab.on("console", lambda message, said=said: said.append(message.text))
            tab.on("pageerror", lambda error, said=said: said.append(str(error)))
            tab.on("request", lambda request, asked=asked: asked.append(request.url))
            tab.goto(index.as_uri())

            def count(n, tab=tab):
                api.expect(tab.locator("#count")).to_have_text(f"{min(n, 40)} of {n} utterances shown")

            count(120)
            assert tab.evaluate("document.documentElement.scrollWidth") <= width  # nothing sticks out
            for kind, n in {"s": 30, "i": 30, "d": 30, "any": 90, "none": 30}.items():
                tab.select_option("select[name=kind]", kind)
                count(n)
            tab.select_option("select[name=kind]", "d")
            tab.select_option("select[name=run]", label="run/2")
            count(15)
            tab.select_option("select[name=speaker]", label="ben")
            count(0)
            tab.select_option("select[name=speaker]", label="anna")
            count(15)
            tab.click("button[type=reset]")
            count(120)
            tab.fill("input[name=text]", "de59")
            count(2)
            tab.fill("input[name=text]", "ONERROR")  # capitals are as small letters
            count(30)
            tab.click("button[type=reset]")
            count(120)
            tab.focus("#more")
            tab.keyboard.press("Enter")
            api.expect(tab.locator("#count")).to_have_text("80 of 120 utterances shown")
            assert tab.locator("#list li").count() == 80
            tab.select_option("select[name=order]", "long")
            api.expect(tab.locator("#list li").first).to_contain_text("60 s")
            assert tab.title() == "carryover report" and tab.locator("#list img").count() == 0
            assert said == [] and [url for url in asked if not url.startswith("data:")] == [index.as_uri()]
        chromium.close()


def test_columns_sort_and_filters_stand_in_the_address(browser, index, tmp_path):
    api = pytest.importorskip("playwright.sync_api", reason="clicking needs `pip install playwright`")
    rows = [["plain", 10.5, "-"], ["EWC", 9.25, "0.003"], ["replay", 100.0, "<0.001"]]
    table = Table("main", ["method", "WER", "p"], rows, "A caption.", title="German after Dutch")
    runs = find_runs.load([index.parent])
    where = page.write(tmp_path / "index.html", runs, [table], [], {}, "Methods.")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        tab = chromium.new_page()
        tab.goto(where.as_uri())
        shown = tab.locator("#summary tbody tr th")
        for head, orders in {
            "WER": (["EWC", "plain", "replay"], ["replay", "plain", "EWC"]),
            "p": (["replay", "EWC", "plain"], ["EWC", "replay", "plain"]),
        }.items():
            for order in orders:
                tab.locator("#summary thead button", has_text=head).click()
                api.expect(shown).to_have_text(order)
        tab.select_option("select[name=kind]", "d")
        tab.select_option("select[name=run]", label="run/2")
        api.expect(tab.locator("#count")).to_have_text("15 of 15 utterances shown")
        tab.wait_for_function("location.hash.includes('kind=d')")
        address = tab.url
        assert address.endswith("#errors?run=run%2F2&kind=d")
        other = chromium.new_page()
        other.goto(address)
        api.expect(other.locator("#count")).to_have_text("15 of 15 utterances shown")
        chromium.close()
