"""What a sweep found, in words, a table and a figure."""

from __future__ import annotations

from collections.abc import Mapping

from groundrl.experiments.ablation.arms import MORE_SFT
from groundrl.experiments.ablation.compare import START, Comparison, Interval, limits
from groundrl.experiments.ablation.figure import draw_ablation
from groundrl.experiments.ablation.plan import Job, Plan, read_run_config
from groundrl.experiments.ablation.results import Results, read_results
from groundrl.experiments.drawing.curves import save_figure
from groundrl.rollout.io.records import write_table, write_text


def write_results(plan: Plan, failed: Mapping[Job, str]) -> Results | None:
    """Write the three files and give what they hold; None where no run is complete."""
    results = read_results(plan)
    if not results.rows:
        return None
    write_table(results.rows, plan.folder / "results.parquet")
    write_text(markdown(plan, results, failed), plan.folder / "ablation.md")
    if results.means:
        save_figure(draw_ablation(results), plan.folder / "ablation.png")
    return results


def markdown(plan: Plan, results: Results, failed: Mapping[Job, str]) -> str:
    """The report: what was compared, the table, one sentence an arm, and what cannot be said."""
    settings = plan.settings
    seeds = max((len(mean.seeds) for mean in results.means), default=0)
    base = "the base's model" if not plan.shared else f"the seed's {plan.shared[-1].name} checkpoint"
    lines = [
        f"# {settings.name}",
        "",
        f"Metric: {results.metric}, declared before the runs; seeds: {seeds}. All arms of a seed begin at {base} and "
        "see the same prompts in the same order. Differences are paired by seed and test example.",
        "",
        "| arm | what it changes | mean [95 % t] | minus full [95 % t] | [seeds and blocks] | d_z | p | corrected | "
        "seeds for power 0.8 (range) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    about = {arm.name: str(arm) for arm in plan.arms} | {START: "no RL at all; not tested"}
    compared = {each.arm: each for each in results.comparisons}
    for mean in results.means:
        cells = [mean.arm, about[mean.arm].replace("|", "\\|"), f"{mean.mean:.3f} {_span(mean.interval, sign=False)}"]
        lines.append(f"| {' | '.join([*cells, *_compared(compared.get(mean.arm))])} |")
    lines += ["", *(f"- {text}" for text in results.sentences)]
    lines += ["", limits(seeds, len(results.comparisons))] if results.comparisons else []
    if steps := _more_sft_steps(plan):
        lines += ["", f"more_sft took the time of full's RL: {steps} steps."]
    lines += ["", *(f"- `{name}` was not run: {why}." for name, why in plan.idle.items())] if plan.idle else []
    lines += ["", *(f"- `{job}` failed: {why}" for job, why in failed.items())] if failed else []
    return "\n".join(lines) + "\n"


def _compared(found: Comparison | None) -> list[str]:
    """The cells of a comparison; empty ones for `full` and `start`."""
    if found is None:
        return [""] * 6
    needed = ""
    if found.seeds_range is not None:
        low, high = found.seeds_range
        needed = f"{found.seeds_needed or 'many'} ({low} to {high if high is not None else '∞'})"
    return [
        f"{found.mean:+.3f} {_span(found.interval)}",
        _span(found.hierarchical),
        "" if found.dz is None else f"{found.dz:+.2f}",
        f"{found.p:.3g}",
        f"{found.p_corrected:.3g}",
        needed,
    ]


def _span(interval: Interval | None, *, sign: bool = True) -> str:
    if interval is None:
        return ""
    return f"[{interval[0]:+.3f}, {interval[1]:+.3f}]" if sign else f"[{interval[0]:.3f}, {interval[1]:.3f}]"


def _more_sft_steps(plan: Plan) -> str:
    jobs = [Job(arm=MORE_SFT, seed=seed) for seed in plan.settings.seed_list]
    done = [job for job in jobs if MORE_SFT in plan.settings.controls and plan.done(job)]
    return ", ".join(str(read_run_config(plan.run(job)).stages[0].steps) for job in done)
