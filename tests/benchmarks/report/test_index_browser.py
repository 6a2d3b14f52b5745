"""The page of all tables in a headless Chromium, where playwright and a browser are installed."""

import os
import shutil
from pathlib import Path

import pytest

from benchmarks.report.index import PAGE

PUBLISHED = Path(__file__).parents[3] / "results" / PAGE
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
PATIENCE = 120_000  # milliseconds
playwright = pytest.importorskip("playwright.sync_api", reason="no playwright here: pip install -e '.[browser]'")
pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="no Chromium here"),
    pytest.mark.skipif(not PUBLISHED.is_file(), reason="nothing is published yet"),
]
ROWS = "#tiny-dagan_self .scores >> nth=0 >> tbody >> nth={block} >> tr:not(.block)"
SHOWN = "#claims-table tbody tr:not([hidden])"


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as runner:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = runner.chromium.launch(executable_path=BROWSER, args=arguments, timeout=PATIENCE)
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    page = opened(browser, viewport={"width": 1280, "height": 900}, color_scheme="light")
    yield page
    page.context.close()


def opened(browser, **settings):
    """A page that fails on an error of its script, and on a request that leaves the folder."""
    page = browser.new_context(**settings).new_page()
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("console", lambda said: page.faults.append(said.text) if said.type in ("error", "warning") else None)
    page.on("request", lambda sent: page.faults.append(sent.url) if not sent.url.startswith("file:") else None)
    page.set_default_timeout(PATIENCE)
    page.goto(PUBLISHED.as_uri(), wait_until="domcontentloaded")
    return page


def numbers(page, column, block):
    cells = page.locator(ROWS.format(block=block)).evaluate_all(
        "(rows, column) => rows.map((row) => row.cells[column].dataset.number)", column
    )
    return [float(cell) for cell in cells if cell]  # rows that wait for outputs have none


def test_heads_sort_each_block_by_click_and_by_key_and_say_so(page):
    before = [numbers(page, 2, block) for block in range(4)]
    head = page.locator("#tiny-dagan_self .scores thead th").nth(2)  # PSNR, where more is better
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert [numbers(page, 2, block) for block in range(4)] == [sorted(each, reverse=True) for each in before]
    assert "PSNR" in page.locator("#announced").inner_text()
    head.locator("button").press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert [numbers(page, 2, block) for block in range(4)] == [sorted(each) for each in before]
    page.locator("#tiny-dagan_self .scores thead th button").nth(1).press("Space")  # L1, where less is better
    assert head.get_attribute("aria-sort") is None
    assert numbers(page, 1, 2) == sorted(numbers(page, 1, 2))
    for _ in range(2):
        page.locator("#tiny-dagan_self .scores thead th button").nth(1).press("Enter")
    assert [numbers(page, 2, block) for block in range(4)] == before  # as published
    assert not page.faults


def test_cells_without_a_number_stay_last_either_way(page):
    head = page.locator("#claims-table thead th").nth(1)
    for _ in range(2):
        head.locator("button").click()
        cells = page.locator("#claims-table tbody tr td:nth-of-type(1)").evaluate_all(
            "(cells) => cells.map((cell) => cell.dataset.number)"
        )
        assert len(cells) == page.locator("#claims-table tbody tr").count()
        gaps = [not cell for cell in cells]
        assert gaps == sorted(gaps)
    assert not page.faults


def test_filters_leave_what_was_asked_for_and_count_it(page):
    rows = page.locator("#claims-table tbody tr")
    total, count = rows.count(), page.locator("#count")
    assert count.inner_text() == f"{total} claims"
    page.get_by_label("System").select_option("lipflow")
    assert set(page.locator(SHOWN).evaluate_all("(rows) => rows.map((row) => row.dataset.system)")) == {"lipflow"}
    page.get_by_label("Verdict").select_option("open")
    kinds = set(page.locator(SHOWN).evaluate_all("(rows) => rows.map((row) => row.dataset.kind)"))
    assert kinds <= {"not separated", "no verdict"}
    page.get_by_label("Words").type("GEOM kl-kpt")
    texts = page.locator(SHOWN).all_inner_texts()
    assert all("geom" in text.lower() and "kl-kpt" in text.lower() for text in texts)
    assert 0 < len(texts) < total
    assert count.inner_text() == f"{len(texts)} of {total} claims"
    page.get_by_role("button", name="Show all").click()
    playwright.expect(page.locator(SHOWN)).to_have_count(total)
    page.locator("#tiny-dagan_self [data-show-table]").click()
    assert set(page.locator(SHOWN).evaluate_all("(rows) => rows.map((row) => row.dataset.table)")) == {
        "tiny-dagan_self"
    }
    assert not page.faults


def test_the_theme_follows_the_system_until_somebody_chooses_and_is_kept(browser, page):
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.emulate_media(color_scheme="dark")
    dark, button = page.evaluate(ground), page.locator("#theme")
    assert dark != light
    playwright.expect(button).to_have_attribute("aria-pressed", "true")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate(ground) == light  # paper is white
    page.emulate_media(media="screen", color_scheme="dark")
    button.click()
    assert page.evaluate(ground) == light
    assert button.get_attribute("aria-pressed") == "false"
    page.reload(wait_until="domcontentloaded")
    assert page.evaluate(ground) == light
    page.emulate_media(color_scheme="light")
    button.click()
    assert page.evaluate(ground) == dark
    page.emulate_media(media="print")
    assert page.evaluate(ground) == light
    assert not page.locator("nav").is_visible()
    assert not page.faults


def test_the_keyboard_reaches_the_content_first_and_every_folded_part(page):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    fold = page.locator("#tiny-dagan_self details").last
    fold.locator("summary").press("Enter")
    assert fold.locator("pre").is_visible()
    assert "run_all" in fold.locator("pre").inner_text()
    assert not page.faults


def test_charts_show_the_quality_that_is_picked(page):
    box = page.locator(".charts").first
    figures, pick = box.locator("figure"), box.locator("select")
    assert [figure.is_visible() for figure in figures.all()] == [True] + [False] * (figures.count() - 1)
    pick.select_option(index=1)
    assert figures.nth(1).is_visible()
    assert not figures.nth(0).is_visible()
    assert not page.faults


def test_clips_play_and_pictures_load(page):
    for clip in page.locator("video").all():
        clip.scroll_into_view_if_needed()
        clip.evaluate("(clip) => clip.play()")
        page.wait_for_function("(clip) => clip.currentTime > 0", arg=clip.element_handle())
    page.evaluate("document.querySelectorAll('img').forEach((img) => { img.loading = 'eager'; })")
    page.wait_for_function("[...document.images].every((img) => img.complete && img.naturalWidth)")
    assert not page.faults


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_but_tables_scrolls_sideways(browser, width):
    page = opened(browser, viewport={"width": width, "height": 800})
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    root = "document.documentElement"
    assert page.evaluate(f"{root}.scrollWidth - {root}.clientWidth") == 0
    assert not page.faults
    page.context.close()


def test_all_can_be_read_without_scripts(browser):
    page = opened(browser, java_script_enabled=False)
    assert not page.locator("#filters").is_visible()
    assert not page.locator("#theme").is_visible()
    assert page.locator("#claims-table tbody tr").last.is_visible()
    assert all(chart.is_visible() for chart in page.locator(".charts figure").all())
    page.locator("#tiny-dagan_self summary").last.click()
    assert page.locator("#tiny-dagan_self pre").is_visible()
    page.context.close()
