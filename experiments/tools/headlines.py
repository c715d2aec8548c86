"""The results for the front page, two lines each at most, made of the kept summaries as `sentences` are."""

from __future__ import annotations

from experiments.tools.sentences import Sentence, Summaries, ablation_counts, bear_out, boundaries, lower_edges


def counts(kept: Summaries) -> str:
    """[P, Table 5], under the printed conditions and under those that a search found."""
    printed, rows = (kept[run]["activations"] for run in ("xor10-literal", "xor10"))
    right, matched = (sum(row["matched"] for row in found.values()) for found in (printed, rows))
    bear_out("the search found conditions that give all counts", matched == len(rows))
    ppns = rows["ppns"]
    return (
        f"Training as printed in [P] gives only {right} of the {len(rows)} counts of [P, Table 5], within chance. "
        f"Conditions found by a search give all {matched}: PPNS trains {ppns['converged']} of {ppns['trials']:,} "
        f"networks (published: {ppns['published']}), Sigmoid {rows['sigmoid']['converged']}."
    )


def start_value(kept: Summaries) -> str:
    """The ablation."""
    counts, trials = ablation_counts(kept)
    return (
        f"Under these conditions the start value of `a` decides: of {trials:,} networks PPNS trains "
        f"{counts['gain, frozen']} if `a` is held at 6, {counts['gain, learned']} if it is learned from 6, and "
        f"{counts['unit, learned']} if it is learned from 1."
    )


def theory(kept: Summaries) -> str:
    """The boundary, and how it moves with depth."""
    (ppns, _), edges = boundaries(kept), {(one["activation"], one["depth"]): one for one in lower_edges(kept)}
    depths = sorted({depth for _, depth in edges})
    bear_out("theory is met within a quarter", all(0.8 < one["at"] / one["theory"] < 1.25 for one in edges.values()))
    shallow, deep = (f"{edges['ppns', depth]['at']:.2f}" for depth in (depths[0], depths[-1]))
    return (
        f"Mean-field theory gives a critical value: `a * sigma_w` = {ppns['theory']:g} for PPNS. Half of the networks "
        f"train at {ppns['at']:.2f}; on MNIST the limit is {shallow} of the critical value with {depths[0]} layers, "
        f"and {deep} with {depths[-1]}."
    )


def speed(kept: Summaries) -> str:
    """[P] on MNIST."""
    saved = kept["mnist"]["activations"]["ppns"]["time_to_loss"]["saved_steps"]
    low, high = (100 * bound for bound in saved["interval"])
    return (
        f"On MNIST, with 8 layers, PPNS reaches a train loss of 0.1 in {100 * saved['mean']:.0f} % fewer steps than "
        f"ReLU (95 % interval {low:.0f} to {high:.0f} %, {kept['mnist']['config']['seeds']} seeds; published: about "
        f"2/3 fewer)."
    )


def convolutions(kept: Summaries) -> str:
    """[A, Table 1]."""
    rho = kept["cnn"]["rank_correlation"]
    bear_out("the order by loss is not the published one", rho["best_loss"]["p_value"] > 0.05)
    return (
        f"The twelve networks of [A] rank nearly as published by iterations (Spearman's rho "
        f"{rho['best_iteration']['rho']:.2f}), but not by loss ({rho['best_loss']['rho']:.2f})."
    )


HEADLINES: tuple[Sentence, ...] = (counts, start_value, theory, speed, convolutions)
"""In the order of README.md."""
