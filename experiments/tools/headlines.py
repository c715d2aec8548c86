"""The results for the front page, one line each, made of the kept summaries in the same way as `sentences`."""

from __future__ import annotations

from experiments.tools.sentences import (
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


def headlines(kept: Summaries) -> list[str]:
    """Writes the headlines in the order of README.md; each fits into one line."""
    counts, printed = (kept[run]["activations"] for run in ("xor10", "xor10-literal"))
    matched, right = (sum(row["matched"] for row in rows.values()) for rows in (counts, printed))
    ppns, sigmoid = counts["ppns"], counts["sigmoid"]
    bear_out("the search found conditions that give all counts", matched == len(counts))

    trials, _ = ablation_counts(kept)
    boundary, _ = boundaries(kept)

    edges = {(one["activation"], one["depth"]): one for one in lower_edges(kept)}
    deepest = max(depth for _, depth in edges)
    bear_out("theory is met within a quarter", all(0.8 < one["at"] / one["theory"] < 1.25 for one in edges.values()))

    by_descent, adam = rescued(kept)
    saved = kept["mnist"]["activations"]["ppns"]["time_to_loss"]["saved_steps"]
    plain, best = cells_of(kept)["ppns, sgd"], best_optimiser(kept, "sigmoid")

    rho = kept["cnn"]["rank_correlation"]
    bear_out("the order by loss is not the published one", rho["best_loss"]["p_value"] > 0.05)
    return [
        f"{matched} of {len(counts)} counts of [P, Table 5] are reproduced: PPNS trains {ppns['converged']} of "
        f"{ppns['trials']:,} networks (published: {ppns['published']}), Sigmoid {sigmoid['converged']}.",
        f"The printed conditions give only {right} of these counts. A search found conditions that give all of them.",
        f"At [P]'s rates a start value of 6 is enough: {trials['gain, frozen']} train with a held there, "
        f"{trials['gain, learned']} with a learned, {trials['unit, learned']} if it learns from 1.",
        f"Theory predicts the value: half of the networks train where a sigma_w is {boundary['at']:.2f}; theory says "
        f"{boundary['theory']:g}.",
        f"On MNIST as well: with 8 layers PPNS learns from {edges['ppns', 8]['at']:.2f} of that value on, with "
        f"{deepest} layers from {edges['ppns', deepest]['at']:.2f}.",
        f"From half of that value, gradient descent trains {100 * by_descent:.0f} %, and Adam "
        f"{100 * adam['learned']:.0f} % ({100 * adam['frozen']:.0f} % if a is held fixed).",
        f"On MNIST, PPNS needs {100 * saved['mean']:.0f} % fewer steps than ReLU to a train loss of 0.1 (published: "
        f"about 2/3).",
        f"The activation matters more than the optimiser: PPNS trains {percent(plain)} with plain descent, Sigmoid at "
        f"best {percent(best)}.",
        f"The twelve networks of [A] rank as published by iterations (rho {rho['best_iteration']['rho']:.2f}), not by "
        f"loss (rho {rho['best_loss']['rho']:.2f}).",
    ]
