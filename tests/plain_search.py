"""Beam search and DVTS as the paper states them, on texts alone: what the package's searches must equal.

``sample(text, m)`` gives m next steps after a text, each with whether it ends the path; ``score(text)`` is
the PRM's score of its last step.
"""


def beam_search(N, M, sample, score):
    beams, done = [""] * (N // M), []
    while beams:
        candidates = [(beam + step, ends) for beam in beams for step, ends in sample(beam, M)]
        candidates.sort(key=lambda candidate: score(candidate[0]), reverse=True)  # ties: first seen
        kept = candidates[: N // M - len(done)]
        done += [text for text, ends in kept if ends]
        beams = [text for text, ends in kept if not ends]
    return done


def dvts(N, M, sample_for_tree, score):
    return [beam_search(M, M, sample_for_tree(tree), score)[0] for tree in range(N // M)]
