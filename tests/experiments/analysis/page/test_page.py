"""The page in a real browser: what is shown, that nothing a model wrote is run, and that only what is seen is drawn."""

import json

import pytest

from groundrl.experiments.analysis import open_log
from groundrl.experiments.analysis.page import write_page
from groundrl.experiments.analysis.page.build import render
from groundrl.experiments.analysis.page.content import page_content
from groundrl.experiments.data import NucleiCrops

HOSTILE = [
    "<script>window.hacked = 1</script>",
    "</script><script>window.hacked = 2</script>",
    "<img src=x onerror='window.hacked = 3'>",
    "<!--<script>",
    "javascript:window.hacked=4 \u2028 \u0000 &lt;b&gt; \U0001f9a0",
]


def plain(tmp_path, rows):
    file = tmp_path / "log.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return open_log(file)


def boxes_log(tmp_path):
    """Two steps of one group each on a real crop, the completions of known advantages."""
    crop = NucleiCrops("test")[1]
    (tmp_path / "crop.png").write_bytes(crop.images[0].source)
    truth = {"xyxy": crop.reference.boxes.xyxy.tolist(), "space": "pixel"}
    asked = {"prompt": "Detect.", "images": ["crop.png"], "reference": {"label": "1 nucleus", "boxes": truth}}
    texts = ("none", "1 nucleus <box>[[250, 500, 500, 1000]]</box>", "3 <box>[[900, 0, 100, 50]]</box>")
    return plain(
        tmp_path,
        [
            {**asked, "step": step, "id": "crop", "completion": f"{text} {step}".removesuffix(" 0"), **scores}
            for step in (0, 7)
            for text, scores in zip(
                texts,
                (
                    {"reward": 0.1, "advantage": -1.0, "parts": {"box": 0.1}},
                    {"reward": 0.9, "advantage": 1.2, "parts": {"box": 0.9}},
                    {"reward": 0.5, "advantage": -0.2, "parts": {"box": None}},
                ),
                strict=True,
            )
        ],
    )


def test_groups_by_advantage_with_boxes_parts_and_filters(tmp_path, look):
    write_page(boxes_log(tmp_path), tmp_path / "page.html")
    page = look(tmp_path / "page.html")
    assert page.locator("#step-name").text_content() == "7"
    assert page.locator(".advantage").all_text_contents() == ["adv +1.20", "adv −0.20", "adv −1.00"]
    first = page.locator(".card").first
    assert first.locator("rect.true").count() == len(NucleiCrops("test")[1].reference.boxes)
    box = first.locator("rect.predicted")
    assert [float(box.get_attribute(name)) for name in ("x", "y", "width", "height")] == [250, 500, 250, 500]
    assert page.locator("rect.inverted").count() == 1
    assert first.locator(".part-value").text_content() == "0.90"
    page.keyboard.press("ArrowLeft")
    assert page.locator("#step-name").text_content() == "0"
    page.keyboard.press("/")
    page.keyboard.type("NONE")
    assert page.locator("#count").text_content() == "1 of 3 completions in 1 groups"
    page.fill("#search", "")
    page.select_option("#part", label="box")
    page.select_option("#condition", "high")
    assert page.locator(".card .text").all_text_contents() == ["1 nucleus <box>[[250, 500, 500, 1000]]</box>"]
    page.select_option("#condition", "")
    page.check("#every")
    assert page.locator("#count").text_content() == "6 of 6 completions in 2 groups"
    assert page.locator(".strip-name").all_text_contents() == ["step 0 · crop", "step 7 · crop"]
    page.fill("#example", "another")
    assert page.locator("#count").text_content() == "0 of 6 completions in 0 groups"


