"""PPO and GRPO against what one would write down, and the small proof that they learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from experiments.ppo_proof import world
from hypothesis import given, settings
from hypothesis import strategies as some
from tests.tuning import WORDS, toy_decoder

from minna.models.scorer import Scorer
from minna.objectives import GRPO, PPO, GRPOSettings, PPOSettings, Reference
from minna.objectives.ppo import advantages, compared
from minna.runtime.episodes import Episodes, Said

ROWS, PROMPT, ANSWER = 6, 5, 7


def experience(seed=0, *, rows=ROWS, groups=None):
    """Episodes of random answers of all lengths."""
    generator = np.random.default_rng(seed)
    episodes = Episodes(count=rows, prompt_tokens=PROMPT, answer_tokens=ANSWER)
    said = []
    for _ in range(rows):
        prompt = generator.integers(1, WORDS, generator.integers(1, PROMPT + 1))
        told = generator.integers(1, WORDS, generator.integers(1, ANSWER + 1))
        said.append(
            Said(
                turns=(), text="", prompt_ids=tuple(prompt.tolist()),
                answer_ids=tuple(told.tolist()), ended=True,
            )
        )  # fmt: skip
    episodes.put(range(rows), said, groups=groups or range(rows))
    episodes.scores.copy_(torch.from_numpy(generator.normal(size=rows)).float())
    return episodes, said


def learner(kind, episodes, policy, **more):
    if kind == "grpo":
        return GRPO(
            GRPOSettings(kind="grpo", **more), episodes=episodes, reference=Reference(policy),
            vocab=WORDS, temperature=0.7,
        )  # fmt: skip
    critic = None
    if kind == "ppo":
        critic = Scorer(policy.config)
        critic.initialise(seed=5)
    return PPO(
        PPOSettings(kind="ppo", **more), critic=critic, width=policy.config.width,
        episodes=episodes, reference=Reference(policy), vocab=WORDS, temperature=0.7,
    )  # fmt: skip


def changed(model, by=0.1):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(
                by * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
            )


def annotated(objective, policy, parts=((0, 3, 4), (1, 2, 5))):
    for rows in parts:
        batch = objective.episodes.batch(rows)
        objective.episodes.keep(rows, batch, objective.annotate(policy, batch))


@settings(deadline=None)
@given(
    gamma=some.sampled_from([1.0, 0.9]),
    lam=some.sampled_from([0.0, 0.5, 1.0]),
    seed=some.integers(0, 99),
)
def test_advantages_are_the_sum_over_the_future_of_each_answer(gamma, lam, seed):
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, 6, 4)
    rewards, values = generator.normal(size=(2, 4, 5))
    mask = np.arange(5) < lengths[:, None]
    found = advantages(
        torch.from_numpy(rewards), torch.from_numpy(values), torch.from_numpy(mask),
        gamma=gamma, lam=lam,
    )  # fmt: skip
    for row, length in enumerate(lengths):
        after = [*values[row, 1:length], 0.0]
        deltas = [rewards[row, t] + gamma * after[t] - values[row, t] for t in range(length)]
        for t in range(5):
            told = sum((gamma * lam) ** (u - t) * deltas[u] for u in range(t, length))
            assert float(found[row, t]) == pytest.approx(told if t < length else 0.0)


def test_a_batch_places_each_answer_where_it_was_chosen():
    episodes, said = experience()
    for rows in ([0, 3], [5], [1, 2, 4]):
        batch = episodes.batch(rows)
        for line, row in enumerate(rows):
            whole = [*said[row].prompt_ids, *said[row].answer_ids]
            assert batch["tokens"][line, : len(whole) - 1].tolist() == whole[:-1]
            asked = batch["targets"][line] != -100
            assert batch["targets"][line][asked].tolist() == list(said[row].answer_ids)
            first = len(said[row].prompt_ids) - 1
            assert asked.nonzero()[:, 0].tolist() == list(range(first, len(whole) - 1))
        known = torch.arange(batch["targets"].numel()).view(batch["targets"].shape).float()
        episodes.keep(rows, batch, {"advantages": known})
        again = episodes.batch(rows)["advantages"]
        assert torch.equal(again, known.where(batch["targets"] != -100, 0.0))


@pytest.mark.parametrize("kind", ["ppo", "head", "grpo"])
def test_the_first_update_sees_ratios_of_exactly_one(kind):
    policy = toy_decoder(seed=0)
    episodes, _ = experience()
    objective = learner(
        kind if kind != "head" else "shared",
        episodes,
        policy,
        **({"critic": "head"} if kind == "head" else {}),
    )
    changed(policy)
    annotated(objective, policy)
    objective.settle()
    for rows in ((0, 3, 4), (1, 2, 5)):
        batch = episodes.batch(rows) | {"first": torch.ones(())}
        sums, _ = objective.loss(policy, batch)
        assert float(sums["val/ratio"]) == objective.counts(batch)["loss/policy"]
        assert float(sums["policy/clipfrac"]) == 0
    assert objective.first_ratio() == 0
    changed(policy)
    objective.loss(policy, episodes.batch((0, 3, 4)) | {"first": torch.ones(())})
    assert objective.first_ratio() > 0


def of_answer(model, said, *, temperature=0.7):
    """Log-probabilities of an answer's tokens, read alone."""
    whole = [*said.prompt_ids, *said.answer_ids]
    logits = model.logits(model(torch.tensor([whole[:-1]])))[0, :, :WORDS].float() / temperature
    start = len(said.prompt_ids) - 1
    return logits[start:].log_softmax(1).gather(1, torch.tensor(said.answer_ids)[:, None])[:, 0]


