"""The charts draw what the frame holds, name what a frame lacks, and suit a phone and both grounds."""

import json
from functools import cache, partial

import altair as alt
import pandas as pd
import pytest

from tts_utils import charts
from tts_utils.charts import theme

ACCURACY = pd.DataFrame(
    {
        "policy": ["small"] * 4 + ["large"] * 4,
        "rule": ["majority", "majority", "prm_vote", "pass_at_k"] * 2,
        "budget": [1, 4, 4, 4] * 2,
        "num_tokens": [100.0, 400.0, 400.0, 400.0] * 2,
        "accuracy": [0.3, 0.4, 0.5, 0.7, 0.6, 0.7, 0.7, 0.9],
        "low": [0.2, 0.3, 0.4, 0.6, 0.5, 0.6, 0.6, 0.8],
        "high": [0.4, 0.5, 0.6, 0.8, 0.7, 0.8, 0.8, 0.95],
        "n": [20] * 8,
    }
)
PASS = pd.DataFrame({"problem_id": ["a", "b", "c"], "pass_at_1": [0.0, 0.55, 1.0]})
PAIRED = pd.DataFrame(
    {
        "comparison": ["vote - majority", "max - majority"],
        "difference": [0.02, -0.01],
        "low": [0.01, -0.03],
        "high": [0.03, 0.01],
        "n": [20, 20],
        "policy": ["small", "small"],
    }
)
STEPS = pd.DataFrame(
    {
        "sample": [3, 3, 0],
        "step": [1, 2, 1],
        "text": ["2 * 3 = 6.\n\n", "6 + 1 = 8.\n\n", "The answer is \\boxed{7}."],
        "score": [0.9, 0.2, 0.6],
        "verdict": [True, False, None],
        "correct": [False, False, True],
        "answer": ["8", "8", "7"],
    }
)
PREFIXES = pd.DataFrame(
    {
        "depth": [1, 2, 2],
        "first": [0, 0, 3],
        "last": [4, 3, 4],
        "value": [0.75, 1.0, 0.0],
        "n": [4, 3, 1],
        "text": ["one", "two", "three"],
        "verdict": [True, True, False],
    }
)
RATES = pd.DataFrame(
    {
        "steps": [2, 3, 2, 3],
        "rate": [0.9, 0.8, 0.5, 0.3],
        "low": [0.85, 0.7, 0.4, 0.2],
        "high": [0.95, 0.9, 0.6, 0.4],
        "n": [10, 12, 10, 12],
        "predicted": [0.9, 0.85, 0.5, 0.35],
        "policy": ["large", "large", "small", "small"],
    }
)
LEARNING = pd.DataFrame(
    {
        "tokens": [1e6, 1e7, 1e6, 1e7],
        "auc": [0.5, 0.9, 0.6, 0.7],
        "prm": ["good", "good", "bad", "bad"],
    }
)
CALIBRATION = pd.DataFrame(
    {
        "score": [0.1, 0.9],
        "rate": [0.3, 0.95],
        "low": [0.2, 0.9],
        "high": [0.4, 0.98],
        "n": [50, 100],
        "prm": ["a", "a"],
    }
)
THRESHOLDS = pd.DataFrame(
    {"threshold": [0.1, 0.2, 0.3] * 2, "f1": [0.2, 0.4, 0.3] * 2, "prm": ["a"] * 3 + ["b"] * 3}
)
NODES = pd.DataFrame(
    {
        "run": [0] * 5,
        "node": range(5),
        "parent": [-1, -1, 0, 0, 1],
        "depth": [1, 1, 2, 2, 2],
        "text": ["2 * 3 = 6\n\n", "2 * 3 = 7\n\n", "so \\boxed{6}", "so \\boxed{8}", "cut"],
        "score": [0.9, 0.2, 0.8, 0.7, None],
        "kept": [True, False, True, False, False],
        "finished": [False, False, True, True, False],
        "verdict": [True, False, True, False, None],
        "correct": [False, False, True, False, False],
    }
)
TWO_JUDGES = pd.concat([NODES.assign(judge="good"), NODES.assign(judge="bad")], ignore_index=True)
DIAL = pd.DataFrame(
    {
        "policy": "small",
        "auc": [0.5, 1.0, 0.5, 1.0, 0.5, 1.0, 0.8, 0.8],
        "accuracy": [0.5, 0.7, 0.4, 0.8, 0.5, 0.5, 0.6, 0.55],
        "low": [0.4, 0.6, 0.3, 0.7, 0.4, 0.4, 0.5, 0.45],
        "high": [0.6, 0.8, 0.5, 0.9, 0.6, 0.6, 0.7, 0.65],
        "n": 20,
        "rule": ["best_of_n"] * 2 + ["beam"] * 2 + ["majority"] * 2 + ["best_of_n", "beam"],
        "kind": ["artificial"] * 6 + ["real"] * 2,
        "judge": ["knob"] * 6 + ["Skywork"] * 2,
    }
)
EVERY_CHART = {
    "dial": lambda: charts.judge_dial(DIAL, menu="policy"),
    "learning": lambda: charts.curves(
        LEARNING, x="tokens", y="auc", x_title="tokens read", y_title="AUC", series="prm", log=True
    ),
    "threshold": lambda: charts.curves(
        THRESHOLDS,
        x="threshold",
        y="f1",
        x_title="threshold",
        y_title="F1",
        series="prm",
        marker="threshold",
    ),
    "slider": lambda: charts.accuracy_by_budget(
        pd.concat([ACCURACY.assign(quality=q) for q in (0.5, 0.6, 0.7)]), menu="policy", slider="quality"
    ),
    "calibration": lambda: charts.calibration(CALIBRATION, group="prm"),
    "calibration, with a menu": lambda: charts.calibration(CALIBRATION, menu="prm"),
    "search tree": lambda: charts.search_tree(NODES),
    "two search trees": lambda: charts.search_tree(TWO_JUDGES, menu="judge", start_depth=1),
    "accuracy": lambda: charts.accuracy_by_budget(ACCURACY, menu="policy"),
    "tokens": lambda: charts.accuracy_by_budget(ACCURACY, x="num_tokens"),
    "distribution": lambda: charts.pass_at_1_distribution(PASS),
    "paired": lambda: charts.paired_differences(PAIRED),
    "paired, with a menu": lambda: charts.paired_differences(PAIRED, menu="policy"),
    "paired, grouped": lambda: charts.paired_differences(PAIRED, group="policy"),
    "rates": lambda: charts.rates(RATES.head(2).drop(columns="predicted"), x="steps", title="right"),
    "rates, grouped": lambda: charts.rates(RATES, x="steps", title="right", group="policy"),
    "inspector": lambda: charts.step_inspector(STEPS),
    "tree": lambda: charts.prefix_tree(PREFIXES),
}


