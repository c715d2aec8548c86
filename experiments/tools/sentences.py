"""The results in sentences: each is a function of the kept summaries, so that no number in them is typed by hand.

A sentence may say more than its numbers. Then it asks the kept verdict, and refuses a run that says otherwise.
These stand in experiments/README.md; `headlines` has those of README.md.
"""

from __future__ import annotations

import collections
import functools
import math
import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from experiments.study.samples import shuffled
from paramact_jax.papers import ko2021, kong2020

Summaries = Mapping[str, Any]
Sentence = Callable[[Summaries], str]

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
LABELS = {row.activation: row.label for row in ko2021.TABLE_7} | {row.activation: row.label for row in ko2021.TABLE_5}
WIDTH = 120


def table_5(kept: Summaries) -> str:
    """Says which counts of [P, Table 5] are matched under the recovered protocol."""
    rows = kept["xor10"]["activations"]
    matched = sum(row["matched"] for row in rows.values())
    ppns, sigmoid = rows["ppns"], rows["sigmoid"]
    return (
        f"**{matched} of {len(rows)} published counts of [P, Table 5] are matched.** PPNS trains XOR(10) in "
        f"{ppns['converged']} of {ppns['trials']:,} trials (published: {ppns['published']}), Sigmoid in "
        f"{sigmoid['converged']} (published: {sigmoid['published']}). The training conditions are those that a search "
        f"found to give these counts."
    )


def literal(kept: Summaries) -> str:
    """Says which counts of [P, Table 5] the printed conditions give."""
    rows = kept["xor10-literal"]["activations"]
    wrong = sum(not row["matched"] for row in rows.values())
    ppns, tanh = rows["ppns"], rows["parametric_tanh"]
    return (
        f"**The printed conditions [P, Table 3] do not give the printed counts.** They miss {wrong} of the {len(rows)} "
        f"counts: PPNS converges in {ppns['converged']} trials instead of {ppns['published']}, Parametric Tanh in "
        f"{tanh['converged']} instead of {tanh['published']}. The conditions that the search found differ in the scale "
        f"of the initial weights and of the gradient."
    )


def ablation_xor10(kept: Summaries) -> str:
    """Says whether learning or the initial gain matters on XOR(10)."""
    counts, trials = ablation_counts(kept)
    return (
        f"**At the rates of [P] the start value of a is enough; learning from 1 is not.** On XOR(10), PPNS converges "
        f"in {counts['gain, frozen']} of {trials:,} trials if a is held at 6. It converges in "
        f"{counts['gain, learned']} if a and b are learned from there, and in {counts['unit, learned']} if they are "
        f"learned from a = 1."
    )


def ablation_mnist(kept: Summaries) -> str:
    """Says whether learning or the initial gain matters on MNIST."""
    name = "test loss after the last step"
    means = kept["ablation-mnist"]["means"][name]["ppns"]
    given = effect(kept["ablation-mnist"]["outcomes"][name], "ppns", "learning, given the gain")["comparison"]
    low, high = map(signed, given["interval"])
    bear_out("learned from a = 1 the loss is chance", abs(means["unit, learned"] - math.log(10)) < 0.01)
    return (
        f"**The same holds on MNIST**, with 8 hidden layers. PPNS ends at a test loss of {means['gain, frozen']:.3f} "
        f"if a is held at 6, and at {means['gain, learned']:.3f} if a and b are learned from there. The 95 % interval "
        f"of the difference is {low} to {high}. Learned from a = 1 the loss stays at {means['unit, learned']:.2f}, "
        f"which is chance."
    )


def gain(kept: Summaries) -> str:
    """Says where the boundary is, and what learning adds."""
    ppns, tanh = boundaries(kept)
    learned = {x["where"]: x for x in kept["gain"]["learning"] if x["activation"] == "ppns" and not x["compensated"]}
    below, above = (100 * (learned[x]["learned"] - learned[x]["frozen"]) for x in ("ordered", "chaotic"))
    return (
        f"**Mean-field theory predicts which start value of a works.** The gradient keeps its size where a sigma_w is "
        f"{ppns['theory']:g} for PPNS and {tanh['theory']:g} for Parametric Tanh; sigma_w is the scale of the weights. "
        f"In our 256 cells with a held fixed, half of the trials converge at {ppns['at']:.2f} and at {tanh['at']:.2f}. "
        f"Learning a and b changes the share of PPNS's trials that converge by {below:+.1f} points below this "
        f"boundary, and by {above:+.1f} points above it."
    )


