import pytest

from ablations.results.claims import load_claims, study_claims
from ablations.study import InputError, Metric, shipped_configs
from tests.results.fabricate import write_study

TOP1 = Metric("test/top1_error", "min")


@pytest.mark.parametrize("file", sorted((shipped_configs() / "claims").glob("*.yaml")), ids=str)
def test_shipped_claims_are_readable(file):
    claims = load_claims(file)
    assert claims
    assert all(claim.id == f"{file.stem}#{name}" for name, claim in claims.items())
    assert all(claim.source for claim in claims.values())


def test_the_papers_figures():
    claims = load_claims(shipped_configs() / "claims" / "alexnet.yaml")
    assert claims["lrn"].delta_for(TOP1).number == 1.4
    assert claims["lrn"].delta_for(Metric("val/top5_error", "min")).number == 1.2
    assert claims["lrn"].section == "3.3"
    assert claims["lrn"].doi == "10.1145/3065386"
    assert (claims["pca-colour"].delta_for(TOP1).shown) == ">+1"
    assert claims["dropout"].delta_for(TOP1) is None


def test_a_test_figure_does_not_answer_a_training_metric():
    claims = load_claims(shipped_configs() / "claims" / "independent.yaml")
    train = Metric("train/top1_error", "min")
    assert claims["tanh"].delta_for(train) is None
    assert claims["zf-without-fc7"].delta_for(train).number == -7.7


def test_a_users_claims_stand_beside_the_study(tmp_path):
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / "mine.yaml").write_text(
        "source: A paper\nclaims:\n  row:\n    says: It helps.\n    delta: 0.5\n"
    )
    study = write_study(tmp_path, ["full", "off"], claims={"off": "mine#row"})
    claim = study_claims(study)["off"]
    assert (claim.says, claim.source) == ("It helps.", "A paper")
    assert claim.delta_for(Metric("anything", "max")).shown == "+0.5"


@pytest.mark.parametrize(
    ("reference", "nearest"), [("alexnet#lnr", "alexnet#lrn"), ("alexnt#lrn", "alexnet")]
)
def test_an_unknown_claim_names_the_nearest(tmp_path, reference, nearest):
    study = write_study(tmp_path, ["full", "off"], claims={"off": reference})
    with pytest.raises(InputError) as caught:
        study_claims(study)
    assert (caught.value.key, caught.value.nearest) == ("claims.off", nearest)
    assert caught.value.file == study.file


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("claims:\n  row: {sys: x}\n", "claims.row.sys"),
        ("claims:\n  row: {section: '1'}\n", "claims.row"),
        ("claims:\n  row: {says: x, delta: much}\n", "claims.row.delta"),
        ("claims:\n  row: {says: x, same_data: imagenet}\n", "claims.row.same_data"),
        ("setup: 90\nclaims:\n  row: {says: x}\n", "claims.row.setup"),
        ("claims: [row]\n", "claims"),
        ("rows: {}\n", "rows"),
    ],
)
def test_a_bad_claims_file_is_told_by_key(tmp_path, text, key):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        load_claims(file)
    assert (caught.value.file, caught.value.key) == (file, key)