def test_a_completion_opens_and_closes_by_keyboard(tmp_path, look):
    write_page(boxes_log(tmp_path), tmp_path / "page.html")
    page = look(tmp_path / "page.html")
    page.locator(".card").first.focus()
    page.keyboard.press("Enter")
    shown = page.locator("#detail").text_content()
    assert "label: 1 nucleus" in shown
    assert "Detect." in shown
    page.keyboard.press("Escape")
    assert not page.locator("#detail").is_visible()
    page.locator("#tab-rollouts").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#curves").is_visible()
    assert page.locator("#curves figcaption").all_text_contents() == ["reward and its parts"]
    assert not page.locator("#rollouts").is_visible()


def test_what_a_model_wrote_is_shown_and_not_run(tmp_path, look):
    rows = [{"prompt": text, "completion": text, "reference": {"label": text}, "parts": {"p": 0.5}} for text in HOSTILE]
    log = plain(tmp_path, [{**row, "id": f"<b>{index}</b>"} for index, row in enumerate(rows)])
    write_page(log, tmp_path / "page.html")
    page = look(tmp_path / "page.html", viewport={"width": 900, "height": 3000})
    assert sorted(page.locator(".card .text").all_text_contents()) == sorted(HOSTILE)
    for index in range(len(HOSTILE)):
        page.locator(".card").nth(index).click()
        page.keyboard.press("Escape")
    assert page.evaluate("window.hacked") is None
    assert page.locator("img, b, #viewport script").count() == 0
    # even if a script did get in, the policy would not let it run
    page.evaluate(
        "const s = document.createElement('script'); s.textContent = 'window.hacked = 5'; document.body.append(s)"
    )
    assert page.evaluate("window.hacked") is None


def test_a_title_is_escaped_too():
    assert "<title>&lt;i&gt;</title>" in render("<i>", {})


def test_of_ten_thousand_completions_only_those_in_sight_are_drawn(tmp_path, look):
    rows = [
        {"prompt": f"q{step}-{group}", "completion": f"answer {k}", "step": step, "advantage": float(k)}
        for step in range(125)
        for group in range(10)
        for k in range(8)
    ]
    write_page(plain(tmp_path, rows), tmp_path / "page.html")
    page = look(tmp_path / "page.html", viewport={"width": 1280, "height": 900})
    page.check("#every")
    assert page.locator("#count").text_content() == "10000 of 10000 completions in 1250 groups"
    for share, index in ((0.0, 0), (0.3, 375), (1.0, 1249)):
        page.evaluate(
            "(share) => { const v = document.getElementById('viewport'); v.scrollTop = share * v.scrollHeight }", share
        )
        page.locator(f'.strip[data-place="{index}"]').wait_for()
        assert page.locator(".card").count() <= 8 * 8
    assert page.locator(".strip-name").last.text_content().startswith("step 124")


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_screen_and_text_stands_out(tmp_path, look, width, scheme):
    write_page(boxes_log(tmp_path), tmp_path / "page.html")
    page = look(tmp_path / "page.html", viewport={"width": width, "height": 844}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    back, text = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
        ".map((c) => c.match(/[0-9]+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0) / 765)"
    )
    assert abs(back - text) > 0.7
    assert (back > text) == (scheme == "light")


def test_tokens_are_coloured_by_log_prob(small_run, tmp_path, look):
    content = page_content(open_log(small_run.folder))
    assert content["tokens"]
    for group in content["groups"]:
        for row in group["rows"]:
            assert sum(row["tokens"]) == len(row["text"])
            assert len(row["tokens"]) == len(row["logprobs"])
    write_page(open_log(small_run.folder), tmp_path / "page.html")
    page = look(tmp_path / "page.html")
    page.select_option("#colour", "logprob")
    card = page.locator(".card").first
    assert card.locator(".token").count() > 1
    assert card.locator(".token").first.get_attribute("title").startswith("log-prob ")
    page.click("#tab-pairs")
    assert page.locator(".pair-row").count() == 48
    assert page.locator(".pair-row").first.locator(".side .heading").all_text_contents()[0].startswith("after sft")
