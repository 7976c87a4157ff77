"""Evaluation end to end on a real Ray: every utterance scored once, files in the shape of the contract."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asr_ray.data.read import read_utterances
from asr_ray.errors import DataError
from asr_ray.evaluate import run
from asr_ray.evaluate.pool import Outcome, decode_pieces
from asr_ray.evaluate.results import PARTIAL, Decoded
from asr_ray.evaluate.run import run_evaluation
from asr_ray.evaluate.scoring.score import Hypothesis
from asr_ray.evaluate.testsets import TestSet
from asr_ray.evaluate.work import Piece
from asr_ray.model.tokens import NemoTokenizer
from asr_ray.settings import EvaluateSettings
from asr_ray.testing.prepared import write_prepared

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, micro_nemo: Path) -> EvaluateSettings:
    """One random model under two names, on noise."""
    root = tmp_path_factory.mktemp("evaluation")
    counts = {("el-GR", "noise"): 5, ("ja-JP", "noise"): 4}
    write_prepared(root / "test", counts, tokenizer=NemoTokenizer.from_nemo(micro_nemo))
    return EvaluateSettings(
        models={"base": str(micro_nemo), "tuned": str(micro_nemo)},
        data={"test": root / "test"},
        out=root / "out",
    )


def ids_in(folder: Path) -> list[str]:
    lines = (folder / "results.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["id"] for line in lines]


@pytest.mark.usefixtures("ray_cluster")
def test_every_utterance_is_scored_once_by_each_model(settings: EvaluateSettings) -> None:
    shares: list[float] = []
    [result] = run_evaluation(settings, progress=lambda stage, share: shares.append(share))
    for model in ("base", "tuned"):
        ids = ids_in(settings.out / model)
        assert len(ids) == len(set(ids)) == 9
    document = json.loads((settings.out / "metrics.json").read_text(encoding="utf-8"))
    locales = document["models"]["base"]["locales"]
    assert {tag: score["unit"] for tag, score in locales.items()} == {"el-GR": "wer", "ja-JP": "cer"}
    assert document["mode"] == "offline"
    assert document["context"] == [56, 3]
    assert document["prompt"] == "locale"
    assert document["speed"]["tuned"]["rtfx"] > 0
    # A model compared with itself is neither better nor worse.
    assert {pair.verdict for pair in result.paired} == {"no difference"}
    assert "<html" in (settings.out / "report.html").read_text(encoding="utf-8")
    for file in ("report.md", "MODEL_CARD.md"):
        assert "el-GR" in (settings.out / file).read_text(encoding="utf-8")
    assert json.loads((settings.out / "summary.json").read_text(encoding="utf-8"))["exit_code"] == 0
    # Cut by what a row of the results says, of which the catalog knows as much.
    sources = document["slices"]["base"]["ja-JP"]["source"]
    assert {name: each["utterances"] for name, each in sources.items()} == {"noise": 4}
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)


@pytest.mark.usefixtures("ray_cluster")
def test_what_was_decoded_is_not_decoded_again(
    settings: EvaluateSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    [first] = run_evaluation(settings)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(run, "decode_pieces", refuse)
    [again] = run_evaluation(settings)
    assert again.reports == first.reports
    assert again.document == first.document
    with pytest.raises(AssertionError, match="decoded again"):
        run_evaluation(settings.model_copy(update={"att_context_size": [(56, 13)]}))


@pytest.mark.usefixtures("ray_cluster")
def test_a_stopped_evaluation_goes_on_where_it_was(
    settings: EvaluateSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two models, two contexts, two modes, cut off in the middle of a line of the third outcome."""
    settings = settings.model_copy(
        update={
            "out": tmp_path,
            "att_context_size": [(56, 0), (56, 13)],
            "mode": ["offline", "streaming"],
            "piece_s": 1.0,
        }
    )
    decoded: list[tuple[object, int]] = []

    def counted(*args: Any, stop_after: int, **kwargs: Any) -> Iterator[Outcome]:
        for number, outcome in enumerate(decode_pieces(*args, **kwargs)):
            decoded.extend((outcome.task, row) for row, _, _ in outcome.rows)
            yield outcome
            if number + 1 == stop_after:
                raise KeyboardInterrupt

    monkeypatch.setattr(run, "decode_pieces", lambda *a, **k: counted(*a, stop_after=5, **k))
    with pytest.raises(KeyboardInterrupt):
        run_evaluation(settings)
    kept = len(decoded)
    torn = next(path for path in sorted(tmp_path.rglob(PARTIAL)) if path.read_bytes().count(b"\n") > 1)
    torn.write_bytes(torn.read_bytes()[:-7])

    monkeypatch.setattr(run, "decode_pieces", lambda *a, **k: counted(*a, stop_after=0, **k))
    results = run_evaluation(settings)
    # Eight times nine, of which the torn line alone was decoded twice.
    assert 0 < kept < 72
    assert len(decoded) == 73
    assert len(set(decoded)) == 72
    assert len(results) == 4
    for result in results:
        for model in ("base", "tuned"):
            ids = ids_in(result.out / model)
            assert len(ids) == len(set(ids)) == 9
    assert not list(tmp_path.rglob(PARTIAL))
    together = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))["evaluations"]
    assert set(together) == {
        f"test/56-{right}-{mode}-locale" for right in (0, 13) for mode in ("offline", "streaming")
    }
    for name, document in together.items():
        assert document == json.loads((tmp_path / name / "metrics.json").read_text(encoding="utf-8"))
    overview = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert all(f'href="{name}/report.html"' in overview for name in together)
    for name in together:
        assert "Error rate against latency" in (tmp_path / name / "report.html").read_text(encoding="utf-8")
    # Streaming is the same text, and says of itself that it is another mode.
    for right in (0, 13):
        offline, streamed = (together[f"test/56-{right}-{mode}-locale"] for mode in ("offline", "streaming"))
        assert offline["models"] == streamed["models"]
        assert (offline["mode"], streamed["mode"]) == ("offline", "streaming")


