import pytest

from ablations.results import paper
from analysis.error_deltas import error_deltas
from tests.analysis.workspaces import write_nets

# The whole set of differences that the paper and its lab notes report.
DELTAS = {
    "two-gpu",
    "no-cross-gpu",
    "lrn",
    "lrn-cifar10",
    "overlapping-pooling",
    "ten-crop",
    "crops-flips",
    "pca-colour",
    "dropout",
    "weight-decay",
    "bias-one",
    "depth",
}
OFF = {"model.init_args.lrn": False}


def rows(tmp_path, values, claim="lrn", **study):
    study = {"seeds": 6, "claims": {"off": f"alexnet#{claim}"}, **study}
    made, workspace = write_nets(tmp_path, {"full": {}, "off": OFF}, values, **study)
    found = paper.claim_rows([paper.answered(made, workspace)])
    return {row.claim.id.partition("#")[2]: row for row in found}


FULL = [30.0, 30.3, 29.8, 30.1, 30.2, 29.9]


def shifted(by, noise=0.05):
    return [value + by + noise * (-1) ** i for i, value in enumerate(FULL)]


def test_every_delta_of_the_paper_has_a_row(tmp_path):
    found = rows(tmp_path, {"full": FULL, "off": shifted(1.0)})
    assert set(found) >= DELTAS
    assert {row.stand for name, row in found.items() if name != "lrn"} == {"not run"}
    text = paper.shown(list(found.values())).set_index("component removed")
    assert text.loc["lrn", "paper"] == "+1.4 top-1, +1.2 top-5"
    assert text.loc["lrn", "unrounded"] == "+1.370 top-1, +1.152 top-5"
    assert text.loc["two-gpu", "unrounded"] == "+1.695 top-1, +1.230 top-5"
    assert text.loc["overlapping-pooling", "independent"] == "plain-pooling -1.3"
    assert text.loc["lrn", "ours"].startswith("+1.000 [")
    assert text.loc["lrn", "our data"] == "images"
    assert text.loc["lrn", "budget"] == "6 seeds, 5 epochs, 4.2 s a trial, cpu"


@pytest.mark.parametrize(
    ("by", "noise", "margin", "claim", "stand", "why"),
    [
        (1.0, 0.05, None, "lrn", "agrees", "the sign is the paper's"),
        (-1.0, 0.05, None, "lrn", "disagrees", "the sign is the other one"),
        (0.1, 1.0, None, "lrn", "undecided", "zero is not excluded after 6 seeds"),
        (0.0, 0.05, 0.5, "lrn", "disagrees", "equivalent within 0.5"),
        (0.0, 0.05, 0.5, "overlapping-pooling", "undecided", "the margin of 0.5 is wider"),
        (0.2, 0.01, 0.5, "lrn", "agrees", "but it is equivalent within 0.5"),
        (1.0, 0.05, None, "dropout", "agrees", "the sign is the paper's"),
        (1.0, 0.05, None, "weight-decay", "not comparable", "the paper says nothing of"),
    ],
)
def test_where_a_claim_stands(tmp_path, by, noise, margin, claim, stand, why):
    extra = {} if margin is None else {"margin": margin}
    row = rows(tmp_path, {"full": FULL, "off": shifted(by, noise)}, claim, **extra)[claim]
    assert row.stand == stand
    assert why in row.why


def test_what_only_the_correction_leaves_undecided_is_said(tmp_path):
    changes = {"full": {}, "off": OFF, "plain": {"model.init_args.pooling": "plain"}}
    noise = [0.1, -0.4, 0.5, -0.2, 0.6, 0.3]
    values = {"full": FULL, "off": [a + 0.3 + b for a, b in zip(FULL, noise, strict=True)]}
    values["plain"] = shifted(0.0, 1.0)
    claims = {"off": "alexnet#lrn"}
    study, workspace = write_nets(tmp_path, changes, values, seeds=6, claims=claims)
    (row,) = [r for r in paper.claim_rows([paper.answered(study, workspace)]) if r.row is not None]
    assert row.row.delta.p < 0.05 < row.row.p_holm
    assert row.why.startswith("not decided once corrected for the study's arms after 6 seeds")


def test_without_a_pair_nothing_is_claimed(tmp_path):
    row = rows(tmp_path, {"full": FULL, "off": ["failed"] * 6})["lrn"]
    assert (row.stand, row.why) == ("undecided", "no seed has a value in both arms")


def test_a_training_claim_is_answered_by_the_training_error(tmp_path):
    metric = "train/top1_error"
    row = rows(tmp_path, {"full": FULL, "off": shifted(1)}, "weight-decay", metric=metric)
    assert row["weight-decay"].stand == "agrees"


def test_every_study_of_a_workspace_is_gathered(tmp_path):
    values = {"full": FULL, "off": shifted(1.0)}
    claims = {"off": "alexnet#lrn"}
    _, workspace = write_nets(tmp_path, {"full": {}, "off": OFF}, values, seeds=6, claims=claims)
    (workspace.root / "studies" / "known").rename(workspace.root / "studies" / "other")
    arms = {"full": {}, "plain": {"model.init_args.pooling": "plain"}}
    claims = {"plain": "alexnet#overlapping-pooling"}
    values = {"full": FULL, "plain": shifted(-0.5)}
    write_nets(tmp_path, arms, values, seeds=6, claims=claims)
    written = error_deltas(workspace.root, tmp_path / "reports")
    table = written[0].read_text(encoding="utf-8")
    assert "other: off" in table
    assert "known: plain" in table
    assert "disagrees" in table
    numbers = written[3].read_text(encoding="utf-8").splitlines()
    assert len(numbers) == 1 + len(DELTAS) + 1
