"""All keys that a file may have, as markdown: the page docs/configuration.md."""

import typer

PAGE = """# All configuration keys

A YAML file is a run (`groundrl train`), a sweep (`groundrl sweep`) or an evaluation (`groundrl eval`). A key within a
mapping is written with dots, an element of a list by its name: `groundrl train quickstart stages.rl.steps=20 seed=3`.
An unknown key and a value out of its bound are refused. `groundrl keys` prints this page from the code.

{files}"""


def keys() -> None:
    """Print all configuration keys as markdown: type, default, bound and meaning of each."""
    from groundrl.experiments.ablation.settings import SweepSettings
    from groundrl.experiments.config.reference import file_page
    from groundrl.experiments.config.run import RunConfig
    from groundrl.experiments.evals.config import EvalConfig

    files = (("A run", RunConfig), ("A sweep", SweepSettings), ("An evaluation", EvalConfig))
    typer.echo(PAGE.format(files="\n\n".join(file_page(title, model) for title, model in files)))