def gain_mnist(kept: Summaries) -> str:
    """Says in which window of scales deep networks learn."""
    found = kept["gain-mnist"]
    lower = lower_edges(kept)
    off = max(max(one["at"] / one["theory"], one["theory"] / one["at"]) for one in lower) - 1
    edges = {(one["activation"], one["depth"]): one["at"] for one in lower}
    depths = sorted({depth for _, depth in edges})
    shallow, deep = ([edges[name, depths[i]] for name in ("ppns", "parametric_tanh")] for i in (0, -1))
    alike = max(one["difference"] for one in found["collapses"] if one["arm"] == "a frozen, eta/a0^2")
    bear_out("learning a and b changes nothing", all(_holds_0(one["comparison"]) for one in found["learning"]))
    bear_out("only the product counts", alike < 0.05)
    pairs = found["learning"][0]["comparison"]["pairs"]
    return (
        f"**In deep networks the start value has to be near the critical one, as theory says.** With {depths[0]} "
        f"hidden layers PPNS learns from {shallow[0]:.2f} of the critical value on, Parametric Tanh from "
        f"{shallow[1]:.2f}. With {depths[-1]} layers it is {deep[0]:.2f} and {deep[1]:.2f}. Mean-field theory is met "
        f"within {100 * off:.0f} % at every depth. Learning a and b makes no difference that {pairs} seeds show."
    )


def starts(kept: Summaries, run: str) -> str:
    """Compares the critical start with that of [P], each at its own learning rate."""
    asked = [one for one in kept[run]["answers"] if one["question"] == "critical or steepest, learned"]
    better, worse = ([one["name"] for one in asked if one["verdict"] == word] for word in ("better", "worse"))
    told = [f"{word} in {', '.join(names)}" for word, names in (("better", better), ("worse", worse)) if names]
    rest = len(asked) - len(better) - len(worse)
    told += [f"not told apart in {rest} of {len(asked)} networks"] if rest else []
    asked_of = "The critical start against that of [P], each at its own learning rate, a and b learned"
    return f"**{asked_of}:** {'; '.join(told)}."


def crossing(kept: Summaries) -> str:
    """Says what learning rescues below the boundary."""
    by_descent, best = rescued(kept)
    other = {x["way"]: x["share"] for x in kept["crossing"]["otherwise"] if x["activation"] == "ppns"}
    return (
        f"**Gradient descent cannot repair a start value that is too small, Adam can.** PPNS was started at half of "
        f"the critical gain. By gradient descent {100 * by_descent:.0f} % of the trials converge. Neither up to 1,000 "
        f"times the learning rate for a helps, nor one a for all nodes, nor learning the logarithm of a. By Adam "
        f"{100 * best['learned']:.0f} % converge if a has 10 times the rate of the weights, and "
        f"{100 * best['frozen']:.0f} % if a is held fixed. Residual connections with a = 1 held fixed give "
        f"{100 * other['residual sgd']:.0f} % by gradient descent and {100 * other['residual adam']:.0f} % by Adam."
    )


def mnist_slopes(kept: Summaries) -> str:
    """Says which counts of [P, Fig. 14] are ours."""
    rows = kept["mnist"]["activations"]
    away = [row["steep_slopes"]["deviations_away"] for row in rows.values()]
    known = [abs(x) for x in away if x is not None]
    together, printed = kept["mnist"]["slope_counts_together"], kept["mnist-literal"]["slope_counts_together"]
    bear_out(
        "the counts are ours together, and not those of the printed conditions",
        together["p_value"] > 0.05 > printed["p_value"],
    )
    return (
        f"**{sum(x <= 2 for x in known)} of {len(known)} published counts of slopes >= 1 before training [P, Fig. 14] "
        f"lie within two standard deviations of ours.** The furthest is {max(known):.1f} deviations away. [P] counted "
        f"on one network, so the {len(together['activations'])} different counts above 0 can be tested together. They "
        f"fit (p = {together['p_value']:.2f}) if Hexpo's start values are counted from layer 0. Under the printed "
        f"conditions they do not fit (p = {printed['p_value']:.0e})."
    )


def mnist_speed(kept: Summaries) -> str:
    """Says how much training time PPNS saves, published as two thirds [P]."""
    saved = kept["mnist"]["activations"]["ppns"]["time_to_loss"]["saved_steps"]
    low, high = (100 * bound for bound in saved["interval"])
    verdicts = [one["verdict"] for one in kept["mnist"]["statements"]]
    return (
        f"**On MNIST, PPNS needs {100 * saved['mean']:.0f} % fewer steps than ReLU** to reach a train loss of 0.1 (95 "
        f"% interval {low:.0f} to {high:.0f} %; published: about 2/3). {verdicts.count('true')} of {len(verdicts)} "
        f"statements of [P, section 4.2] are true."
    )


