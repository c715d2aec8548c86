"""The sentences: each a function of the kept summaries, so that no number in them is typed by hand.

Where the words say more than the numbers beside them, the kept verdict is asked: a run that says otherwise is refused.
"""

from __future__ import annotations

import collections
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

from experiments.study.samples import shuffled
from paramact_jax.papers import ko2021, kong2020

Summaries = Mapping[str, Any]

OPTIMISERS = {
    "sgd": "plain descent",
    "momentum": "Momentum",
    "nesterov": "Nesterov",
    "adagrad": "AdaGrad",
    "rmsprop": "RMSProp",
    "adam": "Adam",
    "nadam": "Nadam",
    "adagrad-printed": "AdaGrad as [R] prints it",
    "rmsprop-printed": "RMSProp as [R] prints it",
}
LABELS = {row.activation: row.label for row in ko2021.TABLE_5}


def table_5(kept: Summaries) -> str:
    """[P, Table 5] under the recovered protocol."""
    rows = kept["xor10"]["activations"]
    matched = sum(row["matched"] for row in rows.values())
    ppns, sigmoid = rows["ppns"], rows["sigmoid"]
    return (
        f"**{matched} of {len(rows)} rows of [P, Table 5] are matched**, under conditions that a search recovered from "
        f"these counts: PPNS trains XOR(10), ten hidden layers deep, in {ppns['converged']} of {ppns['trials']:,} "
        f"trials (published: {ppns['published']}), Sigmoid in {sigmoid['converged']} ({sigmoid['published']})."
    )


def literal(kept: Summaries) -> str:
    """The same under the printed conditions."""
    rows = kept["xor10-literal"]["activations"]
    wrong = sum(not row["matched"] for row in rows.values())
    ppns, tanh = rows["ppns"], rows["parametric_tanh"]
    return (
        f"**Not under the printed conditions**: those of [P, Table 3] miss {wrong} of the {len(rows)} rows (PPNS "
        f"{ppns['converged']} instead of {ppns['published']}, Parametric Tanh {tanh['converged']} instead of "
        f"{tanh['published']}); the recovered ones differ in the scale of the initial weights and of the gradient."
    )


def ablation_xor10(kept: Summaries) -> str:
    """Learning or initial gain, XOR(10)."""
    name = "trials that converge"
    shares = kept["ablation-xor10"]["means"][name]["ppns"]
    trials = _effect(kept["ablation-xor10"]["outcomes"][name], "ppns", "all of it")["comparison"]["pairs"]
    _bear_out("the gain, not the learning", shares["gain, frozen"] >= shares["gain, learned"] > shares["unit, learned"])
    counts = {condition: f"{share * trials:,.0f}" for condition, share in shares.items()}
    return (
        f"**In the networks of [P] it is the initial gain, not the learning.** On XOR(10) PPNS converges in "
        f"{counts['gain, frozen']} of {trials:,} trials with a = 6 held fixed, in {counts['gain, learned']} with a and "
        f"b learned from there, in {counts['unit, learned']} learned from a = 1."
    )


def ablation_mnist(kept: Summaries) -> str:
    """Learning or initial gain, MNIST."""
    name = "test loss after the last step"
    means = kept["ablation-mnist"]["means"][name]["ppns"]
    given = _effect(kept["ablation-mnist"]["outcomes"][name], "ppns", "learning, given the gain")["comparison"]
    low, high = (_signed(bound) for bound in given["interval"])
    return (
        f"On MNIST, 8 hidden layers deep, PPNS's test loss is {means['gain, frozen']:.3f} with a = 6 held fixed, "
        f"{means['gain, learned']:.3f} learned from there (a difference within {low} to {high}), and "
        f"{means['unit, learned']:.2f}, chance, learned from a = 1."
    )


def gain(kept: Summaries) -> str:
    """Where the boundary is, and what learning adds."""
    found = kept["gain"]
    at = {x["activation"]: x for x in found["boundaries"] if x["arm"] == "a frozen, eta"}
    learned = {x["where"]: x for x in found["learning"] if x["activation"] == "ppns" and not x["compensated"]}
    near = [end / at[name]["theory"] for name in ("ppns", "parametric_tanh") for end in at[name]["interval"]]
    _bear_out("theory has the boundary", min(near) >= 0.8 and max(near) <= 1.25)
    below, above = (100 * (learned[x]["learned"] - learned[x]["frozen"]) for x in ("ordered", "chaotic"))
    ppns, tanh = at["ppns"], at["parametric_tanh"]
    return (
        f"**Which gain? Mean-field theory knows**: over 256 scales of a and of the weights, half of the trials of PPNS "
        f"converge where a sigma_w is {ppns['at']:.2f} (theory: {ppns['theory']:g}), of Parametric Tanh where it is "
        f"{tanh['at']:.2f} ({tanh['theory']:g}), with a kept. Learning a and b moves the share of PPNS's trials that "
        f"converge by {below:+.1f} points below this boundary and {above:+.1f} above it."
    )


