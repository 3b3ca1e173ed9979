r"""Searches over steps, guided by a PRM, as generators for the driver of ``search``.

Beam search with budget N and branching M keeps N/M beams: sample M next steps from each, score all, keep the
best N/M, until every path has ended. DVTS is N/M independent trees, each a beam search with budget M that
keeps one. On texts alone, with ``sample(text, m)`` for the policy and ``score(text)`` for the PRM, that is::

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

:mod:`tts_utils.tree_search.beams` is the first of the two, and the tests hold it to these lines. It is longer
because the paper's wording leaves things open, policies are cut, PRMs have a limit, and every step is logged
with what it cost. Each such deviation is explained beside the line that makes it, under a number: (1) ranking
over all beams; (2) finished paths retire, or compete; (3) steps cut by the token limit; (4) paths longer than
the PRM reads; (5) equal candidates; (6) what is voted on; (7) scores are taken once.
Source: section 2.2 of arXiv:2502.06703 (DVTS: Beeching et al. 2024), and the authors' released code.

Two searches are not in the paper. Beam search that verifies every g-th step only lets each of its N
candidates take g steps before the PRM reads it; g = 1 is beam search, and with g at the depth limit nothing
is left to prune for, so that all N are voted on, which is Best-of-N. Particle filtering
(:mod:`tts_utils.tree_search.particles`) draws who goes on, in proportion to the scores, instead of keeping
the best. The tests hold them to these lines::

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

Sources: verification every g-th step is the subject of arXiv:2505.11730, whose search goes g - 1 steps from a
beam before it branches, where ours branches first (as beam search does, so that the N candidates differ from
their first step on). Particle filtering for reasoning: arXiv:2502.01618, and the code of its_hub.
"""

from tts_utils.tree_search.growing import RETRIES
from tts_utils.tree_search.settings import TreeSearch, beam_search, dvts, particle_filter

__all__ = ["RETRIES", "TreeSearch", "beam_search", "dvts", "particle_filter"]
