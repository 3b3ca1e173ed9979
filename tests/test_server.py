"""The server policy against a small server in this process, well and badly behaved."""

from __future__ import annotations

import json
import shutil
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytest.importorskip("torch")

from tests.tiny import problem, tiny_model, tokenizer
from tts_utils.checkpoints import UnknownModel
from tts_utils.policies import load_policy
from tts_utils.policies.requests import request_seed
from tts_utils.policies.server import Server
from tts_utils.policies.transformers import TransformersPolicy
from tts_utils.protocols import BackendError
from tts_utils.records import Continuation, Problem, SamplingConfig, State

CONFIG = SamplingConfig(temperature=0.7, max_tokens=50, seed=3)
STEPWISE = SamplingConfig(temperature=0.7, max_tokens=50, seed=3, stop=("\n\n",))


class Handler(BaseHTTPRequestHandler):
    """Answers with the prompt's length and the seed; ``server.change`` may spoil an answer."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        assert self.path == "/v1/models"
        self.reply(200, {"data": self.server.models})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.bodies.append((body, dict(self.headers)))
            self.server.busy += 1
            self.server.most = max(self.server.most, self.server.busy)
            fail = self.server.failures.pop(0) if self.server.failures else None
        time.sleep(self.server.pause)
        with self.server.lock:
            self.server.busy -= 1
        if fail == "drop":
            self.close_connection = True
            self.connection.close()
            return
        if fail is not None:
            self.reply(fail, {"error": {"message": "no such luck", "code": fail}})
            return
        seed = body.get("seed", 0)
        text = f"{len(body['prompt'])}:{seed}."
        stopped = bool(body.get("stop")) and seed % 2 == 0  # the stop string is cut off, as vLLM does
        answer = {
            "choices": [
                {"text": text, "finish_reason": "stop", "stop_reason": body["stop"][0] if stopped else None}
            ],
            "usage": {"prompt_tokens": len(body["prompt"]), "completion_tokens": len(text) + 1},
        }
        self.server.change(answer)
        self.reply(200, answer)

    def reply(self, status, content):
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def server():
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    httpd.handle_error = lambda *_: None  # connections that a test drops
    httpd.models = [{"id": "other"}, {"id": "served", "root": "org/tiny", "max_model_len": 300}]
    httpd.lock, httpd.bodies, httpd.failures = threading.Lock(), [], []
    httpd.busy = httpd.most = 0
    httpd.pause, httpd.change = 0.0, lambda answer: None
    httpd.url = f"http://127.0.0.1:{httpd.server_address[1]}/v1"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield httpd
    httpd.shutdown()
    httpd.server_close()
    thread.join()


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A model folder named tiny, as "org/tiny" on the server."""
    path = tmp_path_factory.mktemp("models") / "tiny"
    tiny_model().save_pretrained(path)
    tokenizer().save_pretrained(path)
    return str(path)


def connect(server, folder, **options):
    return load_policy(folder, name="t", backend="server", server_url=server.url, pause=0.01, **options)


def test_every_sample_is_a_request_with_its_own_seed_and_exact_token_ids(server, folder):
    policy = connect(server, folder)
    states = [State(problem(i), ("12 + 30 = 42.\n\n",) * (i % 2)) for i in range(5)]
    pool = policy.sample(states, 3, CONFIG)
    for state, row in zip(states, pool, strict=True):
        ids = TransformersPolicy("t", tiny_model(), tokenizer()).prompt_ids(state)
        assert policy.prompt_ids(state) == ids
        for i, continuation in enumerate(row):
            text = f"{len(ids)}:{request_seed(3, ids, i)}."
            assert continuation == Continuation(text, len(text) + 1, "eos")
    assert len({body["seed"] for body, _ in server.bodies}) == 15
    assert policy.sample(states, 1, CONFIG, first=[0, 1, 2, 0, 1]) == [
        [row[k]] for row, k in zip(pool, [0, 1, 2, 0, 1], strict=True)
    ]


def test_nothing_is_left_to_the_servers_defaults(server, folder):
    connect(server, folder).sample([State(problem())], 1, STEPWISE)
    ((body, headers),) = server.bodies
    sent = {k: v for k, v in body.items() if k not in ("prompt", "seed")}
    assert sent == {
        "model": "served", "max_tokens": 50, "temperature": 0.7, "top_p": 1.0, "n": 1, "top_k": -1,
        "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
        "stop": ["\n\n"], "skip_special_tokens": False, "spaces_between_special_tokens": False,
    }  # fmt: skip
    assert "Authorization" not in headers


def test_a_key_is_taken_from_its_own_variable(server, folder, monkeypatch):
    monkeypatch.setenv("TTS_SERVER_KEY", "abc")
    connect(server, folder).sample([State(problem())], 1, CONFIG)
    assert server.bodies[0][1]["Authorization"] == "Bearer abc"