def agile_table_1(kept: Summaries) -> str:
    """Compares [A, Table 1] with our runs, and counts the statements of [A] that are true."""
    found = kept["cnn"]
    within = {}
    for name in ("best_loss", "best_iteration"):
        rows = [row[name] for row in found["combinations"].values()]
        within[name] = shuffled([row["published"] for row in rows], [row["prediction"] for row in rows])
    losses, iterations = within["best_loss"], within["best_iteration"]
    bear_out("losses are not told from shuffled ones", losses.as_many > 0.2)
    rho = {name: found["rank_correlation"][name]["rho"] for name in within}
    bear_out("nearly the published order", rho["best_iteration"] > 0.9)
    verdicts = [statement["verdict"] for statement in found["statements"]]
    undecided = f", {verdicts.count('undecided')} undecided" if "undecided" in verdicts else ""
    conv, dense = (kong2020.LABELS[name] for name in found["order"][0].split("/"))
    return (
        f"**The twelve networks of [A, Table 1] rank by iterations nearly as published** (Spearman's rho "
        f"{rho['best_iteration']:.2f}; by loss {rho['best_loss']:.2f}). "
        f"Only {iterations.inside} of the {iterations.of} published iterations lie in our 95 % prediction intervals. "
        f"Of the published losses {losses.inside} do. This tells nothing, because {losses.mean:.1f} do on average if "
        f"the losses are shuffled. The best network has {conv} in its convolutional layers and {dense} in its dense "
        f"layers. {verdicts.count('true')} of {len(verdicts)} statements of [A] are true{undecided}."
    )


def optimisers(kept: Summaries) -> str:
    """Says whether the activation or the optimiser matters on XOR(10)."""
    found, ppns = kept["optimisers-xor10"], kept["xor10"]["activations"]["ppns"]
    plain = cells_of(kept)["ppns, sgd"]

    def best(activation: str) -> str:
        cell = best_optimiser(kept, activation)
        return f"{percent(cell)} ({OPTIMISERS[cell['optimiser']]})"

    return (
        f"**The activation helps more than the optimiser.** Optimisers and learning rates were chosen on other seeds. "
        f"On XOR(10), plain gradient descent trains {percent(plain)} of {plain['seeds']} trials with PPNS. The best of "
        f"{len(found['config']['optimisers'])} optimisers trains {best('sigmoid')} with Sigmoid, {best('relu')} with "
        f"ReLU and {best('ppns')} with PPNS. The rate chosen for PPNS is {plain['rate']:g}; the {ppns['converged']} of "
        f"{ppns['trials']:,} in `xor10` were trained at the rate of [P]."
    )


def student_report(kept: Summaries) -> str:
    """Says which network [R] trained."""
    found = kept["initial-scale"]
    small = sum(run["fits"] for run in found["small"])
    which = "All of them" if small == len(found["small"]) else f"{small} of them"
    fits = [run for run in found["he"] if run["fits"]]
    bear_out("one candidate alone fits", len(fits) == 1)
    names = f"{LABELS[fits[0]['candidate']]} at a rate of {fits[0]['rate']:g}"
    return (
        f"**[R] does not say which activation and learning rate it used.** We tried {len(found['he'])} pairs, with "
        f"{found['config']['width']} nodes a layer. Only {names} fits its run from He's "
        f"scale. {which} fit its run from a standard deviation of 0.01. That run learns nothing: it gives every image "
        f"the same label."
    )


def errata(kept: Summaries) -> str:
    """Counts the formulas that the sources print wrong; the numbers come from the package itself."""
    from paramact_jax.activations.errata import ERRATA

    counts = collections.Counter(erratum.source for erratum in ERRATA)
    by_source = ", ".join(f"{count} of [{source}]" for source, count in counts.items())
    return (
        f"**At least {len(ERRATA)} printed formulas are wrong** ({by_source}). `python -m experiments "
        f"verify` shows a counter-example for each. The corrected formulas agree with automatic differentiation."
    )


SENTENCES: dict[str, tuple[Sentence, ...]] = {
    "xor10": (table_5,),
    "xor10-protocol": (literal,),
    "mnist": (mnist_slopes, mnist_speed),
    "cnn": (agile_table_1,),
    "ablation xor10": (ablation_xor10,),
    "ablation mnist": (ablation_mnist,),
    "gain": (gain,),
    "gain-mnist": (gain_mnist,),
    **{f"starts {name}": (functools.partial(starts, run=f"starts-{name}"),) for name in ("xor10", "mnist", "cnn")},
    "crossing": (crossing,),
    "optimisers xor10": (optimisers,),
    "initial-scale": (student_report,),
}
"""The sentences, by the command whose result they say."""


