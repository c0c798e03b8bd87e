"""Tests stand in the folder of what they test: a room of the package, ``bench``, ``recipes``, ``egs`` or ``docs``."""

from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent

# Test files that are named after no module, with what they test instead.
FEATURES = {
    "cli/test_clusters.py": "trainings on two machines, by torchrun and by SLURM",
    "cli/test_hosted.py": "a plain module of a user's, trained, resumed, evaluated and separated with",
    "cli/test_hostile.py": "every verb, given files of somebody who means harm",
    "cli/test_microphones.py": "mixtures of several microphones, from training to separated files",
    "cli/test_pit_family.py": "recipes, killed and resumed from the command line, and on two processes",
    "cli/test_pretraining.py": "the same for pre-training and fine-tuning",
    "cli/test_random_kills.py": "recipes of many methods, killed at random moments and resumed",
    "cli/test_ranks.py": "trainings of two processes of which one is lost",
    "cli/test_refinement.py": "the same for latent refinement",
    "cli/test_rooms.py": "mixtures in simulated rooms, from training to evaluation",
    "cli/test_stabilizers.py": "the same for stabilizers",
    "cli/test_unused_sets.py": "every verb, without the sets that it does not use",
    "cli/test_within_epoch.py": "recipes of many methods, ended within an epoch and resumed",
    "cli/test_variable_sources.py": "one recipe from training to page",
    "data/corpora/test_contract.py": "every corpus",
    "docs/test_pages.py": "what the pages promise to hold",
    "docs/test_site.py": "the site, built and opened in a browser",
    "egs/test_run_sh.py": "the scripts of all corpora",
    "engine/test_waits.py": "every step: losses, stabilizers and systems, as a GPU would take it",
    "engine/test_losses_in_training.py": "losses with a state of their own, within a system",
    "losses/test_contract.py": "every loss",
    "losses/test_soft_wrappers.py": "three soft assignments against one reference",
    "models/test_builders.py": "all model functions of conf/model against the host's models",
    "models/test_gate_noise.py": "an argument that goes through models and masknn",
    "recipes/test_recipes.py": "every recipe",
    "test_fuzz.py": "the program, given damaged inputs",
    "report/test_browser.py": "the whole page in a browser",
    "run/test_own_parts.py": "a user's own classes of every kind, from a config folder",
    "stabilizers/test_contract.py": "every stabilizer",
    "integrations/test_toolkits.py": "one training in every toolkit",
    "integrations/test_models.py": "models of the toolkits, hosted by recipes",
    "integrations/test_examples.py": "the page of examples, and rules for all integrations",
    "test_docs.py": "the texts of the repository",
    "test_english.py": "the wording of every file",
    "test_floors.py": "rules that hold for every file",
    "test_mirror.py": "the tests",
    "test_packaging.py": "the wheel and the environment",
    "test_release.py": "the program that makes a release, and the files that belong to one",
    "test_windows.py": "the program without what Windows lacks",
}


def files_of_tests():
    return sorted(TESTS.rglob("test_*.py"))


def subject_places(file):
    """Where the module, or the folder of recipes, that a test file is named after would be."""
    room, name = file.parent.relative_to(TESTS), file.stem.removeprefix("test_")
    of_checkout = room.parts[:1] in [("bench",), ("recipes",), ("egs",), ("docs",)]
    folder = ROOT / room if of_checkout else ROOT / "asteroid_stab" / room
    return [folder / f"{name}.py", folder / f"_{name}.py", folder / name]


def mirrors(file):
    return any(place.exists() for place in subject_places(file))


def name_of(file):
    return file.relative_to(TESTS).as_posix()


@pytest.mark.parametrize("file", files_of_tests(), ids=name_of)
def test_a_test_file_stands_where_its_subject_does(file):
    assert subject_places(file)[0].parent.is_dir(), "no such room"
    assert mirrors(file) or name_of(file) in FEATURES, "named after no module: move it, or add it to FEATURES"


@pytest.mark.parametrize("name", FEATURES)
def test_every_feature_is_needed(name):
    assert (TESTS / name).exists()
    assert not mirrors(TESTS / name)


@pytest.mark.parametrize(
    ("name", "mirrored"),
    [
        ("losses/test_matched.py", True),
        ("data/toy/test_voices.py", True),
        ("test_compat.py", True),
        ("bench/test_frame.py", True),
        ("recipes/test_lir.py", True),
        ("losses/test_voices.py", False),
        ("test_matched.py", False),
        ("recipes/test_matched.py", False),
    ],
)
def test_places_are_told_apart(name, mirrored):
    assert mirrors(TESTS / name) == mirrored


def test_no_test_replaces_a_resolver():
    """OmegaConf keeps resolvers for the whole process: other tests of it would compose other configs."""
    replaces = "register_new_" + "resolver("
    assert [name_of(file) for file in TESTS.rglob("*.py") if replaces in file.read_text(encoding="utf-8")] == []
