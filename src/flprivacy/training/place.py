"""Where in a run a pass over a client's scans stands."""

from typing import NamedTuple


class Place(NamedTuple):
    """Names one pass, so that whatever is drawn for it depends on nothing else.

    Attributes:
        client: number of the client, or of the siloed model; 0 for central training.
        round_: FedAvg round; 0 outside FedAvg.
        epoch: pass within the round.
    """

    client: int = 0
    round_: int = 0
    epoch: int = 0