def as_list(sentences: Iterable[Sentence], kept: Summaries) -> str:
    """Writes sentences as a list in Markdown, in lines of up to 120 characters."""
    return listed(sentence(kept) for sentence in sentences)


def listed(paragraphs: Iterable[str]) -> str:
    """Writes a list in Markdown, in lines of up to 120 characters."""
    return "\n".join(
        textwrap.fill(text, WIDTH, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)
        for text in paragraphs
    )


# -- numbers that several sentences share ------------------------------------------------------------------------------


def effect(outcome: list[dict[str, Any]], base: str, question: str) -> dict[str, Any]:
    """Returns the answer of an ablation for an activation."""
    return next(x for x in outcome if x["base"] == base and x["effect"]["question"] == question)


def _holds_0(comparison: Mapping[str, Any]) -> bool:
    low, high = comparison["interval"]
    return bool(low <= 0 <= high)


def bear_out(what: str, holds: bool) -> None:
    """Refuses kept runs that do not fit the words of a sentence.

    Raises:
      ValueError: if `holds` is False.
    """
    if not holds:
        raise ValueError(f"expected kept runs that bear out: {what}; they say otherwise now, and so must the sentence")


def signed(value: float) -> str:
    """Writes three decimals; zero has no sign.

    Examples:
      >>> signed(-0.0001), signed(-0.0014)
      ('0.000', '-0.001')
    """
    text = f"{value:.3f}"
    return text.removeprefix("-") if float(text) == 0 else text


def ablation_counts(kept: Summaries) -> tuple[dict[str, str], int]:
    """Returns how many trials of PPNS converge under each condition, and the number of trials."""
    name = "trials that converge"
    shares = kept["ablation-xor10"]["means"][name]["ppns"]
    trials = effect(kept["ablation-xor10"]["outcomes"][name], "ppns", "all of it")["comparison"]["pairs"]
    bear_out("the gain, not the learning", shares["gain, frozen"] >= shares["gain, learned"] > shares["unit, learned"])
    return {condition: f"{share * trials:,.0f}" for condition, share in shares.items()}, trials


def boundaries(kept: Summaries) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns where half of the trials of PPNS and of Parametric Tanh converge, a held fixed."""
    at = {x["activation"]: x for x in kept["gain"]["boundaries"] if x["arm"] == "a frozen, eta"}
    found = at["ppns"], at["parametric_tanh"]
    near = [end / one["theory"] for one in found for end in one["interval"]]
    bear_out("theory has the boundary", min(near) >= 0.8 and max(near) <= 1.25)
    return found


def lower_edges(kept: Summaries) -> list[dict[str, Any]]:
    """Returns from which scale deep networks on MNIST learn, with a held fixed."""
    edges: list[dict[str, Any]] = kept["gain-mnist"]["windows"]
    return [one for one in edges if (one["arm"], one["side"]) == ("a frozen, eta", "lower")]


def rescued(kept: Summaries) -> tuple[float, dict[str, Any]]:
    """Returns, for PPNS from half of the critical gain, the best share by descent, and the best way of all."""
    rows = [x for x in kept["crossing"]["rescued"] if x["activation"] == "ppns" and x["start"] == 0.5]
    by_descent = max(x["learned"] for x in rows if x["way"].endswith("sgd"))
    (best,) = (x for x in rows if x["way"] == "best of all")
    bear_out("descent does not cross, Adam does", by_descent < 0.02 < best["frozen"] < best["learned"] - 0.2)
    bear_out("Adam needs a faster a", "Adam" in best["chosen"] and "of a 10 times" in best["chosen"])
    return by_descent, best


def cells_of(kept: Summaries) -> dict[str, Any]:
    """Returns the cells of `optimisers xor10`, by activation and optimiser."""
    bear_out("the activation does more", all(x["verdict"] == "first" for x in kept["optimisers-xor10"]["answers"][:2]))
    return {f"{cell['activation']}, {cell['optimiser']}": cell for cell in kept["optimisers-xor10"]["cells"]}


def best_optimiser(kept: Summaries, activation: str) -> dict[str, Any]:
    """Returns the cell of the optimiser that other seeds choose."""
    question = f"a better optimiser for {activation}"
    answer = next(x for x in kept["optimisers-xor10"]["answers"] if x["question"] == question)
    return cells_of(kept)[answer["first"]]


def percent(cell: Mapping[str, Any]) -> str:
    """Writes the share of a cell of `optimisers xor10` that converges, which it has per 1,000 trials."""
    return f"{int(cell['level']) / 10:g} %"