def test_ppo_is_its_equations():
    policy = toy_decoder(seed=0)
    episodes, said = experience()
    objective = learner("ppo", episodes, policy, kl=0.3, kl_target=1.0, kl_horizon=20)
    start = [of_answer(policy, one).detach() for one in said]
    changed(policy)
    old = [of_answer(policy, one).detach() for one in said]
    annotated(objective, policy)
    figures = objective.settle()
    kl = sum(float((o - s).sum()) for o, s in zip(old, start, strict=True)) / ROWS
    assert figures["objective/kl"] == pytest.approx(kl, rel=1e-4)
    assert figures["objective/kl_k3"] >= 0
    assert figures["objective/non_score_reward"] == pytest.approx(-0.3 * kl, rel=1e-4)
    assert figures["objective/rlhf_reward"] == pytest.approx(
        -0.3 * kl + float(episodes.scores.mean()), rel=1e-4
    )
    error = min(max(kl / 1.0 - 1, -0.2), 0.2)
    assert float(objective.beta) == pytest.approx(0.3 * (1 + error * ROWS / 20))
    assert figures["beta"] == pytest.approx(0.3)
    # returns: what is to come of rewards, with lambda 0.95 between values
    values = episodes.of("old_values") * episodes.mask
    rewards = torch.zeros(ROWS, ANSWER)
    for row in range(ROWS):
        size = len(said[row].answer_ids)
        rewards[row, :size] = -0.3 * (old[row] - start[row])
        rewards[row, size - 1] += episodes.scores[row]
    told = advantages(rewards, values, episodes.mask, gamma=1.0, lam=0.95)
    torch.testing.assert_close(episodes.of("returns"), told + values, rtol=1e-4, atol=1e-5)
    white = episodes.of("advantages")[episodes.mask]
    assert float(white.mean()) == pytest.approx(0, abs=1e-5)
    assert float(white.std(unbiased=False)) == pytest.approx(1, rel=1e-3)
    changed(policy, by=0.2)
    changed(objective.critic, by=0.2)
    batch = episodes.batch((0, 1, 2))
    sums, _ = objective.loss(policy, batch)
    loss, critic = 0.0, 0.0
    for row in (0, 1, 2):
        new, size = of_answer(policy, said[row]), len(said[row].answer_ids)
        ratio, better = (new - old[row]).exp(), episodes.of("advantages")[row, :size]
        loss += float(-torch.minimum(ratio * better, ratio.clamp(0.8, 1.2) * better).sum())
        whole = [*said[row].prompt_ids, *said[row].answer_ids]
        seen = objective.critic(torch.tensor([whole[:-1]]))[0, len(said[row].prompt_ids) - 1 :]
        value, before = objective.critic.scores(seen), values[row, :size]
        near, aim = before + (value - before).clamp(-0.2, 0.2), episodes.of("returns")[row, :size]
        critic += float(0.5 * torch.maximum((value - aim) ** 2, (near - aim) ** 2).sum())
    assert float(sums["loss/policy"]) == pytest.approx(loss, rel=1e-3, abs=1e-4)
    assert float(sums["loss/value"]) == pytest.approx(critic, rel=1e-3)


