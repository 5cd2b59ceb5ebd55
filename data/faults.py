"""What goes wrong on the way: shares of records that come late, twice, broken, or extreme."""

from dataclasses import dataclass, fields

from tidemark.errors import UserError


@dataclass(frozen=True, slots=True)
class Faults:
    """Shares of all records, each in [0, 1]; together at most 1, since a record suffers one fault at most."""

    late: float = 0.0
    duplicates: float = 0.0
    invalid: float = 0.0
    anomalies: float = 0.0

    def __post_init__(self) -> None:
        for share in fields(self):
            value = getattr(self, share.name)
            if not 0 <= value <= 1:
                raise UserError(f"--{share.name}: {value} is not a share between 0 and 1")
        if self.late + self.duplicates + self.invalid + self.anomalies > 1:
            raise UserError("--late, --duplicates, --invalid and --anomalies together exceed 1")
