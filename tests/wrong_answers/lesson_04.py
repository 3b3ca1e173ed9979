"""Lesson 4: keep the best, the bill, the fatal prune."""

from tests.wrong_answers import Wrong


def lowest(candidates, k):
    return [path for path, _ in sorted(candidates, key=lambda pair: pair[1])[:k]]


def ties_to_the_last(candidates, k):
    order = sorted(range(len(candidates)), key=lambda i: (candidates[i][1], i), reverse=True)
    return [candidates[i][0] for i in order[:k]]


def with_scores(candidates, k):
    return sorted(candidates, key=lambda pair: -pair[1])[:k]


def any_sound_pruned(tree):
    for depth, level in tree.groupby("depth"):
        if (level["verdict"].astype(bool) & ~level["kept"]).any():
            return depth
    return None


def nothing_sound_kept(tree):
    for depth, level in tree.groupby("depth"):
        if not (level["verdict"].astype(bool) & level["kept"]).any():
            return depth
    return None


def the_last_one(tree):
    found = None
    for depth, level in tree.groupby("depth"):
        sound = level["verdict"].astype(bool)
        if sound.any() and not (sound & level["kept"]).any():
            found = depth
    return found


WRONG = [
    Wrong("keep", "the lowest scores", lowest, "higher scores are better"),
    Wrong("keep", "ties to the last seen", ties_to_the_last, "ties to the one seen first|d must be there"),
    Wrong("keep", "scores returned too", with_scores, "without their scores"),
    Wrong("spend", "all places at every depth", lambda ended, m: m * len(ended) * max(ended), "no more"),
    Wrong("spend", "only the kept steps", lambda ended, m: sum(ended), "48, not 12"),
    Wrong("spend", "the last depth left out", lambda ended, m: m * sum(d - 1 for d in ended), "48, not 32"),
    Wrong("fatal", "any sound candidate pruned", any_sound_pruned, "another sound one was kept"),
    Wrong("fatal", "no sound one kept, though none was offered", nothing_sound_kept, "the policy slipped"),
    Wrong("fatal", "the last such depth", the_last_one, "The first such depth"),
]