def test_stop_strings_are_kept_and_ends_are_told_apart(server, folder):
    (pool,) = connect(server, folder).sample([State(problem())], 12, STEPWISE)
    assert {c.finish_reason for c in pool} == {"stop", "eos"}
    assert all(c.text.endswith("\n\n") == (c.finish_reason == "stop") for c in pool)


def test_greedy_decoding_has_no_seed_and_one_sample(server, folder):
    policy, greedy = connect(server, folder), SamplingConfig(temperature=0, max_tokens=50)
    policy.sample([State(problem())], 1, greedy)
    assert len(server.bodies) == 1 and "seed" not in server.bodies[0][0]
    with pytest.raises(ValueError, match="4 continuations would be one and its copies"):
        policy.sample([State(problem())], 4, greedy)


def test_the_context_limit_of_the_server_holds(server, folder):
    policy = connect(server, folder)
    policy.sample([State(problem())], 1, SamplingConfig(max_tokens=9999))
    ((body, _),) = server.bodies
    assert body["max_tokens"] == 300 - len(body["prompt"])
    full = State(problem(), ("42 " * 300,))
    whole, cut = policy.sample([State(problem()), full], 2, CONFIG)
    assert [c.finish_reason for c in whole] == ["eos"] * 2 and cut == [Continuation("", 0, "length")] * 2
    assert len(server.bodies) == 3  # nothing was asked for the full state
    with pytest.raises(ValueError, match=r"'long'.*reads at most 300"):
        policy.sample([State(Problem("long", "42 " * 300, "1"))], 1, CONFIG)


def test_requests_run_side_by_side_and_never_more_than_allowed(server, folder):
    server.pause = 0.02
    connect(server, folder, concurrency=3).sample([State(problem())], 12, CONFIG)
    assert server.most == 3


def test_dropped_connections_and_busy_answers_are_tried_again(server, folder):
    policy = connect(server, folder)
    expected = policy.sample([State(problem())], 4, CONFIG)
    server.failures = ["drop", 503, "drop", 429]
    assert policy.sample([State(problem())], 4, CONFIG) == expected
    assert server.failures == []


def test_a_server_that_stays_away_is_named_after_all_attempts(server, folder):
    policy = connect(server, folder, retries=2)
    server.failures = ["drop"] * 1000
    with pytest.raises(BackendError, match=rf"{server.url}/completions cannot be reached .*tried 3 times"):
        policy.sample([State(problem())], 8, CONFIG)
    with pytest.raises(BackendError, match=r"cannot be reached .*tried 1 times"):
        Server("http://127.0.0.1:9/v1", retries=0).ask("/models")


def test_a_refusal_is_passed_on_at_once(server, folder):
    policy = connect(server, folder, concurrency=1)
    server.failures = [400]
    with pytest.raises(BackendError, match="status 400: no such luck"):
        policy.sample([State(problem())], 3, CONFIG)
    assert len(server.bodies) == 1


def test_a_failure_cuts_what_is_under_way_and_the_policy_stays_usable(server, folder):
    policy = connect(server, folder)
    server.failures, server.pause = [400] * 8, 0.0
    with pytest.raises(BackendError):
        policy.sample([State(problem())], 8, CONFIG)
    server.failures = []
    assert len(policy.sample([State(problem())], 2, CONFIG)[0]) == 2


def spoil(change):
    return lambda answer: change(answer["choices"][0], answer["usage"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c, u: u.update(prompt_tokens=1), "does not continue token ids"),
        (lambda c, u: c.pop("stop_reason"), "steps and ends cannot be told apart"),
        (lambda c, u: c.update(finish_reason="abort"), "'abort'"),
        (lambda c, u: u.pop("completion_tokens"), "lacks text, finish_reason or usage"),
        (lambda c, u: c.pop("text"), "lacks text, finish_reason or usage"),
        (lambda c, u: c.update(text=None), "text is None, no str"),
        (lambda c, u: c.update(text=12), "text is 12, no str"),
        (lambda c, u: c.update(text=["a"]), "no str"),
        (lambda c, u: c.update(finish_reason=None), "finish_reason is None"),
        (lambda c, u: c.update(finish_reason=["stop"]), "no str"),
        (lambda c, u: u.update(completion_tokens=-7), "counts -7 tokens for a text"),
        (lambda c, u: u.update(completion_tokens=0), "counts 0 tokens for a text"),
        (lambda c, u: u.update(completion_tokens=2500), "counts 2500 tokens .* which 50 were allowed"),
        (lambda c, u: u.update(completion_tokens=True), "True, no int"),
        (lambda c, u: u.update(completion_tokens="9"), "'9', no int"),
        (lambda c, u: u.update(prompt_tokens=None), "prompt_tokens is None"),
        (lambda c, u: c.update(text="x" * 30_000), "cannot make a text of 30,000 characters"),
        (lambda c, u: c.update(stop_reason="###"), "names '###' as what ended the text"),
        (lambda c, u: c.update(stop_reason=[1]), r"names \[1\] as what"),
    ],
)
def test_answers_that_cannot_be_relied_on_are_refused(server, folder, change, message):
    server.change = spoil(change)
    with pytest.raises(BackendError, match=message) as caught:
        connect(server, folder).sample([State(problem())], 1, STEPWISE)
    assert "'p0'" in str(caught.value)


