"""The searches as they are stated, on texts alone: what the package's searches must equal.

``sample(text, m)`` gives m next steps after a text, each with whether it ends the path; ``score(text)`` is
the PRM's score of its last step.
"""

import bisect
import itertools


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


def verify_every(g, N, M, sample, score):
    beams, done = [""] * (N // M), []
    while beams:
        candidates = [(beam + step, ends) for beam in beams for step, ends in sample(beam, M)]
        for _ in range(g - 1):
            candidates = [(text, True) if ends else one_more(text, sample) for text, ends in candidates]
        candidates.sort(key=lambda candidate: score(candidate[0]), reverse=True)
        kept = candidates[: N // M - len(done)]
        done += [text for text, ends in kept if ends]
        beams = [text for text, ends in kept if not ends]
    return done


def one_more(text, sample):
    ((step, ends),) = sample(text, 1)
    return text + step, ends


def particle_filter(N, sample, score, pointer):
    particles = [("", False)] * N
    while True:
        particles = [(text, True) if ends else one_more(text, sample) for text, ends in particles]
        if all(ends for _, ends in particles):
            return [text for text, _ in particles]
        sums = list(itertools.accumulate(score(text) for text, _ in particles))
        u = pointer()
        places = [(i + u) / N * sums[-1] for i in range(N)]
        particles = [particles[bisect.bisect_right(sums, place)] for place in places]
