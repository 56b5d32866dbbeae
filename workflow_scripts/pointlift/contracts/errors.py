"""The errors a user can cause, each with a message that says what is wrong, what is allowed and what to do."""


class PointliftError(Exception):
    """A mistake outside the program (config, file, machine). Entry points print its text alone, without a trace."""


class ConfigError(PointliftError):
    """config.yaml says something that cannot be meant; the message lists every mistake at once."""


class ArtifactError(PointliftError):
    """A file under results/ or data/ is missing, damaged or not what its reader was promised."""


class MachineError(PointliftError):
    """The machine lacks something (a system library, memory, a device); the message names the remedy."""


class UnusableShapeError(PointliftError):
    """One shape cannot be used; the text is its reason in the quarantine list. It never stops a run by itself."""
