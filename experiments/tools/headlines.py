"""The results for the front page, one line each, made of the kept summaries as `sentences` are."""

from __future__ import annotations

from experiments.tools.sentences import (
    Sentence,
    Summaries,
    ablation_counts,
    bear_out,
    best_optimiser,
    boundaries,
    cells_of,
    lower_edges,
    percent,
    rescued,
)


def counts(kept: Summaries) -> str:
    """[P, Table 5] in a line."""
    rows = kept["xor10"]["activations"]
    matched, ppns = sum(row["matched"] for row in rows.values()), rows["ppns"]
    return (
        f"{matched} of {len(rows)} counts of [P, Table 5] are reproduced: PPNS trains {ppns['converged']} of "
        f"{ppns['trials']:,} networks (published: {ppns['published']}), Sigmoid {rows['sigmoid']['converged']}."
    )


def printed_counts(kept: Summaries) -> str:
    """The printed conditions in a line."""
    rows, found = kept["xor10-literal"]["activations"], kept["xor10"]["activations"]
    right = sum(row["matched"] for row in rows.values())
    bear_out("the search found conditions that give all counts", all(row["matched"] for row in found.values()))
    return f"The printed conditions give only {right} of these counts. A search found conditions that give all of them."


def start_value(kept: Summaries) -> str:
    """The ablation in a line."""
    trials, _ = ablation_counts(kept)
    return (
        f"At [P]'s rates a start value of 6 is enough: {trials['gain, frozen']} train with a held there, "
        f"{trials['gain, learned']} with a learned, {trials['unit, learned']} if it learns from 1."
    )


def theory(kept: Summaries) -> str:
    """The boundary in a line."""
    ppns, _ = boundaries(kept)
    return (
        f"Theory predicts the value: half of the networks train where a sigma_w is {ppns['at']:.2f}; theory says "
        f"{ppns['theory']:g}."
    )


def deep(kept: Summaries) -> str:
    """The window of deep networks in a line."""
    edges = {(one["activation"], one["depth"]): one for one in lower_edges(kept)}
    deepest = max(depth for _, depth in edges)
    bear_out("theory is met within a quarter", all(0.8 < one["at"] / one["theory"] < 1.25 for one in edges.values()))
    return (
        f"On MNIST as well: with 8 layers PPNS learns from {edges['ppns', 8]['at']:.2f} of that value on, with "
        f"{deepest} layers from {edges['ppns', deepest]['at']:.2f}."
    )


def rescue(kept: Summaries) -> str:
    """What learning rescues, in a line."""
    by_descent, best = rescued(kept)
    return (
        f"From half of that value, gradient descent trains {100 * by_descent:.0f} %, and Adam "
        f"{100 * best['learned']:.0f} % ({100 * best['frozen']:.0f} % if a is held fixed)."
    )


def speed(kept: Summaries) -> str:
    """[P] on MNIST in a line."""
    saved = kept["mnist"]["activations"]["ppns"]["time_to_loss"]["saved_steps"]
    return (
        f"On MNIST, PPNS needs {100 * saved['mean']:.0f} % fewer steps than ReLU to a train loss of 0.1 (published: "
        f"about 2/3)."
    )


def activation_first(kept: Summaries) -> str:
    """Activation or optimiser, in a line."""
    plain, best = cells_of(kept)["ppns, sgd"], best_optimiser(kept, "sigmoid")
    return (
        f"The activation matters more than the optimiser: PPNS trains {percent(plain)} with plain descent, Sigmoid at "
        f"best {percent(best)}."
    )


def convolutions(kept: Summaries) -> str:
    """[A, Table 1] in a line."""
    rho = kept["cnn"]["rank_correlation"]
    bear_out("the order by loss is not the published one", rho["best_loss"]["p_value"] > 0.05)
    return (
        f"The twelve networks of [A] rank as published by iterations (rho {rho['best_iteration']['rho']:.2f}), not by "
        f"loss (rho {rho['best_loss']['rho']:.2f})."
    )


HEADLINES: tuple[Sentence, ...] = (
    counts,
    printed_counts,
    start_value,
    theory,
    deep,
    rescue,
    speed,
    activation_first,
    convolutions,
)
"""In the order of README.md; each fits into one line."""
