"""Every error Tidemark raises on purpose. `str(error)` is the one line that a user reads.

TidemarkError
├── UserError            the caller's mistake: exit 2, HTTP 4xx
│   ├── SettingsError    an unknown or malformed setting
│   ├── ContractError    a contract file that cannot be used
│   ├── DefinitionError  a metric definition that cannot be used
│   └── QueryError       a parameter of a query; `parameter` names it
│       └── NotFound     the named thing does not exist (HTTP 404)
└── Fault                the system's trouble: exit 1, HTTP 5xx
    ├── GateFailed       a quality gate refused a stage's output
    ├── SourceNotDrained the lake does not hold what the source held
    ├── StaleWriter      an older writer was fenced off
    ├── CheckpointDamaged  a file of a stream's checkpoint cannot be trusted
    ├── ViewsUnavailable Redis does not answer
    ├── SourceUnavailable the source's broker does not answer
    ├── SourceLost       the source deleted records that a query had not taken
    └── LakeUnavailable  the lake cannot be read or written
"""


class TidemarkError(Exception):
    """Root of the tree; never raised itself."""


class UserError(TidemarkError):
    """The caller's mistake. One line, naming what and where."""


class SettingsError(UserError):
    """An unknown or malformed setting."""


class ContractError(UserError):
    """A contract that cannot be used."""


class DefinitionError(UserError):
    """A metric definition that cannot be used."""


class QueryError(UserError):
    """A query parameter that cannot be used."""

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(f"{parameter}: {message}")
        self.parameter = parameter


class NotFound(QueryError):
    """The named metric, contract or device does not exist."""


class Fault(TidemarkError):
    """The system's trouble, not the caller's."""


class GateFailed(Fault):
    """A quality gate refused a stage's output; the old publication stays in force."""


class SourceNotDrained(Fault):
    """The lake does not yet hold what the source held when the batch began."""


class StaleWriter(Fault):
    """A writer with an older (epoch, batch) than the one Redis has seen."""


class CheckpointDamaged(Fault):
    """A file of a streaming query's checkpoint is missing, cut or altered. Says which, and the way out."""

    def __init__(self, checkpoint: str, file: str, why: str) -> None:
        contract, lane = checkpoint.rstrip("/").split("/")[-2:]
        way_out = f"tidemark reset-speed --source-contract {contract} --lane {lane}"
        super().__init__(f"checkpoint {checkpoint}: {file} {why}; begin anew, losing and doubling nothing: {way_out}")
        self.checkpoint = checkpoint
        self.file = file


class ViewsUnavailable(Fault):
    """Redis does not answer."""


class SourceUnavailable(Fault):
    """The source's broker does not answer."""


class SourceLost(Fault):
    """The source deleted records that a query had not taken: a person decides how to go on."""


class LakeUnavailable(Fault):
    """The lake cannot be read or written."""