def crossing(kept: Summaries) -> str:
    """What learning rescues below the boundary."""
    rows = [x for x in kept["crossing"]["rescued"] if x["activation"] == "ppns" and x["start"] == 0.5]
    by_descent = max(x["learned"] for x in rows if x["way"].endswith("sgd"))
    (best,) = (x for x in rows if x["way"] == "best of all")
    other = {x["way"]: x["share"] for x in kept["crossing"]["otherwise"] if x["activation"] == "ppns"}
    _bear_out("descent does not cross, Adam does", by_descent < 0.1 < best["frozen"] < best["learned"] - 0.2)
    _bear_out("Adam needs a faster a", "Adam" in best["chosen"] and "of a 10 times" in best["chosen"])
    return (
        f"**Gradient descent does not learn its way there, Adam does.** From half of the critical gain "
        f"{100 * by_descent:.0f} % of the trials of PPNS converge by gradient descent, with up to 1,000 times the rate "
        f"for a, one a for all nodes, or its logarithm; by Adam {100 * best['learned']:.0f} %, with 10 times the rate "
        f"for a ({100 * best['frozen']:.0f} % with a kept). Residual connections, without a: "
        f"{100 * other['residual sgd']:.0f} % by descent, {100 * other['residual adam']:.0f} % by Adam."
    )


def mnist_slopes(kept: Summaries) -> str:
    """[P, Fig. 14]."""
    rows = kept["mnist"]["activations"]
    away = [row["steep_slopes"]["deviations_away"] for row in rows.values()]
    known = [abs(x) for x in away if x is not None]
    together, printed = kept["mnist"]["slope_counts_together"], kept["mnist-literal"]["slope_counts_together"]
    _bear_out(
        "the counts are ours together, and not those of the printed conditions",
        together["p_value"] > 0.05 > printed["p_value"],
    )
    return (
        f"**{sum(x <= 2 for x in known)} of {len(known)} published counts of slopes >= 1 before training [P, Fig. 14] "
        f"lie within two standard deviations of ours**, the furthest {max(known):.1f} away. The "
        f"{len(together['activations'])} that are distinct and not 0 fit together too (p = {together['p_value']:.2f}, "
        f"on one network each time), with Hexpo's start values counted from layer 0; under the printed conditions they "
        f"do not."
    )


def mnist_speed(kept: Summaries) -> str:
    """[P]: two thirds of the training time are saved."""
    rows = kept["mnist"]["activations"]
    saved = rows["ppns"]["time_to_loss"]["saved_steps"]
    low, high = (100 * bound for bound in saved["interval"])
    verdicts = [one["verdict"] for one in kept["mnist"]["statements"]]
    return (
        f"**PPNS needs {100 * saved['mean']:.0f} % fewer steps than ReLU** ({low:.0f} to {high:.0f} %; published: "
        f"about 2/3) to a train loss of 0.1 on MNIST. {verdicts.count('true')} of {len(verdicts)} statements of [P, "
        f"section 4.2] are true."
    )


def agile_table_1(kept: Summaries) -> str:
    """[A, Table 1] and what [A] says of it."""
    found = kept["cnn"]
    within = {}
    for name in ("best_loss", "best_iteration"):
        rows = [row[name] for row in found["combinations"].values()]
        within[name] = shuffled([row["published"] for row in rows], [row["prediction"] for row in rows])
    losses, iterations = within["best_loss"], within["best_iteration"]
    _bear_out("losses are not told from shuffled ones", losses.as_many > 0.2)
    rho = found["rank_correlation"]["best_iteration"]["rho"]
    verdicts = [statement["verdict"] for statement in found["statements"]]
    open_ = verdicts.count("undecided")
    undecided = f", {open_} undecided" if open_ else ""
    conv, dense = (kong2020.LABELS[name] for name in found["order"][0].split("/"))
    return (
        f"**The iterations of [A, Table 1] rank as ours do** (Spearman's rho {rho:.2f}), though only "
        f"{iterations.inside} of {iterations.of} lie in our 95 % prediction intervals. Of its losses {losses.inside} "
        f"lie in ours, but of the same losses in random order {losses.mean:.1f} on average: they tell nothing. Best is "
        f"{conv} in the convolutional, {dense} in the dense layers; {verdicts.count('true')} of "
        f"{len(verdicts) - open_} statements of [A] are true{undecided}."
    )


