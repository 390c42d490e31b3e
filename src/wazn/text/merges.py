"""Merge ranks for a SentencePiece BPE vocabulary, which lists scores instead of merges.

SentencePiece joins, among all neighbours, the pair whose joined piece scores best. So every way to
write a piece as two pieces is a merge, ranked by the score of the whole.
"""

from collections.abc import Mapping, Sequence

from wazn.errors import BadFile

MAX_SPLITS = 4_000_000
"""Ways to split tried in all, about 3 s of work; a 32,000 piece vocabulary needs 0.2 million."""


def merges_from_scores(
    pieces: Mapping[str, int], scores: Sequence[float], name: str
) -> list[tuple[str, str]]:
    """Left and right parts by descending score, from piece → id of ordinary pieces.

    ``scores`` is indexed by id. Equal scores keep the order of ids; of one piece's splits the one
    with the longest left part comes first.
    """
    splits = sum(map(len, pieces)) - len(pieces)
    if splits > MAX_SPLITS:
        raise BadFile(f"{name} has pieces with {splits} characters in all, over {MAX_SPLITS}.")
    found: list[tuple[float, str, str]] = []
    for piece, id in pieces.items():
        rank = -scores[id]
        for at in range(len(piece) - 1, 0, -1):
            if (left := piece[:at]) in pieces and (right := piece[at:]) in pieces:
                found.append((rank, left, right))
    found.sort(key=lambda merge: merge[0])
    return [(left, right) for _, left, right in found]
