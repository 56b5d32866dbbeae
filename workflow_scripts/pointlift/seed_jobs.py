"""Which seeds of a run one job trains: each its own, or where the suite says so all of them one after another."""

from __future__ import annotations

from typing import Any

from pointlift.contracts.blocks import SuiteSettings


class SeedJobs:
    """How a suite's seeds are spread over jobs. The files are the same in either case."""

    def __init__(self, suite: SuiteSettings) -> None:
        self._seeds, self._shared = suite.seeds, suite.seeds_share_jobs
        self.word = "" if self._shared else ".seed{seed}"
        """What tells the jobs of a run's seeds apart in a name: a wildcard, or nothing where they share one."""

    def files(self, pattern: str) -> str | list[str]:
        """What one job makes of a pattern with ``{seed}``: one file, or where seeds share jobs one for each."""
        return [pattern.replace("{seed}", str(seed)) for seed in self._seeds] if self._shared else pattern

    def of(self, wildcards: Any) -> list[int]:
        """The seeds of the job with these wildcards.

        Rules ask for it by way of their ``output``, so that Snakemake compares it with nothing: a file is as good when
        it was made in a job of its own.
        """
        return list(self._seeds) if self._shared else [int(wildcards.seed)]

    def groups(self) -> list[tuple[str, tuple[int, ...]]]:
        """Of every job of a run: the word in its name, and its seeds."""
        if self._shared:
            return [(self.word, self._seeds)]
        return [(self.word.replace("{seed}", str(seed)), (seed,)) for seed in self._seeds]