def test_grpo_compares_answers_to_one_prompt_and_stays_near_the_reference():
    scores = torch.tensor([1.0, 3.0, 5.0, 5.0, 7.0])
    group = torch.tensor([4, 4, 9, 9, 2])
    apart = compared(scores, group, scale="off")
    assert apart.tolist() == [-1, 1, 0, 0, 0]
    scaled = compared(scores, group, scale="group")
    assert scaled.tolist() == pytest.approx([-1 / (2**0.5 + 1e-4), 1 / (2**0.5 + 1e-4), 0, 0, 0])
    policy = toy_decoder(seed=0)
    episodes, said = experience(groups=[0, 0, 0, 1, 1, 1])
    objective = learner("grpo", episodes, policy, kl=0.5, clip=0.1, clip_high=0.3)
    start = [of_answer(policy, one).detach() for one in said]
    annotated(objective, policy)
    objective.settle()
    changed(policy)
    sums, _ = objective.loss(policy, episodes.batch((1, 4)))
    told = 0.0
    for row in (1, 4):
        new = of_answer(policy, said[row])
        ratio, better = (new - start[row]).exp(), episodes.of("advantages")[row, 0]
        clipped = torch.minimum(ratio * better, ratio.clamp(0.9, 1.3) * better)
        away = start[row] - new
        told += float((-clipped + 0.5 * (away.exp() - away - 1)).sum())
    assert float(sums["loss/policy"]) == pytest.approx(told, rel=1e-3)


@pytest.fixture
def one_thread():
    """Tiny products are done before a second thread has heard of them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_the_proof_in_small():
    """25 rollouts of one seed; `python -m experiments.ppo_proof.run` has 60 of three."""
    said = world.settings()
    base = world.base_model(said, seed=0)
    courses = {
        name: world.run(world.parts_of(base, said, said["arms"][name], seed=0), said, iterations=n)
        for name, n in {"adaptive": 25, "pinned": 10, "free": 2}.items()
    }
    last, first = slice(-5, None), slice(0, 3)
    steered, pinned = courses["adaptive"], courses["pinned"]
    score, kl = "objective/scores", "objective/kl"
    assert steered.mean(score, last) - steered.mean(score, first) > 0.5
    assert steered.mean(kl, last) < 1.3 * said["arms"]["adaptive"]["kl_target"]
    assert pinned.mean(kl, last) < 0.5 < steered.mean(kl, last)
    assert courses["free"].mean("beta", last) == 0
    assert all(one["val/first_ratio_error"] == 0 for c in courses.values() for one in c.figures)


@pytest.mark.usefixtures("one_thread")
def test_a_seed_gives_the_same_run_twice():
    said = world.settings()
    base = world.base_model(said, seed=1)
    arm = said["arms"]["adaptive"]
    first, second = (
        world.run(world.parts_of(base, said, arm, seed=1), said, iterations=2) for _ in range(2)
    )
    assert first.figures == second.figures