@cache
def spec_of(name: str) -> dict:
    """What one of them is written as; made once for all tests, which only read it."""
    return EVERY_CHART[name]().to_dict()


def rows_of(chart) -> list[dict]:
    """Every row of data that a chart carries."""
    return [row for rows in chart.to_dict()["datasets"].values() for row in rows]


def relative_luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(a: str, b: str) -> float:
    dark, light = sorted((relative_luminance(a), relative_luminance(b)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("name", EVERY_CHART)
def test_a_chart_takes_its_containers_width_and_any_ground(name):
    spec = spec_of(name)
    assert spec["width"] == "container"
    assert spec["config"]["background"] == "transparent"
    assert spec["usermeta"]["embedOptions"]["actions"]["editor"] is False


@pytest.mark.parametrize("name", EVERY_CHART)
def test_a_chart_is_the_same_each_time(name):
    assert json.dumps(EVERY_CHART[name]().to_dict()) == json.dumps(spec_of(name))


@pytest.mark.parametrize("name", EVERY_CHART)
def test_a_chart_compiles(name):
    vl_convert = pytest.importorskip("vl_convert")
    spec = spec_of(name) | {"width": 280}
    svg = vl_convert.vegalite_to_svg(spec)
    assert svg.count("<path") > 3


@pytest.mark.parametrize(
    ("draw", "frame"),
    [
        (charts.accuracy_by_budget, ACCURACY),
        (charts.pass_at_1_distribution, PASS),
        (charts.paired_differences, PAIRED.drop(columns="policy")),
        (partial(charts.rates, x="steps", title="right"), RATES.drop(columns=["policy", "predicted"])),
        (charts.judge_dial, DIAL.drop(columns="policy")),
        (charts.step_inspector, STEPS),
        (charts.prefix_tree, PREFIXES),
        (charts.search_tree, NODES),
        (charts.calibration, CALIBRATION.drop(columns="prm")),
        (
            partial(charts.curves, x="tokens", y="auc", x_title="tokens", y_title="AUC", series="prm"),
            LEARNING,
        ),
    ],
)
def test_a_missing_column_and_an_empty_frame_are_named(draw, frame):
    optional = {"policy", "budget" if draw is not charts.accuracy_by_budget else "", "num_tokens"}
    for column in set(frame.columns) - optional:
        with pytest.raises(ValueError, match=rf"{getattr(draw, 'func', draw).__name__}.*lacks.*'{column}'"):
            draw(frame.drop(columns=column))
    with pytest.raises(ValueError, match="no rows"):
        draw(frame.head(0))


def test_accuracy_is_drawn_as_given_under_the_readers_names():
    rows = rows_of(charts.accuracy_by_budget(ACCURACY))
    assert [row["accuracy"] for row in rows] == ACCURACY["accuracy"].tolist()
    assert {row["series"] for row in rows} == {"majority", "PRM-Vote", "perfect verifier"}


def test_unknown_rules_keep_their_own_names_and_never_share_a_style():
    frame = pd.concat([ACCURACY.assign(rule=f"rule {i}") for i in range(4)])
    scale = charts.accuracy_by_budget(frame).to_dict()["layer"][2]["encoding"]["color"]["scale"]
    assert scale["domain"] == [f"rule {i}" for i in range(4)]
    assert len(set(scale["range"])) == 4


def test_the_menu_offers_each_policy_once_and_begins_with_the_first():
    params = charts.accuracy_by_budget(ACCURACY, menu="policy").to_dict()["params"]
    menu = next(p for p in params if p["name"] == "policy_chosen")
    assert menu["bind"]["options"] == ["small", "large"]
    assert menu["value"] == "small"
    with pytest.raises(ValueError, match=r"lacks.*'prm'"):
        charts.accuracy_by_budget(ACCURACY, menu="prm")


def test_problems_are_counted_by_range_and_level_and_never_and_always_stand_apart():
    frame = pd.DataFrame(
        {
            "problem_id": list("abcde"),
            "pass_at_1": [0.0, 0.55, 1.0, 0.58, 0.02],
            "difficulty": ["hard", "easy", "easy", "easy", "hard"],
            "policy": ["small", "small", "small", "large", "small"],
        }
    )
    rows = rows_of(charts.pass_at_1_distribution(frame, menu="policy"))
    counted = {(row["bar"], row["difficulty"], row["policy"]): row["problems"] for row in rows}
    assert counted == {
        ("never", "hard", "small"): 1,
        ("0–10 %", "hard", "small"): 1,
        ("50–60 %", "easy", "small"): 1,
        ("always", "easy", "small"): 1,
        ("50–60 %", "easy", "large"): 1,
    }
    assert sum(row["problems"] for row in rows_of(charts.pass_at_1_distribution(frame))) == 5


def test_the_axis_of_the_distribution_is_that_of_all_choices():
    frame = pd.concat([PASS.assign(policy="small"), PASS.assign(policy="large", pass_at_1=0.5)])
    spec = charts.pass_at_1_distribution(frame, menu="policy").to_dict()
    assert spec["encoding"]["y"]["scale"]["domain"] == [0, 3]


@pytest.mark.parametrize("name", EVERY_CHART)
def test_a_chart_describes_itself_in_words(name):
    description = spec_of(name)["description"]
    assert len(description.split()) >= 8
    assert description.endswith(".")
    assert "nan" not in description.lower()


def test_a_description_tells_the_ends_of_the_curves():
    description = charts.accuracy_by_budget(ACCURACY, menu="policy").to_dict()["description"]
    assert "policy small" in description
    assert "PRM-Vote 50.0% (40.0% to 60.0%)" in description


def test_a_menu_does_not_change_the_axis():
    scale = charts.accuracy_by_budget(ACCURACY, menu="policy").to_dict()["layer"][0]["encoding"]["y"]["scale"]
    assert scale["domain"] == pytest.approx([0.2, 0.95])  # of both policies


def test_a_slider_needs_even_steps():
    frame = pd.concat([ACCURACY.assign(quality=q) for q in (1, 2, 4)])
    with pytest.raises(ValueError, match="evenly spaced"):
        charts.accuracy_by_budget(frame, slider="quality")
    params = EVERY_CHART["slider"]().to_dict()["params"]
    knob = next(p for p in params if p["name"] == "quality_set")
    assert (knob["value"], knob["bind"]["min"], knob["bind"]["max"]) == (0.6, 0.5, 0.7)


def test_the_search_tree_tells_fate_verdict_and_path_of_each_node():
    rows = rows_of(charts.search_tree(NODES))
    assert [row["fate"] for row in rows] == ["kept", "pruned", "kept", "pruned", "never scored"]
    assert [row["slot"] for row in rows] == [0, 1, 0, 1, 2]
    assert [row["parent_slot"] for row in rows] == [0, 0, 0, 0, 1]
    assert rows[2]["detail"].split("\n") == [
        "Depth 2: kept. Checker: right so far. Its",
        "answer is right.",
        "✓ 0.90 2 * 3 = 6",
        "✓ 0.80 so \\boxed{6}",
    ]
    description = charts.search_tree(NODES).to_dict()["description"]
    assert "2 of the kept and 0 of the pruned are right so far" in description


def test_a_long_path_keeps_its_end():
    chain = pd.DataFrame(
        [
            {"run": 0, "node": i, "parent": i - 1, "depth": i + 1, "text": f"step {i}", "score": 0.5}
            | {"kept": True, "finished": False, "verdict": True, "correct": False}
            for i in range(20)
        ]
    )
    last = rows_of(charts.search_tree(chain, path_lines=4))[-1]["detail"].split("\n")
    assert last[1:] == ["…", "✓ 0.50 step 17", "✓ 0.50 step 18", "✓ 0.50 step 19"]


def test_computed_prose_is_markdown():
    assert charts.say("**3** of 4")._repr_markdown_() == "**3** of 4"


def test_differences_are_shown_in_percentage_points():
    rows = rows_of(charts.paired_differences(PAIRED))
    assert [row["difference_pp"] for row in rows if "difference_pp" in row] == pytest.approx([2.0, -1.0])


def test_the_inspector_tells_score_verdict_and_text_of_each_step():
    rows = rows_of(charts.step_inspector(STEPS))
    assert [row["row"] for row in rows] == ["3 ✗", "3 ✗", "0 ✓"]
    assert [row["verdict"] for row in rows] == ["right", "wrong", "not checked"]
    assert rows[1]["detail"].startswith("Completion 3, step 2: PRM 0.20, checker wrong.")
    assert rows[1]["detail"].endswith("6 + 1 = 8.")


def test_a_long_step_is_wrapped_for_a_phone_and_cut_visibly():
    frame = STEPS.assign(text="word " * 200)
    lines = rows_of(charts.step_inspector(frame))[0]["detail"].split("\n")
    assert max(map(len, lines)) <= theme.WRAP
    assert len(lines) == 9
    assert lines[-1] == "…"


def test_blocks_of_the_tree_are_as_tall_as_their_completions():
    rows = rows_of(charts.prefix_tree(PREFIXES))
    assert [row["last"] - row["first"] for row in rows] == [row["n"] for row in rows] == [4, 3, 1]
    head = " ".join(rows[0]["detail"].split())
    assert head == "Step 1, shared by 4 completions, value 0.75 (3 end right). Checker: right. one"


def test_every_colour_stands_out_on_white_and_on_the_dark_page():
    for style in charts.SERIES.values():
        assert contrast(style.colour, "#ffffff") >= 3, style
        assert contrast(style.colour, "#14181e") >= 3, style
    for colour in (theme.INK, theme.PICKED, *theme.SPARE_COLOURS, *theme.LEVEL_COLOURS.values()):
        assert contrast(colour, "#ffffff") >= 3, colour
        assert contrast(colour, "#14181e") >= 3, colour


def test_no_two_series_share_both_shape_and_colour():
    assert len({style.shape for style in charts.SERIES.values()}) == len(charts.SERIES)


def test_importing_the_charts_leaves_altairs_theme_alone():
    assert alt.theme.active == "default"


def test_unknown_token_counts_are_refused_and_not_drawn():
    for unknown in (-1, None, float("nan")):
        frame = ACCURACY.assign(num_tokens=unknown)
        with pytest.raises(ValueError, match=rf"num_tokens is {unknown} .* imported run"):
            charts.accuracy_by_budget(frame, x="num_tokens")


def test_the_dial_draws_real_judges_as_marks_and_refuses_other_kinds():
    spec = json.dumps(charts.judge_dial(DIAL).to_dict())
    assert spec.count("datum.kind === 'real'") + spec.count("(datum.kind === 'real')") >= 2
    assert "1 real judges are marked" in spec
    with pytest.raises(ValueError, match=r"kind is 'artificial' or 'real', not \['guess'\]"):
        charts.judge_dial(DIAL.assign(kind="guess"))


def test_a_menu_of_differences_keeps_the_axis():
    both = pd.concat([PAIRED, PAIRED.assign(policy="large", low=-0.3)])
    spec = charts.paired_differences(both, menu="policy").to_dict()
    domains = [layer["encoding"]["x"].get("scale", {}).get("domain") for layer in spec["layer"]]
    assert [-30.0, 3.0] in domains
    assert "policy small" in spec["description"]


def layers_that_escape(spec: dict) -> list[dict]:
    """Layers with data of their own below a filter, which Vega-Lite then does not apply to them."""
    filtered = any("filter" in transform for transform in spec.get("transform", ()))
    inner = [child for key in ("layer", "hconcat", "vconcat") for child in spec.get(key, ())]
    return [child for child in inner if filtered and "data" in child] + [
        layer for child in inner for layer in layers_that_escape(child)
    ]


@pytest.mark.parametrize("name", EVERY_CHART)
def test_a_menu_filters_every_layer(name: str) -> None:
    assert layers_that_escape(spec_of(name)) == []


def test_menus_that_do_not_meet_everywhere_become_one_without_empty_choices():
    both = ACCURACY.assign(judge="good")
    part = pd.concat([both, both[both["policy"] == "large"].assign(judge="bad")])
    spec = charts.accuracy_by_budget(part, menu=["judge", "policy"]).to_dict()
    binds = [param["bind"] for param in spec["params"] if param.get("bind", "legend") != "legend"]
    assert [bind["options"] for bind in binds] == [["good · small", "good · large", "bad · large"]]
    assert [bind["name"] for bind in binds] == ["judge · policy: "]
    whole = charts.accuracy_by_budget(pd.concat([both, both.assign(judge="bad")]), menu=["judge", "policy"])
    names = [param["name"] for param in whole.to_dict()["params"]]
    assert {"judge_chosen", "policy_chosen"} <= set(names)


def test_a_legend_of_long_names_is_one_column():
    assert theme.legend_below(["beam search", "DVTS"]).to_dict()["columns"] == 2
    assert theme.legend_below(["lab-math-shepherd", "DVTS"]).to_dict()["columns"] == 1


def test_a_slider_shows_no_digits_of_binary_fractions():
    frame = pd.DataFrame({"t": [i / 20 for i in range(1, 20)], "y": 0.5, "series": "a"})
    spec = charts.curves(frame, x="t", y="y", x_title="t", y_title="y", marker="threshold").to_dict()
    (knob,) = [param["bind"] for param in spec["params"] if param["name"] == "marker_set"]
    assert knob["step"] == 0.05


def test_a_spare_style_has_no_colour_of_a_named_series_beside_it():
    names = ["majority", "compute-optimal", "one answer"]
    assert len({style.colour for style in theme.styles_of(names)}) == 3
    assert [style.label for style in theme.styles_of(names)][1:] == names[1:]
    many = theme.styles_of(["majority", *map(str, range(7))])
    assert len({(style.colour, style.shape, style.dash) for style in many[1:]}) == 7
