"""Fixed pieces of work, timed in processor seconds and printed as JSON; runs on this and on earlier builds.

A build is what PYTHONPATH names. ``result`` is a hash of texts and trees, scores left out.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from dataclasses import replace

import torch

from tts_utils import mdp, search
from tts_utils.policies import load_policy
from tts_utils.prms import load_prm
from tts_utils.problems import load_problems
from tts_utils.records import SamplingConfig
from tts_utils.tree_search import TreeSearch

CONFIG = SamplingConfig(temperature=0.7, max_tokens=128)


class Timed:
    """A model whose calls are timed."""

    def __init__(self, model) -> None:
        self.model, self.seconds = model, 0.0

    def __getattr__(self, name: str):
        return getattr(self.model, name)

    def _timed(self, call, *args):
        began = time.process_time()
        result = call(*args)
        self.seconds += time.process_time() - began
        return result

    def sample(self, *args):
        return self._timed(self.model.sample, *args)

    def score(self, *args):
        return self._timed(self.model.score, *args)


def main(work: str, count: int, prm_name: str) -> None:
    """Warm up, do the work, print what it took and a hash of what came out."""
    torch.set_num_threads(1)
    problems = load_problems("lab-200")
    policy = Timed(load_policy("lab-llama-m", "cpu"))
    prm = Timed(load_prm(prm_name, "cpu"))

    def sampled(some):
        return policy.sample([mdp.initial_state(p) for p in some], 16, CONFIG)

    def searched(some):
        return search.run([TreeSearch(work, 64)(p) for p in some], policy, prm, CONFIG)

    run = sampled if work == "sampling" else searched
    run(problems[-2:])
    policy.seconds = prm.seconds = 0.0
    began = time.process_time()
    result = run(problems[:count])
    took = time.process_time() - began
    if work != "sampling":
        result = [[_without_score(node) for node in tree.nodes] for tree in result]
    facts = hashlib.sha256(repr(result).encode()).hexdigest()[:12]
    print(json.dumps({"all": took, "policy": policy.seconds, "PRM": prm.seconds, "result": facts}))


def _without_score(node):
    """A node for comparing builds, among them some whose nodes are dataclasses; both are written alike."""
    return node._replace(score=None) if isinstance(node, tuple) else replace(node, score=None)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
