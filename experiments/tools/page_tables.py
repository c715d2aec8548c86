"""The tables and paragraphs on the pages of experiments/studies, made of the kept summaries."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from experiments.study.tables import Column, Table
from experiments.tools.sentences import LABELS, OPTIMISERS, WIDTH, Summaries, bear_out, effect, listed, signed
from paramact_jax.papers import ko2021, kong2020, student_report

SHARING = ("element", "channel", "layer")
OTHERWISE = {
    "plain": "none",
    "residual": "residual connections",
    "orthogonal": "orthogonal weights of the critical scale",
    "lsuv": "weights scaled layer by layer to variance 1 (LSUV)",
    "norm": "batch normalisation over the 4 points",
}


def to(interval: Sequence[float], form: str, scale: float = 1) -> str:
    """Writes both ends of an interval.

    Examples:
      >>> to((0.25, 0.5), ".1f", 100)
      '25.0 to 50.0'
    """
    return " to ".join(format(scale * end, form) for end in interval)


def markdown(columns: Sequence[str | Column], rows: Iterable[Sequence[Any]]) -> str:
    """Makes a table without a title, since pages have their own headings."""
    escaped = [[cell.replace("|", r"\|") if isinstance(cell, str) else cell for cell in row] for row in rows]
    return "\n".join(Table("", columns, escaped).markdown().splitlines()[2:])


def counts(kept: Summaries) -> str:
    """Shows [P, Table 5], and what the printed conditions give."""
    literal = kept["xor10-literal"]["activations"]
    columns = ["activation", "ours", "95 % interval", "published", "p (Holm)", "verdict", "would be matched too"]
    rows = [
        [
            LABELS[name],
            row["converged"],
            to(row["interval"], ".1f", 1000),
            row["published"],
            f"{row['p_value_holm']:.3g}",
            "matched" if row["matched"] else "not matched",
            to(row["cannot_tell"], ".0f", 1000),
            literal[name]["converged"],
        ]
        for name, row in kept["xor10"]["activations"].items()
    ]
    return markdown([*columns, "under the printed conditions"], rows)


def protocol(kept: Summaries) -> str:
    """Says which conditions of the search match."""
    ranking = kept["xor10-protocol"]["ranking"]
    all_rows = [one for one in ranking if one["rows_matched"] == len(ko2021.TABLE_5)]
    ours, printed = (next(x for x in ranking if x["protocol"] == name) for name in ("recovered", "literal"))
    bear_out("hidden weights of 1/sqrt(2), full batches", {x["batch"] for x in all_rows} == {"full"})
    bear_out("one gradient scale", len({x["gradient_scale"] for x in all_rows}) == 1)
    bear_out("one hidden scale", {f"{x['weight_std']:.4f}" for x in all_rows} == {"0.7071"})
    bear_out("biases of 0 or 0.01", {x["bias_std"] for x in all_rows} == {0, 0.01})
    below = [ranking[0]["log_likelihood"] - one["log_likelihood"] for one in (ours, printed)]
    return textwrap.fill(
        f"{len(all_rows)} of {len(ranking)} cells match all {len(ko2021.TABLE_5)} counts. They have hidden weights of "
        f"standard deviation 1/sqrt(2), biases of 0 or 0.01, the gradient of half the mean squared error, and full "
        f"batches. The recovered protocol is one of them; its log likelihood is {below[0]:.1f} below the best. The "
        f"printed conditions have rank {printed['rank']}, {below[1]:.0f} below the best.",
        WIDTH,
    )


def figures(kept: Summaries) -> str:
    """Counts the statements of [P] on Figs. 7 to 10 that hold in the trial that is drawn, and in the others."""
    found = kept["xor10-figures"]
    rows, elsewhere = found["statements"], found["elsewhere"]
    text, fewest = min(elsewhere.items(), key=lambda one: one[1]["true"])
    bear_out("the least typical is true of fewer than half of the trials", 2 * fewest["true"] < fewest["of"])
    return textwrap.fill(
        f"{sum(one['verdict'] == 'true' for one in rows)} of {len(rows)} statements hold for this trial. Not all are "
        f'typical: "{text}" holds for only {fewest["true"]} of the {fewest["of"]} trials that converge under PPNS.',
        WIDTH,
    )


def mnist(kept: Summaries) -> str:
    """Shows the eight activations of [P, Table 6]."""
    losses = {row.activation: f"{row.loss:.3f}" for row in ko2021.MNIST_FINAL_LOSS}
    slopes = {row.activation: row.count for row in ko2021.FIG_14}
    rows = []
    for name, found in kept["mnist"]["activations"].items():
        steep, steps = found["steep_slopes"], found["time_to_loss"]["steps"]
        not_all = f" ({steps['seeds']} of {steps['seeds'] + steps['non_finite']})" if steps["non_finite"] else ""
        rows.append(
            [
                LABELS[name],
                _mean_and_interval(found["test_loss"]),
                losses.get(name, ""),
                f"{steep['mean']:,.0f}, {steep['deviation']:,.0f}",
                f"{slopes[name]:,}",
                f"{steps['mean']:,.0f}{not_all}",
            ]
        )
    steep = ["slopes >= 1 before training, s.d.", "published"]
    return markdown(
        ["activation", "test loss, 95 % interval", "published", *steep, "steps to a train loss of 0.1"], rows
    )


def not_true(kept: Summaries) -> str:
    """Lists the statements of [P] on MNIST that our runs do not bear out."""
    found = [one for one in kept["mnist"]["statements"] if one["verdict"] != "true"]
    return listed(
        f'"{one["text"]}" [{one["source"]}] is {one["verdict"]}. The criterion: {one["criterion"]}.' for one in found
    )


def ablation(kept: Summaries) -> str:
    """Shows four conditions on XOR(10) and on MNIST."""
    columns = ["problem", "activation", "held at the start value", "learned from there", "difference, 95 % interval"]
    rows = []
    for run, name, title, form, scale in (
        ("ablation-xor10", "trials that converge", "XOR(10), converged of 1,000", ".0f", 1000),
        ("ablation-mnist", "test loss after the last step", "MNIST, test loss", ".3f", 1),
    ):
        for base, means in kept[run]["means"][name].items():
            found = effect(kept[run]["outcomes"][name], base, "learning, given the gain")["comparison"]
            whole = [f"{scale * end:.0f}" if scale > 1 else signed(end) for end in found["interval"]]
            shown = [f"{scale * means[x]:{form}}" for x in ("gain, frozen", "gain, learned", "unit, learned", "plain")]
            rows.append([title, LABELS[base], *shown[:2], " to ".join(whole), *shown[2:]])
    return markdown([*columns, "learned from a = 1", "plain function"], rows)


def cnn(kept: Summaries) -> str:
    """Shows [A, Table 1]."""
    run, rows = kept["cnn"]["combinations"], []
    for row in kong2020.TABLE_1:
        found = run[f"{row.conv}/{row.dense}"]
        rows.append(
            [
                f"{kong2020.LABELS[row.conv]} / {kong2020.LABELS[row.dense]}",
                _mean_and_interval(found["best_loss"]),
                f"{row.loss + 1e-9:.3f}",  # halves are rounded up
                f"{found['best_iteration']['mean']:,.0f}",
                f"{row.iterations:,}",
            ]
        )
    columns = ["convolutional / dense", "lowest test loss, 95 % interval", "published", "at iteration", "published"]
    return markdown(columns, rows)


def sharing(kept: Summaries) -> str:
    """Compares one a and b for each element, channel or layer."""
    rows = []
    for pair, found in kept["cnn-sharing"]["combinations"].items():
        names = " / ".join(kong2020.LABELS[name] for name in pair.split("/"))
        for how in SHARING:
            one = found[how]
            interval = one["difference"] and " to ".join(map(signed, one["difference"]["interval"]))
            p = one["p_value_holm"]
            rows.append(
                [
                    names,
                    how,
                    f"{one['parameters_of_activations']:,}",
                    f"{one['best_loss']['mean']:.3f}",
                    interval or "",
                    "" if p is None else f"{p:.2g}",
                    f"{1000 * one['seconds_per_step']:.1f}",
                ]
            )
    columns = ["convolutional / dense", "one a and b for each", "a and b", "lowest test loss"]
    return markdown([*columns, "difference from element, 95 % interval", "p (Holm)", "ms a step"], rows)


def gain(kept: Summaries) -> str:
    """Describes the boundary, the collapse, the effect of learning, and the start value of [P]."""
    found = kept["gain"]
    at = {one["activation"]: one for one in found["boundaries"] if one["arm"] == "a frozen, eta"}
    alike = {one["arm"]: one for one in found["collapses"] if one["activation"] == "ppns"}
    learned = {one["where"]: one for one in found["learning"] if one["activation"] == "ppns" and not one["compensated"]}
    below, above = learned["ordered"], learned["chaotic"]
    (start,) = (one for one in found["starts"] if one["activation"] == "ppns" and one["arm"] == "a frozen, eta")
    compensated, plain = alike["a frozen, eta/a0^2"], alike["a frozen, eta"]
    bear_out("no more than chance", compensated["deviation"] < 1.2 * compensated["chance"])
    bear_out("the critical start is not better", start["critical"] < start["published"])
    bear_out("more below the boundary, fewer above", below["interval"][0] > 0 > above["interval"][1])
    shown = [
        f"**The boundary.** With a held fixed, half of PPNS's trials converge where a0 sigma_w is "
        f"{at['ppns']['at']:.2f} (95 % interval {to(at['ppns']['interval'], '.2f')}), and half of Parametric Tanh's "
        f"where it is {at['parametric_tanh']['at']:.2f} ({to(at['parametric_tanh']['interval'], '.2f')}). Theory says "
        f"{at['ppns']['theory']:g} and {at['parametric_tanh']['theory']:g}, although layers here have only two nodes.",
        f"**Only the product a0 sigma_w counts.** Cells with equal products have equal shares, if learning rates are "
        f"divided by a0^2: PPNS's shares deviate by {compensated['deviation']:.3f}, which is no more than chance "
        f"({compensated['chance']:.3f}). With undivided rates they deviate by {plain['deviation']:.3f}.",
        f"**Learning adds little.** If a and b are learned, {100 * (below['learned'] - below['frozen']):.1f} points "
        f"more of PPNS's trials converge below the boundary ({to(below['interval'], '.1f', 100)}), and "
        f"{100 * (above['frozen'] - above['learned']):.1f} points fewer above it "
        f"({to(above['interval'][::-1], '.1f', -100)}).",
        f"**At the learning rate of [P] its start value is better than the critical one** (see [starts](starts.md)). "
        f"From a0 = {at['ppns']['theory']:g}, {100 * start['critical']:.1f} % of PPNS's trials converge, from the 6 of "
        f"[P], {100 * start['published']:.1f} % (difference {to(start['interval'], '.1f', 100)} points, a held fixed).",
    ]
    return listed(shown)


def crossing(kept: Summaries) -> str:
    """Shows the best share of each optimiser from each start, and the other ways."""
    found, rows = kept["crossing"], []
    for name in dict.fromkeys(one["activation"] for one in found["rescued"]):
        for start in sorted({one["start"] for one in found["rescued"]}):
            own = [one for one in found["rescued"] if (one["activation"], one["start"]) == (name, start)]
            (best,) = (one for one in own if one["way"] == "best of all")
            bear_out("the best way is Adam's", " Adam, " in best["chosen"])
            descent = [one for one in own if one["way"].endswith(" sgd")]
            shown = [max(one[what] for one in descent) for what in ("frozen", "learned")]
            shown += [best["frozen"], best["learned"]]
            rows.append([LABELS[name], f"{start:g}", *(f"{100 * x:.1f} %" for x in shown), best["chosen"]])
    columns = ["activation", "start / critical gain", "descent, a held", "descent, a learned, at most"]
    first = markdown([*columns, "Adam, a held", "Adam, a learned", "its way, chosen on other seeds"], rows)
    share = {(one["activation"], one["way"]): f"{100 * one['share']:.1f} %" for one in found["otherwise"]}
    activations = list(dict.fromkeys(name for name, _ in share))
    ways = [(name, optimiser) for name in activations for optimiser in ("sgd", "adam")]
    others = [[text, *(share[name, f"{way} {opt}"] for name, opt in ways)] for way, text in OTHERWISE.items()]
    headings = [f"{LABELS[name]}, {'descent' if optimiser == 'sgd' else 'Adam'}" for name, optimiser in ways]
    return f"{first}\n\n{markdown(['other help, a = 1 held', *headings], others)}"


def starts(kept: Summaries, run: str) -> str:
    """Shows what each start reaches at its best rate, and which is better."""
    found = kept[run]
    level = {(one["name"], one["start"]): one for one in found["starts"]}
    names, places = (list(dict.fromkeys(key[i] for key in level)) for i in (0, 1))
    verdict = {(one["name"], one["question"]): one["verdict"] for one in found["answers"]}
    rows = []
    for name in names:
        means = [level[name, place] for place in places]
        shown = [f"{100 * x['mean']:.1f} %" if x["accuracy"] is None else f"{x['mean']:.3f}" for x in means]
        rows.append([name, *shown, *(verdict[name, f"critical or steepest, {what}"] for what in ("kept", "learned"))])
    columns = [Column("network", left=True), *places, "critical or steepest, kept", "learned"]
    return markdown(columns, rows)


def gradients(kept: Summaries) -> str:
    """Shows the decades behind the deepest network, at gain 1."""
    rows = kept["gradients"]["rows"]
    off = max(abs(x - y) for r in rows for x, y in zip(r["root_mean_square"], r["predicted"], strict=True))
    deep = [row for row in rows if row["gain"] == 1]
    columns = ["activation", "gradient", "by the weights", "by the activation", "root mean square", "theory"]
    keys = ("measured", "linear", "activation_part", "root_mean_square", "predicted")
    shown = markdown(
        columns, ([LABELS[row["activation"]], *(f"{row[key][-1] + 0.0:+.1f}" for key in keys)] for row in deep)
    )
    return f"{shown}\n\nOver all depths and gains the root mean square lies within {off:.2f} decades of theory."


def student_runs(kept: Summaries) -> str:
    """Compares the two runs that [R] prints with each candidate."""
    found = kept["initial-scale"]
    small = {(one["candidate"], one["rate"]): one["fits"] for one in found["small"]}
    rows = [
        [
            f"{LABELS[one['candidate']]}, {one['rate']:g}",
            f"{one['first']['mean']:.3f}",
            f"{one['last']['mean']:.3f}",
            "yes" if one["fits"] else "no",
            "yes" if small[one["candidate"], one["rate"]] else "no",
        ]
        for one in found["he"]
    ]
    printed = ["printed in [R]", f"{student_report.HE.test[1]:.3f}", f"{student_report.HE.test[-1]:.3f}", "", ""]
    columns = ["activation, learning rate", "He's scale: accuracy after one epoch", "at the end", "fits"]
    return markdown([*columns, "fits the run from 0.01"], [*rows, printed])


def optimisers(kept: Summaries, run: str) -> str:
    """Shows what each optimiser reaches at its chosen rate, by activation."""
    cells = {(one["activation"], one["optimiser"]): one for one in kept[run]["cells"]}
    activations = dict.fromkeys(name for name, _ in cells)
    rows = []
    for optimiser in dict.fromkeys(name for _, name in cells):
        own = [cells[name, optimiser] for name in activations]
        if run == "optimisers-xor10":
            shown = [
                f"{int(x['level']) / 10:.1f} ({to([*map(float, x['interval'].split(' to '))], '.1f', 0.1)})"
                for x in own
            ]
        else:
            shown = [f"{float(x['level']):.3f} ({x['interval']})" for x in own]
        label = OPTIMISERS[optimiser]
        rows.append([label[0].upper() + label[1:], *shown])
    return markdown(["optimiser", *(LABELS[name] for name in activations)], rows)


def statements(kept: Summaries, run: str) -> str:
    """Shows all statements that a run decides, with their verdicts."""
    rows = []
    for one in kept[run]["statements"]:
        criterion = f" ({one['criterion']})" if one.get("criterion") else ""
        rows.append([one["source"], one["text"] + criterion, one["verdict"], one.get("measured", "")])
    words = [Column(name, left=True) for name in ("statement (criterion)", "verdict", "measured")]
    return markdown(["source", *words], rows)


def _mean_and_interval(found: dict[str, Any]) -> str:
    return f"{found['mean']:.3f}, {to(found['interval'], '.3f')}"
