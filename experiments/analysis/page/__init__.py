"""The page on which a person looks at a run: one HTML file with everything in it, no server and no network."""

from groundrl.experiments.analysis.page.build import write_page

__all__ = ["write_page"]