@pytest.mark.parametrize("choices", [None, [], {}, ["text"], [{"text": "a"}, {"text": "b"}]])
def test_an_answer_without_its_one_choice_is_refused(server, folder, choices):
    server.change = lambda answer: answer.update(choices=choices)
    with pytest.raises(BackendError, match="lacks its one choice"):
        connect(server, folder).sample([State(problem())], 1, CONFIG)


def test_of_two_words_for_what_stopped_it_the_one_that_says_something_counts(server, folder):
    server.change = spoil(lambda c, u: c.update(stop_reason=None, matched_stop="\n\n"))
    ((one,),) = connect(server, folder).sample([State(problem())], 1, STEPWISE)
    assert one.finish_reason == "stop" and one.text.endswith("\n\n")


@pytest.mark.parametrize("calls", [[(0, 8)], [(0, 1), (1, 1)]])
def test_a_server_that_ignores_seeds_is_refused(server, folder, calls):
    server.change = spoil(lambda c, u: c.update(text="the same", finish_reason="length"))
    policy = connect(server, folder)
    with pytest.raises(BackendError, match=rf"{server.url} ignores seeds.*'p0'.*at temperature 2"):
        for first, n in calls:
            policy.sample([State(problem())], n, CONFIG, first)


def test_a_policy_that_is_sure_of_itself_is_asked_once_more_and_believed(server, folder):
    def sure(answer):
        if server.bodies[-1][0]["temperature"] < 2:
            answer["choices"][0]["text"] = "the same"

    server.change = sure
    policy = connect(server, folder, concurrency=1)
    for _ in range(2):
        (pool,) = policy.sample([State(problem())], 4, CONFIG)
        assert [c.text for c in pool] == ["the same"] * 4
    assert [body["temperature"] for body, _ in server.bodies].count(2) == 4  # in all


@pytest.mark.parametrize(
    "entry", [{"id": 7}, {"id": "tiny", "root": []}, {"id": "tiny", "max_model_len": "9"}]
)
def test_a_list_of_models_that_is_none_is_refused(server, folder, entry):
    server.models = [entry]
    with pytest.raises(BackendError, match=f"{server.url}/models"):
        connect(server, folder)


def test_without_stop_strings_no_stop_reason_is_needed(server, folder):
    server.change = spoil(lambda c, u: c.pop("stop_reason"))
    ((one,),) = connect(server, folder).sample([State(problem())], 1, CONFIG)
    assert one.finish_reason == "eos"


def test_sglangs_word_for_what_stopped_it_is_understood(server, folder):
    server.change = spoil(lambda c, u: c.update(matched_stop=c.pop("stop_reason")))
    (pool,) = connect(server, folder).sample([State(problem())], 12, STEPWISE)
    assert {c.finish_reason for c in pool} == {"stop", "eos"}


@pytest.mark.parametrize("spoilt", ["tokenizer.json", "chat_template.jinja"])
def test_a_spoilt_checkpoint_is_named(server, folder, tmp_path, spoilt):
    copy = tmp_path / "tiny"
    shutil.copytree(folder, copy)
    (copy / spoilt).write_text("{" if spoilt.endswith("json") else "")
    with pytest.raises(UnknownModel, match="chat template" if spoilt.endswith("jinja") else str(copy)):
        connect(server, str(copy))


@pytest.mark.parametrize("models", [[], [{"id": "other"}], [{"id": "a/tiny"}, {"id": "b/tiny"}]])
def test_a_server_of_another_model_is_refused_with_its_list(server, folder, models):
    server.models = models
    with pytest.raises(BackendError, match=rf"model called .*{models[0]['id'] if models else 'none at all'}"):
        connect(server, folder)


def test_the_model_is_counted_and_told_from_other_backends(server, folder):
    policy = connect(server, folder)
    whole = load_policy(folder, "cpu")
    assert policy.num_params == whole.num_params
    assert policy.revision == f"{whole.revision} server"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "tgi"}, "no backend 'tgi'"),
        ({"backend": "server"}, "needs one"),
        ({"backend": "server", "server_url": "127.0.0.1:8000"}, "no server address"),
        ({"server_url": "http://127.0.0.1/v1"}, "take none"),
        ({"backend": "vllm", "device": "cpu"}, "leave out device"),
        ({"backend": "vllm", "revision": "main"}, "sets revision itself"),
        ({"max_model_len": 9}, "takes no option 'max_model_len'"),
        ({"batch_size": 0}, "batch_size=0 .* must be a whole number, 1 or more"),
        ({"family": "llama"}, "family='llama' .* must be a tts_utils.prompts.Family"),
    ],
)
def test_options_that_do_not_belong_together_are_refused(folder, options, message):
    with pytest.raises(BackendError, match=message):
        load_policy(folder, **options)
