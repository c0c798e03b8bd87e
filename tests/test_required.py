"""Names of packages that come with this one, and of none that does not."""

from asteroid_stab.required import required_packages


def test_requirements_and_theirs_by_the_names_of_their_imports():
    found = required_packages()
    assert {"asteroid_stab", "torch", "yaml", "soundfile", "pb_bss_eval", "dateutil", "pytorch_lightning"} <= found


def test_extras_and_what_stands_beside_are_left_out():
    assert not {"pytest", "ruff", "mypy", "wandb", "mlflow", "speechbrain"} & required_packages()