def test_a_locale_without_data_is_named(settings: EvaluateSettings, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="mt-MT"):
        run_evaluation(settings.model_copy(update={"locales": ["mt-MT"], "out": tmp_path}))
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert summary["exit_code"] == DataError.exit_code
    assert "mt-MT" in summary["error"]


def mute_under_auto(work: list[Piece], *, test_sets: dict[str, TestSet], **_: Any) -> Iterator[Outcome]:
    """Decoding of a model that writes everything right when it is told the language, else nothing."""
    for piece in work:
        test_set = test_sets[piece.data]
        utterances = read_utterances(test_set.root, test_set.addresses(piece.rows))
        for task in piece.tasks:
            rows = [
                Hypothesis(
                    id=u.id,
                    locale=u.locale,
                    ref=u.text,
                    hyp=u.text if task.condition.prompt == "locale" else "",
                    duration_s=u.duration_s,
                )
                for u in utterances
            ]
            yield Outcome(task=task, rows=[(n, row, 0.1) for n, row in zip(piece.rows, rows, strict=True)])


def test_auto_is_set_against_the_prompt_where_both_were_decoded(
    settings: EvaluateSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(run, "decode_pieces", mute_under_auto)
    both = {"prompt": ["auto", "locale"], "out": tmp_path, "models": {"base": settings.models["base"]}}
    run_evaluation(settings.model_copy(update=both))
    document = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    [cost] = document["prompts"]
    assert (cost["condition"], cost["model"]) == ("test/56-3-offline-locale", "base")
    assert {each["locale"]: each["delta"] for each in cost["by_locale"]} == {"el-GR": 1.0, "ja-JP": 1.0}
    assert {each["verdict"] for each in cost["by_locale"]} == {"worse"}
    assert "has to find the language" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("ray_cluster")
def test_an_utterance_that_is_missing_is_not_forgiven(
    settings: EvaluateSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_evaluation(settings)
    found = run.find_results

    def one_less(*args: Any, **kwargs: Any) -> Decoded | None:
        result = found(*args, **kwargs)
        return result and Decoded(rows=result.rows[1:], decode_s=result.decode_s)

    monkeypatch.setattr(run, "find_results", one_less)
    with pytest.raises(DataError, match="have no hypothesis"):
        run_evaluation(settings)