def optimisers(kept: Summaries) -> str:
    """Activation or optimiser, XOR(10)."""
    found, ppns = kept["optimisers-xor10"], kept["xor10"]["activations"]["ppns"]
    cells = {f"{cell['activation']}, {cell['optimiser']}": cell for cell in found["cells"]}
    plain = cells["ppns, sgd"]
    _bear_out("the activation does more", all(x["verdict"] == "first" for x in found["answers"][:2]))

    def best(activation: str) -> str:
        answer = next(x for x in found["answers"] if x["question"] == f"a better optimiser for {activation}")
        cell = cells[answer["first"]]
        return f"{_percent(cell)} ({OPTIMISERS[cell['optimiser']]})"

    return (
        f"**The activation does more than the optimiser.** On XOR(10), learning rates chosen on other seeds, plain "
        f"gradient descent trains {_percent(plain)} of {plain['seeds']} trials with PPNS (at a rate of "
        f"{plain['rate']:g}; the {ppns['converged']} of {ppns['trials']:,} above are at [P]'s); the best of "
        f"{len(found['config']['optimisers'])} optimisers trains {best('sigmoid')} with Sigmoid, {best('relu')} with "
        f"ReLU, {best('ppns')} with PPNS."
    )


def student_report(kept: Summaries) -> str:
    """Which network [R] trained."""
    found = kept["initial-scale"]
    small = sum(run["fits"] for run in found["small"])
    which = "all of them" if small == len(found["small"]) else f"{small}"
    fits = [run for run in found["he"] if run["fits"]]
    _bear_out("one candidate alone fits", len(fits) == 1)
    names = f"{LABELS[fits[0]['candidate']]} at a rate of {fits[0]['rate']:g}"
    return (
        f"**[R] states neither activation, width nor learning rate**: of {len(found['he'])} candidates with "
        f"{found['config']['width']} nodes a layer {names} alone fits its run from He's scale, which learns; {which} "
        f"fit the one from a standard deviation of 0.01, where every image gets one label."
    )


def errata(kept: Summaries) -> str:
    """Formulas that the sources print wrong; they come from the package itself."""
    from paramact_jax.activations.errata import ERRATA

    counts = collections.Counter(erratum.source for erratum in ERRATA)
    by_source = ", ".join(f"{count} of [{source}]" for source, count in counts.items())
    return (
        f"**At least {len(ERRATA)} printed formulas are wrong** ({by_source}), each shown by a counter-example "
        f"(`python -m experiments verify`), where the corrected one is right."
    )


SENTENCES: tuple[Callable[[Summaries], str], ...] = (
    table_5,
    literal,
    mnist_slopes,
    mnist_speed,
    ablation_xor10,
    ablation_mnist,
    gain,
    crossing,
    agile_table_1,
    optimisers,
    student_report,
    errata,
)
"""In the order in which README has them."""


def lines(kept: Summaries) -> str:
    """All sentences as a list in Markdown, lines of up to 120 characters."""
    return "\n".join(
        textwrap.fill(sentence(kept), 120, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)
        for sentence in SENTENCES
    )


def _effect(outcome: list[dict[str, Any]], base: str, question: str) -> dict[str, Any]:
    return next(x for x in outcome if x["base"] == base and x["effect"]["question"] == question)


def _bear_out(what: str, holds: bool) -> None:
    if not holds:
        raise ValueError(f"expected kept runs that bear out: {what}; they say otherwise now, and so must the sentence")


def _percent(cell: Mapping[str, Any]) -> str:
    """The converged share of a cell of `optimisers xor10`, which has it per 1,000 trials."""
    return f"{int(cell['level']) / 10:g} %"


def _signed(value: float) -> str:
    """Three decimals; no sign in front of zero."""
    text = f"{value:.3f}"
    return text.removeprefix("-") if float(text) == 0 else text
